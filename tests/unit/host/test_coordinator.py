"""coordinator.conf: its words, the lock that outlives every change of it, and who is not disturbed."""

import fcntl
import logging
import os
import stat
from pathlib import Path

import pytest

from locksmith.core import states
from locksmith.core.facts import Strategy
from locksmith.host.coordinator import CoordinatorFile, coordinator_state, coordinator_strategy

STATES = {
    states.Starting(): "starting",
    states.Steady(): "running",
    states.Blocked(()): "running",
    states.Queued(): "reboot-planned",
    states.Draining(): "reboot-planned",
    states.Arming(): "reboot-planned",
    states.Undoing("gate", "closed"): "running",
    states.Rebooting(0.0): "rebooting",
    states.Rebooting(0.0, told=False): "rebooting",
    states.Stuck(0.0, "inhibited"): "rebooting",
    states.Verifying(0.0): "running",
    states.Failed(0.0, "app", "down"): "running",
    states.Releasing(): "running",
    states.Conflicted("other"): "running",
    states.Unready("provider", "none"): "running",
}


@pytest.fixture
def conf(tmp_path):
    return tmp_path / "coordinator.conf"


@pytest.fixture
def file(tmp_path):
    ours = CoordinatorFile(tmp_path)
    yield ours
    ours.close()


def names(folder):
    return [path.name for path in folder.iterdir()]


def locked(path):
    """Whether somebody has the lock of the file that has the name now."""
    with path.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@pytest.mark.parametrize(("state", "word"), STATES.items(), ids=lambda value: type(value).__name__)
def test_each_state_has_a_word(state, word):
    assert coordinator_state(state) == word


def test_no_state_is_forgotten():
    assert {type(state) for state in STATES} == set(states.STATE_NAMES)


def test_strategies():
    assert [coordinator_strategy(strategy) for strategy in Strategy] == ["etcd-lock", None, "reboot", None]


def test_the_file_has_the_keys_and_the_form_of_the_original(file, conf):
    file.publish(states.Steady(), Strategy.LOCK)
    assert conf.read_text() == "NAME=locksmithd\nSTRATEGY=etcd-lock\nSTATE=running"
    assert stat.S_IMODE(conf.stat().st_mode) == 0o644


def test_the_lock_is_held_through_every_change(file, conf, tmp_path):
    for state, word in STATES.items():
        file.publish(state, Strategy.LOCK)
        assert conf.read_text().endswith(f"STATE={word}")
        assert locked(conf)
    assert names(tmp_path) == ["coordinator.conf"]
    file.close()
    assert not locked(conf)
    assert conf.exists()


def test_the_same_again_writes_nothing(file, conf):
    file.publish(states.Steady(), Strategy.LOCK)
    before = conf.stat().st_ino
    file.publish(states.Verifying(0.0), Strategy.LOCK)
    assert conf.stat().st_ino == before


def test_a_child_does_not_inherit_the_lock(file, conf):
    file.publish(states.Steady(), Strategy.LOCK)
    held = [int(name) for name in names(Path("/proc/self/fd")) if _links_to(name, conf)]
    assert held
    assert not any(os.get_inheritable(descriptor) for descriptor in held)


def _links_to(descriptor, path):
    try:
        return os.path.samestat(os.fstat(int(descriptor)), path.stat())
    except OSError:
        return False


def test_without_update_engine_nothing_is_done(tmp_path, caplog):
    ours = CoordinatorFile(tmp_path / "update-engine")
    ours.publish(states.Steady(), Strategy.LOCK)
    assert names(tmp_path) == []
    assert caplog.records == []


def test_with_the_provider_in_use_the_folder_is_made(tmp_path):
    ours = CoordinatorFile(tmp_path / "update-engine", make_folder=True)
    ours.publish(states.Steady(), Strategy.LOCK)
    assert (tmp_path / "update-engine" / "coordinator.conf").exists()
    ours.close()


@pytest.mark.parametrize("strategy", [Strategy.OBSERVE, Strategy.OFF])
def test_who_coordinates_nothing_is_in_nobodys_way(file, conf, strategy):
    file.publish(states.Steady(), strategy)
    assert not conf.exists()


def test_when_it_stops_coordinating_it_says_so_and_gives_the_lock_back(file, conf):
    file.publish(states.Steady(), Strategy.LOCK)
    file.publish(states.Steady(), Strategy.OFF)
    assert conf.read_text() == "NAME=locksmithd\nSTRATEGY=off\nSTATE=disabled"
    assert not locked(conf)
    file.publish(states.Steady(), Strategy.LOCK)
    assert locked(conf)


def test_another_coordinator_is_left_alone_and_told_of_once(tmp_path, conf, caplog):
    caplog.set_level(logging.INFO)
    other, ours = CoordinatorFile(tmp_path), CoordinatorFile(tmp_path)
    other.publish(states.Steady(), Strategy.LOCK)
    written = conf.read_text()
    for _ in range(3):
        ours.publish(states.Rebooting(0.0), Strategy.LOCK)
    assert conf.read_text() == written
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"pid {os.getpid()}" in caplog.text
    other.close()
    ours.publish(states.Steady(), Strategy.LOCK)
    assert locked(conf)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    ours.close()


def test_trouble_is_told_again_only_when_it_changes(tmp_path, caplog):
    conf = tmp_path / "coordinator.conf"
    conf.mkdir()
    ours = CoordinatorFile(tmp_path)
    ours.publish(states.Steady(), Strategy.LOCK)
    ours.publish(states.Steady(), Strategy.LOCK)
    assert len(caplog.records) == 1
    conf.rmdir()
    conf.symlink_to("/dev/null")
    ours.publish(states.Steady(), Strategy.LOCK)
    assert len(caplog.records) == 2
    assert names(tmp_path) == ["coordinator.conf"]
