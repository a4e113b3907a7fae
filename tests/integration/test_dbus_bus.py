"""The door to D-Bus on a bus of our own: what is told apart, time limits, a bus that goes and comes back, signals."""

import concurrent.futures
import os
import threading
from datetime import timedelta

import pytest

from locksmith.host.bus import Bus, BusDenied, MethodFailed, NoAnswer, NoBus, NoService, Peer, Resumed, Signal
from tests.servers.dbus import DAEMON, LOGIND, UPDATE_ENGINE, Login, UpdateEngine

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

LONG = timedelta(seconds=30)
SHORT = timedelta(seconds=0.3)


def test_a_call_and_a_property(private_bus):
    bus = private_bus.bus()
    assert DAEMON.name in bus.call(DAEMON, "ListNames")[0]
    Login(private_bus)
    assert bus.get(LOGIND, "PreparingForShutdown") is False
    assert bus.get_all(LOGIND)["PreparingForShutdown"] is False


def test_no_service(private_bus):
    with pytest.raises(NoService, match=r"nobody provides com.coreos.update1 on the bus"):
        private_bus.bus().call(UPDATE_ENGINE, "GetStatus")


def test_no_bus(tmp_path):
    with pytest.raises(NoBus, match="No such file or directory; is dbus running"):
        Bus(f"unix:path={tmp_path}/nothing").call(DAEMON, "ListNames")


def test_what_is_no_bus(tmp_path):
    with pytest.raises(NoBus, match="no address of a bus"):
        Bus("tcp:host=127.0.0.1,port=1").call(DAEMON, "ListNames")


def test_a_bus_that_does_not_greet(private_bus):
    private_bus.process.freeze()
    with pytest.raises(NoBus, match="does not greet us"):
        Bus(private_bus.address).call(DAEMON, "ListNames", limit=SHORT)
    private_bus.process.thaw()


