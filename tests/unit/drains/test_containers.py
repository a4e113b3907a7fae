"""Stopping and starting containers, against the stand-in of tests/servers/engine.py: no engine runs here."""

import json
import threading
from pathlib import Path

import pytest

from locksmith.drains.containers import (
    ORDER_LABEL,
    ContainerRules,
    ContainersDrain,
    chosen_of,
    kept_for,
    owing,
    place_of,
)
from locksmith.drains.ending import Done, NotDone
from locksmith.drains.engine import Container, Engine
from locksmith.drains.kept import Kept
from locksmith.errors import Damaged
from locksmith.host.identity import host_name
from tests.servers.engine import EngineStandIn


@pytest.fixture
def engine(tmp_path):
    with EngineStandIn(tmp_path / "docker.sock") as standing:
        yield standing


@pytest.fixture
def boot(tmp_path):
    (tmp_path / "boot_id").write_text("boot-1\n")
    return (tmp_path / "boot_id").write_text


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path / "state", "containers/run/docker.sock")


@pytest.fixture
def containers(engine, kept, patience, said, boot, tmp_path):  # noqa: PLR0917 - fixtures
    def make(seconds=60.0):
        place = Engine(tmp_path / "docker.sock")
        return ContainersDrain(place, kept, patience(seconds), said.append, tmp_path / "boot_id")

    return make


def test_dependents_stop_first_and_start_last(engine, containers):
    engine.run("db", {ORDER_LABEL: "20"})
    engine.run("proxy", {ORDER_LABEL: "-1"})
    engine.run("app", {ORDER_LABEL: "10"})
    engine.run("other")
    engine.run("stopped-before", running=False)
    assert containers().drain(ContainerRules()) == Done("4 containers stopped")
    assert engine.did == ["stop proxy", "stop app", "stop db", "stop other"]
    engine.did.clear()
    assert containers().start() == Done("4 containers that we stopped run again or are gone")
    assert engine.did == ["start other", "start db", "start app", "start proxy"]
    assert engine.running["stopped-before"] is False


def test_patterns_give_a_place_and_keep_one_running(engine, containers):
    for name in ("db", "web-1", "web-2", "agent"):
        engine.run(name)
    containers().drain(ContainerRules(order=("web-*", "db"), keep=("agent*",)))
    assert sorted(engine.did[:2]) == ["stop web-1", "stop web-2"]
    assert engine.did[2:] == ["stop db"]
    assert engine.running["agent"]


def test_the_label_goes_before_the_patterns():
    labelled = Container("1", "web", {ORDER_LABEL: "7"})
    assert place_of(labelled, ("web",)) == 7
    assert place_of(Container("1", "web", {ORDER_LABEL: "soon"}), ("x", "web")) == 2
    assert place_of(Container("1", "web", {}), ()) == 1000


def test_we_do_not_stop_the_container_that_we_run_in():
    """Its host name is its short id; this machine's own may be of another length."""
    mine = host_name()
    chosen = chosen_of([Container(f"{mine}ffff", "me", {}), Container("0", "x", {})], ContainerRules())
    assert [each.name for each in chosen] == (["x"] if len(mine) == 12 else ["me", "x"])


def test_what_is_ours_is_written_before_it_is_stopped(engine, containers, kept):
    engine.run("a", {ORDER_LABEL: "1"})
    engine.run("b", {ORDER_LABEL: "2"})
    seen = []

    class Looks(EngineStandIn):
        def _stop(self, name):
            seen.append([(each["name"], each["sure"]) for each in json.loads(kept.path.read_text())["containers"]])
            return super()._stop(name)

    engine.__class__ = Looks
    containers().drain(ContainerRules())
    assert seen == [[("a", False)], [("a", True), ("b", False)]]


def test_nothing_is_stopped_when_nothing_can_be_written(engine, containers, kept):
    engine.run("a")
    kept.path.parent.symlink_to("nowhere/at/all")
    with pytest.raises(Damaged, match="see --state-dir"):
        containers().drain(ContainerRules())
    assert engine.did == []


def test_twice_is_once(engine, containers):
    engine.run("a")
    containers().drain(ContainerRules())
    containers().drain(ContainerRules())
    containers().start()
    assert engine.did == ["stop a", "start a"]
    assert containers().start() == Done("no container was stopped by us")
    assert containers().drain(ContainerRules()) == Done("1 containers stopped")


