"""locksmithctl as a program on a real etcd: what the original was seen to do (peers.md 2.2), row by row.

Where we differ on purpose the row says so; all differences are in docs/flatcar.md.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from locksmith import __version__
from locksmith.core.needs import NotNeeded
from locksmith.host.identity import node_id
from locksmith.updates.update_engine import UpdateEngine
from tests.integration.places import OWN_ID, PATIENT, Said, ended
from tests.servers import dbus
from tests.servers.etcd import EtcdCluster
from tests.servers.fetch import ServerMissing
from tests.servers.process import free_port, wait_until

BIN = Path(sys.executable).parent
LOCKSMITHCTL, LOCKCTL, LOCKSMITHD = (BIN / name for name in ("locksmithctl", "lockctl", "locksmithd"))
RAW = "fedcba9876543210fedcba9876543210"

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(400)]


class Host:
    """The programs on one machine; `endpoint` is what locksmith's tools would be told."""

    def __init__(self, folder: Path, cluster: EtcdCluster) -> None:
        self.folder = folder
        self.cluster = cluster
        self.config = folder / "locksmith.toml"
        self.configure(f'id = "{OWN_ID}"')

    @property
    def endpoint(self) -> str:
        scheme = "https" if self.cluster.tls else "http"
        return ",".join(f"{scheme}://{endpoint}" for endpoint in self.cluster.endpoints)

    def configure(self, node: str, more: str = "") -> None:
        """Only what tells this machine from others: the store comes with flags and variables."""
        folders = "".join(f'{name} = "{self.folder}/{name}"\n' for name in ("run_dir", "state_dir"))
        self.config.write_text(f"[node]\n{node}\n{folders}{more}\n")

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOCKSMITH", "REBOOT_"))}
        return {**kept, "LOCKSMITH_CONFIG": str(self.config), **more}

    def start(self, *words: object, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(word) for word in words],
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ctl(self, *words: str, **variables: str) -> Said:
        """locksmithctl with LOCKSMITHCTL_ENDPOINT."""
        variables.setdefault("LOCKSMITHCTL_ENDPOINT", self.endpoint)
        return ended(self.start(LOCKSMITHCTL, *words, **variables))

    def lockctl(self, *words: str) -> Said:
        return ended(self.start(LOCKCTL, *words, *PATIENT, LOCKSMITH_STORE=self.cluster.url()))


@pytest.fixture(scope="module")
def cluster() -> Iterator[EtcdCluster]:
    try:
        made = EtcdCluster("3.4")
    except ServerMissing as error:
        if os.environ.get("LOCKSMITH_REQUIRE_SERVERS"):
            raise
        pytest.skip(f"NOT TESTED: {error}")
    with made:
        yield made


@pytest.fixture
def host(cluster: EtcdCluster, tmp_path: Path) -> Iterator[Host]:
    """A machine on an etcd in which nothing of ours is."""
    yield Host(tmp_path, cluster)
    cluster.etcdctl("del", "--prefix", "locksmith/")


def said(code: int, out: str = "", err: str = "") -> Said:
    return Said(code, out, err)


# --- the table ---------------------------------------------------------------------------------------------------


def test_status_lock_unlock(host: Host) -> None:
    assert host.ctl("status") == said(0, "Available: 1\nMax: 1\n")
    assert host.ctl("lock") == said(0)
    assert host.ctl("status", "extra", "words") == said(0, f"Available: 0\nMax: 1\n\nMACHINE ID\n{OWN_ID}\n")
    assert host.ctl("unlock") == said(0)
    assert host.ctl("status") == said(0, "Available: 1\nMax: 1\n")


def test_lock_and_unlock_of_an_id(host: Host) -> None:
    assert host.ctl("lock", "id-1").code == 0
    assert host.ctl("status").out.endswith("\nMACHINE ID\nid-1\n")
    assert host.ctl("unlock", "id-1").code == 0


def test_lock_when_full(host: Host) -> None:
    host.ctl("lock", "id-1")
    refused = host.ctl("lock", "id-2")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.splitlines()[-2] == "Error locking: semaphore is at 0"


