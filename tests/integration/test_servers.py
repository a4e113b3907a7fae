"""The servers and the proxy do what the tests that lean on them believe."""

import http.client
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from tests.servers.apt import AptFailed, source_for
from tests.servers.certs import make_certificates
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster
from tests.servers.fetch import ServerMissing
from tests.servers.process import ServerFailed
from tests.servers.proxy import TcpProxy

pytestmark = pytest.mark.servers


@pytest.fixture(params=["3.4", "3.5"])
def three_etcd(request: pytest.FixtureRequest) -> Iterator[EtcdCluster]:
    try:
        cluster = EtcdCluster(request.param, members=3)
    except ServerMissing as error:
        pytest.skip(f"NOT TESTED: {error}")
    with cluster:
        yield cluster


def test_etcd_elects_another_leader_and_takes_the_old_one_back(three_etcd: EtcdCluster) -> None:
    old = three_etcd.leader()
    three_etcd.etcdctl("put", "before", "1")
    old.kill()
    assert three_etcd.leader() is not old
    three_etcd.etcdctl("put", "after", "2")
    old.restart()
    assert all(member.healthy() for member in three_etcd.members)
    assert three_etcd.etcdctl("get", "after", "--print-value-only") == "2\n"


def test_etcd_role_reaches_its_prefix_only(etcd34: EtcdCluster) -> None:
    with EtcdCluster("3.4", tls=True, client_cert_auth=True, auth=True) as cluster:
        cluster.etcdctl("put", "locksmith/a", "1", as_user=True)
        with pytest.raises(ServerFailed, match="permission denied"):
            cluster.etcdctl("put", "elsewhere", "1", as_user=True)


def test_etcd_refuses_writes_when_full_and_takes_them_again(etcd34: EtcdCluster) -> None:
    with EtcdCluster("3.4", quota_bytes=4 * 1024 * 1024) as cluster:
        cluster.fill()
        with pytest.raises(ServerFailed, match="space exceeded"):
            cluster.etcdctl("put", "a", "1")
        cluster.make_space()
        cluster.etcdctl("put", "a", "1")


def test_consul_elects_another_leader_and_keeps_three_voters(consul: ConsulCluster) -> None:
    with ConsulCluster(members=3) as cluster:
        old = cluster.leader()
        old.kill()
        assert cluster.leader() is not old
        assert cluster.request("PUT", "/v1/kv/a", b"1") == (200, True)
        old.restart()
        cluster.wait_for_voters()


def test_consul_policy_reaches_its_prefix_only(consul: ConsulCluster) -> None:
    with ConsulCluster(acl=True) as cluster:
        cluster.create_policy("small", 'key_prefix "locksmith/" { policy = "write" }')
        token = cluster.create_token(["small"])
        assert cluster.request("PUT", "/v1/kv/locksmith/a", b"1", token=token) == (200, True)
        assert cluster.request("PUT", "/v1/kv/elsewhere", b"1", token=token, check=False)[0] == http.client.FORBIDDEN


