"""dnf, yum and zypper: whether a package that only a reboot makes current was installed since the boot.

The ideas a reader would miss. Exit code 1 of dnf and yum means "reboot" *and* "any error", so the sentence has to be there as
well, and the two have to agree. The sentence is translated, by LANGUAGE even under LC_ALL=C (tried with dnf 4.14), so both
are set. dnf5 loads repositories, therefore `-C`: it never goes to the network from here; `--json` is known only to versions
of 2026 and later (dnf5 pull request 2640), an older one is asked again for its text. All but zypper judge by time (installed
after the boot), so a clock in the future keeps the answer at "needed" for ever. That is why the fingerprint is the set of
packages and nothing that moves: the loop guard then stops after one reboot.

Sources: dnf-plugins-core plugins/needs_restarting.py, dnf5 dnf5-plugins/needs_restarting_plugin, yum-utils needs-restarting.py,
zypper src/commands/needs-rebooting.cc (the flag file /run/reboot-needed, exit code 102).
"""

import json
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, assert_never, get_args

from locksmith.host.identity import running_kernel
from locksmith.host.outcome import Finished, Outcome, describe, printable
from locksmith.host.process import run
from locksmith.updates import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates.fingerprint import fingerprint
from locksmith.updates.packages import named

Tool = Literal["auto", "dnf4", "dnf5", "yum-utils", "zypper"]
TOOLS: tuple[Tool, ...] = get_args(Tool)

Chosen = Literal["dnf4", "dnf5", "yum-utils", "zypper"]
_PROGRAMS: dict[Chosen, tuple[str, ...]] = {
    "dnf4": ("dnf-3", "dnf4", "dnf"),  # where dnf5 is the default, `dnf` is dnf5
    "dnf5": ("dnf5",),
    "yum-utils": ("needs-restarting",),
    "zypper": ("zypper",),
}
_ARGUMENTS: dict[Chosen, tuple[str, ...]] = {
    "dnf4": ("-C", "needs-restarting", "-r"),
    "dnf5": ("-C", "needs-restarting"),
    "yum-utils": ("-r",),
    "zypper": ("--non-interactive", "needs-rebooting"),
}
_NEEDED_CODE: dict[Chosen, int] = {"dnf4": 1, "dnf5": 1, "yum-utils": 1, "zypper": 102}
_ENVIRONMENT = {"LC_ALL": "C", "LANGUAGE": ""}
_NEEDED = "Reboot is required"
_NOT_NEEDED = ("Reboot should not be necessary", "Reboot is probably not necessary")
_HEADER = "Core libraries or services have been updated"
_REMEDIES = (
    ("No such command", "install dnf-plugins-core"),
    ("dnf5-command(needs-restarting)", "install dnf5-plugins"),
    ("no cache for", "run `dnf makecache` as the agent's user"),
    ("run as root", "run the agent as root"),
)
"""What the tools say when something is missing, and what helps."""


@dataclass(frozen=True, slots=True)
class Said:
    """A clear answer."""

    needed: bool
    packages: tuple[str, ...] = ()