def test_lock_again_with_slots_free(host: Host) -> None:
    host.ctl("set-max", "2")
    host.ctl("lock")
    assert host.ctl("lock") == said(1, "", "Error locking: holder exists\n")


def test_lock_again_when_full(host: Host) -> None:
    """Differs: the original says "semaphore is at 0", which sends people looking for somebody else."""
    host.ctl("lock")
    assert host.ctl("lock") == said(1, "", "Error locking: holder exists\n")


def test_unlock_not_held(host: Host) -> None:
    refused = host.ctl("unlock")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.splitlines()[0] == "Error unlocking: holder does not exist"


def test_set_max(host: Host) -> None:
    assert host.ctl("set-max", "3") == said(0, "Old-Max: 1\nMax: 3\n")
    assert host.ctl("set-max", "2") == said(0, "Old-Max: 3\nMax: 2\n")
    assert host.ctl("set-max", "abc") == said(1, "", "Invalid maximum value: abc\n")
    assert host.ctl("set-max") == said(1, "", "New maximum value must be set.\n")
    refused = host.ctl("set-max", "-2")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.splitlines()[0] == "flag provided but not defined: -2"


def test_set_max_that_failed_is_a_failure(tmp_path: Path) -> None:
    """The original's defect: it prints the new value and exits with 0. This etcd refuses writes, for its disk is full."""
    with EtcdCluster("3.4", quota_bytes=4 * 1024 * 1024) as cluster:
        host = Host(tmp_path, cluster)
        host.ctl("set-max", "1")
        cluster.fill()
        failed = host.ctl("set-max", "5")
        assert (failed.code, failed.out) == (1, "")
        assert failed.err.startswith("Error setting value: ")
        assert host.ctl("status") == said(0, "Available: 1\nMax: 1\n")


def test_lowering_max_below_the_holders(host: Host) -> None:
    host.ctl("set-max", "3")
    for name in ("id-1", "id-2", "id-3"):
        host.ctl("lock", name)
    assert host.ctl("set-max", "1") == said(0, "Old-Max: 3\nMax: 1\n")
    assert host.ctl("status").out.startswith("Available: -2\nMax: 1\n")


def test_corrupt_documents(host: Host) -> None:
    """Differs: the original ends with a panic and exit 2; whatever cannot be read is a plain failure here."""
    host.ctl("set-max", "1")
    host.cluster.etcdctl("put", "locksmith/cfg", "no json")
    for words in (("status",), ("set-max", "2")):
        failed = host.ctl(*words)
        assert (failed.code, failed.out) == (1, "")
        assert failed.err.startswith("Error ")
        assert "Traceback" not in failed.err


def test_no_endpoint(host: Host) -> None:
    for words in (("status",), ("lock",), ("unlock",), ("set-max", "2")):
        failed = host.ctl(*words, LOCKSMITHCTL_ENDPOINT=f"http://127.0.0.1:{free_port()}")
        assert (failed.code, failed.out) == (1, "")
        assert failed.err.startswith("Error initializing etcd client: no etcd endpoint")


def test_no_machine_id(host: Host) -> None:
    host.configure(f'machine_id_file = "{host.folder}/none"')
    failed = host.ctl("lock")
    assert (failed.code, failed.err.splitlines()[0]) == (1, "Cannot read machine-id")


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a process that is not root is made by root")
def test_reboot_as_somebody_else(host: Host) -> None:
    stranger = ["unshare", "--user", LOCKSMITHCTL, "reboot"]
    assert ended(host.start(*stranger, LOCKSMITHCTL_ENDPOINT=host.endpoint)) == said(
        1, "", "Must be root to initiate reboot.\n"
    )


