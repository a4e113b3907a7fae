"""What the history must never show. It shares no line with the product; it reads documents as the store holds them.

Of a history without gaps (etcd) every step is judged: a grant against the guard that it was committed with, an arm against the
pauses of that very revision, a slot's end against the phase before. Of states with unseen steps between them (Consul) only what
holds in each state is judged, and what no order of unseen steps could explain.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.record import Change, Moment

Documents = dict[str, dict[str, Any]]
_BEFORE_ARM = ("acquired", "draining", "armed")


@dataclass(slots=True)
class Judgement:
    """`armed` is the arms of each node and token, `most` the most holders of each limit in any state.

    `ended_armed` are slots given back in phase armed (node, token, when that was read), which only a boot allows, once
    the reboot was called: who boots while the store is away verifies without it.
    """

    moments: int = 0
    grants: int = 0
    by_hand: int = 0
    forced: int = 0
    put_back: int = 0
    most: dict[str, int] = field(default_factory=dict)
    largest: dict[str, int] = field(default_factory=dict)
    armed: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    ended_armed: list[tuple[str, str, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def judge(moments: Iterable[Moment]) -> Judgement:
    """Replay all."""
    return Replay().run(moments)


class Replay:
    """The state of the store, step by step."""

    def __init__(self) -> None:
        """Empty."""
        self.seen = Judgement()
        self.state: Documents = {}
        self.created: dict[str, int] = {}
        self._known: set[tuple[str, str]] = set()
        self._restored = False
        self._history: list[Moment] = []

    def run(self, moments: Iterable[Moment]) -> Judgement:
        """Judge each step and the state after it."""
        for moment in moments:
            if moment.back:
                self._restored = True
                if moment.whole:
                    self._back(moment.revision)
                continue
            self.seen.moments += 1
            self._history.append(moment)
            before = {change.name: self.state.get(change.name) for change in moment.changes}
            ages = {change.name: self.created.get(change.name, 0) for change in moment.changes}
            for change in moment.changes:
                self._apply(change)
            for change in moment.changes:
                if change.name.startswith("own/"):
                    old = before[change.name] if ages[change.name] == change.created or not change.document else None
                    self._holder(moment, change, old, ages[change.name])
                elif change.name.startswith("lim/") and change.document:
                    limit = change.name.removeprefix("lim/")
                    slots = change.document["effective"]
                    self.seen.largest[limit] = max(self.seen.largest.get(limit, 0), slots)
            self._weigh(moment)
        return self.seen

    def _back(self, revision: int) -> None:
        """The store is as it was after that revision."""
        self._history = [moment for moment in self._history if moment.revision <= revision]
        self.state, self.created = {}, {}
        for moment in self._history:
            for change in moment.changes:
                self._apply(change)

    def _apply(self, change: Change) -> None:
        if change.document is None:
            self.state.pop(change.name, None)
            self.created.pop(change.name, None)
        else:
            self.state[change.name] = change.document
            self.created[change.name] = change.created

    def _holder(self, moment: Moment, change: Change, old: dict[str, Any] | None, age: int) -> None:
        node, new = change.name.rsplit("/", 1)[1], change.document
        if change.bound:
            self._wrong(moment, f"the holder of {node} ends with a lease")
        if new is None:
            self._ended(moment, node, old, age)
            return
        back = old is None and self._granted(moment, node, new)
        if new.get("attempt"):
            arms = self.seen.armed.setdefault((node, str(change.created)), set())
            if new["phase"] == "armed" and new["attempt"] not in arms and moment.whole and not back:
                self._armed(moment, node, old, new)
            arms.add(new["attempt"])

    def _granted(self, moment: Moment, node: str, new: dict[str, Any]) -> bool:
        """Whether it is one that came back after a restore, which counts even above the slots, in the phase that it had."""
        if (node, new["nonce"]) in self._known:
            self.seen.put_back += 1
            if not self._restored:
                self._wrong(moment, f"{node} got a slot back that it had given back")
            return True
        self._known.add((node, new["nonce"]))
        self.seen.grants += new["phase"] == "acquired"
        self.seen.by_hand += new["phase"] == "maintenance"
        if not moment.whole:
            return False
        for limit in new["limits"]:
            guard = self.state.get(f"lim/{limit}", {"count": 0, "effective": 0})
            if guard["count"] > guard["effective"]:
                self._wrong(
                    moment, f"{node} got slot {guard['count']} of {limit}, which has {guard['effective']} slots"
                )
        if new["phase"] == "acquired" and (why := self._stopped(node, new["group"])):
            self._wrong(moment, f"{node} got a slot although {why}")
        return False

    def _armed(self, moment: Moment, node: str, old: dict[str, Any] | None, new: dict[str, Any]) -> None:
        if old is None or old["phase"] not in _BEFORE_ARM:
            self._wrong(moment, f"{node} armed out of {old and old['phase']}")
        if why := self._stopped(node, new["group"]):
            self._wrong(moment, f"{node} armed although {why}")

    def _ended(self, moment: Moment, node: str, old: dict[str, Any] | None, age: int) -> None:
        forced = any(change.name == f"ev/unlock/{node}" and change.document for change in moment.changes)
        self.seen.forced += forced
        if moment.whole and not forced and old is not None and old["phase"] == "armed":
            self.seen.ended_armed.append((node, str(age), moment.at))

    def _stopped(self, node: str, group: str) -> str:
        brake = self.state.get(f"brake/{group}", {})
        open_failures = [failure for failure in brake.get("failed", {}).values() if not failure.get("acked")]
        if self.state.get("cfg", {}).get("pause"):
            return "the fleet was paused"
        if brake.get("pause"):
            return f"{group} was paused"
        if len(open_failures) > brake.get("max_failed", 0):
            return f"{group} was halted"
        return f"{node} was told not to reboot" if f"hold/{node}" in self.state else ""

    def _weigh(self, moment: Moment) -> None:
        held: Counter[str] = Counter()
        failed: dict[str, set[str]] = {}
        for name, document in self.state.items():
            if name.startswith("own/"):
                held.update(document["limits"])
                if document["phase"] == "failed":
                    failed.setdefault(document["group"], set()).add(name.rsplit("/", 1)[1])
        for limit in held.keys() | names(self.state, "lim/"):
            self.seen.most[limit] = max(self.seen.most.get(limit, 0), held[limit])
            guard = self.state.get(f"lim/{limit}")
            if guard is None or guard["count"] != held[limit]:
                self._wrong(moment, f"{held[limit]} hold {limit}, its guard says {guard and guard['count']}")
            if held[limit] > self.seen.largest.get(limit, 0) and not self.seen.put_back:
                self._wrong(moment, f"{held[limit]} hold {limit}, which never had so many slots")
        for group in failed.keys() | names(self.state, "brake/"):
            listed = set(self.state.get(f"brake/{group}", {}).get("failed", {}))
            if listed != failed.get(group, set()):
                self._wrong(moment, f"failed are {failed.get(group, set())}, the brake of {group} says {listed}")

    def _wrong(self, moment: Moment, text: str) -> None:
        self.seen.problems.append(f"revision {moment.revision}: {text}")


def names(state: Mapping[str, Any], kind: str) -> set[str]:
    """Of the documents of one kind."""
    return {name.removeprefix(kind) for name in state if name.startswith(kind)}


def judge_commands(armed: Mapping[tuple[str, str], set[str]], commands: Iterable[tuple[str, str]]) -> list[str]:
    """Each call of the reboot command (node, token) needs an arm of that very slot, and each arm allows one."""
    problems = []
    for (node, token), count in Counter(commands).items():
        arms = len(armed.get((node, token), ()))
        if count > arms:
            problems.append(f"{node} called its reboot {count} times with slot {token}, which was armed {arms} times")
    return problems


def judge_ends(
    ends: Iterable[tuple[str, str, float]],
    commands: Iterable[tuple[str, str, float]],
    boots: Iterable[tuple[str, float]],
) -> list[str]:
    """Who gave a slot back in phase armed must have booted since its reboot command, if it ever called it with that slot.

    Who never did may give it back: an arm whose answer was lost stands in the store, and nothing can fire.
    """
    called: dict[tuple[str, str], float] = {}
    for node, token, at in commands:
        called.setdefault((node, token), at)
    booted = list(boots)
    problems = []
    for node, token, at in ends:
        since = called.get((node, token))
        if since is not None and not any(host == node and since <= when <= at for host, when in booted):
            ago = f"{at - since:.1f} s after it called its reboot"
            problems.append(f"{node} gave slot {token} back while it was armed and had not booted, {ago}")
    return problems
