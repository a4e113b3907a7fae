"""Each row of the table of exit codes, with real lockctl processes, on etcd and Consul and where it makes sense on SQLite.

Every refusal is looked at in both forms: with --json exactly one document on standard output, and always one line for people
on standard error. What some store cannot be brought to is said beside the test that leaves it out.
"""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from locksmith.core import keys
from locksmith.core.documents import Config, Guard, Revoke
from locksmith.semaphore import holding
from locksmith.semaphore.actor import look
from tests.integration.places import HANG_SECONDS, Place, Said, ended, place, sqlite_url
from tests.integration.silence import Silencing, too_many_requests
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster
from tests.servers.process import free_port, wait_until
from tests.servers.proxy import TcpProxy

ETCD = pytest.param("etcd", marks=pytest.mark.servers)
CONSUL = pytest.param("consul", marks=pytest.mark.servers)
BOTH = [ETCD, CONSUL]
ENOUGH = "8s"
"""A time limit that is meant to run out, but not before a busy machine has brought the command to where it waits."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Shop:
    """Makes places; all are closed at the end of the test."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path, prefix: str, stack: ExitStack) -> None:
        self._request = request
        self._folder = folder
        self._stack = stack
        self.prefix = prefix

    def url(self, kind: str) -> str:
        """A fresh prefix of a shared server, or a file of its own."""
        if kind == "sqlite":
            return sqlite_url(self._folder)
        cluster: EtcdCluster | ConsulCluster = self._request.getfixturevalue("etcd35" if kind == "etcd" else kind)
        return cluster.url(self.prefix)

    def at(self, url: str, **more: Any) -> Place:
        """The place with this URL."""
        return self._stack.enter_context(place(self._folder, url, **more))

    def behind(self, kind: str, proxy: TcpProxy) -> Place:
        """The same prefix of the same server through a proxy."""
        return self.at(f"{kind}://{proxy.endpoint}/{self.prefix}")

    def upstream(self, kind: str) -> str:
        """The address of the shared server."""
        cluster: EtcdCluster | ConsulCluster = self._request.getfixturevalue("etcd35" if kind == "etcd" else kind)
        return cluster.endpoints[0]


@pytest.fixture
def shop(request: pytest.FixtureRequest, tmp_path: Path, key_prefix: str) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(request, tmp_path, key_prefix, stack)


@pytest.fixture(params=[*BOTH, "sqlite"])
def here(request: pytest.FixtureRequest, shop: Shop) -> Place:
    """A group `web` of one slot."""
    where = shop.at(shop.url(request.param))
    where.slots(1)
    return where


def refused(where: Place, code: int, kind: str, *words: str, says: str = "") -> Said:
    """Run it with --json, and for people: the same exit code, one document, one message, and no trace of Python.

    The second form is left out on Consul: every row is on another store as well, and a process costs a quarter of a second.
    """
    said = where.lockctl(*words, "--json")
    check_refusal(said, code, kind, says)
    if not where.url.startswith("consul"):
        plain = where.lockctl(*words)
        assert plain.code == code, plain
        assert plain.out == ""
        assert plain.err.splitlines()[-1].startswith("lockctl: ")
    return said


def check_refusal(said: Said, code: int, kind: str, says: str = "") -> None:
    """One document with this error, the same sentence on standard error."""
    assert (said.code, said.kind) == (code, kind), said
    document = said.document
    assert set(document) == {"schema", "time", "error"}
    assert set(document["error"]) == {"kind", "message"}
    assert says in document["error"]["message"], said
    assert said.err.splitlines()[-1] == f"lockctl: {document['error']['message']}"
    assert "Traceback" not in said.err


# ---------------------------------------------------------------- 0: done, also when the answer is bad news


def test_0_done_and_bad_news(here: Place) -> None:
    made = here.lockctl("set-max", "2", "--json")
    assert (made.code, made.kind, made.err) == (0, None, "")
    assert (made.document["old"], made.document["new"]) == (1, 2)
    slot = here.taken("n1")
    holding.fail(here.actor, slot, "app")
    here.register("n1", "host-n1")
    status = here.lockctl("status", "--json")
    assert (status.code, status.kind) == (0, None)
    assert status.document["halted"]["nodes"] == ["n1"]
    assert (status.document["slots"], status.document["held"], status.document["failed"]) == (2, 1, 1)
    why = here.lockctl("why", "n1", "--json")
    assert (why.code, why.document["verdict"]) == (0, "failed")
    assert here.lockctl("nodes", "--json").code == 0
    assert here.lockctl("lock", "n2").code == 3
    assert here.lockctl("fsck").code == 0


