"""`python -m tests.chaos.run [--minutes 10] [--store etcd|consul] [--seed N] [--report FILE]`: chaos, then the verdict.

Ends 0 when all held, 1 on a violation, when somebody is stuck at the end, or when too little happened; 2 when it cannot run here.
"""

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.consuls import Consuls
from tests.chaos.etcds import Etcds
from tests.chaos.judge import judge, judge_commands, judge_ends
from tests.chaos.look import Look
from tests.chaos.machines import Machines
from tests.chaos.net import HUB, Net, NoNamespaces, enter
from tests.chaos.people import People
from tests.chaos.plan import Fault, Lane, Timeline
from tests.chaos.report import REPORT, ROOT, Outcome, commit_of, write
from tests.chaos.servers import ServerFaults
from tests.integration.fleet.fleet import Fleet, Hardware
from tests.integration.fleet.host import Host, Ways, lockctl
from tests.integration.fleet.judges import judge_downs, read_ledger
from tests.servers.fetch import ServerMissing
from tests.servers.process import DataFolder
from tests.servers.proxy import TcpProxy

HOSTS, BEHIND_PROXIES, SLOTS = 24, 8, 6
FULL_MINUTES, REBOOTS, EACH = 10.0, 200, 20
AIM = 24
"""Faults of each kind that the lanes pace themselves for, so that EACH are sure."""
STUCK_SECONDS = 240
_BACKUPS = 0.5
"""The share of the time after which backups are put back: each stops the fleet until all have settled."""
STORES = {"etcd": Etcds, "consul": Consuls}


