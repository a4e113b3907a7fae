from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.host.system import System, Unclear
from locksmith.host.units import Unit, failed_units, manager_state, units

LONG = timedelta(seconds=60)
SAMPLES = Path(__file__).parents[2] / "samples" / "systemctl"


@pytest.fixture
def host(tmp_path, tool):
    (tmp_path / "run" / "systemd" / "system").mkdir(parents=True)

    def make(answer, code=0):
        (tmp_path / "answer").write_text(answer)
        return System(runtime=tmp_path / "run", tools=tool("systemctl", f'cat "{tmp_path}/answer"; exit {code}'))

    return make


def sample(name):
    return (SAMPLES / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("failed-none", ()),
        ("failed-one", ("bad.service",)),
        ("failed-three", ("bad.service", "greenboot-healthcheck.service", "systemd-boot-check-no-failures.service")),
    ],
)
def test_failed_units(host, name, failed):
    assert failed_units(host(sample(name)), LONG) == failed


def test_a_dot_before_the_name_is_not_the_name(host):
    assert failed_units(host("● gone.service not-found failed failed gone.service\n"), LONG) == ("gone.service",)


@pytest.mark.parametrize(
    "answer", ["0 loaded units listed.\n", "a.service loaded active running A\n", "a.service\n", "\n"]
)
def test_garbage_is_no_list(host, answer):
    assert failed_units(host(answer), LONG) == Unclear(
        f"systemctl list-units --failed says something else: {answer.strip()}"
    )


def test_a_list_that_may_be_cut_is_none(host):
    line = f"{'x' * 200}.service loaded failed failed X\n"
    assert failed_units(host(line * 6000), LONG) == Unclear(
        "systemctl list-units: the answer is longer than 1048576 bytes"
    )


def test_an_exit_code_is_no_list(host):
    assert failed_units(host("a.service loaded failed failed A\n", 1), LONG) == Unclear(
        "systemctl list-units: exit code 1: a.service loaded failed failed A"
    )


@pytest.mark.parametrize(("name", "code"), [("running", 0), ("degraded", 1), ("starting", 1)])
def test_manager_state(host, name, code):
    assert manager_state(host(sample(f"running-{name}"), code), LONG) == name


def test_no_word_of_the_manager(host):
    assert manager_state(host("offline\n", 1), LONG) == Unclear("systemctl is-system-running: offline")
    assert manager_state(host("", 1), LONG) == Unclear("systemctl is-system-running: exit code 1")


def test_units(host):
    found = units(host(sample("show-all")), ["stays", "b", "c", "d", "e", "f", "g", "dbus.socket"], LONG)
    assert not isinstance(found, Unclear)
    plain = {"job": False, "skipped": False}
    assert found[0] == Unit("stays", "loaded", "active", "exited", "oneshot", "success", ran=True, wanted=True, **plain)
    assert found[5] == Unit("f", "not-found", "inactive", "dead", "", "success", ran=False, wanted=False, **plain)
    assert [unit.active for unit in found] == [
        "active",
        "failed",
        "inactive",
        "activating",
        *["inactive"] * 3,
        "active",
    ]


def test_a_job(host):
    found = units(host(sample("show-activating")), ["slow"], LONG)
    assert found == (
        Unit(
            "slow",
            "loaded",
            "activating",
            "start",
            "oneshot",
            "success",
            job=True,
            skipped=False,
            ran=True,
            wanted=True,
        ),
    )


def test_no_names_are_no_question(tmp_path):
    assert units(System(runtime=tmp_path), [], LONG) == ()


@pytest.mark.parametrize(("answer", "names"), [("", ["a"]), ("LoadState=loaded\nActiveState=active\n", ["a", "b"])])
def test_less_than_asked_is_no_answer(host, answer, names):
    count = len(names) - 1
    assert units(host(answer), names, LONG) == Unclear(
        f"systemctl show answers with {count} units to {len(names)} names: write whole names, no patterns"
    )


@pytest.mark.parametrize("answer", ["hello\n", "LoadState=loaded\nActiveState=\n", "ActiveState=active\n"])
def test_garbage_is_no_unit(host, answer):
    assert isinstance(units(host(answer), ["a"], LONG), Unclear)


def test_without_systemd(tmp_path):
    system = System(runtime=tmp_path)
    nothing = Unclear("systemd is not the init of this machine: leave out what asks it")
    assert (manager_state(system, LONG), failed_units(system, LONG), units(system, ["a"], LONG)) == (nothing,) * 3