# ---------------------------------------------------------------- 1: documents, findings


def test_1_corrupt(here: Place) -> None:
    here.damage(keys.guard(keys.group_limit("web")), b"{half a docu")
    refused(here, 1, "corrupt", "status", says="lim/group/web")
    refused(here, 1, "corrupt", "lock", "n1", says="lim/group/web")


def test_1_newer_format(here: Place) -> None:
    key = keys.guard(keys.group_limit("web"))
    here.damage(key, replace(here.guard(), v=2).encode())
    refused(here, 1, "newer_format", "set-max", "5", says=key)
    assert here.guard().slots == 1


def test_1_damaged(here: Place) -> None:
    here.taken("n1")
    here.register("n1", "host-n1")
    assert here.lockctl("fsck").code == 0
    here.damage(keys.guard(keys.group_limit("web")), Guard(gen="x", count=7).encode())
    found = here.lockctl("fsck", "--json")
    assert (found.code, found.kind) == (1, "damaged")
    assert [finding["kind"] for finding in found.document["findings"]] == ["count"]
    assert here.lockctl("fsck").code == 1
    assert here.lockctl("fsck", "--repair").code == 0
    here.settled(held=1)


# ---------------------------------------------------------------- 2: the command line and the configuration


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (("frobnicate",), "usage", "frobnicate"),
        (("statu",), "usage", "did you mean"),
        (("status", "--nonsense"), "usage", "--nonsense"),
        (("set-max", "0"), "usage", "pause"),
        (("set-max", "many"), "usage", "many"),
        (("lock", "n1", "--timeout", "10"), "usage", "--timeout"),
        (("lock", "no/node"), "usage", "no/node"),
        (("unlock", "n1", "--force"), "usage", "--reason"),
        (("windows", "--start", "25:00", "--length", "1h"), "usage", "25:00"),
        (("status", "--store", "zookeeper://h:1/x"), "config", "known"),
        (("status", "--store", "etcd://me:secret@127.0.0.1:1/x"), "config", "password_file"),
        (("status", "--config", "/nonexistent/locksmith.toml"), "config", "/nonexistent/locksmith.toml"),
    ],
)
def test_2_words(shop: Shop, words: tuple[str, ...], kind: str, says: str) -> None:
    said = refused(shop.at(shop.url("sqlite")), 2, kind, *words, says=says)
    assert "secret" not in said.out + said.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("[agent]\nstrategi = 'lock'", "did you mean 'strategy'"),
        ("[agent", "not TOML"),
        ("[windows.night]\nstart = '25:00'\nlength = '1h'", "windows.night.start"),
        ("[agent]\nslots = 3", "lockctl set-max"),
        ("[[gates]]\nkind = 'command'", "gates"),
    ],
)
def test_2_configuration(shop: Shop, more: str, says: str) -> None:
    refused(shop.at(shop.url("sqlite"), more=more), 2, "config", "status", says=says)


# ---------------------------------------------------------------- 3: refused by state


def test_3_full_and_timeout(here: Place) -> None:
    here.taken("n1")
    refused(here, 3, "full", "lock", "n2", says="group/web")
    refused(here, 3, "timeout", "lock", "n2", "--wait", "--timeout", ENOUGH)
    here.settled(held=1)


def test_3_paused(here: Place) -> None:
    assert here.lockctl("pause", "--reason", "INC-4711").code == 0
    refused(here, 3, "paused", "lock", "n1", says="INC-4711")
    assert here.lockctl("resume").code == 0
    assert here.lockctl("pause", "--fleet", "--reason", "INC-4712").code == 0
    refused(here, 3, "paused", "lock", "n1", says="INC-4712")
    assert here.lockctl("resume", "--fleet").code == 0
    assert here.lockctl("pause", "--node", "n1", "--reason", "INC-4713").code == 0
    refused(here, 3, "hold", "lock", "n1", says="INC-4713")
    here.settled(held=0)


def test_3_halted(here: Place) -> None:
    here.slots(3)
    holding.fail(here.actor, here.taken("n1"), "app")
    refused(here, 3, "halted", "lock", "other", says="host-n1")
    here.settled(held=1)


def test_3_held_by_agent_and_elsewhere(here: Place) -> None:
    here.slots(1, "db")
    here.taken("n1", "db")
    refused(here, 3, "held_by_agent", "lock", "n1", "--group", "db", says="--wait")
    refused(here, 3, "held_elsewhere", "lock", "n1", "--group", "web", says="db")
    here.settled(held=1)


