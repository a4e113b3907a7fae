"""update_engine as a stand-in on a bus of our own: signal, poll, restart of the service, no service, denied, slow."""

from datetime import timedelta

import pytest

from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.updates import Provider, Signalling
from locksmith.updates.update_engine import NEED_REBOOT, UpdateEngine
from tests.servers import dbus

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

LONG = timedelta(seconds=30)
SHORT = timedelta(seconds=0.3)


@pytest.fixture
def files(tmp_path):
    """Where a host has os-release, the marker and its memory."""
    release = tmp_path / "os-release"
    release.write_text("ID=flatcar\nVERSION_ID=3815.2.0\n")
    return {"os_release": release, "marker": tmp_path / "marker", "memory": tmp_path / "memory.json"}


@pytest.fixture
def make(private_bus, files):
    def provider(bus=private_bus, timeout=LONG) -> Provider:
        return UpdateEngine("flatcar", bus.bus(), timeout=timeout, **files)

    return provider


def stage(engine, files, version="4081.0.0", **more):
    files["marker"].touch()
    engine.says(NEED_REBOOT, version, **more)


def test_idle_then_staged_then_reset(private_bus, make, files):
    engine = dbus.UpdateEngine(private_bus)
    provider = make()
    assert provider.ask() == NotNeeded("flatcar", running="3815.2.0")
    stage(engine, files)
    need = provider.ask()
    assert isinstance(need, Need)
    assert (need.kind, need.origin, need.target) == ("update-engine", "3815.2.0", "4081.0.0")
    assert need.since is not None
    files["marker"].unlink()
    engine.says("UPDATE_STATUS_IDLE", "4081.0.0")
    assert provider.ask() == NotNeeded("flatcar", running="3815.2.0")


def test_a_restart_of_the_service_changes_nothing(private_bus, make, files):
    engine = dbus.UpdateEngine(private_bus)
    provider = make()
    stage(engine, files)
    before = provider.ask()
    engine.mock.stop()
    away = provider.ask()
    assert isinstance(away, NeedUnknown)
    assert "is update-engine.service running?" in away.reason
    engine.mock.start()
    engine.says(NEED_REBOOT, "0.0.0")
    assert provider.ask() == before
    # Nor does a restart of the agent besides it.
    assert make().ask() == before


def test_a_signal_wakes(private_bus, make, files):
    engine = dbus.UpdateEngine(private_bus)
    provider = make()
    assert isinstance(provider, Signalling)
    assert provider.wait(LONG)  # listening now: what came before is lost
    assert provider.ask() == NotNeeded("flatcar", running="3815.2.0")
    engine.says("UPDATE_STATUS_DOWNLOADING", signal=True)
    assert not provider.wait(SHORT)
    stage(engine, files, signal=True)
    assert provider.wait(LONG)
    assert isinstance(provider.ask(), Need)
    engine.says(NEED_REBOOT, "4081.0.0", signal=True)  # it pings its server and says so
    assert not provider.wait(SHORT)


def test_the_service_coming_wakes(private_bus, make):
    provider = make()
    assert provider.wait(LONG)
    assert isinstance(provider.ask(), NeedUnknown)
    dbus.UpdateEngine(private_bus)
    assert provider.wait(LONG)
    assert isinstance(provider.ask(), NotNeeded)


def test_no_service(make):
    answer = make().ask()
    assert isinstance(answer, NeedUnknown)
    assert answer.reason.startswith("nobody provides com.coreos.update1 on the bus")


def test_denied(denying_bus, make):
    private = denying_bus([(dbus.UPDATE_ENGINE, "GetStatus")])
    dbus.UpdateEngine(private)
    answer = make(private).ask()
    assert isinstance(answer, NeedUnknown)
    assert "does not allow GetStatus" in answer.reason
    assert "run as root" in answer.reason


def test_slow(private_bus, make):
    engine = dbus.UpdateEngine(private_bus)
    engine.mock.process.freeze()
    answer = make(timeout=SHORT).ask()
    assert answer == NeedUnknown("flatcar", "com.coreos.update1 does not answer within 300ms: is the service well?")
    engine.mock.process.thaw()


def test_the_bus_goes_and_comes_back(private_bus, make, files):
    engine = dbus.UpdateEngine(private_bus)
    provider = make()
    assert provider.wait(LONG)
    stage(engine, files)
    before = provider.ask()
    private_bus.process.kill()
    assert isinstance(provider.ask(), NeedUnknown)
    private_bus.start()
    again = dbus.UpdateEngine(private_bus)
    again.says(NEED_REBOOT, "0.0.0")
    assert provider.wait(LONG)
    assert provider.ask() == before