def test_the_systems_bus_is_where_the_environment_says(private_bus, monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", private_bus.address)
    bus = Bus()
    assert bus.call(DAEMON, "GetId") == private_bus.bus().call(DAEMON, "GetId")
    bus.close()


def test_denied_by_the_bus(denying_bus):
    private = denying_bus([(UPDATE_ENGINE, "GetStatus")])
    UpdateEngine(private)
    with pytest.raises(BusDenied, match=r"does not allow GetStatus: .*rule"):
        private.bus().call(UPDATE_ENGINE, "GetStatus")


@pytest.mark.parametrize(
    "name",
    [
        "org.freedesktop.DBus.Error.AccessDenied",
        "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
        "org.freedesktop.PolicyKit1.Error.NotAuthorized",
        "System.Error.EPERM",
    ],
)
def test_denied_by_the_service_or_by_polkit(private_bus, name):
    engine = UpdateEngine(private_bus)
    engine.says("x", code=f"raise dbus.exceptions.DBusException('no', name={name!r})")
    with pytest.raises(BusDenied):
        private_bus.bus().call(UPDATE_ENGINE, "GetStatus")


def test_an_error_of_the_service_has_its_name(private_bus):
    engine = UpdateEngine(private_bus)
    engine.says("x", code="raise dbus.exceptions.DBusException('too\\x1b[2J late', name='org.example.Late')")
    with pytest.raises(MethodFailed, match="GetStatus: too") as caught:
        private_bus.bus().call(UPDATE_ENGINE, "GetStatus")
    assert caught.value.name == "org.example.Late"
    assert "\x1b" not in str(caught.value)


def test_a_slow_service_holds_up_nobody_else(private_bus):
    engine = UpdateEngine(private_bus)
    bus = private_bus.bus()
    engine.mock.process.freeze()
    with concurrent.futures.ThreadPoolExecutor() as threads:
        waiting = threads.submit(bus.call, UPDATE_ENGINE, "GetStatus", limit=LONG)
        assert DAEMON.name in bus.call(DAEMON, "ListNames")[0]
        with pytest.raises(NoAnswer, match=r"com.coreos.update1 does not answer within 300ms"):
            bus.call(UPDATE_ENGINE, "GetStatus", limit=SHORT)
        assert not waiting.done()
        engine.mock.process.thaw()
        assert waiting.result(timeout=30)[2] == "UPDATE_STATUS_IDLE"
    assert bus.call(UPDATE_ENGINE, "GetStatus")[2] == "UPDATE_STATUS_IDLE"


def test_a_service_that_dies_with_the_question(private_bus):
    engine = UpdateEngine(private_bus)
    bus = private_bus.bus()
    engine.says("x", code="import os; os._exit(1)")
    with pytest.raises(NoAnswer):
        bus.call(UPDATE_ENGINE, "GetStatus")
    with pytest.raises(NoService):
        bus.call(UPDATE_ENGINE, "GetStatus")


def test_a_bus_that_dies_with_the_question(private_bus):
    engine = UpdateEngine(private_bus)
    bus = private_bus.bus()
    engine.mock.process.freeze()
    threading.Timer(1, private_bus.process.kill).start()
    with pytest.raises(NoAnswer, match=r"went away before com.coreos.update1 answered"):
        bus.call(UPDATE_ENGINE, "GetStatus", limit=LONG)


def test_a_bus_that_was_restarted_costs_no_error(private_bus):
    bus = private_bus.bus()
    before = bus.call(DAEMON, "GetId")
    private_bus.process.kill()
    with pytest.raises(NoBus):
        bus.call(DAEMON, "GetId")
    private_bus.start()
    middle = bus.call(DAEMON, "GetId")
    private_bus.process.kill()
    private_bus.start()
    after = bus.call(DAEMON, "GetId")
    assert len({before, middle, after}) == 3


def test_file_descriptors_are_the_callers_and_no_childs(private_bus):
    login = Login(private_bus)
    [descriptor] = private_bus.bus().call(LOGIND, "Inhibit", "ssss", ("shutdown", "us", "why", "delay"))
    assert login.locks() == [("shutdown", "us", "why", "delay")]
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    login.wait_for_no_lock_of("us")


def test_many_threads(private_bus):
    bus = private_bus.bus()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(lambda _: bus.call(DAEMON, "GetId"), range(100)))
    assert len(ids) == 1


def test_signals_and_the_comings_and_goings_of_the_service(private_bus):
    listener = private_bus.bus().listen(UPDATE_ENGINE, "StatusUpdate")
    assert listener.next(LONG) == Resumed()
    engine = UpdateEngine(private_bus)
    came = listener.next(LONG)
    assert (came.member, came.body[0]) == ("NameOwnerChanged", UPDATE_ENGINE.name)
    engine.mock.signal("Other", "s", "x")
    engine.says("UPDATE_STATUS_IDLE", signal=True)
    body = (1, 0.0, "UPDATE_STATUS_IDLE", "0.0.0", 2)
    assert listener.next(LONG) == Signal(UPDATE_ENGINE.path, UPDATE_ENGINE.interface, "StatusUpdate", body)
    assert listener.next(SHORT) is None
    engine.mock.process.kill()
    assert listener.next(LONG).member == "NameOwnerChanged"
    listener.close()
    assert listener.next(SHORT) is None


def test_listening_again_after_the_bus_was_away(private_bus):
    listener = private_bus.bus().listen(UPDATE_ENGINE, "StatusUpdate")
    assert listener.next(LONG) == Resumed()
    private_bus.process.kill()
    assert listener.next(SHORT) is None
    private_bus.start()
    assert listener.next(LONG) == Resumed()
    listener.close()
    listener.next(SHORT)


def test_a_peer_that_is_no_bus_name_is_a_bug(private_bus):
    with pytest.raises(ValueError, match="not valid"):
        private_bus.bus().call(Peer("nodots", "/a", "a.b"), "X")