def test_a_drain_that_was_killed_half_way_is_undone(engine, containers, kept):
    """The second was written and not stopped: it is stopped to its end, since its stop may be under way, and started."""
    engine.run("a", running=False)
    engine.run("b")
    entries = [
        {"id": "id-a", "name": "a", "place": 1, "sure": True},
        {"id": "id-b", "name": "b", "place": 2, "sure": False},
    ]
    kept.write({"v": 1, "boot": "boot-1", "containers": entries})
    assert isinstance(containers().start(), Done)
    assert engine.did == ["stop b", "start b", "start a"]
    assert kept.read() is None


def test_after_the_reboot_no_stop_is_under_way(engine, containers, kept, boot):
    engine.run("b")
    entries = [{"id": "id-b", "name": "b", "place": 2, "sure": False}]
    kept.write({"v": 1, "boot": "boot-1", "containers": entries})
    boot("boot-2")
    assert isinstance(containers().start(), Done)
    assert engine.did == []


def test_an_undo_while_a_stop_is_under_way_ends_with_the_container_running(engine, containers, kept):
    """The engine answers a stop when the container has stopped: our request ends first, its work goes on."""
    engine.run("slow")
    engine.stubborn["slow"] = threading.Event()
    ending = containers(0.3).drain(ContainerRules())
    assert isinstance(ending, NotDone)
    assert ending.reason.startswith("containers do not stop: slow: the container engine at ")
    assert engine.running["slow"]
    engine.stubborn["slow"].set()
    assert isinstance(containers().start(), Done)
    assert engine.running["slow"]
    assert engine.did == ["stop slow", "start slow"]


def test_going_on_although_one_does_not_stop(engine, containers):
    engine.run("slow")
    engine.stubborn["slow"] = threading.Event()
    ending = containers(0.3).drain(ContainerRules(go_on=True))
    engine.stubborn["slow"].set()
    assert isinstance(ending, Done)
    assert ending.note.startswith("going on after 300ms although containers run: slow")


def test_a_container_that_is_gone_is_not_missed(engine, containers, said):
    engine.run("a")
    engine.run("removed-with-its-end")
    containers().drain(ContainerRules())
    del engine.running["removed-with-its-end"]
    assert isinstance(containers().start(), Done)
    assert any("removed-with-its-end is gone" in line for line in said)


def test_a_container_that_does_not_start_is_owed_until_it_does(engine, containers, kept):
    engine.run("a")
    containers().drain(ContainerRules())
    engine.fault("POST /containers/id-a/start", 500, times=1000, document={"message": "port is already allocated"})
    ending = containers(10).start()
    assert ending.reason.startswith("containers that we stopped are still down: a: ")
    assert "port is already allocated" in ending.reason
    assert kept.read() is not None


def test_an_engine_that_comes_up_later_than_we_do(engine, containers):
    engine.run("a")
    containers().drain(ContainerRules())
    engine.fault("GET /containers/id-a/json", 503, times=3)
    assert isinstance(containers().start(), Done)
    assert engine.running["a"]


def test_one_that_does_not_start_does_not_keep_the_others_down(engine, containers, kept):
    """Which base a container can do without, nobody told us; what is left down is an outage for sure."""
    for place, name in enumerate(("web", "app", "db"), 1):
        engine.run(name, {ORDER_LABEL: str(place)})
    containers().drain(ContainerRules())
    engine.fault("POST /containers/id-db/start", 500, times=1000, document={"message": "no such volume"})
    ending = containers(30).start()
    assert isinstance(ending, NotDone)
    assert ending.reason.startswith("containers that we stopped are still down: db: ")
    assert engine.running == {"web": True, "app": True, "db": False}
    assert [each["name"] for each in kept.read()["containers"]] == ["db"]


def test_what_an_administrator_stops_after_we_started_it_stays_stopped(engine, containers):
    """A hook that fails after the reboot is tried again, for hours."""
    engine.run("app", {ORDER_LABEL: "1"})
    engine.run("db", {ORDER_LABEL: "2"})
    containers().drain(ContainerRules())
    engine.fault("POST /containers/id-db/start", 500, times=1000)
    containers(10).start()
    engine.running["app"] = False
    engine.did.clear()
    assert isinstance(containers(10).start(), NotDone)
    assert engine.did == []


def test_a_disk_that_is_full_keeps_nothing_down(engine, containers, kept):
    engine.run("app", {ORDER_LABEL: "1"})
    engine.run("db", {ORDER_LABEL: "2"})
    containers().drain(ContainerRules())
    (kept.path.parent / f".{kept.path.name}.new").mkdir()  # no new content can be written
    assert isinstance(containers().start(), Done)
    assert engine.running == {"app": True, "db": True}
    assert kept.read() is None


