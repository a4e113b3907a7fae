"""A message bus of one's own, and stand-ins of services on it: dbus-daemon and python-dbusmock, ended by who started them.

The one idea: a stand-in is told what to do over the same bus (interface org.freedesktop.DBus.Mock), through locksmith's own
door to D-Bus. The machine's buses are never touched: every address here is a socket in a temporary folder.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from locksmith.host.bus import Bus, BusError, Peer
from tests.servers.fetch import DbusPrograms
from tests.servers.fetch import dbus as dbus_programs
from tests.servers.process import DataFolder, ServerProcess, wait_until

MOCK = "org.freedesktop.DBus.Mock"
DAEMON = Peer("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
UPDATE_ENGINE = Peer("com.coreos.update1", "/com/coreos/update1", "com.coreos.update1.Manager")
LOGIND = Peer("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
_LONG = timedelta(seconds=30)
_POLICY = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default">
<allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="signal"/>
<allow receive_type="method_return"/><allow receive_type="error"/>
{denied}</policy></busconfig>
"""


class PrivateBus:
    """A bus that may be killed and started again at the same address. A context manager, usable without pytest."""

    def __init__(self, denied: Iterable[tuple[Peer, str]] = ()) -> None:
        """Nobody may call the methods in `denied`. Raises ServerMissing when there is no bus or no dbusmock to be had."""
        self._programs: DbusPrograms = dbus_programs()
        self._data = DataFolder("dbus")
        self._mocks: list[Mock] = []
        self._buses: list[Bus] = []
        socket = self._data.path / "bus"
        self.address = f"unix:path={socket}"
        config = self._data.path / "bus.conf"
        rules = (
            f'<deny send_destination="{peer.name}" send_interface="{peer.interface}" send_member="{method}"/>\n'
            for peer, method in denied
        )
        config.write_text(_POLICY.format(socket=socket, denied="".join(rules)))
        words = [f"--config-file={config}", "--nofork", "--nopidfile", "--nosyslog"]
        self.process = ServerProcess(self._command(self._programs.daemon, words), self._data.path / "bus.log")

    def __enter__(self) -> Self:
        """Start it and wait until it greets."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End everything on it, and it."""
        for bus in self._buses:
            bus.close()
        for mock in self._mocks:
            mock.process.kill()
        self.process.kill()
        self._data.remove()

    def start(self) -> None:
        """Start the bus, also again after `process.kill()`; its stand-ins end with it and have to be started anew."""
        (self._data.path / "bus").unlink(missing_ok=True)
        self.process.start()
        self.process.wait_until(self._greets)

    def bus(self, limit: timedelta = _LONG) -> Bus:
        """A door to this bus, closed with it."""
        bus = Bus(self.address, limit)
        self._buses.append(bus)
        return bus

    def mock(self, peer: Peer, *, template: str | None = None) -> "Mock":
        """A stand-in for a service; its first object is `peer`. `template` is one of dbusmock's."""
        what = ["--template", template] if template else [peer.name, peer.path, peer.interface]
        words = ["-m", "dbusmock", "--system", *what]
        environment = [f"DBUS_SYSTEM_BUS_ADDRESS={self.address}"]
        command = self._command(self._programs.python, words, environment)
        process = ServerProcess(command, self._data.path / f"{peer.name}.log")
        mock = Mock(peer, process, self.bus())
        self._mocks.append(mock)
        mock.start()
        return mock

    def _command(self, program: Path, words: Sequence[str], environment: Sequence[str] = ()) -> list[str | Path]:
        return ["/usr/bin/env", *self._programs.environment, *environment, program, *words]

    def _greets(self) -> bool:
        with contextlib.closing(Bus(self.address)) as bus, contextlib.suppress(BusError):
            bus.call(DAEMON, "ListNames")
            return True
        return False


