"""What systemd says about its units, asked through systemctl.

The ideas a reader would miss. `list-units --failed` does not hold a service that fails and is started again and again: that
one is `activating`, sub-state `auto-restart`. `show` answers in the order asked, and for a unit that does not exist too, with
`LoadState=not-found`. And half an answer is none: a list that was cut, or a name that is a pattern, would let a failed
unit pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from locksmith.host.outcome import Finished, Outcome, describe, last_line
from locksmith.host.system import System, Unclear

_KEEP = 1024 * 1024
_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Type",
    "Result",
    "Job",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "InactiveExitTimestampMonotonic",
    "RequiredBy",
    "WantedBy",
    "BoundBy",
)
_COLUMNS = 4
_MANAGER_STATES = frozenset({"initializing", "starting", "running", "degraded", "maintenance", "stopping"})


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit as it was asked for. The words are systemd's, org.freedesktop.systemd1(5).

    `job`: something is queued for it. `skipped`: one of its conditions did not hold when it was last started. `ran`: it was
    started in this boot, as far as systemd remembers (it forgets units that nothing refers to). `wanted`: some unit pulls
    it in.
    """

    name: str
    load: str
    active: str
    sub: str
    type: str
    result: str
    job: bool
    skipped: bool
    ran: bool
    wanted: bool


def manager_state(system: System, limit: timedelta) -> str | Unclear:
    """What `systemctl is-system-running` says: one of the six words for a manager that works."""
    if not system.present():
        return _without_systemd()
    outcome = system.call("systemctl", "is-system-running", limit=limit)
    state = last_line(outcome.stdout) if isinstance(outcome, Finished) else ""
    return state if state in _MANAGER_STATES else Unclear(f"systemctl is-system-running: {state or describe(outcome)}")


def failed_units(system: System, limit: timedelta) -> tuple[str, ...] | Unclear:
    """The names of all units in the state `failed`, sorted."""
    if not system.present():
        return _without_systemd()
    words = ("list-units", "--failed", "--plain", "--no-legend", "--no-pager", "--full")
    text = _text(system.call("systemctl", *words, limit=limit, keep=_KEEP), "systemctl list-units")
    if isinstance(text, Unclear):
        return text
    names = []
    for line in text.splitlines():
        columns = line.removeprefix("●").split(maxsplit=_COLUMNS)
        if len(columns) < _COLUMNS or columns[2] != "failed":
            return Unclear(f"systemctl list-units --failed says something else: {last_line(line)}")
        names.append(columns[0])
    return tuple(sorted(names))


def units(system: System, names: Sequence[str], limit: timedelta) -> tuple[Unit, ...] | Unclear:
    """These units, in this order. Names are whole ones; `.service` may be left out."""
    if not names:
        return ()
    if not system.present():
        return _without_systemd()
    words = ("show", "--no-pager", f"--property={','.join(_PROPERTIES)}", "--", *names)
    text = _text(system.call("systemctl", *words, limit=limit, keep=_KEEP), "systemctl show")
    if isinstance(text, Unclear):
        return text
    blocks = [block for block in text.split("\n\n") if block.strip()]
    if len(blocks) != len(names):
        return Unclear(
            f"systemctl show answers with {len(blocks)} units to {len(names)} names: write whole names, no patterns"
        )
    found = tuple(_unit(name, block) for name, block in zip(names, blocks, strict=True))
    if any(not unit.load or not unit.active for unit in found):
        return Unclear(f"systemctl show says something else: {last_line(text)}")
    return found


def _unit(name: str, block: str) -> Unit:
    fields = dict(line.partition("=")[::2] for line in block.splitlines())

    def happened(key: str) -> bool:
        return fields.get(key, "0") not in ("", "0")

    return Unit(
        name,
        fields.get("LoadState", ""),
        fields.get("ActiveState", ""),
        fields.get("SubState", ""),
        fields.get("Type", ""),
        fields.get("Result", ""),
        job=happened("Job"),
        skipped=happened("ConditionTimestampMonotonic") and fields.get("ConditionResult") == "no",
        ran=happened("InactiveExitTimestampMonotonic"),
        wanted=any(fields.get(key) for key in ("RequiredBy", "WantedBy", "BoundBy")),
    )


def _text(outcome: Outcome, words: str) -> str | Unclear:
    if not isinstance(outcome, Finished) or outcome.code != 0:
        return Unclear(f"{words}: {describe(outcome)}")
    if len(outcome.stdout.encode()) >= _KEEP:
        return Unclear(f"{words}: the answer is longer than {_KEEP} bytes")
    return outcome.stdout


def _without_systemd() -> Unclear:
    return Unclear("systemd is not the init of this machine: leave out what asks it")
