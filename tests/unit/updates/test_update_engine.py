import os
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.host.bus import BusDenied, MethodFailed, NoAnswer, NoBus, NoService, Resumed, Signal
from locksmith.updates import Provider, Signalling
from locksmith.updates.update_engine import MANAGER, NEED_REBOOT, NOTHING_STAGED, UpdateEngine
from tests.fakes.bus import FakeBus

LIMIT = timedelta(seconds=60)


class Host:
    """A Flatcar host: its bus and its files."""

    def __init__(self, folder):
        self.bus = FakeBus()
        self.marker = folder / "marker"
        self.release = folder / "os-release"
        self.release.write_text("ID=flatcar\nVERSION_ID=1.0.0\n")
        self.memory = folder / "memory.json"

    def provider(self, **more) -> Provider:
        files = {"os_release": self.release, "marker": self.marker, "memory": self.memory, **more}
        return UpdateEngine("flatcar", self.bus, **files)

    def says(self, status, version="0.0.0"):
        self.bus.methods["GetStatus"] = (1, 0.0, status, version, 2)

    def stage(self, version="2.0.0", at=1_000):
        self.marker.touch()
        os.utime(self.marker, (at, at))
        self.says(NEED_REBOOT, version)

    def hear(self, *heard):
        self.bus.listener.queue.extend(heard)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def changed(status, version="0.0.0"):
    return Signal(MANAGER.path, MANAGER.interface, "StatusUpdate", (1, 0.5, status, version, 2))


@pytest.mark.parametrize("status", sorted(NOTHING_STAGED))
def test_nothing_is_staged(host, status):
    host.says(status)
    assert host.provider().ask() == NotNeeded("flatcar", running="1.0.0")


def test_staged(host):
    host.stage()
    assert host.provider().ask() == Need(
        provider="flatcar",
        kind="update-engine",
        fingerprint="8856e6a67566b22cdb5b441d95033fd4",
        reason="update_engine has staged 2.0.0",
        origin="1.0.0",
        target="2.0.0",
        since=datetime.fromtimestamp(1_000, UTC),
    )


@pytest.mark.parametrize(
    "error",
    [NoBus("no bus"), NoService("nobody"), BusDenied("denied"), NoAnswer("slow"), MethodFailed("a.b", "failed")],
)
def test_no_answer_is_unknown(host, error):
    host.bus.methods["GetStatus"] = error
    answer = host.provider().ask()
    assert isinstance(answer, NeedUnknown)
    assert str(error) in answer.reason


@pytest.mark.parametrize(
    "body", [(), (1,), (1, 0.0, 7, "2.0.0", 2), (1, 0.0, NEED_REBOOT, None, 2), (1, 0.0, "x", "y", 2, 3)]
)
def test_garbage_is_unknown(host, body):
    host.bus.methods["GetStatus"] = body
    assert isinstance(host.provider().ask(), NeedUnknown)


@pytest.mark.parametrize("status", ["unknown status", "", "UPDATE_STATUS_ATTEMPTING_ROLLBACK", "update_status_idle"])
def test_a_status_that_nobody_knows_is_unknown(host, status):
    host.says(status)
    answer = host.provider().ask()
    assert isinstance(answer, NeedUnknown)
    assert repr(status) in answer.reason


@pytest.mark.parametrize("status", sorted(NOTHING_STAGED))
def test_a_marker_beside_another_status_contradicts_itself(host, status):
    host.marker.touch()
    host.says(status)
    answer = host.provider().ask()
    assert isinstance(answer, NeedUnknown)
    assert "remove the file" in answer.reason


