"""Some nodes, one etcd outside of them, and the watch that judges who was out of service when.

The watch is a thread that looks at every node a few times a second. A node is out of service from the moment in which its
application has no process any more (its shutdown has begun, or its power is gone) until the agent of the next boot is READY.
What it sees is written as the ledger that tests.integration.fleet.judges reads; an absence that begins with *our* cutting
the power is told apart, since no agent can keep that from overlapping with another's reboot unless the victim holds a slot.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.e2e.container import sweep
from tests.e2e.node import Node
from tests.integration.fleet.judges import Downs, History, judge_downs, judge_history
from tests.integration.fleet.stores import EtcdRaw, phases, tickets
from tests.servers.etcd import EtcdCluster
from tests.servers.process import DataFolder

GROUP = "e2e"
LIMIT = f"group/{GROUP}"
_POLL = 0.05
_PATIENCE = 120
"""Seconds after which something is wrong; a machine that is busy with other things may take most of them."""

CONFIG = """
[store]
url = "{url}"
[node]
group = "{group}"
[agent]
min_uptime = "0s"
min_interval = "0s"
poll_interval = "2s"
require_time_sync = false
metrics_listen = ""
[reboot]
kind = "logind"
[verify]
dwell = "500ms"
"""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the ledger; `by_us`: the absence began with a cut of the power."""

    node: str
    down: bool
    at: float
    by_us: bool

    def __str__(self) -> str:
        return f"{self.node} {'down' if self.down else 'up'} {self.at:.3f}"


class Fleet:
    """A context manager: at its end every container is gone, and on a failure their consoles are printed."""

    def __init__(
        self, cluster: EtcdCluster, prefix: str, names: Sequence[str], config: str = "", *, slots: int = 1
    ) -> None:
        """`config` is added to what all nodes have."""
        self.cluster = cluster
        self.raw = EtcdRaw(cluster, prefix)
        self.config = CONFIG.format(url=self.raw.url, group=GROUP) + config
        self.slots = slots
        self._names = names
        self.nodes: list[Node] = []
        self.ledger: list[_Line] = []
        self._lock = threading.Lock()
        self._down = dict.fromkeys(names, False)
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        """Make the nodes; none is on."""
        sweep()
        self._data = DataFolder("e2e")
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        for name in self._names:
            self.nodes.append(Node(name, self._data.path, self.config))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything; on a failure, tell."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(30)
        try:
            if kind is not None:
                print("\n".join([*map(str, self.ledger), *(node.report() for node in self.nodes)]))
        finally:
            for node in self.nodes:
                node.container.destroy()
            self._data.remove()

    def node(self, name: str) -> Node:
        """By name."""
        return next(node for node in self.nodes if node.name == name)

    def boot(self, nodes: Sequence[Node] | None = None) -> None:
        """Power on, and wait until all are in service; the watch begins then."""
        for node in nodes or self.nodes:
            node.container.power_on()
        self.wait(lambda: all(node.in_service() for node in nodes or self.nodes), "all in service")
        if self._thread.ident is None:
            self.ctl("set-max", str(self.slots), "--group", GROUP)
            self._thread.start()

    def ctl(self, *words: str) -> str:
        """lockctl, on a node that runs."""
        return next(node for node in self.nodes if node.container.init()).ctl(*words)

    # ---------------------------------------------------------------- waiting

    def wait(self, done: Callable[[], bool], what: str, timeout: float = _PATIENCE) -> None:
        """Poll until it is so. The time limit only bounds a failure."""
        end = time.monotonic() + timeout
        while not done():
            assert time.monotonic() < end, f"not within {timeout} s: {what}; {self.summary()}"
            time.sleep(_POLL)

    def wait_for(self, node: Node, *states: str, timeout: float = _PATIENCE) -> None:
        """Until the agent says that it is in one of these states."""
        self.wait(lambda: node.state() in states, f"{node.name} in {states}", timeout)

    def summary(self) -> str:
        """One line a node."""
        return "; ".join(f"{node.name} boots {node.boots} {node.status().get('summary')}" for node in self.nodes)

    # ---------------------------------------------------------------- the store

    def phase(self, node_id: str) -> str:
        """`queued`, the phase of its holder, or nothing."""
        snapshot = self.raw.snapshot()
        return phases(snapshot).get(node_id, "queued" if node_id in tickets(snapshot) else "")

    def holders(self) -> Mapping[str, str]:
        """The phase of each holder."""
        return phases(self.raw.snapshot())

    def history(self) -> History:
        """Judge the store's history."""
        return judge_history(self.cluster, {LIMIT: self.slots}, self.raw.prefix)

    # ---------------------------------------------------------------- the watch

    def cut(self, node: Node) -> None:
        """Take the power from a node; until it is in service again its absence is our doing."""
        with self._lock:
            node.container.cut()
            self._note(node, down=True, by_us=True)

    def _watch(self) -> None:
        while not self._stop.wait(_POLL):
            for node in self.nodes:
                with self._lock:
                    down = self._down[node.name]
                    if node.in_service() if down else not node.app_runs():
                        self._note(node, down=not down)

    def _note(self, node: Node, *, down: bool, by_us: bool = False) -> None:
        if self._down[node.name] == down:
            return
        self._down[node.name] = down
        self.ledger.append(_Line(node.name, down, time.monotonic(), by_us if down else self._by_us(node.name)))

    def _by_us(self, name: str) -> bool:
        return next(line.by_us for line in reversed(self.ledger) if line.node == name)

    def downs(self, *, cuts: bool = False) -> Downs:
        """Judge the ledger; `cuts`: with the absences that were our doing."""
        with self._lock:
            return judge_downs(str(line) for line in self.ledger if cuts or not line.by_us)