def test_nothing_more_is_stopped_once_the_time_is_over(engine, containers):
    for number in range(12):
        engine.run(f"c{number:02}")
    engine.stubborn = {f"c{number:02}": threading.Event() for number in range(8)}
    ending = containers(0.3).drain(ContainerRules())
    asked = [each.path for each in engine.asked if each.method == "POST"]
    for each in engine.stubborn.values():
        each.set()
    assert isinstance(ending, NotDone)
    assert {path.split("/")[2] for path in asked} == {f"id-c{number:02}" for number in range(8)}


def test_a_container_that_comes_back_while_we_drain(engine, containers):
    """Made anew under another id, by compose or a unit that sees its end."""
    engine.run("web-old")

    class Replaces(EngineStandIn):
        def _stop(self, name):
            said = super()._stop(name)
            if name == "web-old":
                self.run("web-new")
            return said

    engine.__class__ = Replaces
    assert containers().drain(ContainerRules()) == Done("2 containers stopped")
    assert engine.running == {"web-old": False, "web-new": False}


def test_a_container_that_somebody_starts_each_time(engine, containers, said):
    engine.run("web")

    class Insists(EngineStandIn):
        def _stop(self, name):
            said = super()._stop(name)
            self.running[name] = True
            return said

    engine.__class__ = Insists
    ending = containers().drain(ContainerRules())
    assert isinstance(ending, NotDone)
    assert ending.reason.startswith("containers run again as soon as they are stopped: web; ")
    assert isinstance(containers().drain(ContainerRules(go_on=True)), Done)
    assert isinstance(containers().drain(ContainerRules(keep=("web",))), Done)


def test_a_container_of_a_systemd_unit_is_left_to_systemd(engine, containers, said):
    """Podman's own label. The unit would start it again, or have removed it when we want to start it."""
    engine.run("web", {"PODMAN_SYSTEMD_UNIT": "web.service"})
    engine.run("db")
    assert containers().drain(ContainerRules()) == Done("1 containers stopped")
    assert engine.did == ["stop db"]
    assert "left to systemd, which stops their units: web (web.service)" in said


def test_labels_of_any_shape(engine, containers):
    engine.run("a", {ORDER_LABEL: None, "PODMAN_SYSTEMD_UNIT": None})
    assert containers().drain(ContainerRules()) == Done("1 containers stopped")


def test_whose_containers_are_owed_is_told_by_the_files_and_not_by_the_sockets(tmp_path):
    """After the boot a socket may come later than we do; which of two engines it was must not depend on that."""
    docker, alias, podman = Path("/run/docker.sock"), Path("/var/run/docker.sock"), Path("/run/podman/podman.sock")
    sockets = (docker, alias, podman)
    assert owing(tmp_path, sockets) == ()
    kept_for(tmp_path, podman).write({})
    assert owing(tmp_path, sockets) == (podman,)
    kept_for(tmp_path, alias).write({})
    assert owing(tmp_path, sockets) == (docker, podman)


def test_a_socket_that_is_a_link_has_the_same_file_when_the_link_is_not_there_yet(tmp_path):
    """The package podman-docker makes /run/docker.sock a link to Podman's."""
    link = tmp_path / "docker.sock"
    link.symlink_to(tmp_path / "podman.sock")
    before = kept_for(tmp_path, link).path
    link.unlink()
    assert kept_for(tmp_path, link).path == before


def test_no_engine(kept, patience, said, tmp_path):
    drain = ContainersDrain(Engine(tmp_path / "none.sock"), kept, patience(), said.append)
    ending = drain.drain(ContainerRules())
    assert ending.reason.startswith("no container was stopped: the container engine cannot be asked: ")
    assert "there is no such socket" in ending.reason


def test_no_containers(containers, kept):
    assert containers().drain(ContainerRules()) == Done("no container runs that is to be stopped")
    assert not kept.path.exists()


def test_the_grace_period_is_the_engines_business(engine, containers):
    engine.run("a")
    containers().drain(ContainerRules(grace=7))
    (stop,) = [asked for asked in engine.asked if asked.path.endswith("/stop")]
    assert stop.query == {"t": "7"}


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"containers": 1}', '{"containers": [{"id": "a"}]}', '{"containers": [1]}']
)
def test_a_file_that_is_damaged_is_told(kept, containers, text):
    kept.path.parent.mkdir(parents=True)
    kept.path.write_text(text)
    with pytest.raises(Damaged, match="is damaged: take back by hand"):
        containers().start()
