"""What a run of the demo proved: one claim a line, each with whether it holds.

The claims are made from what the hosts saw of themselves; the store is asked only for the last one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from locksmith.demo.hosts import Host
from locksmith.demo.judge import Judge
from locksmith.demo.plan import TARGET, Settings
from locksmith.demo.story import Sickness, Story


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that was to be shown."""

    name: str
    holds: bool
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """The end of a run. `most_out` is the hosts' count; `missing` is what had not happened when it ended early."""

    settings: Settings
    store: str
    seconds: float
    updated: int
    reboots: int
    most_out: int
    claims: tuple[Claim, ...]
    missing: tuple[str, ...]
    requests: Mapping[str, int]

    @property
    def proved(self) -> bool:
        """Whether all of it holds."""
        return not self.missing and all(claim.holds for claim in self.claims)

    def failure(self) -> str:
        """What does not hold, in one line."""
        broken = [claim.text for claim in self.claims if not claim.holds]
        return "the demo did not prove what it claims: " + "; ".join([*broken, *self.missing])

    def fields(self) -> dict[str, Any]:
        """The document of `--json`."""
        settings = self.settings
        return {
            "proved": self.proved,
            "store": {"kind": self.store},
            "nodes": settings.nodes,
            "slots": settings.slots,
            "sick": settings.sick,
            "seed": settings.seed,
            "speed": settings.speed,
            "version": TARGET,
            "updated": self.updated,
            "reboots": self.reboots,
            "most_out": self.most_out,
            "requests": dict(self.requests),
            "duration_seconds": round(self.seconds, 1),
            "claims": [{"name": claim.name, "holds": claim.holds, "text": claim.text} for claim in self.claims],
            "missing": list(self.missing),
        }


def claims(settings: Settings, story: Story, judge: Judge, leftovers: list[str]) -> tuple[Claim, ...]:
    """What can be claimed now. `leftovers` is what was found in the store that should not be there."""
    found = [_updated(story.hosts), _limit(settings, judge), _kept(story.victim)]
    found += [_recovered(case) for case in story.sick]
    found += [_absence(story), _clean(leftovers)]
    return tuple(found)


def _updated(hosts: Sequence[Host]) -> Claim:
    new = sum(host.release.running == TARGET for host in hosts)
    once = sum(host.boots == 1 for host in hosts)
    times = "each rebooted exactly once" if once == len(hosts) else f"only {once} rebooted exactly once"
    holds = new == once == len(hosts)
    return Claim("updated", holds, f"{new} of {len(hosts)} nodes run {TARGET}, {times}")


def _limit(settings: Settings, judge: Judge) -> Claim:
    text = f"at most {judge.most} out of service at once ({settings.slots} allowed), counted by the hosts"
    if judge.broken:
        text = f"{judge.most} were out of service at once ({settings.slots} allowed): {', '.join(judge.worst)}"
    return Claim("limit", not judge.broken, text)


def _kept(host: Host) -> Claim:
    tokens = host.tokens
    if len(tokens) != 2 or host.boots != 1:  # noqa: PLR2004 - told in vain, told again
        return Claim("killed", False, f"{host.name}: told to reboot {len(tokens)} times, rebooted {host.boots} times")
    kept = tokens[0] == tokens[1]
    slot = f"slot {tokens[0]} stayed its own" if kept else f"slot {tokens[0]} was lost, it came back with {tokens[1]}"
    return Claim("killed", kept, f"{host.name}: agent killed while armed: {slot}, one reboot")


def _recovered(case: Sickness) -> Claim:
    name = case.host.name
    if case.failed_at is None or case.recovered_at is None:
        return Claim("sick", False, f"{name}: came back sick" if case.failed_at is not None else f"{name}: never sick")
    halted = case.recovered_at - case.failed_at
    text = f"{name}: came back sick: the group halted for {halted:.1f} s, {case.waiting} waited in line"
    return Claim("sick", True, text)


def _absence(story: Story) -> Claim:
    if story.away_from is None or story.away_until is None:
        return Claim("away", False, "the store was not away and back")
    names = ", ".join(story.met_absence)
    served = f"{names} booted and served without it" if names else "nobody minded"
    return Claim("away", True, f"the store was away for {story.away_until - story.away_from:.1f} s: {served}")


def _clean(leftovers: list[str]) -> Claim:
    if leftovers:
        return Claim("clean", False, f"left in the store: {'; '.join(leftovers)}")
    return Claim("clean", True, "the store agrees: no holder, no ticket, and fsck finds nothing")