class Mock:
    """One stand-in."""

    def __init__(self, peer: Peer, process: ServerProcess, bus: Bus) -> None:
        """Nothing runs yet."""
        self.peer = peer
        self.process = process
        self._bus = bus
        self._control = Peer(peer.name, peer.path, MOCK)

    def start(self) -> None:
        """Start it and wait until it owns its name; what it was told before is forgotten."""
        self.process.start()
        self.process.wait_until(self._owns)

    def stop(self) -> None:
        """End it and wait until the bus knows."""
        self.process.kill()
        wait_until(lambda: not self._owns(), f"{self.peer.name} still has an owner")

    def method(self, name: str, takes: str, gives: str, code: str) -> None:
        """Add or replace a method; `code` is Python that sets `ret` from `args`, as dbusmock's AddMethod has it."""
        self.tell("AddMethod", "sssss", (self.peer.interface, name, takes, gives, code))

    def properties(self, values: dict[str, tuple[str, Any]], path: str = "", interface: str = "") -> None:
        """Set properties of an object, default the first."""
        peer = Peer(self.peer.name, path or self.peer.path, MOCK)
        self._bus.call(peer, "UpdateProperties", "sa{sv}", (interface or self.peer.interface, values))

    def signal(self, name: str, signature: str, *values: Any) -> None:
        """Emit one of the first object."""
        pairs = list(zip(signature, values, strict=True))
        self.tell("EmitSignal", "sssav", (self.peer.interface, name, signature, pairs))

    def calls(self, method: str) -> list[tuple[Any, ...]]:
        """The arguments of the calls of a method that was added here, in order."""
        [rows] = self.tell("GetMethodCalls", "s", (method,))
        return [tuple(value for _, value in arguments) for _, arguments in rows]

    def tell(self, method: str, signature: str = "", body: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        """Call one of dbusmock's own methods, or a template's."""
        return self._bus.call(self._control, method, signature, body)

    def _owns(self) -> bool:
        return bool(self._bus.call(DAEMON, "NameHasOwner", "s", (self.peer.name,))[0])


class UpdateEngine:
    """A stand-in for Flatcar's update_engine."""

    def __init__(self, bus: PrivateBus) -> None:
        """Running, and idle."""
        self.mock = bus.mock(UPDATE_ENGINE)
        self.says("UPDATE_STATUS_IDLE")

    def says(self, status: str, version: str = "0.0.0", *, signal: bool = False, code: str = "") -> None:
        """Answer like this from now on; `code` runs before the answer."""
        ret = f"ret = (dbus.Int64(1), 0.0, {status!r}, {version!r}, dbus.Int64(2))"
        self.mock.method("GetStatus", "", "xdssx", f"{code}\n{ret}")
        if signal:
            self.mock.signal("StatusUpdate", "xdssx", 1, 0.0, status, version, 2)


class Login:
    """A stand-in for logind: dbusmock's template with what it lacks."""

    def __init__(self, bus: PrivateBus) -> None:
        """Running, nobody logged in, nothing inhibited. Reboots are only noted."""
        self.mock = bus.mock(LOGIND, template="logind")
        self.mock.method("RebootWithFlags", "t", "", "")
        self.mock.method("SetWallMessage", "sb", "", "")
        self._bus = bus.bus()

    def log_in(self, name: str, user: str, tty: str, **more: str) -> str:
        """Add a session; its object's path."""
        [path] = self.mock.tell("AddSession", "ssusb", (name, "seat0", 1000 + len(user), user, True))
        values = {prop: ("s", value) for prop, value in {"TTY": tty, **more}.items()}
        self.mock.properties(values, path, "org.freedesktop.login1.Session")
        return str(path)

    def log_out(self, path: str) -> None:
        """Remove a session."""
        self.mock.tell("RemoveObject", "s", (path,))

    def preparing(self, value: bool) -> None:
        """PreparingForShutdown."""
        self.mock.properties({"PreparingForShutdown": ("b", value)})

    @contextlib.contextmanager
    def inhibitor(self, who: str, why: str = "testing", what: str = "shutdown", mode: str = "block") -> Iterator[None]:
        """Somebody's lock."""
        [descriptor] = self._bus.call(LOGIND, "Inhibit", "ssss", (what, who, why, mode))
        try:
            yield
        finally:
            os.close(descriptor)
            self.wait_for_no_lock_of(who)

    def locks(self) -> list[tuple[str, str, str, str]]:
        """What, who, why, mode of all locks."""
        return [row[:4] for row in self._bus.call(LOGIND, "ListInhibitors")[0]]

    def wait_for_no_lock_of(self, who: str) -> None:
        """Until logind has noticed that the descriptor is closed."""
        wait_until(lambda: all(row[1] != who for row in self.locks()), f"{who} still has a lock")
