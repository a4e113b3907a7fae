"""The package is replaced under a node that waits, drains, is armed, verifies or has failed: the other release goes on.

Two hosts in each test, one on its way up and one on its way down, on an SQLite file. The agents are killed, so that all the
other release has is the journal and the store.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.integration.fleet.fleet import Fleet, Hardware
from tests.integration.fleet.host import Host, Ways
from tests.integration.fleet.judges import judge_downs, read_ledger
from tests.integration.fleet.stores import counts, own, phases, sqlite_file, tickets
from tests.upgrade.release import Release

PRE, UNDO, POST = "pre-reboot.10-drain", "undo.10-drain", "post-reboot.10-back"
WAYS = Ways(poll_interval="1s", dwell="200ms", pre=("10-drain",), undo=("10-drain",), post=("10-back",))
SICK = Ways(poll_interval="1s", dwell="200ms", deadline="1s", health=True)
LIMIT = "group/fleet"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def pair(old: Release, new: Release, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Two hosts with an update staged; the first has the previous release, the second this one."""
    ways, hardware = getattr(request, "param", (WAYS, Hardware(boot_seconds=0.3)))
    with sqlite_file() as raw, Fleet(raw, 2, ways=ways, slots=2, hardware=hardware) as fleet:
        for host, release in zip(fleet.hosts, (old, new), strict=True):
            host.install(release.package)
            host.stage_update()
        yield fleet


def replaced(fleet: Fleet, old: Release, new: Release) -> None:
    """Both agents are killed with all that they had started; from their next start on each is of the other release."""
    for host, release in zip(fleet.hosts, (new, old), strict=True):
        host.kill()
        host.kill_children()
        host.install(release.package)


def swap(fleet: Fleet, old: Release, new: Release) -> None:
    """The same, and they start, in the same boot."""
    replaced(fleet, old, new)
    fleet.start()


def reached(fleet: Fleet, done: Callable[[Host], bool], what: str) -> None:
    """Start, and wait until both are there."""
    fleet.start()
    fleet.wait_all(done, what)


def at_the_end(fleet: Fleet, result: dict[str, int], commands: int = 1) -> None:
    """Each has gone down once, and the store is as it was before."""
    fleet.wait_all(fleet.rebooted_and_steady, "both have rebooted", 120)
    downs = judge_downs(read_ledger(fleet.ledger))
    assert (downs.problems, downs.pairs) == ([], {host.name: 1 for host in fleet.hosts})
    assert [host.began("reboot") for host in fleet.hosts] == [commands] * 2
    assert [host.status()["reboots"] for host in fleet.hosts] == [result] * 2
    snapshot = fleet.raw.snapshot()
    assert (phases(snapshot), tickets(snapshot), counts(snapshot)) == ({}, [], {LIMIT: 0})


def held(fleet: Fleet, host: Host, phase: str) -> bool:
    return phases(fleet.raw.snapshot()).get(host.name) == phase


def tokens(fleet: Fleet) -> list[int]:
    found = [own(fleet.raw.snapshot(), host.name) for host in fleet.hosts]
    return [entry.created for entry in found if entry is not None]


def _lives(fleet: Fleet) -> set[int]:
    """The revisions at which today's tickets were made."""
    return {entry.created for key, entry in fleet.raw.snapshot().items() if key.startswith("q/")}


def test_while_it_waits(pair: Fleet, old: Release, new: Release) -> None:
    pair.ctl("pause", "--reason", "first the packages")
    reached(pair, lambda host: host.name in tickets(pair.raw.snapshot()), "it waits")
    before = _lives(pair)
    swap(pair, old, new)
    # START deletes the ticket of the agent before it.
    pair.wait(lambda: len(_lives(pair) - before) == 2 == len(_lives(pair)), "each waits with a ticket of its own")
    pair.ctl("resume")
    at_the_end(pair, {"healthy": 1})


