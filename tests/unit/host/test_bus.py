"""The door to D-Bus against daemons that misbehave; what a real one answers is tried in tests/integration."""

import socket
import threading
from datetime import timedelta

import pytest
from jeepney import HeaderFields, MatchRule, Parser, new_error, new_method_return, new_signal
from jeepney.wrappers import DBusAddress

from locksmith.host.bus import Bus, BusDenied, MethodFailed, NoAnswer, NoBus, NoService, Peer, Resumed, Signal

LONG = timedelta(seconds=30)
SHORT = timedelta(seconds=0.2)
PEER = Peer("org.example.Thing", "/thing", "org.example.Thing")


class Daemon:
    """Greets like a bus, then answers each call by `answer(connection, message)`; counts its connections."""

    def __init__(self, folder, answer):
        self.address = f"unix:path={folder}/bus"
        self.connections = []
        self._answer = answer
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(f"{folder}/bus")
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listening.close()
        for connection in self.connections:
            connection.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            data = b""
            for ends, says in (
                (b"\r\n", b"OK 0123456789abcdef0123456789abcdef\r\n"),
                (b"FD\r\n", b"AGREE_UNIX_FD\r\n"),
            ):
                while not data.endswith(ends):
                    data += connection.recv(1024)
                connection.sendall(says)
            while b"BEGIN\r\n" not in data:
                data += connection.recv(1024)
            parser = Parser()
            parser.add_data(data.partition(b"BEGIN\r\n")[2])
            while True:
                while (message := parser.get_next_message()) is not None:
                    if message.header.fields[HeaderFields.member] == "Hello":
                        reply(connection, message, "s", (":1.7",))
                    else:
                        self._answer(connection, message)
                if not (data := connection.recv(4096)):
                    return
                parser.add_data(data)
        except OSError:
            return


def reply(connection, message, signature=None, body=()):
    connection.sendall(new_method_return(message, signature, body).serialise(serial=9))


@pytest.fixture
def daemon(tmp_path):
    made = []

    def make(answer):
        made.append(Daemon(tmp_path, answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_reply_among_other_messages(daemon):
    def answer(connection, message):
        noise = new_signal(DBusAddress("/x", interface="a.b"), "Noise", "s", ("x",))
        connection.sendall(noise.serialise(serial=3))
        message.header.serial += 100
        reply(connection, message, "s", ("to another question",))
        message.header.serial -= 100
        reply(connection, message, "su", ("here", 7))

    assert Bus(daemon(answer).address).call(PEER, "Ask") == ("here", 7)


def test_one_connection_is_used_again(daemon):
    server = daemon(reply)
    bus = Bus(server.address)
    for _ in range(3):
        assert bus.call(PEER, "Ask") == ()
    assert len(server.connections) == 1
    bus.close()
    bus.call(PEER, "Ask")
    assert len(server.connections) == 2


def test_one_that_was_left_waiting_is_not(daemon):
    late = threading.Event()

    def answer(connection, message):
        if message.header.fields[HeaderFields.member] == "Slow":
            late.wait(30)
            return
        reply(connection, message, "s", ("quick",))

    server = daemon(answer)
    bus = Bus(server.address)
    with pytest.raises(NoAnswer):
        bus.call(PEER, "Slow", limit=SHORT)
    assert bus.call(PEER, "Quick") == ("quick",)
    assert len(server.connections) == 2
    late.set()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("org.freedesktop.DBus.Error.ServiceUnknown", NoService),
        ("org.freedesktop.DBus.Error.NameHasNoOwner", NoService),
        ("org.freedesktop.DBus.Error.AccessDenied", BusDenied),
        ("org.freedesktop.DBus.Error.AuthFailed", BusDenied),
        ("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", BusDenied),
        ("org.freedesktop.PolicyKit1.Error.Failed", BusDenied),
        ("System.Error.EACCES", BusDenied),
        ("System.Error.EPERM", BusDenied),
        ("org.freedesktop.DBus.Error.NoReply", NoAnswer),
        ("org.freedesktop.DBus.Error.TimedOut", NoAnswer),
        ("org.freedesktop.DBus.Error.Timeout", NoAnswer),
        ("org.freedesktop.DBus.Error.Disconnected", NoAnswer),
        ("org.freedesktop.DBus.Error.InvalidArgs", MethodFailed),
        ("org.freedesktop.DBus.Error.Spawn.ChildExited", MethodFailed),
        ("org.freedesktop.systemd1.UnitMasked", MethodFailed),
    ],
)
@pytest.mark.parametrize("body", [("s", ("some\x1bthing",)), (None, ()), ("u", (7,))])
def test_what_an_error_means(daemon, name, kind, body):
    server = daemon(lambda connection, message: connection.sendall(new_error(message, name, *body).serialise(serial=9)))
    with pytest.raises(kind, match=r"org.example.Thing") as caught:
        Bus(server.address).call(PEER, "Ask")
    assert type(caught.value) is kind
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("data", [b"garbage that is no message at all", b"l\x02\x00\x01" + b"\xff" * 60, b"\x00" * 64])
def test_a_daemon_that_talks_nonsense(daemon, data):
    def answer(connection, message):
        connection.sendall(data)
        connection.close()

    with pytest.raises(NoAnswer):
        Bus(daemon(answer).address).call(PEER, "Ask", limit=LONG)