def test_words(host: Host) -> None:
    assert host.ctl("bogus") == said(
        2, "locksmithctl: unknown subcommand: \"bogus\"\nRun 'locksmithctl help' for usage.\n"
    )
    usage = host.ctl("help")
    assert (usage.code, usage.err) == (0, "")
    assert host.ctl() == host.ctl("-h") == usage
    assert host.ctl("help", "bogus") == said(1, "Unrecognized command: bogus\n")
    assert host.ctl("-version") == said(0, f"locksmithctl version {__version__}\n")
    for words in (("status", "-h"), ("-bogus",)):
        refused = host.ctl(*words)
        assert (refused.code, refused.out) == (2, "")
        assert refused.err


def test_the_program_is_called_what_it_is_called(host: Host) -> None:
    """The original prints the name that it was called by."""
    link = host.folder / "mylock"
    link.symlink_to(LOCKSMITHCTL)
    assert ended(host.start(link, "--version")) == said(0, f"mylock version {__version__}\n")


def test_one_of_two_endpoints_is_enough(host: Host) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    for endpoints in (f"{dead},{host.endpoint}", f" {host.endpoint} , {dead} "):
        assert host.ctl("-endpoint", endpoints, "status", LOCKSMITHCTL_ENDPOINT="") == said(0, "Available: 1\nMax: 1\n")


def test_the_last_of_several_endpoint_flags_counts(host: Host) -> None:
    words = ("-endpoint", f"http://127.0.0.1:{free_port()}", f"-endpoint={host.endpoint}", "status")
    assert host.ctl(*words, LOCKSMITHCTL_ENDPOINT="http://wrong:1").code == 0


def test_as_many_callers_as_slots_all_get_one(host: Host) -> None:
    """Of the original's fifty callers thirteen did."""
    callers = 6
    host.ctl("set-max", str(callers))
    running = [host.start(LOCKSMITHCTL, "lock", f"id-{n}", LOCKSMITHCTL_ENDPOINT=host.endpoint) for n in range(callers)]
    assert [ended(process).code for process in running] == [0] * callers
    assert host.ctl("status").out.startswith("Available: 0\n")


# --- beside lockctl ----------------------------------------------------------------------------------------------


def test_both_tools_see_one_lock(host: Host) -> None:
    host.ctl("-group", "web", "set-max", "2")
    host.ctl("lock", "id-1", LOCKSMITHCTL_GROUP="web")
    status = host.lockctl("status", "--group", "web", "--json").document
    assert (status["slots"], status["held"]) == (2, 1)
    assert [(line["node"], line["phase"], line["reason"]) for line in status["holders"]] == [
        ("id-1", "maintenance", "locksmithctl lock")
    ]
    assert host.lockctl("unlock", "id-1", "--group", "web").code == 0
    assert host.ctl("-group", "web", "status") == said(0, "Available: 2\nMax: 2\n")


def test_a_raw_machine_id_means_this_machine_once_its_agent_is_known(host: Host) -> None:
    (host.folder / "machine-id").write_text(f"{RAW}\n")
    host.configure(f'machine_id_file = "{host.folder}/machine-id"')
    assert host.ctl("lock").code == 0
    assert host.ctl("status").out.endswith(f"MACHINE ID\n{node_id(RAW)}\n")
    assert host.ctl("unlock", RAW).code == 0
    assert host.ctl("status").out == "Available: 1\nMax: 1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root may ask for a reboot")
def test_reboot_reboots_through_the_agent_and_under_a_slot(host: Host) -> None:
    """The agent's reboot is a file here; it stands there only when the slot was held and armed before."""
    rebooted, boot = host.folder / "rebooted", host.folder / "boot-id"
    boot.write_text("first\n")
    host.configure(
        f'id = "{OWN_ID}"\nboot_id_file = "{boot}"',
        f'[agent]\nmin_uptime = "0s"\nmin_interval = "0s"\nrequire_time_sync = false\nmetrics_listen = ""\n'
        f'[updates.none]\nkind = "command"\ncommand = ["sh", "-c", "exit 1"]\n'
        f'[reboot]\nkind = "command"\ncommand = ["touch", "{rebooted}"]\n',
    )
    host.ctl("set-max", "1")
    with ExitStack() as stack:
        agent = host.start(LOCKSMITHD, LOCKSMITH_STORE=host.cluster.url())
        stack.callback(ended, agent)
        stack.callback(agent.terminate)
        wait_until(lambda: OWN_ID in host.lockctl("nodes").out, "the agent does not report", timeout=60)
        asked = host.ctl("reboot")
        assert (asked.code, asked.out) == (0, ""), asked
        wait_until(rebooted.exists, "nothing rebooted", timeout=60)
        (holder,) = host.lockctl("status", "--json").document["holders"]
        assert (holder["node"], holder["phase"]) == (OWN_ID, "armed")
        # The machine did not go down in truth, so its slot stays armed: nobody takes it away with a plain unlock.
        refused = host.ctl("unlock")
        assert refused.code == 1
        assert "--force" in refused.err