def test_servers_end_when_their_starter_is_killed(etcd34: EtcdCluster) -> None:
    program = (
        "import threading, time\nfrom tests.servers.etcd import EtcdCluster\ncluster = EtcdCluster('3.4')\n"
        "thread = threading.Thread(target=cluster.start); thread.start(); thread.join()\n"
        "print(cluster.members[0].process.pid, cluster.folder, cluster.members[0].healthy(), flush=True)\ntime.sleep(99)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid, folder, healthy = starter.stdout.readline().split()
        starter.kill()
    subprocess.run(["rm", "-rf", folder], check=True)
    assert healthy == "True"
    _eventually(lambda: not Path("/proc", pid).exists() or Path("/proc", pid, "stat").read_text().split()[2] == "Z")


class _Consul:
    """Plain HTTP through the proxy, one connection."""

    def __init__(self, proxy: TcpProxy) -> None:
        self.connection = http.client.HTTPConnection(*proxy.endpoint.split(":"), timeout=2)

    def put(self, key: str, value: bytes) -> bytes:
        self.connection.request("PUT", f"/v1/kv/{key}", value)
        return self.connection.getresponse().read()

    def close(self) -> None:
        self.connection.close()


def test_proxy_loses_one_answer_of_http_and_the_write_is_applied(consul: ConsulCluster, key_prefix: str) -> None:
    with TcpProxy(consul.endpoints[0]) as proxy, closing(_Consul(proxy)) as client:
        order = proxy.lose_next_answer(key_prefix.encode() + b"/b", skip=1)
        assert client.put(f"{key_prefix}/a", b"1") == b"true"
        assert client.put(f"{key_prefix}/b", b"2") == b"true"
        assert not order.lost
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            client.put(f"{key_prefix}/b", b"3")
        assert order.wait()
        assert consul.request("GET", f"/v1/kv/{key_prefix}/b")[1][0]["Value"] == "Mw=="
        client.close()
        assert client.put(f"{key_prefix}/b", b"4") == b"true"


def _put_message(key: str, value: str) -> bytes:
    return b"".join(bytes([tag, len(text)]) + text for tag, text in ((0x0A, key.encode()), (0x12, value.encode())))


def test_proxy_loses_one_answer_of_grpc_and_the_write_is_applied(etcd34: EtcdCluster, key_prefix: str) -> None:
    with TcpProxy(etcd34.endpoints[0]) as proxy, grpc.insecure_channel(proxy.endpoint) as channel:
        put = channel.unary_unary("/etcdserverpb.KV/Put")
        put(_put_message(f"{key_prefix}/a", "1"), timeout=10)
        order = proxy.lose_next_answer(f"{key_prefix}/b".encode())
        put(_put_message(f"{key_prefix}/a", "2"), timeout=10)
        assert not order.lost
        with pytest.raises(grpc.RpcError) as caught:
            put(_put_message(f"{key_prefix}/b", "3"), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert order.wait()
        assert etcd34.etcdctl("get", f"{key_prefix}/b", "--print-value-only") == "3\n"
        put(_put_message(f"{key_prefix}/b", "4"), timeout=10, wait_for_ready=True)


def test_proxy_cuts_swallows_and_heals_on_one_address(consul: ConsulCluster, key_prefix: str) -> None:
    with TcpProxy(consul.endpoints[0]) as proxy, closing(_Consul(proxy)) as client:
        assert client.put(f"{key_prefix}/a", b"1") == b"true"
        proxy.cut()
        client.close()
        with pytest.raises(ConnectionRefusedError):
            client.put(f"{key_prefix}/a", b"2")
        client.close()
        proxy.black_hole()
        with pytest.raises(TimeoutError):
            client.put(f"{key_prefix}/a", b"3")
        proxy.pass_all()
        client.close()
        assert consul.request("GET", f"/v1/kv/{key_prefix}/a")[1][0]["Value"] == "MQ=="
        assert client.put(f"{key_prefix}/a", b"4") == b"true"


def test_proxy_delays_answers(consul: ConsulCluster, key_prefix: str) -> None:
    with TcpProxy(consul.endpoints[0]) as proxy, closing(_Consul(proxy)) as client:
        proxy.delay(60)
        with pytest.raises(TimeoutError):
            client.put(f"{key_prefix}/a", b"1")
        _eventually(lambda: consul.request("GET", f"/v1/kv/{key_prefix}/a", check=False)[0] == http.client.OK)


def test_proxy_resets_the_client_when_nobody_listens_upstream() -> None:
    lost = pytest.raises((ConnectionError, http.client.HTTPException))
    with TcpProxy("127.0.0.1:1") as proxy, closing(_Consul(proxy)) as client, lost:
        client.put("a", b"1")


def test_certificates_are_for_loopback_and_not_the_stranger_s(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    for authority, trusted in ((made.ca, True), (made.untrusted_ca, False)):
        done = subprocess.run(
            ["openssl", "verify", "-CAfile", authority, "-verify_ip", "127.0.0.1", made.server_cert],
            capture_output=True,
            check=False,
        )
        assert (done.returncode == 0) is trusted


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "sources.list.d/debian.sources",
            """Types: deb
URIs: http://mirror/security
Suites: bookworm-security
Components: main

Types: deb deb-src
# a remark
URIs: http://mirror/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /keys
""",
        ),
        (
            "sources.list",
            "deb-src http://mirror/debian bookworm main\ndeb [signed-by=/keys] http://mirror/debian bookworm main",
        ),
    ],
)
def test_apt_source_keeps_everything_but_the_suite(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / file).write_text(text)
    lines = {
        name.lower(): value
        for name, _, value in (line.partition(": ") for line in source_for("sid", tmp_path).splitlines())
    }
    assert lines == {
        "types": "deb",
        "uris": "http://mirror/debian",
        "suites": "sid",
        "components": "main",
        "signed-by": "/keys",
    }


def test_apt_source_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AptFailed, match="no package source"):
        source_for("sid", tmp_path)


def _eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
