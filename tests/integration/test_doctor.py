"""lockctl doctor on real etcd and Consul: TLS, rights that are missing, endpoints that are down, the proof between nodes."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.places import HANG_SECONDS, LOCKCTL
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster

pytestmark = pytest.mark.servers

NODE = """
[node]
id = "n1"
boot_id_file = "{folder}/boot"
product_uuid_file = "{folder}/uuid"
[updates.p]
kind = "reboot-required"
"""
AGENT = """
key "locksmith/cfg" { policy = "read" }
key_prefix "locksmith/brake/" { policy = "write" }
key_prefix "locksmith/hold/" { policy = "read" }
key_prefix "locksmith/req/" { policy = "write" }
key_prefix "locksmith/lim/" { policy = "write" }
key_prefix "locksmith/own/" { policy = "write" }
key_prefix "locksmith/q/" { policy = "write" }
key_prefix "locksmith/node/" { policy = "write" }
key_prefix "locksmith/ev/" { policy = "write" }
session "locksmith" { policy = "write" }
"""
"""docs/protocol.md's store, as an agent needs it."""


class Machine:
    """A machine with one configuration file."""

    def __init__(self, folder: Path, url: str, **store: object) -> None:
        folder.mkdir()
        (folder / "boot").write_text("b-1\n")
        (folder / "uuid").write_text("aa5cd2b4-6a3e-4a4f-9a8e-0e2f6c7d8e9f\n")
        self.file = folder / "locksmith.toml"
        lines = [f'{key} = "{value}"\n' for key, value in {"url": url, "timeout": "20s", **store}.items()]
        self.file.write_text("[store]\n" + "".join(lines) + NODE.format(folder=folder))

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [str(LOCKCTL), *words, "--config", str(self.file), "--timeout", "60s"]
        return subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS, check=False)

    def doctor(self, *words: str) -> tuple[int, list[tuple[str, str, str]]]:
        said = self.run("doctor", "--json", *words)
        document = json.loads(said.stdout)
        return said.returncode, [(each["name"], each["state"], each["message"]) for each in document["checks"]]


def states(found: list[tuple[str, str, str]], name: str) -> list[str]:
    return [state for each, state, _ in found if each == name]


@pytest.fixture(scope="module")
def secure() -> Iterator[EtcdCluster]:
    with EtcdCluster("3.4", members=3, tls=True, auth=True) as cluster:
        yield cluster


@pytest.mark.timeout(240)
def test_etcd_with_tls_and_users(secure: EtcdCluster, tmp_path: Path) -> None:
    certificates = secure.certificates
    assert certificates is not None
    who = {"username": secure.user, "password_file": secure.password_file}
    machine = Machine(tmp_path / "a", secure.url(), ca_file=certificates.ca, **who)
    assert machine.run("set-max", "1").returncode == 0
    code, found = machine.doctor()
    assert code == 0, found
    assert states(found, "endpoint") == ["pass"] * 3
    assert states(found, "certificate") == ["warn"] * 4  # the test's certificates end in two days
    assert states(found, "rights") == states(found, "writes") == states(found, "members") == ["pass"]
    assert secure.etcdctl("get", "--prefix", "--keys-only", "locksmith/ev/doctor/").strip() == ""

    wrong = Machine(tmp_path / "b", secure.url(), ca_file=certificates.untrusted_ca, **who)
    code, found = wrong.doctor()
    assert code == 1
    assert states(found, "certificate").count("fail") == 3
    assert any("localhost, by locksmith test authority" in text for _, state, text in found if state == "fail")

    secure.etcdctl("role", "add", "few")
    for part in ("brake/", "req/", "lim/", "q/", "node/", "ev/"):
        secure.etcdctl("role", "grant-permission", "few", "readwrite", "--prefix=true", f"locksmith/{part}")
    for part in ("cfg", "hold/", "own/"):
        secure.etcdctl("role", "grant-permission", "few", "read", "--prefix=true", f"locksmith/{part}")
    secure.etcdctl("user", "add", "few", "--new-user-password", secure.password)
    secure.etcdctl("user", "grant-role", "few", "few")
    poor = Machine(
        tmp_path / "c", secure.url(), ca_file=certificates.ca, username="few", password_file=secure.password_file
    )
    code, found = poor.doctor("--agent")
    refused = [text for name, state, text in found if (name, state) == ("rights", "fail")]
    assert code == 1
    assert len(refused) == 1, refused
    assert "write locksmith/own/" in refused[0]

    secure.members[0].kill()
    try:
        secure.leader()  # until one is elected, another member rightly says that it has none
        code, found = machine.doctor()
    finally:
        secure.members[0].restart()
    assert code == 0, found
    assert sorted(states(found, "endpoint")) == ["pass", "pass", "warn"], found


@pytest.mark.timeout(240)
def test_consul_with_the_rights_of_an_agent(tmp_path: Path) -> None:
    with ConsulCluster(acl=True) as cluster:
        (tmp_path / "master").write_text(cluster.master_token)
        operator = Machine(tmp_path / "o", cluster.url(), token_file=tmp_path / "master")
        assert operator.run("set-max", "1").returncode == 0
        assert operator.doctor()[0] == 0
        cluster.create_policy("agent", AGENT)
        (tmp_path / "token").write_text(cluster.create_token(["agent"]))
        machine = Machine(tmp_path / "a", cluster.url(), token_file=tmp_path / "token")
        code, found = machine.doctor("--agent")
        assert code == 0, found
        assert states(found, "rights") == ["pass"]
        code, found = machine.doctor("--operator")
        refused = [text for name, state, text in found if (name, state) == ("rights", "fail")]
        assert code == 1
        assert [text.split(": ", 1)[0].rpartition("/")[2] for text in refused] == ["cfg", "n1"], refused
        _, names = cluster.request("GET", "/v1/kv/locksmith/?keys=true")
        assert not [name for name in names if "/ev/doctor" in name or "/own/" in name or "/hold/" in name]
        # the agent's own rights are enough for the proof, on both sides
        word = machine.run("doctor", "--proof").stdout.strip()
        assert operator.run("doctor", "--proof", word).returncode == 0


@pytest.mark.timeout(240)
def test_two_etcds_that_are_not_one(etcd34: EtcdCluster, etcd35: EtcdCluster, key_prefix: str, tmp_path: Path) -> None:
    """The shape of kubernetes/kops#5407: each machine asks its own etcd, and each is content."""
    one = Machine(tmp_path / "a", etcd34.url(key_prefix))
    same = Machine(tmp_path / "b", etcd34.url(key_prefix))
    other = Machine(tmp_path / "c", etcd35.url(key_prefix))
    for machine in (one, other):
        assert machine.run("set-max", "1").returncode == 0
    word = one.run("doctor", "--proof").stdout.strip()
    assert same.run("doctor", "--proof", word).returncode == 0
    said = other.run("doctor", "--proof", word)
    assert said.returncode == 1
    assert "another store" in said.stderr