# --- TLS and passwords -------------------------------------------------------------------------------------------


def flag(name: str) -> str:
    return f"LOCKSMITHCTL_{name.upper().replace('-', '_')}"


def test_a_certificate_authority_alone_is_enough(tmp_path: Path) -> None:
    """The original needs all three files or none."""
    with EtcdCluster("3.4", tls=True) as cluster:
        host = Host(tmp_path, cluster)
        assert cluster.certificates is not None
        ca = str(cluster.certificates.ca)
        assert host.ctl("-etcd-cafile", ca, "status") == said(0, "Available: 1\nMax: 1\n")
        assert host.ctl("lock", **{flag("etcd-cafile"): ca}) == said(0)
        distrusted = host.ctl("status")
        assert distrusted.code == 1
        assert distrusted.err.startswith("Error initializing etcd client: ")
        missing = host.ctl("-etcd-cafile", f"{tmp_path}/none", "status")
        assert (missing.code, missing.err.startswith("Error initializing etcd client: ")) == (1, True)
        assert "none" in missing.err


def test_a_client_certificate(tmp_path: Path) -> None:
    with EtcdCluster("3.4", client_cert_auth=True) as cluster:
        host = Host(tmp_path, cluster)
        files = cluster.certificates
        assert files is not None
        words = [f"-etcd-cafile={files.ca}", f"-etcd-certfile={files.client_cert}", f"-etcd-keyfile={files.client_key}"]
        assert host.ctl(*words, "status") == said(0, "Available: 1\nMax: 1\n")
        half = host.ctl(*words[:2], "status")
        assert half.code == 1
        assert "key_file" in half.err


def test_a_user_and_a_password(tmp_path: Path) -> None:
    with EtcdCluster("3.4", auth=True) as cluster:
        host = Host(tmp_path, cluster)
        right = {flag("etcd-username"): cluster.user, flag("etcd-password"): cluster.password}
        assert host.ctl("lock", **right) == said(0)
        assert host.ctl("status", **right).out.startswith("Available: 0\n")
        wrong = host.ctl("-etcd-password", "wrong", "status", **right)
        assert wrong.code == 1
        assert wrong.err.startswith("Error initializing etcd client: ")
        assert cluster.password not in wrong.err
        assert host.ctl("status").code == 1


# --- send-need-reboot --------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("busctl") is None, reason="NOT TESTED: there is no busctl here")
def test_the_signal_is_sent_and_reboots_nobody_by_itself(host: Host, private_bus: dbus.PrivateBus) -> None:
    """Differs: anybody on the bus could reboot the original's host with it. Our agent asks update_engine."""
    dbus.UpdateEngine(private_bus)
    release = host.folder / "os-release"
    release.write_text("ID=flatcar\nVERSION_ID=3815.2.0\n")
    provider = UpdateEngine("flatcar", private_bus.bus(), os_release=release, marker=host.folder / "marker")
    sent = host.ctl("send-need-reboot", DBUS_SYSTEM_BUS_ADDRESS=private_bus.address)
    assert (sent.code, sent.out) == (0, "")
    assert isinstance(provider.ask(), NotNeeded)


def test_without_a_bus_the_signal_fails(host: Host) -> None:
    failed = host.ctl("send-need-reboot", DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={host.folder}/none")
    assert (failed.code, failed.out) == (1, "")
    assert failed.err.startswith("error emitting signal: ")
