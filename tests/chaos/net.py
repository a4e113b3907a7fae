"""A network that exists only for one run: a bridge, and a namespace for each server and each host, none with a way out.

The one idea: the whole run is the first process of a process namespace of its own, with a network and mounts of its own.
When it ends, by whatever, the kernel ends every process in it, and with them the links, namespaces and folders in memory; two
runs beside each other do not see each other, although both use the same addresses.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence

from tests.servers.process import Place

NETWORK = "198.18.0"
"""A range for tests between networks (RFC 2544), routed nowhere."""
HUB = f"{NETWORK}.254"
_INSIDE = "LOCKSMITH_CHAOS_INSIDE"


class NoNamespaces(Exception):
    """Namespaces cannot be made here; the message says why."""


def enter(module: str, words: Sequence[str]) -> int | None:
    """Run `module` again in namespaces of its own and return its exit code; None in there.

    Raises:
        NoNamespaces: not root, or the kernel refuses.
    """
    if os.environ.get(_INSIDE):
        return None
    if os.geteuid() != 0:
        raise NoNamespaces("chaos needs root, for network namespaces: run it as root")
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode:
        raise NoNamespaces(f"namespaces cannot be made here: {tried.stderr.strip()}")
    environment = {**os.environ, _INSIDE: "1"}
    # A shell is the first process, because somebody must bury what the killed agents leave behind.
    body = 'mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /dev/shm && "$@"; exit $?'
    command = [*unshare, "sh", "-c", body, "sh", sys.executable, "-m", module, *words]
    return subprocess.run(command, env=environment, check=False).returncode


class Net:
    """The bridge and who hangs on it. Made once, inside."""

    def __init__(self) -> None:
        """The bridge alone; this process's own address on it is HUB."""
        if not os.environ.get(_INSIDE):
            raise NoNamespaces("the network is made only inside the run's own namespaces: call enter() first")
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "hub", "type", "bridge")
        _ip("address", "add", f"{HUB}/24", "dev", "hub")
        _ip("link", "set", "hub", "up")
        self._names: dict[str, str] = {}
        self._lock = threading.Lock()
        self._cut: set[str] = set()
        self._together: set[str] = set()

    def join(self, name: str, number: int) -> Place:
        """A namespace with one link to the bridge; `number` is the last byte of its address."""
        address = f"{NETWORK}.{number}"
        _ip("netns", "add", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", name, "master", "hub", "up")
        _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "link", "set", "eth0", "up")
        self._names[address] = name
        return Place(address, ("/usr/bin/nsenter", f"--net=/run/netns/{name}", "--"))

    def cut(self, place: Place) -> None:
        """Nothing comes out of there any more, and nothing in; connections are not told."""
        with self._lock:
            self._cut.add(place.address)
            self._set(place.address)

    def mend(self, place: Place) -> None:
        """The link works again, unless all are cut together."""
        with self._lock:
            self._cut.discard(place.address)
            self._set(place.address)

    def cut_together(self, places: Iterable[Place]) -> None:
        """Nobody of these gets through until `mend_together`, whatever is mended meanwhile."""
        with self._lock:
            self._together = {place.address for place in places}
            for address in self._together:
                self._set(address)

    def mend_together(self) -> None:
        """Those that were cut together, but for who is cut off on its own account."""
        with self._lock:
            addresses, self._together = self._together, set()
            for address in addresses:
                self._set(address)

    def _set(self, address: str) -> None:
        down = address in self._cut or address in self._together
        _ip("link", "set", self._names[address], "down" if down else "up")


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise NoNamespaces(f"ip {' '.join(words)} failed: {done.stderr.strip()}")
