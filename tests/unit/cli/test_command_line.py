"""The common options, usage errors and what becomes of them, whichever the command."""

import pytest
from click.shell_completion import ShellComplete

from locksmith.cli import program
from locksmith.cli.program import COMMANDS
from tests.unit.cli.conftest import Fleet, Lockctl

LOCAL = [name for name in COMMANDS if name != "demo"]


@pytest.mark.parametrize(
    "words",
    [
        ["--store", "URL", "--group", "web", "--json", "status"],
        ["status", "--store", "URL", "--group", "web", "--json"],
        ["--json", "--group", "web", "status", "--store", "URL"],
        ["--store", "memory:", "--group", "other", "status", "--store", "URL", "--group", "web", "--json"],
    ],
)
def test_common_options_stand_anywhere_and_the_later_wins(bare: Lockctl, fleet: Fleet, words: list[str]) -> None:
    fleet.slots(7, "web")
    said = bare(*(fleet.url if word == "URL" else word for word in words))
    assert said.code == 0
    assert (said.document["group"], said.document["slots"]) == ("web", 7)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "missing command"),
        (["statsu"], "did you mean 'status'?"),
        (["status", "--nonsense"], "--nonsense"),
        (["status", "extra"], "extra"),
        (["status", "--timeout", "10"], "write a number with its unit, such as 10s"),
        (["status", "--timeout", "0s"], "at least 1s"),
        (["status", "--timeout"], "--timeout"),
        (["status", "--group", "a b"], "not a group name"),
        (["status", "--color", "pink"], "pink"),
        (["set-max", "0"], "use lockctl pause"),
        (["set-max", "many"], "not a number of slots"),
        (["set-max"], "'N'"),
        (["pause"], "--reason"),
        (["pause", "--reason", " "], "say why"),
        (["pause", "--reason", "a\nb"], "one plain line"),
        (["pause", "--reason", "x", "--until", "yesterday"], "is no time"),
        (["pause", "--reason", "x", "--until", "2020-01-01T00:00:00Z"], "is over already"),
        (["pause", "--reason", "x", "--fleet", "--node", "n1"], "exclude each other"),
        (["pause", "--reason", "x", "--fleet", "--group", "g"], "exclude each other"),
        (["resume", "--failed"], "--failed needs --reason"),
        (["resume", "--failed", "--fleet", "--reason", "x"], "leave out --fleet"),
        (["unlock", "--force", "--reason", "x"], "needs NODE"),
        (["unlock", "n1", "--force"], "--reason TEXT"),
        (["unlock", "n1", "--force-armed"], "goes with --force"),
        (["lock", "a/b"], "not a node id"),
        (["reboot", "n1", "--all"], "leave out NODE"),
        (["reboot", "--ignore", "windows"], "did you mean 'window'?"),
        (["reboot", "--cancel", "--wait"], "leave out --wait"),
        (["reboot", "n1", "--wait"], "none has reported as n1"),
        (["forget"], "'NODE'"),
        (["windows", "--start", "23:00"], "--start and --length"),
        (["windows", "--start", "25:00", "--length", "1h"], "no time on a clock"),
        (["windows", "--start", "23:00", "--length", "25h"], "too long for a daily window"),
        (["windows", "--start", "23:00", "--length", "1h", "--timezone", "Mars"], "unknown time zone"),
        (["windows", "--next", "-1"], "--next"),
    ],
)
def test_wrong_words_exit_2_and_name_the_remedy(lockctl: Lockctl, words: list[str], message: str) -> None:
    said = lockctl(*words)
    assert said.code == 2
    assert said.out == ""
    assert message in said.err
    assert said.err.splitlines()[-1].startswith("lockctl: ")
    as_json = lockctl(*words, "--json")
    assert as_json.code == 2
    if words and words[-1] != "--timeout":
        assert as_json.kind == "usage"
        assert message in as_json.document["error"]["message"]


def test_json_counts_for_a_line_that_cannot_be_parsed(bare: Lockctl) -> None:
    assert bare("--json", "status", "--nonsense").kind == "usage"
    assert bare("status", "--nonsense", "--json").kind == "usage"
    assert bare("status", "--nonsense", "--", "--json").out == ""


def test_without_a_store_the_choices_and_the_demo_are_named(bare: Lockctl) -> None:
    said = bare("status", "--json")
    assert (said.code, said.kind) == (2, "config")
    for word in ("sqlite://", "etcd://", "consul://", "lockctl demo"):
        assert word in said.err


@pytest.mark.parametrize("url", ["zookeeper://h", "etcd://user:pw@h", "etcd:h", "sqlite://relative"])
def test_a_bad_store_url_is_a_config_error(bare: Lockctl, url: str) -> None:
    said = bare("status", "--store", url, "--json")
    assert (said.code, said.kind) == (2, "config")
    assert "pw" not in said.err + said.out


def test_version(bare: Lockctl) -> None:
    assert bare("--version").out == bare("version").out
    assert set(bare("--version", "--json").document) >= {"version", "python"}
    assert bare("version", "--json").document["version"] in bare("--version").out


@pytest.mark.parametrize("name", LOCAL)
def test_every_command_has_help_with_the_common_options(bare: Lockctl, name: str) -> None:
    for flag in ("-h", "--help"):
        said = bare(name, flag)
        assert said.code == 0
        assert "Common options" in said.out
        assert "--timeout DURATION" in said.out


def test_the_programs_help_lists_every_command(bare: Lockctl) -> None:
    listed = bare("--help").out
    assert all(f"  {name} " in listed for name in COMMANDS)


@pytest.mark.parametrize(("incomplete", "expected"), [("re", {"resume", "reboot", "restored"}), ("set", {"set-max"})])
def test_shell_completion_knows_the_commands(incomplete: str, expected: set[str]) -> None:
    completer = ShellComplete(program.lockctl, {}, "lockctl", "_LOCKCTL_COMPLETE")
    assert {item.value for item in completer.get_completions([], incomplete)} == expected


def test_shell_completion_knows_the_options() -> None:
    completer = ShellComplete(program.lockctl, {}, "lockctl", "_LOCKCTL_COMPLETE")
    options = {item.value for item in completer.get_completions(["pause"], "--")}
    assert {"--fleet", "--until", "--json", "--store"} <= options


def test_quiet_leaves_errors_and_warnings(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    assert "no node has reported" in lockctl("nodes").err
    assert lockctl("nodes", "-q").err == ""
    assert "binds no agent" in lockctl("lock", "n1", "-q").err
    assert "no slot" in lockctl("lock", "n2", "-q").err
