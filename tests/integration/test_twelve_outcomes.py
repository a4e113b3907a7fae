"""`kill -9` of an agent in each phase, then a start on the same boot and on a new one: what follows is exact.

Each test brings a real agent into the phase, sees in the store that it is there, kills it, and starts it again. A script of
the host that waits (gate, hook, health, the reboot command) keeps the agent where the test wants it.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.integration.fleet.fleet import Fleet, Hardware
from tests.integration.fleet.host import Host, Ways
from tests.integration.fleet.judges import judge_downs, read_ledger
from tests.integration.fleet.stores import Entry, EtcdRaw, Raw, counts, own, phases, sqlite_file, tickets

LIMIT = "group/fleet"
HOOKS = ("10-first", "20-second")
PRE, UNDO, POST = (tuple(f"{stage}.{name}" for name in HOOKS) for stage in ("pre-reboot", "undo", "post-reboot"))
WAYS = Ways(poll_interval="500ms", dwell="900ms", pre=HOOKS, undo=HOOKS, post=HOOKS, gate=True, health=True)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@dataclass(frozen=True, slots=True)
class Site:
    """One host under test, one slot, and the store to look into."""

    fleet: Fleet
    raw: Raw

    @property
    def host(self) -> Host:
        return self.fleet.hosts[0]

    def wait(self, done, what: str) -> None:
        self.fleet.wait(done, what)

    def holder(self) -> Entry | None:
        return own(self.raw.snapshot(), self.host.name)

    def phase(self) -> str | None:
        return phases(self.raw.snapshot()).get(self.host.name)

    def token(self) -> int:
        entry = self.holder()
        assert entry is not None, "the host holds no slot"
        return entry.created

    def waits(self) -> bool:
        return self.host.name in tickets(self.raw.snapshot())

    def begin(self) -> None:
        self.host.stage_update()
        self.host.start()

    def is_told(self, state: str, kind: str | None) -> bool:
        status = self.host.status()
        return (status.get("state"), status.get("kind")) == (state, kind)

    # ---------------------------------------------------------------- the phases

    def reach_queued(self) -> None:
        self.fleet.ctl("lock", "another", "--reason", "takes the slot")
        self.begin()
        self.wait(lambda: self.waits() and self.is_told("queued", "queue"), "the host waits")

    def reach_acquired(self) -> None:
        self.host.hold("gate@slot")
        self.begin()
        self.wait(lambda: any(line["token"] for line in self.host.actions("gate", "begin")), "the gate is asked again")
        assert self.phase() == "acquired"

    def reach_draining(self) -> None:
        self.host.hold(PRE[1])
        self.begin()
        self.wait(lambda: self.host.began(PRE[1]) == 1, "the second hook runs")
        assert self.phase() == "draining"

    def reach_armed(self) -> None:
        """Armed, and the command has not run: opening its output blocks, since nobody reads that pipe."""
        os.mkfifo(self.host.run / "reboot-command.log")
        self.begin()
        self.wait(lambda: self.phase() == "armed", "the host is armed")
        self.wait(lambda: self.host.journal()["owed"]["stage"] == "armed", "the journal says so")
        self.wait(lambda: self.host.is_in("rebooting"), "the arm is confirmed")
        assert self.host.began("reboot") == 0
        assert not (self.host.run / "reboot-command.json").exists()

    def reach_going_down(self) -> None:
        self.begin()
        self.wait(lambda: self.host.began("reboot") == 1, "the command runs")
        assert self.phase() == "armed"

    def reach_verifying(self) -> None:
        self.reach_going_down()
        self.host.fail("health")
        self.fleet.boot(self.host)
        self.wait(lambda: self.host.began("health") >= 1 and self.phase() == "verifying", "the host verifies")

    # ---------------------------------------------------------------- what follows

    def reboot_follows(self) -> None:
        """The agent runs the command once; the machine boots, with the update applied."""
        self.wait(lambda: self.host.began("reboot") >= 1, "the reboot command")
        assert self.phase() == "armed"
        self.fleet.boot(self.host)

    def ends_steady(self, reboots: dict[str, int], *, commands: int, ours: bool) -> None:
        self.wait(lambda: self.phase() is None and self.host.is_in("steady"), "the host is steady")
        self.nothing_is_left(reboots, commands=commands, ours=ours)

    def ends_guarded(self, reboots: dict[str, int], *, commands: int, ours: bool) -> None:
        """The update is still staged, and the boot was spent on it."""
        self.wait(lambda: self.phase() is None and self.is_told("blocked", "loop_guard"), "the loop guard blocks")
        self.nothing_is_left(reboots, commands=commands, ours=ours)

    def nothing_is_left(self, reboots: dict[str, int], *, commands: int, ours: bool) -> None:
        status, snapshot = self.host.status(), self.raw.snapshot()
        assert status["reboots"] == reboots
        assert status["called_off"] == {}
        assert status["last_reboot"]["ours"] is ours
        assert self.host.began("reboot") == commands
        assert self.host.journal()["owed"] is None
        assert (phases(snapshot), tickets(snapshot)) == ({}, [])
        assert counts(snapshot) in ({LIMIT: 0}, {})
        assert judge_downs(read_ledger(self.fleet.ledger)).problems == []
        self.fleet.ctl("fsck")

    def hooks(self) -> list[tuple[str, str]]:
        """Every hook that began, in order."""
        names = PRE + UNDO + POST
        return [(line["name"], line["event"]) for line in self.host.actions() if line["name"] in names]


def ran(*names: str) -> list[tuple[str, str]]:
    """Hooks that ran to their end, one after the other."""
    return [(name, event) for name in names for event in ("begin", "end")]


@contextlib.contextmanager
def site_on(raw: Raw, ways: Ways) -> Iterator[Site]:
    with Fleet(raw, 1, ways=ways, slots=1, hardware=Hardware(auto=False)) as fleet:
        yield Site(fleet, raw)


@pytest.fixture(params=["sqlite", pytest.param("etcd", marks=pytest.mark.servers)])
def raw(request: pytest.FixtureRequest) -> Iterator[Raw]:
    if request.param == "sqlite":
        with sqlite_file() as found:
            yield found
    else:
        yield EtcdRaw(request.getfixturevalue("etcd34"), request.getfixturevalue("key_prefix"))


@pytest.fixture
def site(raw: Raw, request: pytest.FixtureRequest) -> Iterator[Site]:
    ways: Any = getattr(request, "param", WAYS)
    with site_on(raw, ways) as site:
        yield site


def ways_of(**changes: Any) -> Any:
    """Another configuration for one test."""
    return pytest.mark.parametrize("site", [replace(WAYS, **changes)], indirect=True, ids=["-"])


CLEARED = pytest.mark.parametrize("cleared", [True, False], ids=["applied", "still-staged"])


class TestQueued:
    def test_same_boot(self, site: Site) -> None:
        """The old ticket is gone, there is a new one, and one reboot follows."""
        site.reach_queued()
        old = {key: entry for key, entry in site.raw.snapshot().items() if key.startswith("q/")}
        site.host.kill()
        site.host.start()
        site.wait(lambda: site.waits() and site.is_told("queued", "queue"), "the host waits again")
        new = {key: entry for key, entry in site.raw.snapshot().items() if key.startswith("q/")}
        assert list(new) == list(old)
        assert [entry.created for entry in new.values()] > [entry.created for entry in old.values()]
        assert [e.document()["nonce"] for e in new.values()] != [e.document()["nonce"] for e in old.values()]
        site.fleet.ctl("unlock", "another")
        site.reboot_follows()
        site.ends_steady({"healthy": 1}, commands=1, ours=True)
        assert site.hooks() == ran(*PRE, *POST)

    @CLEARED
    def test_new_boot(self, site: Site, cleared: bool) -> None:
        """The ticket is gone, the past earns no slot, the boot is recorded as unsanctioned."""
        site.reach_queued()
        site.host.kill()
        site.fleet.boot(site.host, clear=cleared)
        settled = ("steady", None) if cleared else ("blocked", "loop_guard")
        site.wait(lambda: site.is_told(*settled), f"the host is {settled}")
        assert tickets(site.raw.snapshot()) == []
        site.fleet.ctl("unlock", "another")
        end = site.ends_steady if cleared else site.ends_guarded
        end({"unsanctioned": 1}, commands=0, ours=False)
        assert site.hooks() == []


class TestAcquired:
    def test_same_boot(self, site: Site) -> None:
        """The slot is adopted, the attempt goes on, one reboot."""
        site.reach_acquired()
        token = site.token()
        site.host.kill()
        site.host.let_go("gate@slot")
        site.host.start()
        site.wait(lambda: site.host.began("reboot") == 1, "the reboot command")
        assert site.token() == token
        site.reboot_follows()
        site.ends_steady({"healthy": 1}, commands=1, ours=True)
        assert site.hooks() == ran(*PRE, *POST)

    @CLEARED
    def test_new_boot(self, site: Site, cleared: bool) -> None:
        """Verify and release; the boot is recorded as not ours."""
        site.reach_acquired()
        token = site.token()
        site.host.kill()
        site.host.let_go("gate@slot")
        site.host.fail("health")
        site.fleet.boot(site.host, clear=cleared)
        site.wait(lambda: site.phase() == "verifying", "the host verifies")
        assert site.token() == token
        site.host.mend("health")
        end = site.ends_steady if cleared else site.ends_guarded
        end({"unsanctioned": 1}, commands=0, ours=False)
        assert site.hooks() == ran(*POST)


class TestDraining:
    def test_same_boot(self, site: Site) -> None:
        """Hooks go on from the journal: the finished one is not repeated, the one that was cut is."""
        site.reach_draining()
        token = site.token()
        site.host.kill()
        site.host.kill_children()  # as systemd does with the rest of a unit whose main process is gone
        site.host.let_go(PRE[1])
        site.host.start()
        site.wait(lambda: site.host.began("reboot") == 1, "the reboot command")
        assert site.token() == token
        site.reboot_follows()
        site.ends_steady({"healthy": 1}, commands=1, ours=True)
        assert site.hooks() == [*ran(PRE[0]), (PRE[1], "begin"), *ran(PRE[1]), *ran(*POST)]

    @CLEARED
    def test_new_boot(self, site: Site, cleared: bool) -> None:
        """Post hooks, verify, release; there is nothing to undo, the boot did that."""
        site.reach_draining()
        site.host.kill()
        site.fleet.boot(site.host, clear=cleared)
        end = site.ends_steady if cleared else site.ends_guarded
        end({"unsanctioned": 1}, commands=0, ours=False)
        assert site.hooks() == [*ran(PRE[0]), (PRE[1], "begin"), *ran(*POST)]


class TestArmedCommandNotYetRun:
    @ways_of(reboot_timeout="2s", retries=1)
    def test_same_boot_and_the_command_does_nothing(self, site: Site) -> None:
        """Issued again, as often as `retries` says; then disarm, undo, release, cool-down."""
        site.host.reboot_mode("noop")
        site.reach_armed()
        site.host.kill()
        (site.host.run / "reboot-command.log").unlink()
        site.host.start()
        site.wait(lambda: site.is_told("blocked", "cooldown"), "the host cools down")
        assert site.host.began("reboot") == 1
        assert site.hooks() == ran(*PRE, *reversed(UNDO))
        status = site.host.status()
        assert (status["reboots"], status["called_off"], status["last_reboot"]) == ({}, {"stuck": 1}, None)
        snapshot = site.raw.snapshot()
        assert (phases(snapshot), tickets(snapshot), counts(snapshot)) == ({}, [], {LIMIT: 0})
        assert read_ledger(site.fleet.ledger) == []
        site.fleet.ctl("fsck")

    def test_same_boot_and_the_command_works(self, site: Site) -> None:
        """One reboot, under a new arm."""
        site.reach_armed()
        token, attempt = site.token(), site.host.journal()["owed"]["attempt"]
        site.host.kill()
        (site.host.run / "reboot-command.log").unlink()
        site.host.start()
        site.wait(lambda: site.host.began("reboot") == 1, "the reboot command")
        holder = site.holder()
        assert holder is not None
        assert (holder.created, holder.document()["phase"]) == (token, "armed")
        assert holder.document()["attempt"] not in ("", attempt)
        site.reboot_follows()
        site.ends_steady({"healthy": 1}, commands=1, ours=True)
        assert site.hooks() == ran(*PRE, *POST)

    @CLEARED
    def test_new_boot(self, site: Site, cleared: bool) -> None:
        """Verify, release: the reboot was ours, whoever pressed the button."""
        site.reach_armed()
        site.host.kill()
        site.fleet.boot(site.host, clear=cleared)
        end = site.ends_steady if cleared else site.ends_guarded
        end({"healthy": 1}, commands=0, ours=True)
        assert site.hooks() == ran(*PRE, *POST)


class TestArmedMachineGoingDown:
    def test_same_boot(self, site: Site) -> None:
        """Waits; no second command while the system stops."""
        site.reach_going_down()
        site.host.kill()
        site.host.start()
        site.wait(lambda: "may still fire" in site.host.status().get("summary", ""), "the agent waits for the command")
        for _ in range(3):
            site.host.poke()
            time.sleep(0.5)
        assert (site.phase(), site.host.began("reboot")) == ("armed", 1)
        assert site.host.is_in("rebooting")
        site.fleet.boot(site.host)
        site.ends_steady({"healthy": 1}, commands=1, ours=True)
        assert site.hooks() == ran(*PRE, *POST)

    @CLEARED
    def test_new_boot(self, site: Site, cleared: bool) -> None:
        """Verify, release."""
        site.reach_going_down()
        site.host.kill()
        site.fleet.boot(site.host, clear=cleared)
        end = site.ends_steady if cleared else site.ends_guarded
        end({"healthy": 1}, commands=1, ours=True)
        assert site.hooks() == ran(*PRE, *POST)


class TestVerifying:
    def test_same_boot(self, site: Site) -> None:
        """Goes on: health must hold for the whole dwell time again, finished post hooks are not repeated."""
        site.reach_verifying()
        token, before = site.token(), site.host.journal()["owed"]
        site.host.kill()
        asked = site.host.began("health")
        site.host.mend("health")
        site.host.start()
        site.ends_steady({"healthy": 1}, commands=1, ours=True)
        assert before["token"] == token
        assert site.host.began("health") - asked >= 2  # one answer alone holds for no time
        assert site.hooks() == ran(*PRE, *POST)

    @ways_of(deadline="8s")
    def test_same_boot_after_the_deadline(self, site: Site) -> None:
        """The deadline counts from the first start in this boot: a restart after it fails at the first bad answer."""
        site.reach_verifying()
        owed = site.host.journal()["owed"]
        site.host.kill()
        assert site.phase() == "verifying"
        while time.clock_gettime(time.CLOCK_BOOTTIME) < owed["verify_since"] + 8.1:
            time.sleep(0.1)
        asked = site.host.began("health")
        site.host.start()
        site.wait(lambda: site.phase() == "failed", "the host has failed")
        site.wait(lambda: site.host.is_in("failed"), "and says so")
        assert site.host.began("health") == asked + 1
        assert site.host.status()["reboots"] == {"failed": 1}

    def test_new_boot(self, site: Site) -> None:
        """Verifies again, with its post hooks; it is still the same reboot."""
        site.reach_verifying()
        token = site.token()
        site.host.kill()
        site.fleet.boot(site.host)
        site.wait(lambda: site.host.began("health") >= 2 and site.host.is_in("verifying"), "the host verifies")
        holder = site.holder()
        assert holder is not None
        assert (holder.created, holder.document()["phase"], holder.document()["boots"]) == (token, "verifying", 2)
        site.host.mend("health")
        site.ends_steady({"healthy": 1}, commands=1, ours=True)
        assert site.hooks() == ran(*PRE, *POST, *POST)

    def test_more_than_three_boots(self, site: Site) -> None:
        """A machine that boots again and again has failed, keeps its slot and halts its group; then it recovers."""
        site.reach_verifying()
        token = site.token()
        for boots in (2, 3, 4):
            site.host.kill()
            site.fleet.boot(site.host)
            site.wait(lambda boots=boots: _boots(site) == boots, f"boot {boots} is marked")
            assert site.phase() == ("verifying" if boots <= 3 else site.phase())
        site.wait(lambda: site.phase() == "failed" and site.host.is_in("failed"), "the host has failed")
        holder = site.holder()
        assert holder is not None
        assert (holder.created, holder.document()["check"]) == (token, "boot loop")
        brake = site.raw.snapshot()["brake/fleet"].document()
        assert [(node, entry["check"]) for node, entry in brake["failed"].items()] == [(site.host.name, "boot loop")]
        assert site.host.status()["reboots"] == {"failed": 1}
        site.host.mend("health")

        def steady() -> bool:
            site.host.poke()
            return site.host.is_in("steady")

        site.wait(steady, "the host has recovered")
        site.ends_steady({"failed": 1, "recovered": 1}, commands=1, ours=True)
        assert site.raw.snapshot()["brake/fleet"].document()["failed"] == {}


def _boots(site: Site) -> int:
    holder = site.holder()
    return int(holder.document()["boots"]) if holder is not None else 0


class TestMaintenance:
    @pytest.mark.parametrize("new_boot", [False, True], ids=["same-boot", "new-boot"])
    def test_untouched(self, site: Site, new_boot: bool) -> None:
        """A slot taken by hand is the operator's, whatever happens to the agent."""
        site.fleet.ctl("lock", site.host.name, "--reason", "new disks")
        site.begin()
        site.wait(lambda: site.is_told("blocked", "maintenance"), "the agent sees the hold")
        before = site.holder()
        site.host.kill()
        if new_boot:
            site.fleet.boot(site.host, clear=False)
        else:
            site.host.start()
        site.wait(lambda: site.is_told("blocked", "maintenance"), "the agent sees the hold again")
        assert before is not None
        assert site.holder() == before
        snapshot = site.raw.snapshot()
        assert (phases(snapshot), counts(snapshot)) == ({site.host.name: "maintenance"}, {LIMIT: 1})
        assert site.host.status()["reboots"] == ({"unsanctioned": 1} if new_boot else {})
        assert site.host.began("reboot") == 0
        assert site.hooks() == []