class Run:
    """One store's run."""

    def __init__(
        self, cluster: Etcds | Consuls, fleet: Fleet, roads: dict[str, list[TcpProxy]], words: argparse.Namespace
    ):
        """Everything is up, no agent runs."""
        self.cluster, self.fleet, self.words = cluster, fleet, words
        self.timeline = Timeline()
        self.machines = Machines(fleet, cluster.net, roads)
        self.people = People(fleet, self.machines, SLOTS)
        self.servers = ServerFaults(cluster, fleet, self.people)
        self.failures: list[str] = []
        self._ended = threading.Event()
        self._random = random.Random(f"{words.seed}/updates")

    def go(self) -> Outcome:
        """Hurt, mend, judge."""
        lanes = self._lanes()
        stager = threading.Thread(target=self._stage, name="updates", daemon=True)
        for host in self.fleet.hosts:
            host.stage_update()
        self.fleet.start()
        stager.start()
        self.timeline.start = time.monotonic()
        for lane in lanes:
            lane.start()
        for lane in lanes:
            while lane.is_alive():
                lane.join(10)
                self._say()
        seconds = self.timeline.now()
        self._settle()
        self._ended.set()
        stager.join(30)
        return self._outcome(seconds)

    def _lanes(self) -> list[Lane]:
        groups: dict[str, dict[str, Fault]] = {
            "servers": self.servers.kinds(),
            "backups": self.servers.backups(),
            "store": self.servers.store_kinds(),
            **{kind: {kind: fault} for kind, fault in (self.people.kinds() | self.machines.kinds()).items()},
        }
        if self.words.only:
            groups = {
                name: {kind: fault for kind, fault in group.items() if self.words.only in kind}
                for name, group in groups.items()
            }
            groups = {name: group for name, group in groups.items() if group}
        self.kinds = [kind for group in groups.values() for kind in group]
        share, until = self.words.minutes / FULL_MINUTES, self.words.minutes * 60
        lanes = []
        for name, group in groups.items():
            # An operator's act takes long while the store is away, so there are two operators for each kind.
            several = 2 if name in self.people.kinds() else 1
            goal, least = (math.ceil(each * share / several) for each in (AIM, EACH))
            for number in range(several):
                seed = f"{self.words.seed}/{number}"
                lane = Lane(
                    name,
                    self.timeline,
                    group,
                    seed,
                    begin=_BACKUPS * until if name == "backups" else 0,
                    until=until,
                    goal=goal,
                    least=least,
                )
                lanes.append(lane)
        return lanes

    def _stage(self) -> None:
        """Each machine gets its next update soon after the last one; whom the loop guard stopped gets another one."""
        rest: dict[str, float] = {}
        while not self._ended.wait(0.25):
            for host in self.fleet.hosts:
                steady = host.is_in("steady") and not host.required.exists()
                if not steady and not (host.is_in("blocked") and host.required.exists()):
                    rest.pop(host.name, None)
                elif self._calm and steady:
                    continue
                elif rest.setdefault(host.name, time.monotonic() + self._random.uniform(1, 15)) < time.monotonic():
                    rest.pop(host.name)
                    host.stage_update()
                    host.poke()

    _calm = False

    def _settle(self) -> None:
        """No more faults, no more updates: everybody comes to rest."""
        try:
            self.servers.mend()
            self.people.tidy()
            self._calm = True
            self.fleet.wait_all(_at_rest, "every agent at rest", STUCK_SECONDS)
        except Exception as error:  # noqa: BLE001 - it is the run's result
            self._blame(f"stuck at the end: {error}")
            for host in [host for host in self.fleet.hosts if not _at_rest(host)][:4]:
                print(host.report(), flush=True)

    def _outcome(self, seconds: float) -> Outcome:
        if not self.cluster.caught_up():
            self._blame("the record of the history is not complete")
        seen = judge(self.cluster.record.moments)
        downs = judge_downs(read_ledger(self.fleet.ledger))
        calls = [(host.name, act["token"], act["at"]) for host in self.fleet.hosts for act in host.actions("reboot")]
        boots = [(name, float(at)) for name, word, at in map(str.split, read_ledger(self.fleet.ledger)) if word == "up"]
        for problem in (
            *self.cluster.record.holes,
            *seen.problems,
            *downs.problems,
            *judge_commands(seen.armed, [(name, token) for name, token, _ in calls]),
            *judge_ends(seen.ended_armed, calls, [*boots, *self.machines.cuts]),
            *self.fleet.crashes,
            *self.timeline.broken,
        ):
            self._blame(problem)
        if downs.most > SLOTS:
            self._blame(f"{downs.most} machines were down at once, slots are {SLOTS}")
        self._ask_lockctl()
        self._demand(sum(downs.pairs.values()))
        return Outcome(
            store=self.cluster.kind,
            version=self.cluster.versions(),
            commit=self.words.about,
            seed=self.words.seed,
            minutes=self.words.minutes,
            seconds=seconds,
            hosts=HOSTS,
            slots=SLOTS,
            reboots=sum(downs.pairs.values()),
            most_down=downs.most,
            kinds=self.kinds,
            goal=EACH,
            timeline=self.timeline,
            judgement=seen,
            failures=self.failures,
        )

    def _demand(self, reboots: int) -> None:
        """That enough happened for the result to mean something."""
        if self.words.only:
            return
        counts, share = self.timeline.counts(), min(1.0, self.words.minutes / FULL_MINUTES)
        if reboots < REBOOTS * share:
            self._blame(f"too little happened: {reboots} reboots of {REBOOTS * share:.0f}")
        for kind in self.kinds:
            if counts[kind] < int(EACH * share):
                self._blame(f"too little happened: {counts[kind]} times {kind}, of {int(EACH * share)}")

    def _ask_lockctl(self) -> None:
        """The product's own opinion: counts, and its own history. Power cuts are reboots without a slot, and it says so."""
        fsck = lockctl(*self.fleet.operator, "fsck", "--timeout", "30s")
        if fsck.returncode:
            self._blame(f"fsck: {fsck.stdout}{fsck.stderr}")
        audit = lockctl(*self.fleet.operator, "audit", "--json", "--timeout", "30s")
        cut = {name for name, _ in self.machines.cuts}
        found = json.loads(audit.stdout)
        if "findings" not in found:
            self._blame(f"audit: {audit.stdout}")
        for finding in found.get("findings", []):
            if finding["wrong"] and not (finding["kind"] == "unsanctioned" and finding["node"] in cut):
                self._blame(f"audit: {finding['message']}")

    def _kinds(self) -> str:
        """Why those wait who do not wait for a slot."""
        told = [host.status() for host in self.fleet.hosts]
        kinds = Counter(str(each.get("kind")) for each in told if each.get("state") == "blocked")
        return ", ".join(f"{count} for {kind}" for kind, count in kinds.items())

    def _blame(self, text: str) -> None:
        print(f"FINDING: {text}", flush=True)
        self.failures.append(text)

    def _say(self) -> None:
        print(
            f"{self.timeline.now():6.0f} s: {sum(self.timeline.counts().values())} faults, "
            f"{sum(host.boots for host in self.fleet.hosts)} boots; {self.fleet.summary()}; {self._kinds()}",
            flush=True,
        )
        if self.fleet.crashes:
            print("\n".join(self.fleet.crashes[-1].splitlines()[:60]), flush=True)


