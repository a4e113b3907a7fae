"""What Prometheus is told about one agent, and whether the agent still turns.

The ideas a reader would miss. The process ends exactly at the event that it counts, so the totals are the journal's and
survive the reboot; only what is about this process (store requests) is counted here. Every value of a label that is a closed
word is there from the start with 0, for an alert cannot see a series that does not exist yet; an instant that has not come
is absent, for 0 would be 1970. And all is read from the published picture, which never changes, so no lock is needed and the
loop is never kept waiting.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from locksmith.agent.body import Body
from locksmith.agent.loop import MAX_WAIT
from locksmith.agent.snapshot import Snapshot
from locksmith.checks import Occasion
from locksmith.checks.window import WindowCheck
from locksmith.core.ledger import REBOOT_RESULTS, Ledger
from locksmith.core.states import (
    STATE_NAMES,
    Agent,
    Undoing,
    Verifying,
)
from locksmith.core.telling import blocked
from locksmith.core.verdict import Closed, Open
from locksmith.exposition import Counter, Histogram, Metric, build_info, each, instant, one, page, registry, rows, total
from locksmith.stores.measured import Operation, Request
from locksmith.web import Page, Pages

BLOCKED_KINDS = (
    "hold", "window", "clock", "gate", "paused", "halted", "queue", "queue_full", "store", "loop_guard", "min_interval",
    "min_uptime", "cooldown", "maintenance", "identity", "coordinator", "provider", "config", "strategy", "journal",
)  # fmt: skip
CALLED_OFF_KINDS = (
    "hook", "gate", "window", "clock", "withdrawn", "revoked", "maintenance", "paused", "halted", "hold", "store",
    "journal", "stopped", "stuck", "strategy", "interrupted", "identity", "config", "queue_full",
)  # fmt: skip
PHASES = ("queued", "draining", "down", "verifying")
ERROR_KINDS = (
    "unavailable", "unknown", "throttled", "store_full", "denied", "auth", "tls", "identity", "session_lost", "rejected",
    "internal",
)  # fmt: skip
ANSWERS = ("conflict", "session_lost", "rejected")
"""Errors in which the store has answered: it is up."""
TIMED: tuple[Operation, ...] = ("read", "commit", "session")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: from a file's lock to twice the default time limit of a call."""
SILENCE = 2 * MAX_WAIT + 10.0
"""So many seconds without a turn of the loop are too many."""


class Shown(Protocol):
    """The agent that is shown: its loop."""

    @property
    def published(self) -> Snapshot:
        """The newest picture."""

    @property
    def body(self) -> Body:
        """What it is built from."""


