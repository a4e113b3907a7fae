"""Consul's maintenance mode against a real Consul: what is ours, what outlives the agent, which rights are needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.consul import ConsulCluster
from tests.servers.fetch import ServerMissing
from tests.servers.process import wait_until

PROGRAM = Path(sys.executable).with_name("locksmith-drain")
LIMIT = 60

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


def cluster(**options):
    try:
        return ConsulCluster(**options)
    except ServerMissing as error:
        if os.environ.get("LOCKSMITH_REQUIRE_SERVERS"):
            raise
        pytest.skip(f"NOT TESTED: {error}")


@pytest.fixture(scope="module")
def consul():
    with cluster() as servers:
        yield servers


@pytest.fixture(autouse=True)
def no_maintenance(request):
    """Each test begins in service."""
    for name in ("consul", "locked"):
        if name in request.fixturenames:
            request.getfixturevalue(name).request("PUT", "/v1/agent/maintenance?enable=false")


@pytest.fixture(scope="module")
def locked():
    with cluster(acl=True) as servers:
        yield servers


def drain(servers, action, *words, code=0):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CONSUL", "LOCKSMITH_"))}
    environment |= {
        "CONSUL_HTTP_ADDR": servers.endpoints[0],
        "LOCKSMITH_TOKEN": "42",
        "LOCKSMITH_REASON": "libc6, é & more",
    }
    result = subprocess.run(
        [str(PROGRAM), "consul", action, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert result.returncode == code, result
    return (result.stderr if code else result.stdout).splitlines()[-1]


def reason(servers):
    """Of the maintenance mode; None when it is off."""
    check = servers.request("GET", "/v1/agent/checks")[1].get("_node_maintenance")
    return check["Notes"] if check else None


def test_on_and_off(consul):
    assert drain(consul, "drain") == "this node is in maintenance mode"
    assert reason(consul) == "locksmith: 42 libc6, é & more"
    assert drain(consul, "drain") == "this node is in maintenance mode"
    assert drain(consul, "back") == "this node is not in maintenance mode any more"
    assert reason(consul) is None
    assert drain(consul, "undo") == "this node is not in maintenance mode"


def test_somebody_elses_mode_stays(consul):
    consul.request("PUT", "/v1/agent/maintenance?enable=true&reason=disk+swap")
    assert drain(consul, "drain") == "somebody else has put this node into maintenance mode, and it stays so"
    assert drain(consul, "back") == "the maintenance mode is not ours: it stays"
    assert drain(consul, "undo") == "the maintenance mode is not ours: it stays"
    assert reason(consul) == "disk swap"


def test_the_mode_and_its_mark_outlive_the_agent(consul):
    """As over a reboot: the agent is killed, and a new one starts from its data."""
    drain(consul, "drain")
    consul.members[0].restart()
    wait_until(lambda: reason(consul) is not None, "the maintenance mode is not restored")
    assert reason(consul) == "locksmith: 42 libc6, é & more"
    drain(consul, "back")
    assert reason(consul) is None


def test_the_agent_comes_up_later_than_the_hook(consul):
    drain(consul, "drain")
    consul.members[0].kill()
    waiting = subprocess.Popen(
        [str(PROGRAM), "consul", "back", "--address", consul.endpoints[0], "--timeout", "60s"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        consul.members[0].restart()
        said, _ = waiting.communicate(timeout=LIMIT)
    finally:
        waiting.kill()
        waiting.wait(10)
    assert said.splitlines()[-1] == "this node is not in maintenance mode any more"


def test_the_rights_of_the_readme(locked, tmp_path):
    name = locked.members[0].name
    locked.create_policy("drain", f'node "{name}" {{ policy = "write" }}')
    locked.create_policy("other", 'node "other" { policy = "write" }')
    secret = locked.create_token(["drain"])
    token = tmp_path / "token"
    token.write_text(secret)
    assert drain(locked, "drain", "--token-file", token) == "this node is in maintenance mode"
    assert reason(locked) == "locksmith: 42 libc6, é & more"
    assert drain(locked, "back", "--token-file", token) == "this node is not in maintenance mode any more"
    token.write_text(locked.create_token(["other"]))
    assert "Consul says 403" in drain(locked, "drain", "--token-file", token, code=1)
    assert "Consul says 403" in drain(locked, "drain", code=1)
    drain(locked, "drain", "--token-file", _with(tmp_path, secret))
    locked.delete_token(secret)
    line = drain(locked, "back", "--token-file", _with(tmp_path, secret), code=1)
    assert "Consul says 403" in line
    assert reason(locked) is not None


def _with(folder, secret):
    path = folder / "again"
    path.write_text(secret)
    return path
