"""What Prometheus is told about the whole fleet, by a gateway and never by every agent.

The ideas a reader would miss. Two gateways may run and tell the same, so every rule over these takes the maximum. All words of
a label are there from the start with 0, an instant that has not come is absent; and a group is told as soon as anything of it
is in the store, also when that is only a node in the registry. How old all of it is stands beside it: see fleet_reader.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from locksmith.core.documents import Phase
from locksmith.core.history import RETURNS
from locksmith.core.states import STATE_NAMES
from locksmith.exposition import Metric, build_info, each, histograms, instant, one, page, registry, rows, total
from locksmith.fleet_reader import QUEUE_BUCKETS, REBOOT_BUCKETS, FleetReader, Seen, Totals
from locksmith.metrics import BLOCKED_KINDS, ERROR_KINDS
from locksmith.semaphore.fleet import Fleet
from locksmith.semaphore.reading import GroupStatus
from locksmith.semaphore.registry import NodeLine
from locksmith.web import Page, Pages

READ_ERROR_KINDS = (*ERROR_KINDS, "corrupt", "newer_format")
STATES = tuple(STATE_NAMES.values())


class FleetMetrics:
    """The pages of one gateway. Any thread may call anything."""

    def __init__(self, reader: FleetReader) -> None:
        """Reads nothing yet."""
        self._reader = reader
        self._registry = registry(self._collect)

    def pages(self) -> Pages:
        """For the web server."""
        return {"/metrics": self._metrics, "/healthz": self._health}

    def _metrics(self) -> Page:
        return page(self._registry)

    def _health(self) -> Page:
        """Whether the process is alive, not whether the store is: a gateway that waits for its store answers 200."""
        if self._reader.hanging:
            return Page(b"a read of the store has not ended long after its time limit\n", 503)
        seen = self._reader.last()
        if seen.problem is not None:
            return Page(f"ok, but the fleet cannot be read: {' '.join(seen.problem.split())}\n".encode())
        read = "nothing was asked yet" if seen.age is None else f"the fleet was read {seen.age:.0f} s ago"
        return Page(f"ok: {read}\n".encode())

    def _collect(self) -> Iterator[Metric]:
        seen = self._reader.seen()
        yield build_info()
        yield from _about_the_reads(seen)
        yield from _about_groups(_groups(seen.fleet))
        yield from _about_holders(seen.fleet.groups if seen.fleet is not None else ())
        yield from _about_the_past(seen.totals)


@dataclass(frozen=True, slots=True)
class _Group:
    """What is known of a group. `status` is None while only the registry knows it; `released` the last time that a slot was."""

    name: str
    status: GroupStatus | None
    nodes: tuple[NodeLine, ...]
    released: datetime | None


def _groups(fleet: Fleet | None) -> list[_Group]:
    if fleet is None:
        return []
    statuses = {status.group: status for status in fleet.groups}
    nodes: dict[str, list[NodeLine]] = {}
    for line in fleet.nodes:
        nodes.setdefault(line.record.group, []).append(line)
    return [
        _Group(name, statuses.get(name), tuple(nodes.get(name, ())), _released(fleet, name))
        for name in sorted({*statuses, *nodes})
    ]


def _released(fleet: Fleet, group: str) -> datetime | None:
    return max((entry.at for entry in fleet.entries.get(group, ()) if entry.act in RETURNS), default=None)


def _about_the_reads(seen: Seen) -> Iterator[Metric]:
    yield one("locksmith_exporter_up", "1 when the last read of the store went well.", seen.up)
    yield one(
        "locksmith_exporter_last_success_timestamp_seconds",
        "When the fleet was last read; absent before the first time.",
        instant(seen.success) if seen.success is not None else None,
    )
    yield one(
        "locksmith_exporter_age_seconds",
        "How old the fleet's metrics here are; when they are too old they are dropped, and this goes on.",
        seen.age,
    )
    yield one("locksmith_exporter_read_seconds", "How long the last read took, decoding included.", seen.took)
    fleet = seen.fleet
    yield one("locksmith_exporter_read_bytes", "Keys and values of the last read.", fleet.size if fleet else None)
    yield one(
        "locksmith_exporter_unreadable_documents",
        "Registry records and history entries that could not be read and are left out; see lockctl fsck.",
        fleet.unreadable if fleet else None,
    )
    yield total(
        "locksmith_exporter_read_errors",
        "Reads of the store that failed.",
        "kind",
        {**dict.fromkeys(READ_ERROR_KINDS, 0), **seen.errors},
    )


def _about_groups(groups: list[_Group]) -> Iterator[Metric]:
    yield from _about_slots({each.name: each.status for each in groups if each.status is not None})
    nodes = {each.name: each.nodes for each in groups}
    present = {name: [line for line in lines if not line.silent] for name, lines in nodes.items()}
    yield _by_group("nodes", "Registered nodes.", {name: len(lines) for name, lines in nodes.items()})
    yield _by_group(
        "nodes_reboot_required",
        "Registered nodes that want a reboot.",
        {name: sum(line.record.need is not None for line in lines) for name, lines in nodes.items()},
    )
    yield _by_group(
        "nodes_silent",
        "Registered nodes whose agent has not been heard of for more than two of its heartbeats.",
        {name: sum(line.silent for line in lines) for name, lines in nodes.items()},
    )
    yield _counted("nodes_in_state", "Nodes by their agent's state; not those that are silent.", "state", STATES, {
        name: [line.record.state for line in lines] for name, lines in present.items()
    })  # fmt: skip
    yield _counted("nodes_blocked", "Nodes by what they wait for; not those that are silent.", "kind", BLOCKED_KINDS, {
        name: [line.record.kind for line in lines if line.record.kind is not None] for name, lines in present.items()
    })  # fmt: skip
    yield _by_group(
        "oldest_reboot_required_timestamp_seconds",
        "Since when the node that wants a reboot for the longest time has wanted it.",
        {name: _first(line.record.need_since for line in lines if line.record.need) for name, lines in nodes.items()},
    )
    yield _by_group(
        "last_release_timestamp_seconds",
        "When a slot was last given back or taken away, as far as the history reaches.",
        {each.name: None if each.released is None else instant(each.released) for each in groups},
    )


def _about_slots(statuses: Mapping[str, GroupStatus]) -> Iterator[Metric]:
    yield _by_group(
        "slots",
        "Slots of the group; absent until there is a limit.",
        {name: status.slots for name, status in statuses.items()},
    )
    yield _counted("holders", "Holders of a slot by phase.", "phase", tuple(Phase), {
        name: [holder.phase for holder in status.holders] for name, status in statuses.items()
    })  # fmt: skip
    yield _by_group("waiters", "Tickets in the queue.", {name: len(each.queue) for name, each in statuses.items()})
    yield _by_group(
        "failed", "Holders that did not come back well.", {name: each.failed for name, each in statuses.items()}
    )
    yield _by_group(
        "paused",
        "1 while an operator has paused the group or the fleet.",
        {name: each.paused is not None for name, each in statuses.items()},
    )
    yield _by_group(
        "halted",
        "1 while too many holders are failed and not acknowledged.",
        {name: each.halted is not None for name, each in statuses.items()},
    )
    yield _by_group(
        "oldest_waiter_timestamp_seconds",
        "Since when the one in the queue that has waited longest has waited.",
        {name: _first(line.since for line in each.queue) for name, each in statuses.items()},
    )


def _about_holders(statuses: Iterable[GroupStatus]) -> Iterator[Metric]:
    """By host, as people know it: of two holders with one host name the older and the overdue one speaks."""
    since: dict[tuple[str, ...], float | None] = {}
    overdue: dict[tuple[str, ...], float | None] = {}
    for status in statuses:
        for line in status.holders:
            one_phase, host = (status.group, line.host, line.phase), (status.group, line.host)
            since[one_phase] = min(since.get(one_phase) or instant(line.since), instant(line.since))
            overdue[host] = max(overdue.get(host) or 0.0, float(line.overdue))
    yield rows(
        "locksmith_holder_since_timestamp_seconds",
        "Since when this host holds its slot.",
        ("group", "host", "phase"),
        since,
    )
    yield rows(
        "locksmith_holder_overdue",
        "1 when the holder's phase takes longer than it should; nothing ever acts on it.",
        ("group", "host"),
        overdue,
    )


def _about_the_past(totals: Totals) -> Iterator[Metric]:
    yield histograms(
        "locksmith_reboot_duration_seconds",
        "From the arm to the slot given back after a reboot; counted since this gateway began.",
        "group",
        REBOOT_BUCKETS,
        {name: (tally.counts, tally.summed) for name, tally in sorted(totals.reboots.items())},
    )
    yield histograms(
        "locksmith_queue_wait_seconds",
        "From the wish to the slot, of agents; counted since this gateway began.",
        "group",
        QUEUE_BUCKETS,
        {name: (tally.counts, tally.summed) for name, tally in sorted(totals.waits.items())},
    )


def _by_group(name: str, text: str, values: Mapping[str, float | None]) -> Metric:
    return each(f"locksmith_group_{name}", text, "group", values)


def _counted(name: str, text: str, label: str, words: Iterable[str], found: Mapping[str, list[str]]) -> Metric:
    """How often each word stands in each group's list; a word that only a newer locksmith knows comes after the known ones."""
    values: dict[tuple[str, ...], float | None] = {
        (group, str(word)): list_.count(word)
        for group, list_ in found.items()
        for word in dict.fromkeys((*words, *list_))
    }
    return rows(f"locksmith_group_{name}", text, ("group", label), values)


def _first(moments: Iterable[datetime | None]) -> float | None:
    return min((instant(moment) for moment in moments if moment is not None), default=None)