def test_3_not_held(here: Place) -> None:
    refused(here, 3, "not_held", "unlock", "n1", "--strict")
    assert here.lockctl("unlock", "n1").code == 0


def test_3_armed(here: Place) -> None:
    here.armed("n1")
    refused(here, 3, "armed", "unlock", "n1", "--force", "--reason", "off", says="--force-armed")
    here.settled(held=1)
    assert here.lockctl("unlock", "n1", "--force", "--force-armed", "--reason", "it burns").code == 0
    here.settled(held=0)


def test_3_asked(here: Place) -> None:
    here.taken("n1")
    refused(here, 3, "asked", "unlock", "n1", "--reason", "INC-1", "--timeout", ENOUGH, says="host-n1")
    revoke = here.holders()["n1"].revoke
    assert isinstance(revoke, Revoke)
    assert revoke.reason == "INC-1"


def test_3_ambiguous_node(here: Place) -> None:
    nodes = ["0123456789abcdef01", "0123456789abcdef02"]
    for node in nodes:
        here.register(node, "n1")
    said = refused(here, 3, "ambiguous_node", "unlock", "n1")
    assert all(node in said.err for node in nodes)
    refused(here, 3, "ambiguous_node", "why", "0123456789")


def test_3_no_such_group(here: Place) -> None:
    for words in (("lock", "n1"), ("pause", "--reason", "x")):
        refused(here, 3, "no_such_group", *words, "--group", "wbe", says="known: web")
    assert here.lockctl("status", "--group", "wbe").code == 0


def test_3_window(here: Place) -> None:
    words = ("windows", "--start", "23:00", "--length", "1h", "--check", "--at")
    said = here.lockctl(*words, "2026-01-01T12:00:00Z", "--json")
    assert (said.code, said.kind, said.document["open"]) == (3, "window", False)
    assert here.lockctl(*words, "2026-01-01T12:00:00Z").code == 3
    assert here.lockctl(*words, "2026-01-01T23:30:00Z").code == 0


# ---------------------------------------------------------------- 4: no store to speak of


@pytest.mark.parametrize("kind", BOTH)
def test_4_no_endpoint(shop: Shop, kind: str) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    where = shop.at(f"{kind}://{endpoint}/{shop.prefix}")
    for words in (("status",), ("lock", "n1"), ("set-max", "2"), ("fsck",), ("unlock", "n1")):
        refused(where, 4, "unavailable", *words, "--timeout", "3s", says=endpoint)


def test_4_no_folder_for_the_file(shop: Shop) -> None:
    where = shop.at("sqlite:///nonexistent/of/all/store.db")
    refused(where, 4, "unavailable", "set-max", "2", says="/nonexistent/of")


@pytest.mark.parametrize("kind", BOTH)
def test_4_silence_ends_with_the_time_limit(shop: Shop, kind: str) -> None:
    """It accepts connections and says nothing. What is bounded here is the whole process, by its own --timeout."""
    with TcpProxy(shop.upstream(kind)) as proxy:
        proxy.black_hole()
        where = shop.behind(kind, proxy)
        refused(where, 4, "unavailable", "status", "--timeout", "2s", says=proxy.endpoint)
        refused(where, 4, "unavailable", "lock", "n1", "--wait", "--timeout", "2s", says=proxy.endpoint)


@pytest.mark.parametrize("kind", BOTH)
def test_4_no_quorum(shop: Shop, request: pytest.FixtureRequest, kind: str) -> None:
    shop.url(kind)  # skips where there are no such servers
    with EtcdCluster("3.5", members=3) if kind == "etcd" else ConsulCluster(members=3) as cluster:
        where = shop.at(cluster.url(shop.prefix))
        where.slots(1)
        for member in cluster.members[:2]:
            member.kill()
        for words in (("status",), ("lock", "n1")):
            refused(where, 4, "unavailable", *words, "--timeout", "4s", says=cluster.members[2].endpoint)


@pytest.mark.servers
def test_4_store_full(shop: Shop) -> None:
    """etcd only: Consul has no quota of its own, and SQLite's full disk is in test_store_sqlite.py."""
    shop.url("etcd")
    with EtcdCluster("3.5", quota_bytes=4 * 1024 * 1024) as cluster:
        where = shop.at(cluster.url(shop.prefix))
        where.slots(1)
        cluster.fill()
        refused(where, 4, "store_full", "lock", "n1", says="alarm disarm")
        assert where.lockctl("status").code == 0
        cluster.make_space()
        assert where.lockctl("lock", "n1").code == 0


