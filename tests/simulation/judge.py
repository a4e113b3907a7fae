"""Every rule of the protocol, looked at each commit: when it is sent, and when it stands in the store.

The one idea a reader would miss: the judge shares no code with what it judges. It reads plain JSON, keeps a copy of its own of
holders, guards, brakes and stops, and knows the truth about the machines (who is down, drained, well), which no agent knows.
A rule that is broken has a name; the planted faults say by which name they must be caught.
"""

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from locksmith.stores import Commit
from locksmith.stores.memory import MemoryStore
from tests.fakes.clock import VirtualClock

if TYPE_CHECKING:
    from tests.simulation.machine import Host

RULES = {
    "count": "a guard's count is the number of holders that name it, at every revision",
    "limit": "nothing is granted above what is effective",
    "failed_set": "a brake names just the failed holders of its group, with their tokens",
    "session": "no holder depends on a session",
    "stopped": "nothing is granted or armed in a pause, on hold or while the group is halted",
    "marked": "nothing is armed that an operator has asked for",
    "ghost": "nothing is granted that nobody owes any more",
    "stale": "after START no ticket of an earlier life stands",
    "by_hand": "an agent never touches a hold by hand",
    "proof": "an agent gives a slot back only when its machine is well after the reboot, or cannot go down any more",
    "drained": "an agent gives a slot back only after what was drained is undone",
    "force": "an operator takes an armed or verifying holder only when he says that the machine is off",
    "unarmed": "a machine is told to reboot only under an armed holder that carries this very attempt",
    "repeated": "each call of the rebooter has an arm of its own",
    "down": "a machine goes down for us only under its armed holder",
    "overtaken": "nobody is served before an older ticket of the same limits that could not even be skipped",
    "history": "each change of a guard has its entry in the same commit",
    "mirror": "holders and guards change by commits only",
    "restored": "after a restore, when everybody has settled, each slot that is owed stands in the store",
    "audit": "at the end the history proves that no limit was exceeded",
    "fsck": "at the end nothing is left to mend",
    "liveness": "when the trouble is over everybody comes to the end",
    "crash": "nothing raises what the agent does not expect",
}
AT_LAST = "9999"
"""An instant at which every pause with an end is over."""
SKIP_AFTER = 30.0
"""Seconds; a ticket younger than that is never passed over (protocol: CLAIM)."""