def test_while_it_drains(pair: Fleet, old: Release, new: Release) -> None:
    for host in pair.hosts:
        host.hold(PRE)
    reached(pair, lambda host: host.began(PRE) == 1, "it drains")
    slots = tokens(pair)
    for host in pair.hosts:
        host.let_go(PRE)
        host.hold(POST)
    swap(pair, old, new)
    pair.wait_all(lambda host: held(pair, host, "verifying"), "it has rebooted")
    assert tokens(pair) == slots  # it goes on with the slot that it had
    for host in pair.hosts:
        host.let_go(POST)
    at_the_end(pair, {"healthy": 1})


def test_while_it_is_armed_in_the_same_boot(pair: Fleet, old: Release, new: Release) -> None:
    """The command has done nothing: the other release arms anew and gives it once more."""
    for host in pair.hosts:
        host.reboot_mode("noop")
    reached(pair, lambda host: host.began("reboot") == 1, "it was told to reboot")
    attempts = {host.name: _attempt(pair, host) for host in pair.hosts}
    replaced(pair, old, new)
    for host in pair.hosts:
        host.reboot_mode("works")
        host.hold(POST)
    pair.start()
    pair.wait_all(lambda host: held(pair, host, "verifying"), "it has rebooted")
    assert all(_attempt(pair, host) not in ("", attempts[host.name]) for host in pair.hosts)
    for host in pair.hosts:
        host.let_go(POST)
    at_the_end(pair, {"healthy": 1}, commands=2)


def _attempt(fleet: Fleet, host: Host) -> str:
    entry = own(fleet.raw.snapshot(), host.name)
    assert entry is not None
    return str(entry.document()["attempt"])


@pytest.mark.parametrize("pair", [(WAYS, Hardware(auto=False))], indirect=True)
def test_over_a_power_cut_while_it_is_armed(pair: Fleet, old: Release, new: Release) -> None:
    reached(pair, lambda host: host.began("reboot") == 1, "it was told to reboot")
    assert [host.journal()["owed"]["stage"] for host in pair.hosts] == ["armed"] * 2
    replaced(pair, old, new)
    for host in pair.hosts:
        pair.boot(host)
    at_the_end(pair, {"healthy": 1})
    assert [host.began(POST) for host in pair.hosts] == [1, 1]


@pytest.mark.parametrize("pair", [(SICK, Hardware(auto=False))], indirect=True)
def test_while_it_has_failed(pair: Fleet, old: Release, new: Release) -> None:
    for host in pair.hosts:
        host.fail("health@slot")
    reached(pair, lambda host: host.began("reboot") == 1, "it was told to reboot")
    for host in pair.hosts:  # not before both are down: the first that has failed halts the group
        pair.boot(host)
    pair.wait_all(lambda host: held(pair, host, "failed"), "it has failed")
    slots = tokens(pair)
    swap(pair, old, new)
    pair.wait_all(lambda host: host.is_in("failed"), "the other release sees that it has failed")
    assert (tokens(pair), counts(pair.raw.snapshot())) == (slots, {LIMIT: 2})
    for host in pair.hosts:
        host.mend("health@slot")
    at_the_end(pair, {"failed": 1, "recovered": 1})
    brake = pair.raw.snapshot()["brake/fleet"].document()
    assert brake["failed"] == {}


@pytest.mark.parametrize("pair", [(WAYS, Hardware(boot_seconds=0.3, clears=False))], indirect=True)
def test_while_it_verifies_and_the_update_is_still_staged(pair: Fleet, old: Release, new: Release) -> None:
    """Whoever goes on finds in the journal that a reboot has been spent on this very update."""
    for host in pair.hosts:
        host.hold(POST)
    reached(pair, lambda host: host.began(POST) == 1, "it verifies")
    swap(pair, old, new)
    for host in pair.hosts:
        host.let_go(POST)
    pair.wait_all(lambda host: host.status().get("kind") == "loop_guard", "the loop guard holds", 120)
    assert (phases(pair.raw.snapshot()), counts(pair.raw.snapshot())) == ({}, {LIMIT: 0})
    swap(pair, new, old)
    pair.wait_all(lambda host: host.status().get("kind") == "loop_guard", "and after one more change of releases", 120)
    assert [host.status()["reboots"] for host in pair.hosts] == [{"healthy": 1}] * 2
    assert [host.began("reboot") for host in pair.hosts] == [1, 1]