class NeedsRestarting:
    """Needed when the tool says so with its exit code and its words."""

    kind = "needs-restarting"

    def __init__(
        self,
        name: str,
        timeout: timedelta,
        tool: Tool = "auto",
        *,
        path: str | None = None,
        flag: Path = Path("/run/reboot-needed"),
    ) -> None:
        """`timeout` is for each run; `path` is where programs are looked up (None: PATH); `flag` is zypper's."""
        self._name = name
        self._timeout = timeout
        self._tool = tool
        self._path = path
        self._flag = flag

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    def ask(self) -> Answer:
        """See Provider."""
        chosen = self._choose()
        if chosen is None:
            wanted = "dnf, needs-restarting or zypper" if self._tool == "auto" else self._tool
            return NeedUnknown(
                self._name, f"{wanted} is not installed on this machine: install it, or remove this provider"
            )
        tool, program = chosen
        outcome = self._run(tool, program)
        said = read_answer(tool, outcome.code, outcome.stdout) if isinstance(outcome, Finished) else None
        if said is None:
            return NeedUnknown(self._name, _explain(tool, outcome))
        return self._need(tool, said.packages) if said.needed else NotNeeded(self._name, running=running_kernel())

    def _choose(self) -> tuple[Chosen, str] | None:
        """The tool with its program; for `auto` the one that `dnf` is here."""
        match self._tool:
            case "auto":
                dnf = self._find("dnf")
                order: tuple[Chosen, ...] = ("dnf5", "dnf4", "yum-utils", "zypper")
                if dnf is not None:
                    order = ("dnf5",) if Path(dnf).resolve().name == "dnf5" else ("dnf4",)
            case "dnf4" | "dnf5" | "yum-utils" | "zypper":
                order = (self._tool,)
            case _:
                assert_never(self._tool)
        for tool in order:
            for name in _PROGRAMS[tool]:
                if (program := self._find(name)) is not None:
                    return tool, program
        return None

    def _find(self, program: str) -> str | None:
        return shutil.which(program, path=self._path)

    def _run(self, tool: Chosen, program: str) -> Outcome:
        def ask(*more: str) -> Outcome:
            return run((program, *_ARGUMENTS[tool], *more), timeout=self._timeout, environment=_ENVIRONMENT)

        if tool != "dnf5":
            return ask()
        outcome = ask("--json")
        if isinstance(outcome, Finished) and "--json" in outcome.stderr and not outcome.stdout.strip():
            return ask()
        return outcome

    def _need(self, tool: Chosen, packages: tuple[str, ...]) -> Need:
        # zypper names no packages, but its flag is made anew by each update and is gone with the boot.
        written = _written(self._flag) if tool == "zypper" else ""
        return Need(
            provider=self._name,
            kind=self.kind,
            fingerprint=fingerprint(self.kind, written, *sorted(packages)),
            reason=named(packages) or f"{tool} says that a reboot is required",
            origin=running_kernel(),
        )


def read_answer(tool: Chosen, code: int, output: str) -> Said | None:
    """What a tool says; None unless it ended in one of its two ways and its words agree with the exit code."""
    if code not in (0, _NEEDED_CODE[tool]):
        return None
    said = _json(output) if output.lstrip().startswith("[") else _text(output)
    return said if said is not None and said.needed is (code != 0) else None


def _text(text: str) -> Said | None:
    lines = [line.strip() for line in text.splitlines()]
    needed = any(line.startswith(_NEEDED) for line in lines)
    if needed is any(line.startswith(_NOT_NEEDED) for line in lines):
        return None
    return Said(needed, _listed(lines) if needed else ())


def _listed(lines: list[str]) -> tuple[str, ...]:
    """The packages under the heading: `* kernel` of dnf, `kernel -> 3.10.0-1160.el7` of yum-utils."""
    start = next((number for number, line in enumerate(lines) if line.startswith(_HEADER)), len(lines))
    packages: list[str] = []
    for line in lines[start + 1 :]:
        if not line or line.startswith(_NEEDED):
            break
        name, _, version = printable(line).removeprefix("*").partition("->")
        packages.append(f"{name.strip()} {version.strip()}".strip())
    return tuple(dict.fromkeys(filter(None, packages)))


def _json(text: str) -> Said | None:
    """`[{"type": "reboot", "reboot_required": true, "packages": ["kernel"], ...}]` of dnf5."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    entries = [one for one in document if isinstance(one, dict) and one.get("type") == "reboot"]
    if len(entries) != 1 or not isinstance(needed := entries[0].get("reboot_required"), bool):
        return None
    packages = entries[0].get("packages")
    names = [one for one in packages if isinstance(one, str)] if isinstance(packages, list) else []
    return Said(needed, tuple(dict.fromkeys(filter(None, map(printable, names)))))


def _explain(tool: Chosen, outcome: Outcome) -> str:
    """Why the answer is none, with the remedy where the words give it away."""
    words = f"{tool}: {describe(outcome)}"
    said = "" if not isinstance(outcome, Finished) else f"{outcome.stderr}\n{outcome.stdout}"
    remedy = next((remedy for mark, remedy in _REMEDIES if mark in said), None)
    if remedy is None and isinstance(outcome, Finished) and outcome.code in (0, _NEEDED_CODE[tool]):
        remedy = "its words do not say what its exit code says"
    return f"{words}; {remedy}" if remedy else words


def _written(flag: Path) -> str:
    try:
        return str(flag.stat().st_mtime_ns)
    except OSError:
        return ""