class Broken(AssertionError):
    """A rule does not hold; `rule` is its name."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        assert rule in RULES
        self.rule = rule


def node_of(key: str) -> str:
    """The node in a key of own/, hold/ or q/."""
    return key.rsplit("/", 1)[1].split(".hand.", 1)[0]


class Judge:
    """Keeps its copy, and raises Broken."""

    def __init__(self, store: MemoryStore, clock: VirtualClock) -> None:
        self.store, self.clock = store, clock
        self.hosts: dict[str, Host] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.mods: dict[str, int] = {}
        self.created: dict[str, int] = {}
        self.born: dict[str, float] = {}
        self.granted_in: dict[str, int] = {}
        """By holder's key: the boots of its machine when it was granted."""
        self.known: dict[str, int] = {}
        """By nonce: the boots of its machine when it was granted, whatever became of it."""
        self.put_back: set[str] = set()
        """Nonces of slots that were put back after a restore."""
        self.excused: set[str] = set()
        """Attempts that were armed in a store that a backup has replaced since."""
        self.lost_guards: set[str] = set()
        """Limits whose guard somebody deleted, and nobody has made since."""
        self.once_lost: set[str] = set()
        self.damaged = False
        self.forcing: set[str] = set()
        """The nodes of which an operator has said that they are off; he may still be believed late."""
        self.over: set[str] = set()
        """Reasons of attempts by hand that have ended without a slot."""
        self.counts: Counter[str] = Counter()

    # ---------------------------------------------------------------- a commit is sent

    def sent(self, party: str, commit: Commit) -> None:
        """What must hold at the moment at which a party decides so, whenever the commit arrives."""
        host = self.hosts.get(party)
        if host is None:
            return
        checks = {check.key: check.mod for check in commit.checks}
        own = {key: self.documents[key] for key in checks if key.startswith("own/") and key in self.documents}
        for key, before in own.items():
            if checks[key] != self.mods[key]:
                continue  # it cannot apply
            after = next((json.loads(put.value) for put in commit.puts if put.key == key), None)
            if key in commit.deletes or (after is not None and after["nonce"] != before["nonce"]):
                self._given_back(host, key, before)
            if after is not None and after["phase"] == "armed":
                self._judged_now(host, before["group"], key, checks)
        for put in commit.puts:
            if put.key.startswith("own/") and put.key not in self.documents:
                self._judged_now(host, json.loads(put.value)["group"], put.key, checks)

    def _given_back(self, host: "Host", key: str, before: dict[str, Any]) -> None:
        if before["phase"] == "maintenance":
            raise Broken("by_hand", f"{host.name} gives back what {before['by']} holds by hand")
        if host.boots > self.granted_in[key]:
            if host.well_boot != host.boots:
                raise Broken("proof", f"{host.name} gives its slot back in boot {host.boots} before it was well")
            # Until now, for an answer may wait for its process: nobody saw it unwell in between.
            well_for = host.now() - host.well_since if host.well_since is not None else 0.0
            if well_for < host.policy["dwell"]:
                raise Broken("proof", f"{host.name} was well for {well_for:.1f} s only")
            return
        if host.firing:
            raise Broken("proof", f"{host.name} gives its slot back while it goes down")
        if host.drained:
            raise Broken("drained", f"{host.name} gives its slot back and is still drained: {sorted(host.drained)}")

    def _judged_now(self, host: "Host", group: str, key: str, checks: dict[str, int]) -> None:
        """A pause with an end is judged by the clock of who asks; only where the commit applies to what stands now."""
        stops = ("cfg", f"brake/{group}", f"hold/{node_of(key)}")
        if all(checks.get(name) == self.mods.get(name, 0) for name in stops):
            now = host.clock.wall().isoformat() if host.clock.synchronised() else None
            self._not_stopped(group, key, now)

    def _not_stopped(self, group: str, key: str, now: str | None) -> None:
        """`now` None: only the time will tell whether one with an end holds, and then it does."""
        brake = self.documents.get(f"brake/{group}", {})
        stops = [self.documents["cfg"].get("pause"), brake.get("pause"), self.documents.get(f"hold/{node_of(key)}")]
        for stop in stops:
            if stop and (stop.get("until") is None or now is None or now < stop["until"].replace("Z", "+00:00")):
                raise Broken("stopped", f"{key} goes on in a pause or on hold: {stop}")
        unacked = [node for node, entry in brake.get("failed", {}).items() if not entry.get("acked")]
        if len(unacked) > brake.get("max_failed", 0):
            raise Broken("stopped", f"{key} goes on in a halted group: {unacked}")

    # ---------------------------------------------------------------- a commit stands

    def applied(self, party: str, commit: Commit, revision: int | None) -> None:
        """What must hold at every revision."""
        self.counts["commits"] += 1
        touched = {put.key: put for put in commit.puts}
        keys = (*touched, *commit.deletes)
        before = {key: self.documents.get(key) for key in keys if key.startswith("own/")}
        tickets = {key: self.created.get(key, 0) for key in commit.deletes if key.startswith("q/")}
        for put in commit.puts:
            if put.session is not None:
                self._drop(put.key)  # an earlier life of it may have ended with its session
            self._put(put.key, put.value, revision or 0)
            if put.session is not None and not put.key.startswith("q/"):
                raise Broken("session", f"{put.key} depends on a session")
        for key in commit.deletes:
            self._drop(key)
        limits = set()
        for key, old in before.items():
            new = self.documents.get(key)
            limits |= {limit for document in (old, new) if document for limit in document["limits"]}
            self._holder(party, key, old, new, tickets)
        limits |= {key[4:] for key in keys if key.startswith("lim/")}
        for limit in limits:
            self._guard(limit)
        for key in touched:
            if key.startswith("lim/"):
                self._told(key, touched)
        groups = {key[6:] for key in keys if key.startswith("brake/")}
        groups |= {
            document["group"] for key in before for document in (before[key], self.documents.get(key)) if document
        }
        for group in groups:
            self._failed(group)

    def _put(self, key: str, value: bytes, revision: int) -> None:
        if key.startswith("ev/"):
            return
        if key not in self.created:
            self.created[key] = revision
            self.born[key] = self.clock.boottime()
        self.documents[key] = json.loads(value)
        self.mods[key] = revision

    def _drop(self, key: str) -> None:
        for table in (self.documents, self.mods, self.created, self.born):
            table.pop(key, None)

    def _holder(
        self,
        party: str,
        key: str,
        old: dict[str, Any] | None,
        new: dict[str, Any] | None,
        tickets: dict[str, int],
    ) -> None:
        host = self.hosts[node_of(key)]
        agents = party == host.name
        if old is None and new is not None:
            self._granted(host, key, new, tickets)
        if old is not None and old["phase"] == "maintenance" and agents:
            raise Broken("by_hand", f"{party} changes what {old['by']} holds by hand")
        if old is not None and new is None and not agents and old["phase"] in ("armed", "verifying"):
            if host.name not in self.forcing:
                raise Broken("force", f"{party} takes the slot of {host.name}, which is {old['phase']}")
            host.forced = True
        if old is not None and new is not None and new["phase"] == "armed" and new["attempt"] != old["attempt"]:
            self.counts["arms"] += 1
            self._not_stopped(new["group"], key, AT_LAST)
            if old.get("revoke") or old.get("then"):
                raise Broken("marked", f"{host.name} arms though an operator asked for its slot")

    def _granted(self, host: "Host", key: str, new: dict[str, Any], tickets: dict[str, int]) -> None:
        if self.counts["restores"] and new["nonce"] in self.known and not tickets:
            self.put_back.add(new["nonce"])
            self.counts["put back"] += 1  # even above what is effective, and in a pause
            self.granted_in[key] = self.known[new["nonce"]]
            return
        self.counts["grants"] += 1
        self.granted_in[key] = self.known[new["nonce"]] = host.boots
        for limit in new["limits"]:
            guard = self.documents.get(f"lim/{limit}", {"count": 0, "effective": 0})
            if guard["count"] > guard["effective"]:
                raise Broken(
                    "limit", f"{host.name} is granted number {guard['count']} of {guard['effective']} of {limit}"
                )
        self._not_stopped(new["group"], key, AT_LAST)
        if new["phase"] == "maintenance":
            if new["reason"] in self.over:
                raise Broken("ghost", f"{host.name} is held by hand for {new['reason']}, which has ended")
        elif not host.owes(new["nonce"]):
            raise Broken(
                "ghost", f"{host.name} is granted a slot for {new['nonce']}, and its journal knows nothing of it"
            )
        self._in_turn(host, new, tickets)

    def _in_turn(self, host: "Host", new: dict[str, Any], tickets: dict[str, int]) -> None:
        mine = max(tickets.values(), default=0)
        now = self.clock.boottime()
        older = [
            key
            for key in self.store.read(prefixes=[f"q/{new['group']}/"]).items
            if self.created.get(key, mine) < mine
            and self.documents[key]["limits"] == new["limits"]
            and now - self.born[key] < SKIP_AFTER
        ]
        guards = [self.documents[f"lim/{limit}"] for limit in new["limits"]]
        if len(older) > min(guard["effective"] - guard["count"] for guard in guards):
            raise Broken("overtaken", f"{host.name} is served before {[node_of(key) for key in older]}")

    def _guard(self, limit: str) -> None:
        naming = [key for key, one in self.documents.items() if key.startswith("own/") and limit in one["limits"]]
        guard = self.documents.get(f"lim/{limit}")
        if guard is None and limit in self.lost_guards:
            return
        self.lost_guards.discard(limit)
        if guard is not None and limit in self.once_lost and guard["count"] > len(naming):
            # While there is no guard a release changes none, so who makes it may count one that is just gone: on the safe
            # side, and fsck mends it.
            self.counts["counted too many after damage"] += 1
            return
        if guard is None or guard["count"] != len(naming):
            counted = None if guard is None else guard["count"]
            raise Broken("count", f"{limit} counts {counted}, holders are {naming}")

    def _told(self, key: str, touched: dict[str, Any]) -> None:
        guard = self.documents[key]
        told = touched.get(f"ev/{key}/{guard['seq'] % 512:03d}")
        entry = json.loads(told.value) if told is not None else {}
        if (entry.get("seq"), entry.get("count")) != (guard["seq"], guard["count"]):
            raise Broken("history", f"{key} is at change {guard['seq']} with {guard['count']}, the entry says {entry}")

    def _failed(self, group: str) -> None:
        entries = self.documents.get(f"brake/{group}", {}).get("failed", {})
        really = {
            node_of(key): str(self.created[key])
            for key, one in self.documents.items()
            if key.startswith("own/") and one["group"] == group and one["phase"] == "failed"
        }
        if {node: entry["token"] for node, entry in entries.items()} != really:
            raise Broken("failed_set", f"the brake of {group} names {sorted(entries)}, failed are {really}")

    # ---------------------------------------------------------------- the machines

    def told_to_reboot(self, host: "Host", attempt: str) -> None:
        """The rebooter is called."""
        self.counts["reboots told"] += 1
        holder = self._own(host)
        unarmed = holder is None or holder["phase"] != "armed" or holder["attempt"] != attempt
        if unarmed and attempt not in self.excused:
            raise Broken("unarmed", f"{host.name} is told to reboot for {attempt}; the store has {holder}")
        if attempt in host.told:
            raise Broken("repeated", f"{host.name} is told to reboot twice for {attempt}")

    def has_started(self, host: "Host", late: int) -> None:
        """START has looked at the store. What was still on its way then may come later, and is deleted by the next."""
        tickets = [key for key in self.store.read(prefixes=["q/"]).items if node_of(key) == host.name]
        if not late and [key for key in tickets if ".hand." not in key]:
            raise Broken("stale", f"{host.name} has started and leaves {tickets}")

    def goes_down(self, host: "Host") -> None:
        """The machine goes down because it was told to."""
        self.counts["reboots"] += 1
        holder = self._own(host)
        if (holder is None or holder["phase"] != "armed") and not (host.forced or host.excused):
            raise Broken("down", f"{host.name} goes down; the store has {holder}")

    def _own(self, host: "Host") -> dict[str, Any] | None:
        return next(
            (one for key, one in self.documents.items() if key.startswith("own/") and node_of(key) == host.name), None
        )

    def compare(self) -> None:
        """The copy against the store."""
        for prefix in ("own/", "lim/", "brake/"):
            there = {key: item.mod for key, item in self.store.read(prefixes=[prefix]).items.items()}
            here = {key: mod for key, mod in self.mods.items() if key.startswith(prefix)}
            if there != here:
                raise Broken(
                    "mirror", f"{prefix} changed without a commit: {sorted(set(there.items()) ^ set(here.items()))}"
                )