def test_a_marker_that_cannot_be_looked_at_is_unknown(host, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    host.says("UPDATE_STATUS_IDLE")
    answer = host.provider(marker=loop / "marker").ask()
    assert isinstance(answer, NeedUnknown)
    assert "cannot look at" in answer.reason


@pytest.mark.parametrize("version", ["0.0.0", "0.0.0.0", "0", ""])
def test_after_a_restart_the_version_is_the_one_that_was_seen(host, version):
    provider = host.provider()
    host.stage()
    before = provider.ask()
    host.bus.methods["GetStatus"] = NoService("restarting")
    assert isinstance(provider.ask(), NeedUnknown)
    host.says(NEED_REBOOT, version)
    assert provider.ask() == before
    assert host.provider().ask() == before


def test_without_a_memory_a_restart_of_the_agent_too_loses_the_version(host):
    host.stage()
    assert host.provider(memory=None).ask().target == "2.0.0"
    host.says(NEED_REBOOT)
    assert host.provider(memory=None).ask().target is None


def test_another_marker_is_another_update(host):
    provider = host.provider()
    host.stage()
    provider.ask()
    host.stage("0.0.0", at=2_000)
    assert provider.ask().target is None
    assert host.provider().ask().target is None


def test_without_a_marker_to_be_seen_only_this_life_remembers(host):
    provider = host.provider()
    host.says(NEED_REBOOT, "2.0.0")
    before = provider.ask()
    assert before.since is None
    host.says(NEED_REBOOT)
    assert provider.ask() == before
    host.says("UPDATE_STATUS_IDLE")
    provider.ask()
    host.says(NEED_REBOOT)
    assert provider.ask().target is None


def test_a_version_that_nobody_saw(host):
    host.stage("0.0.0")
    need = host.provider().ask()
    assert (need.origin, need.target, need.reason) == ("1.0.0", None, "update_engine has staged an update")
    # Fell back to the same version and staged again: the loop guard must see the same update.
    host.stage("0.0.0", at=9_000)
    assert host.provider().ask().fingerprint == need.fingerprint
    # Came up with a new one: what is staged there is something else.
    host.release.write_text("VERSION_ID=2.0.0\n")
    assert host.provider().ask().fingerprint != need.fingerprint


def test_staged_again_after_a_fall_back_is_the_same_update(host):
    host.stage()
    before = host.provider().ask()
    host.stage(at=9_000)
    assert host.provider().ask().fingerprint == before.fingerprint
    host.stage("2.0.1", at=9_000)
    assert host.provider().ask().fingerprint != before.fingerprint


@pytest.mark.parametrize("text", ["", "garbage", "[]", '{"marked": "x", "version": 1}'])
def test_a_memory_that_is_none(host, text):
    host.memory.write_text(text)
    host.stage("0.0.0")
    assert host.provider().ask().target is None


def test_a_memory_that_cannot_be_kept_is_done_without(host, tmp_path):
    host.stage()
    provider = host.provider(memory=tmp_path / "nowhere" / "memory.json")
    before = provider.ask()
    host.says(NEED_REBOOT)
    assert provider.ask() == before


def test_without_os_release_the_running_version_is_unknown(host):
    host.release.unlink()
    host.says("UPDATE_STATUS_IDLE")
    assert host.provider().ask() == NotNeeded("flatcar", running=None)


def test_control_characters_do_not_get_through(host):
    host.stage("2.0\x1b[2J.0")
    assert "\x1b" not in host.provider().ask().reason


# ------------------------------------------------------------------------------------------------ signals


def test_it_hears(host):
    provider = host.provider()
    assert isinstance(provider, Signalling)
    assert not provider.wait(LIMIT)
    host.hear(Resumed())
    assert provider.wait(LIMIT)


def test_the_comings_and_goings_of_the_service_are_news(host):
    host.hear(Signal("/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged", ("x", "", ":1.1")))
    assert host.provider().wait(LIMIT)


def test_only_what_can_change_the_answer_is_news(host):
    provider = host.provider()
    host.says("UPDATE_STATUS_IDLE")
    provider.ask()
    host.hear(changed("UPDATE_STATUS_CHECKING_FOR_UPDATE"), changed("UPDATE_STATUS_DOWNLOADING", "2.0.0"))
    assert not provider.wait(LIMIT)
    host.hear(changed(NEED_REBOOT, "2.0.0"))
    assert provider.wait(LIMIT)
    host.hear(changed(NEED_REBOOT, "2.0.0"))
    assert not provider.wait(LIMIT)
    host.hear(changed(NEED_REBOOT, "3.0.0"))
    assert provider.wait(LIMIT)
    host.hear(changed("UPDATE_STATUS_IDLE"))
    assert provider.wait(LIMIT)


def test_a_signal_that_is_garbage_is_news(host):
    provider = host.provider()
    host.hear(Signal(MANAGER.path, MANAGER.interface, "StatusUpdate", ("x",)))
    assert provider.wait(LIMIT)


def test_what_was_asked_meanwhile_is_no_news(host):
    provider = host.provider()
    host.stage()
    provider.ask()
    host.hear(changed(NEED_REBOOT, "2.0.0"))
    assert not provider.wait(LIMIT)