class AgentMetrics:
    """The metrics of one process. Any thread may call anything; nothing here waits."""

    def __init__(self, shown: Shown, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`monotonic` is in seconds; it stands still in a suspend, as the loop does."""
        self.shown = shown
        self.config_loaded = True
        self._monotonic = monotonic
        self._turned = monotonic()
        self._store_up = False
        self._store_success: float | None = None
        self._registry = registry(self._collect)
        self._seconds = Histogram(
            "locksmith_store_request_duration_seconds",
            "Requests to the store, failed ones too; long polls are not among them.",
            ["op"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._errors = Counter(
            "locksmith_store_errors",
            "Requests to the store that failed. A lost race (conflict) is an answer and is not counted.",
            ["kind"],
            registry=self._registry,
        )
        for op in TIMED:
            self._seconds.labels(op)
        for kind in ERROR_KINDS:
            self._errors.labels(kind)

    # ---------------------------------------------------------------- what it is told

    def turned(self) -> None:
        """The loop has turned."""
        self._turned = self._monotonic()

    def observe(self, request: Request) -> None:
        """A request to the store has ended; see stores/measured.py."""
        if request.op in TIMED:
            self._seconds.labels(request.op).observe(request.seconds)
        self._store_up = request.error is None or request.error in ANSWERS
        if request.error is None:
            self._store_success = time.time()
        elif request.error != "conflict":
            self._errors.labels(request.error if request.error in ERROR_KINDS else "internal").inc()

    # ---------------------------------------------------------------- what it tells

    def pages(self) -> Pages:
        """For the web server."""
        return {"/metrics": self._metrics, "/healthz": self._health}

    def _metrics(self) -> Page:
        return page(self._registry)

    def _health(self) -> Page:
        """Whether the process is alive, not whether the node is well: a failed node's agent answers 200."""
        silent = self._monotonic() - self._turned
        if silent > SILENCE:
            return Page(f"the agent's loop has not turned for {silent:.0f} s\n".encode(), 503)
        told = self.shown.published.told
        return Page(f"ok: {told.state}: {' '.join(told.text.split())}\n".encode())

    def _collect(self) -> Iterator[Metric]:
        shown = self.shown
        snapshot, body = shown.published, shown.body
        agent = snapshot.agent
        yield from _about_the_agent(snapshot)
        yield from _about_updates(agent, body)
        yield from _about_obstacles(snapshot, body)
        yield from _about_the_slot(agent)
        yield from _about_reboots(agent.ledger)
        yield one("locksmith_store_up", "1 when the last request to the store was answered.", self._store_up)
        yield one(
            "locksmith_store_last_success_timestamp_seconds",
            "The last request to the store that did what was asked.",
            self._store_success,
        )
        yield one(
            "locksmith_config_load_success",
            "0 when the configuration on disk was refused and an older one is in force.",
            self.config_loaded,
        )


def _about_the_agent(snapshot: Snapshot) -> Iterator[Metric]:
    agent = snapshot.agent
    policy = agent.policy
    yield build_info()
    yield rows(
        "locksmith_agent_info",
        "Whose agent this is.",
        ("node", "group", "strategy", "store"),
        {(policy.home.node, policy.group, str(policy.strategy), policy.home.store): 1},
    )
    states = {name: name == snapshot.told.state for name in STATE_NAMES.values()}
    yield each("locksmith_agent_state", "1 for the state that the agent is in.", "state", states)
    yield one(
        "locksmith_agent_state_since_timestamp_seconds", "When it came into this state.", instant(agent.since.wall)
    )


def _about_updates(agent: Agent, body: Body) -> Iterator[Metric]:
    yield one(
        "locksmith_reboot_required",
        "1 while an update is staged that needs a reboot; absent until the providers were asked.",
        bool(agent.needs) if agent.asked_providers else None,
    )
    since = [need.since for need in agent.needs.values() if need.since is not None]
    yield one(
        "locksmith_reboot_required_timestamp_seconds",
        "Since when, as far as is known.",
        instant(min(since)) if since else None,
    )
    up = {provider.name: agent.asked_providers and provider.name not in agent.unsure for provider in body.providers}
    yield each("locksmith_update_provider_up", "1 when the provider could answer when last asked.", "provider", up)


def _about_obstacles(snapshot: Snapshot, body: Body) -> Iterator[Metric]:
    now = blocked(snapshot.steps)
    kinds = {kind: kind in now for kind in (*BLOCKED_KINDS, *now)}
    yield each("locksmith_blocked", "1 for what this node waits for before it may take a slot.", "kind", kinds)
    answers = {answer.name: isinstance(answer.verdict, Open) for answer in snapshot.agent.gates}
    gates = {gate.name: answers.get(gate.name, False) for gate in body.gates if not isinstance(gate, WindowCheck)}
    yield each(
        "locksmith_gate_open",
        "1 when the gate was open when last asked; 0 as well while it was not, for gates are asked only before a reboot.",
        "gate",
        gates,
    )
    yield from _about_windows(body)


def _about_windows(body: Body) -> Iterator[Metric]:
    """Asked now, for the agent itself asks only while it wants a reboot."""
    windows = [gate for gate in body.gates if isinstance(gate, WindowCheck)]
    now = body.actor.clock.wall()
    occasion = Occasion(now, not windows or body.clock_trusted(now), {})
    verdicts = [window.ask(occasion) for window in windows]
    opens = [verdict.retry_at for verdict in verdicts if isinstance(verdict, Closed) and verdict.retry_at is not None]
    yield one(
        "locksmith_window_open",
        "1 while a reboot window is open with the needed time left, and always without windows.",
        all(isinstance(verdict, Open) for verdict in verdicts),
    )
    yield one(
        "locksmith_window_next_open_timestamp_seconds",
        "When the next window opens; absent while one is open, and when nobody can say.",
        instant(max(opens)) if opens else None,
    )


def _about_the_slot(agent: Agent) -> Iterator[Metric]:
    owed, slot = agent.owed, agent.slot
    gone = isinstance(agent.state, Undoing | Verifying) and agent.state.slot_gone
    held = not gone and (slot is not None or (owed is not None and owed.token is not None))
    # With the store away after a boot only the journal speaks: the slot is held at least since the arm.
    since = slot.since if slot is not None else (owed.armed_at if owed is not None else None)
    yield one("locksmith_slot_held", "1 while this node holds a slot, also one taken by hand.", held)
    yield one("locksmith_slot_held_since_timestamp_seconds", "Since when.", instant(since) if held and since else None)


def _about_reboots(ledger: Ledger) -> Iterator[Metric]:
    yield total(
        "locksmith_reboots",
        "Reboots of this node by how they went, from the journal: they survive the reboot.",
        "result",
        dict.fromkeys(REBOOT_RESULTS, 0) | dict(ledger.reboots),
    )
    yield total(
        "locksmith_attempts_called_off",
        "Attempts that held a slot and gave it back without a reboot, from the journal.",
        "kind",
        dict.fromkeys(CALLED_OFF_KINDS, 0) | dict(ledger.called_off),
    )
    last = ledger.last
    yield one(
        "locksmith_last_reboot_timestamp_seconds",
        "When the agent first saw its newest boot; absent until it has seen one begin.",
        instant(last.at) if last is not None else None,
    )
    phases: Mapping[str, float] = last.phases if last is not None else {}
    yield each(
        "locksmith_last_reboot_phase_seconds",
        "How long the last reboot's phases took.",
        "phase",
        dict.fromkeys(PHASES, 0.0) | dict(phases),
    )