def _at_rest(host: Host) -> bool:
    return host.is_in("steady") and not host.required.exists()


def chaos(net: Net, words: argparse.Namespace, kind: str, places: list) -> Outcome:
    """One store, from nothing to the verdict."""
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(STORES[kind](net))
        roads = {f"h{number:02d}": stack.enter_context(_proxies(cluster)) for number in range(BEHIND_PROXIES)}
        scheme = cluster.url().split("://")[0]
        urls = [f"{scheme}://{','.join(road.endpoint for road in each)}/locksmith" for each in roads.values()]
        urls += [cluster.url()] * (HOSTS - BEHIND_PROXIES)
        data = DataFolder("operator")
        stack.callback(data.remove)
        settings = dict(cluster.settings)
        if kind == "consul":
            settings["token_file"] = str(cluster.folder / "master")
        operator = _operator(data.path / "locksmith.toml", {"url": cluster.url(), **settings})
        hooks = ("10-drain",)
        ways = Ways(
            heartbeat="10s",
            dwell="300ms",
            retries=3,
            gate=True,
            pre=hooks,
            undo=hooks,
            post=hooks,
            store=cluster.settings,
        )
        fleet = Fleet(
            Look(cluster),
            HOSTS,
            ways=ways,
            hardware=Hardware(boot_seconds=1.0, halt_seconds=0.3),
            slots=SLOTS,
            urls=urls,
            places=places,
            operator=operator,
        )
        stack.enter_context(fleet)
        for host in fleet.hosts:
            host.sleep("pre-reboot.10-drain", 0.3)
        return Run(cluster, fleet, roads, words).go()


@contextlib.contextmanager
def _proxies(cluster: Etcds | Consuls) -> Iterator[list[TcpProxy]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(TcpProxy(member.endpoint, HUB)) for member in cluster.members]


def _operator(path: Path, store: dict[str, str]) -> list[str]:
    path.write_text("[store]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in store.items()))
    return ["--config", str(path)]


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=FULL_MINUTES)
    parser.add_argument("--store", choices=sorted(STORES), default=None, help="only this one")
    parser.add_argument("--seed", default=None)
    parser.add_argument(
        "--only", default="", help="only the faults whose names have this in them; too few are no failure"
    )
    parser.add_argument(
        "--commit", default=None, help="the product as of this commit, and not as it stands in the tree"
    )
    parser.add_argument("--report", type=Path, default=REPORT)
    words = parser.parse_args()
    try:
        code = enter("tests.chaos.run", sys.argv[1:])
        if code is not None:
            return code
        words.seed = words.seed or str(random.SystemRandom().randrange(2**32))
        product = DataFolder("product")
        words.about = commit_of(words.commit)
        copy(product.path, words.commit)
        net = Net()
        places = [net.join(f"h{number:02d}", 100 + number) for number in range(HOSTS)]
        failed = False
        for kind in [words.store] if words.store else ["etcd", "consul"]:
            print(f"chaos on {kind}, seed {words.seed}", flush=True)
            outcome = chaos(net, words, kind, places)
            write(outcome, words.report)
            failed |= bool(outcome.failures)
            print(f"{kind}: {outcome.reboots} reboots, {len(outcome.failures)} findings; {words.report}", flush=True)
    except (NoNamespaces, ServerMissing) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    return int(failed)


def copy(folder: Path, commit: str | None) -> None:
    """The agents and lockctl run from a copy: somebody may edit the tree meanwhile."""
    if commit:
        archive = subprocess.run(["git", "-C", ROOT, "archive", commit, "locksmith"], capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    else:
        shutil.copytree(ROOT / "locksmith", folder / "locksmith", ignore=shutil.ignore_patterns("__pycache__"))
    os.environ["PYTHONPATH"] = str(folder)


if __name__ == "__main__":
    sys.exit(main())