def test_4_throttled(shop: Shop) -> None:
    """Against a stand-in: neither Consul 1.8.7 nor etcd can be brought to ask for fewer requests with a few of them."""
    with too_many_requests() as endpoint:
        where = shop.at(f"consul://{endpoint}/{shop.prefix}")
        refused(where, 4, "throttled", "status", "--timeout", "3s", says=endpoint)
        refused(where, 4, "throttled", "set-max", "2", "--timeout", "3s", says=endpoint)


# ---------------------------------------------------------------- 5: sent, and nobody answers any more


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("words", [("set-max", "3"), ("pause", "--fleet", "--reason", "INC-1"), ("unlock", "n1")])
def test_5_unknown(shop: Shop, kind: str, words: tuple[str, ...]) -> None:
    """The write reaches the server, its answer and all later ones do not come back. SQLite has no wire to be cut."""
    direct = shop.at(shop.url(kind))
    direct.slots(2)
    for form in ((), ("--json",)) if words[0] == "set-max" else (("--json",),):
        assert direct.lockctl("lock", "n1").code == 0
        with Silencing(shop.upstream(kind)) as proxy:
            where = shop.behind(kind, proxy)
            proxy.fall_silent_after(WRITES[kind])
            said = where.lockctl(*words, "--timeout", ENOUGH, *form)
            assert proxy.silent.is_set(), said
            assert said.code == 5, said
            if form:
                check_refusal(said, 5, "unknown", proxy.endpoint)
            else:
                assert said.out == ""
        # What was unknown to lockctl is plain to see for others, and the next one is not hindered by it.
        assert APPLIED[words[0]](direct)


WRITES = {"etcd": b'"gen"', "consul": b'"Verb": "set"'}
"""What stands in a request that writes a document, and in no other."""


def _config(direct: Place) -> Config:
    config = look(direct.actor.store).config
    assert config is not None
    return config


APPLIED = {
    "set-max": lambda direct: direct.guard().slots == 3,
    "pause": lambda direct: _config(direct).pause is not None,
    "unlock": lambda direct: direct.holders() == {},
}


# ---------------------------------------------------------------- 6: not trusted


