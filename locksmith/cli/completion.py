"""`lockctl completion`: the shells' scripts, and the answers that they ask lockctl for while somebody types.

The ideas a reader would miss. The scripts know nothing: they hand over the words and show the lines that come back, so that a
newer lockctl completes what it has without a new script. And whoever types must never wait or be told of trouble: names of
groups and nodes come from the store within `LIMIT`, or not at all.

The agreement between both: with `_LOCKCTL_COMPLETE` in the environment, the arguments are the words behind `lockctl` up to the
one under the cursor; each line of the answer is a word, a tab and what it means, or `:files` for the names of files.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import click
from click.shell_completion import CompletionItem, ShellComplete

from locksmith.cli.call import Call
from locksmith.cli.options import Given, Subject
from locksmith.cli.output import Output, line
from locksmith.cli.program import COMPLETING as VARIABLE
from locksmith.cli.render import clean

if TYPE_CHECKING:
    from locksmith.semaphore.registry import NodeLine

LIMIT = timedelta(seconds=1.5)
"""For all that the store is asked for one answer, unless the line itself says --timeout."""
FILES = ":files"

BASH = f"""\
# bash completion for lockctl; written by `lockctl completion bash`
_lockctl() {{
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == {FILES} ]]; then
            compopt -o default
            return
        fi
        COMPREPLY+=("${{line%%$'\\t'*}}")
    done < <({VARIABLE}=1 "$1" "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null)
}}
complete -o nosort -F _lockctl lockctl
"""

ZSH = f"""\
#compdef lockctl
# zsh completion for lockctl; written by `lockctl completion zsh`
_lockctl() {{
    local line
    local -a found
    for line in "${{(@f)$({VARIABLE}=1 "${{words[1]}}" "${{(@)words[2,CURRENT]}}" 2>/dev/null)}}"; do
        if [[ $line == {FILES} ]]; then
            _files
            return
        elif [[ -n $line ]]; then
            found+=("${{${{line%%$'\\t'*}}//:/\\\\:}}:${{line#*$'\\t'}}")
        fi
    done
    (( $#found )) && _describe -V unsorted found
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _lockctl "$@"
else
    compdef _lockctl lockctl
fi
"""

FISH = f"""\
# fish completion for lockctl; written by `lockctl completion fish`
function _lockctl
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l name $words[1]
    set -e words[1]
    for line in (env {VARIABLE}=1 $name $words "$current" 2>/dev/null)
        if test "$line" = "{FILES}"
            __fish_complete_path "$current"
        else
            echo "$line"
        end
    end
end
complete --command lockctl --no-files --keep-order --arguments "(_lockctl)"
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@click.command(cls=Subject)
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
@click.pass_obj
def completion(given: Given, shell: str) -> None:
    """Write the script that completes commands, options, groups and nodes in a shell.

    For this shell only: source <(lockctl completion bash). For good, write it to where the shell looks:
    /usr/share/bash-completion/completions/lockctl, /usr/share/zsh/site-functions/_lockctl,
    /usr/share/fish/vendor_completions.d/lockctl.fish.
    """
    if given.json:
        Output(json=True).document({"shell": shell, "script": SCRIPTS[shell]})
    else:
        line(SCRIPTS[shell].rstrip("\n"))


def answer(program: click.Group, words: Sequence[str]) -> int:
    """Write what could stand where the last of the words does. Always 0: what goes wrong is not worth a word here."""
    *before, incomplete = _unsplit(words) or [""]
    completer = ShellComplete(program, {"obj": Given()}, "lockctl", VARIABLE)
    try:
        for item in completer.get_completions(before, incomplete):
            line(FILES if item.type in ("file", "dir") else f"{item.value}\t{item.help or ''}")
    except Exception:  # noqa: BLE001, S110  (the top: whoever presses a key must not see what went wrong)
        pass
    return 0


def _unsplit(words: Sequence[str]) -> list[str]:
    """Bash takes `--group=web` for three words; click knows two of them."""
    signs = {place for place, word in enumerate(words) if word == "=" and place and words[place - 1].startswith("--")}
    kept = [word for place, word in enumerate(words) if place not in signs]
    return [*kept, ""] if len(words) - 1 in signs else kept


def offered(given: Given, kind: Literal["group", "node"], incomplete: str) -> list[CompletionItem[str]]:
    """The names in the store that begin so. Raises what the store raises; `answer` keeps it to itself."""
    with Call(given, given.timeout or LIMIT) as call:
        found = sorted(_groups(call) if kind == "group" else _nodes(call, incomplete))
        return [CompletionItem(clean(name), help=clean(text)) for name, text in found if name.startswith(incomplete)]


def _groups(call: Call) -> Iterator[tuple[str, str]]:
    from locksmith.semaphore.reading import groups

    for group in groups(call.unconfirmed):
        yield group.group, f"{group.held} of {group.slots} slots held"


def _nodes(call: Call, incomplete: str) -> Iterator[tuple[str, str]]:
    """Host names where they are enough; ids where somebody types one, or where hosts share a name."""
    from locksmith.semaphore.registry import nodes

    lines = nodes(call.unconfirmed, call.group if call.group_is_explicit else None)
    hosts: dict[str, list[NodeLine]] = {}
    for each in lines:
        hosts.setdefault(each.record.host, []).append(each)
    for host, several in hosts.items():
        for each in several:
            text = f"{each.record.group}, {each.record.state}"
            if len(several) == 1 and host:
                yield host, text
            if incomplete or len(several) > 1 or not host:
                yield each.node, f"{host}, {text}"