def test_a_daemon_that_drips_does_not_hold_us(daemon):
    stop = threading.Event()

    def answer(connection, message):
        for byte in new_method_return(message, "s", ("x" * 10_000,)).serialise(serial=9):
            if stop.wait(0.05):
                return
            connection.sendall(bytes([byte]))

    with pytest.raises(NoAnswer, match="does not answer within 200ms"):
        Bus(daemon(answer).address).call(PEER, "Ask", limit=SHORT)
    stop.set()


def test_one_that_takes_nothing_does_not_hold_us(daemon):
    taken = threading.Event()
    server = daemon(lambda connection, message: taken.wait(30))
    bus = Bus(server.address)
    with pytest.raises(NoAnswer):
        bus.call(PEER, "Ask", "s", ("x" * 10_000_000,), limit=SHORT)
    taken.set()


def test_a_daemon_that_hangs_up(daemon):
    server = daemon(lambda connection, message: connection.shutdown(socket.SHUT_RDWR))
    with pytest.raises(NoAnswer, match="went away before"):
        Bus(server.address).call(PEER, "Ask")


def test_somebody_who_does_not_speak_it(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/bus")
        listening.listen()
        bus = Bus(f"unix:path={tmp_path}/bus")
        with pytest.raises(NoBus, match="does not greet us"):
            bus.call(PEER, "Ask", limit=SHORT)


def test_somebody_who_refuses_us(tmp_path):
    def refuse():
        connection, _ = listening.accept()
        while b"\n" not in connection.recv(100):
            pass
        connection.sendall(b"REJECTED EXTERNAL\r\n")
        connection.close()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/bus")
        listening.listen()
        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(NoBus, match="does not let us in"):
            Bus(f"unix:path={tmp_path}/bus").call(PEER, "Ask")
        thread.join()


@pytest.mark.parametrize("body", [(None, ()), ("s", ("x",)), ("u", (7,))])
def test_a_property_that_is_none(daemon, body):
    server = daemon(lambda connection, message: reply(connection, message, *body))
    with pytest.raises(MethodFailed, match="something else than a property"):
        Bus(server.address).get(PEER, "Color")
    with pytest.raises(MethodFailed, match="something else than a property"):
        Bus(server.address).get_all(PEER)


def test_listening(daemon):
    rules = []

    def answer(connection, message):
        rules.append(message.body[0])
        reply(connection, message)
        if len(rules) == 2:
            for member in ("Other", "Changed"):
                signal = new_signal(DBusAddress(PEER.path, interface=PEER.interface), member, "s", ("x",))
                connection.sendall(signal.serialise(serial=3))

    listener = Bus(daemon(answer).address).listen(PEER, "Changed")
    assert listener.next(LONG) == Resumed()
    assert listener.next(LONG) == Signal(PEER.path, PEER.interface, "Changed", ("x",))
    assert listener.next(SHORT) is None
    listener.close()
    assert listener.next(SHORT) is None
    expected = MatchRule(type="signal", sender=PEER.name, path=PEER.path, interface=PEER.interface, member="Changed")
    assert rules[0] == expected.serialise()
    assert "arg0='org.example.Thing'" in rules[1]


def test_a_bus_that_lets_nobody_listen_is_tried_again_later(daemon):
    server = daemon(
        lambda connection, message: connection.sendall(
            new_error(message, "org.freedesktop.DBus.Error.LimitsExceeded").serialise(serial=9)
        )
    )
    listener = Bus(server.address).listen(PEER, "Changed")
    assert listener.next(SHORT) is None
    assert len(server.connections) == 1


def test_listening_where_there_is_no_bus_waits(tmp_path):
    listener = Bus(f"unix:path={tmp_path}/none").listen(PEER, "Changed")
    assert listener.next(SHORT) is None