@pytest.fixture(scope="module")
def guarded_etcd(etcd35: EtcdCluster) -> Iterator[EtcdCluster]:
    """TLS, and a user who may use keys below locksmith/ and nothing else."""
    with EtcdCluster(etcd35.version, tls=True, auth=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def guarded_consul(consul: ConsulCluster) -> Iterator[ConsulCluster]:
    """TLS, and nothing allowed without a token."""
    with ConsulCluster(tls=True, acl=True) as cluster:
        cluster.create_policy("reader", 'key_prefix "locksmith" { policy = "read" }')
        cluster.create_policy(
            "writer", 'key_prefix "locksmith" { policy = "write" } node "locksmith" { policy = "write" }'
        )
        yield cluster


@pytest.fixture
def etcd_access(guarded_etcd: EtcdCluster) -> dict[str, object]:
    made = guarded_etcd.certificates
    assert made is not None
    return {"ca_file": made.ca, "username": guarded_etcd.user, "password_file": guarded_etcd.password_file}


@pytest.fixture
def consul_access(guarded_consul: ConsulCluster, tmp_path: Path) -> dict[str, object]:
    made = guarded_consul.certificates
    assert made is not None
    return {"ca_file": made.ca, "token_file": _token(tmp_path, guarded_consul.create_token(["writer"]))}


def _token(folder: Path, secret: str) -> Path:
    path = folder / f"token-{secret}"
    path.write_text(secret)
    return path


COMMANDS = [("status",), ("set-max", "2")]


@pytest.mark.servers
class TestEtcdSays6:
    def test_tls(self, shop: Shop, guarded_etcd: EtcdCluster, etcd_access: dict[str, object]) -> None:
        made = guarded_etcd.certificates
        assert made is not None
        where = shop.at(guarded_etcd.url(shop.prefix), store={**etcd_access, "ca_file": made.untrusted_ca})
        for words in COMMANDS:
            refused(where, 6, "tls", *words, says=guarded_etcd.endpoints[0])

    def test_auth(self, shop: Shop, guarded_etcd: EtcdCluster, etcd_access: dict[str, object], tmp_path: Path) -> None:
        wrong = {**etcd_access, "password_file": _token(tmp_path, "wrong")}
        where = shop.at(guarded_etcd.url(shop.prefix), store=wrong)
        for words in COMMANDS:
            refused(where, 6, "auth", *words, says="password_file")

    def test_denied(self, shop: Shop, guarded_etcd: EtcdCluster, etcd_access: dict[str, object]) -> None:
        where = shop.at(guarded_etcd.url("elsewhere"), store=etcd_access)
        for words in COMMANDS:
            refused(where, 6, "denied", *words)

    def test_with_all_of_it_well(self, shop: Shop, guarded_etcd: EtcdCluster, etcd_access: dict[str, object]) -> None:
        where = shop.at(guarded_etcd.url(shop.prefix), store=etcd_access)
        assert [where.lockctl(*words).code for words in reversed(COMMANDS)] == [0, 0]


@pytest.mark.servers
class TestConsulSays6:
    def test_tls(self, shop: Shop, guarded_consul: ConsulCluster, consul_access: dict[str, object]) -> None:
        made = guarded_consul.certificates
        assert made is not None
        where = shop.at(guarded_consul.url(shop.prefix), store={**consul_access, "ca_file": made.untrusted_ca})
        for words in COMMANDS:
            refused(where, 6, "tls", *words, says=guarded_consul.endpoints[0])

    def test_auth(
        self, shop: Shop, guarded_consul: ConsulCluster, consul_access: dict[str, object], tmp_path: Path
    ) -> None:
        unknown = _token(tmp_path, "12345678-0000-0000-0000-000000000000")
        where = shop.at(guarded_consul.url(shop.prefix), store={**consul_access, "token_file": unknown})
        for words in COMMANDS:
            refused(where, 6, "auth", *words, says="token_file")

    def test_denied(
        self, shop: Shop, guarded_consul: ConsulCluster, consul_access: dict[str, object], tmp_path: Path
    ) -> None:
        """The first may not even read, which Consul hides; the second reads and may not write."""
        nothing = _token(tmp_path, guarded_consul.create_token())
        where = shop.at(guarded_consul.url(shop.prefix), store={**consul_access, "token_file": nothing})
        for words in COMMANDS:
            refused(where, 6, "denied", *words)
        reader = _token(tmp_path, guarded_consul.create_token(["reader"]))
        shop.at(guarded_consul.url(shop.prefix), store=consul_access).slots(1)
        where = shop.at(guarded_consul.url(shop.prefix), store={**consul_access, "token_file": reader})
        refused(where, 6, "denied", "set-max", "2")
        assert where.lockctl("status").code == 0

    def test_with_all_of_it_well(
        self, shop: Shop, guarded_consul: ConsulCluster, consul_access: dict[str, object]
    ) -> None:
        where = shop.at(guarded_consul.url(shop.prefix), store=consul_access)
        assert [where.lockctl(*words).code for words in reversed(COMMANDS)] == [0, 0]

    def test_identity_of_another_datacenter(self, shop: Shop) -> None:
        where = shop.at(shop.url("consul") + "?dc=dc9")
        for words in COMMANDS:
            refused(where, 6, "identity", *words, says="check dc=")


@pytest.mark.parametrize("kind", BOTH)
def test_6_identity(shop: Shop, kind: str) -> None:
    """The data say that they belong to another cluster, as after a copy, or a URL that points to the wrong one."""
    where = shop.at(shop.url(kind))
    where.slots(1)
    where.damage(keys.CFG, replace(_config(where), cluster="another", gen="x").encode())
    for words in (("status",), ("lock", "n1"), ("set-max", "2"), ("fsck",)):
        refused(where, 6, "identity", *words, says="another")
    where.settled(held=0)


# ---------------------------------------------------------------- 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_130_interrupted(here: Place, number: signal.Signals) -> None:
    """Out of the queue, with nothing left in it."""
    here.taken("n1")
    for form in ((), ("--json",)):
        process = here.start("lock", "n2", "--wait", *form)
        wait_until(lambda: bool(here.tickets()), "lockctl does not queue", timeout=HANG_SECONDS)
        process.send_signal(number)
        said = ended(process)
        if form:
            check_refusal(said, 130, "interrupted")
        else:
            assert (said.code, said.out) == (130, "")
        here.settled(held=1)


def test_a_reader_that_goes_away_is_no_error_of_python(here: Place) -> None:
    """`lockctl … | head -0`: exit 1 without a trace."""
    process = here.start("status", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    text = process.stderr.read()
    assert process.wait(HANG_SECONDS) == 1
    process.stderr.close()
    assert "Traceback" not in text
    assert "Exception" not in text
