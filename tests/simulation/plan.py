"""What one seed means: a fleet's layout and its list of troubles, all of it as data.

The one idea a reader would miss: whatever goes wrong is drawn here, before the run begins, and stands in a list. So a run that
fails can be repeated with some of its troubles left out, and what is left in the end explains the failure.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Any

COMMIT_KINDS = (
    "drop",
    "lose",
    "delay",
    "conflict",
    "refuse",
    "race",
    "race_after",
    "die_before",
    "die_after",
    "operator_first",
)
"""What happens to the next commit of a party; see `net`."""
READ_KINDS = ("unreadable", "read_race")
"""What happens to its next read."""
MACHINE_KINDS = (
    "kill", "kill", "stop", "shutdown", "power_cut", "sick", "gate", "new_version", "session_loss", "away", "all_away",
    "silent", "disk_full", "journal_lost", "poke", "clock_jump", "distrust", "regroup", "hook_fails",
)  # fmt: skip
OPERATOR_KINDS = (
    "set_max", "set_max", "pause_fleet", "resume_fleet", "pause_group", "resume_group", "pause_node", "resume_node",
    "acknowledge", "request", "cancel_request", "lock", "lock_wait", "force_unlock", "force_unlock", "unlock", "force_dead",
    "fsck",
)  # fmt: skip
AIMED_KINDS = ("claim_dies", "withdraw", "guard_lost", "backup", "restore", "lock_at_arm", "claim_race", "regroup_kill")
"""What aims at one rule, drawn by itself: a claim that arrives after the next START, a guard that somebody deleted, and a
store that is restored from a backup, with all that an operator then has to do."""
OPERATOR = -1
"""The number of the operator among the parties."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong, or that an operator does. `at`: seconds after the beginning, `node`: whom it meets."""

    at: float
    kind: str
    node: int
    amount: float = 0.0
    choice: int = 0

    def __str__(self) -> str:
        """As a line of a replay."""
        whom = "operator" if self.node == OPERATOR else f"node{self.node}"
        return f"{self.at:7.2f}  {self.kind:14} {whom:9} {self.amount:6.1f} {self.choice}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A fleet and what becomes of it. `groups` are those of the nodes, `limits` the slots of each limit."""

    seed: int
    groups: tuple[str, ...]
    zones: tuple[str, ...]
    limits: dict[str, int]
    policy: dict[str, Any]
    span: float
    bare: bool = False
    """Only groups are set up: the guards of other limits are made by who claims first."""
    troubles: tuple[Trouble, ...] = field(default=(), repr=False)

    def limits_of(self, group: str, zone: str) -> tuple[str, ...]:
        """All that a node of this group and zone counts against."""
        wanted = (f"group/{group}", f"label/zone={zone}", "fleet/all")
        return tuple(limit for limit in wanted if limit in self.limits)


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    random = Random(f"plan {seed}")
    quiet = random.random() < 0.2
    nodes = random.choice((2, 2, 3)) if quiet else random.choice((2, 3, 3, 4, 4, 5, 6, 8))
    names = ("web",) if random.random() < 0.5 else ("web", "db")
    groups = tuple(random.choice(names) for _ in range(nodes))
    zones = tuple(random.choice("ab") for _ in range(nodes))
    limits = {f"group/{name}": random.choice((1, 1, 2, 3)) for name in names}
    if random.random() < 0.4:
        limits["fleet/all"] = random.choice((1, 2, 3))
    if random.random() < 0.3:
        limits |= {f"label/zone={zone}": random.choice((1, 1, 2)) for zone in "ab"}
    policy = {
        "min_interval": random.choice((0, 0, 40)),
        "dwell": random.choice((0, 10, 20)),
        "deadline": random.choice((60, 120)),
        "reboot_timeout": random.choice((45, 90)),
        "store_grace": random.choice((30, 60)),
        "retries": random.choice((0, 1, 1, 3)),
        "max_boots": random.choice((2, 3)),
        "rollback_holds": random.random() < 0.7,
    }
    span = random.uniform(150, 500)
    bare = random.random() < 0.3
    late = Random(f"lock {seed}")  # by itself, so that it moves nothing else
    locks = [
        Trouble(late.uniform(0, span / 2), "lock_at_arm", late.randrange(nodes))
        for _ in range(2 * (late.random() < 0.15))
    ]
    locks += [
        Trouble(late.uniform(0, span / 3), "claim_race", late.randrange(nodes))
        for _ in range(4 * (late.random() < 0.25))
    ]
    for kind, share, times, until in (("regroup_kill", 0.3, 4, span / 2), ("fsck", 0.3, 8, span)):
        if late.random() < share:
            locks += [
                Trouble(late.uniform(0, until), kind, late.randrange(nodes), 1.0, late.randrange(1000))
                for _ in range(times)
            ]
    found = locks + _aimed(random, nodes, span, quiet=quiet) + ([] if quiet else _troubles(random, nodes, span))
    return Plan(seed, groups, zones, limits, policy, span, bare, tuple(sorted(found, key=lambda trouble: trouble.at)))


def _aimed(random: Random, nodes: int, span: float, *, quiet: bool) -> list[Trouble]:
    """Many claims that arrive too late in a fleet in which nothing else happens, few in others."""
    found = []

    def add(kind: str, at: float, amount: float) -> None:
        found.append(Trouble(at, kind, random.randrange(nodes), amount, random.randrange(1000)))

    for _ in range(nodes * 3 if quiet else random.choice((0, 0, 1, 2))):
        at = random.uniform(0, span)
        add("claim_dies", at, 0.01 * 1000 ** random.random())
        add(random.choice(("new_version", "withdraw", "regroup")), random.uniform(at, span), 1.0)
    if random.random() < 0.2:
        add("guard_lost", random.uniform(10, span), 1.0)
    if random.random() < 0.25:
        for _ in range(random.choice((1, 1, 2))):
            at = random.uniform(0, span * 0.8)
            add("backup", at, 1.0)
            add("restore", random.uniform(at, min(span, at + 150)), random.uniform(1, 60))
    return found


def _troubles(random: Random, nodes: int, span: float) -> list[Trouble]:
    """Each fleet has a temper of its own: some kinds come often, some not at all."""
    temper = random.choice((0.3, 1.0, 1.0, 2.0))
    per_node = span / 100 * temper
    found = []
    for kinds, rate in ((COMMIT_KINDS, 2.5), (READ_KINDS, 0.7), (MACHINE_KINDS, 1.2), (OPERATOR_KINDS, 0.8)):
        favourites = random.sample(kinds, max(2, len(kinds) // 2))
        for _ in range(round(nodes * per_node * rate)):
            kind = random.choice(favourites)
            operators = kinds in (COMMIT_KINDS, READ_KINDS) and random.random() < 0.15 and not kind.startswith("die")
            node = OPERATOR if operators else random.randrange(nodes)
            # Long and short alike: a second may matter as much as five minutes.
            amount = 0.2 * 1500 ** random.random()
            found.append(Trouble(random.uniform(0, span), kind, node, amount, random.randrange(1000)))
    return found
