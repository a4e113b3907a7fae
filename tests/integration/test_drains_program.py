"""locksmith-drain as a process: exit codes, one line of reason, credentials in a kubeconfig over real TLS."""

import base64
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.certs import make_certificates
from tests.servers.kube import NODE, KubeStandIn, pod
from tests.servers.nomad import NomadStandIn

PROGRAM = Path(sys.executable).with_name("locksmith-drain")
LIMIT = 60

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def drain(tmp_path):
    def run(*words, code, **variables):
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("KUBE", "NOMAD", "CONSUL", "LOCKSMITH_"))
        }
        result = subprocess.run(
            [str(PROGRAM), *map(str, words)],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert result.returncode == code, result
        if code == 1:  # one line, since it becomes the reason of the agent
            assert result.stderr.startswith("locksmith-drain: ")
            assert result.stderr.count("\n") == 1
        if code == 2:  # click says it in several lines
            return result.stderr
        return (result.stderr if code else result.stdout).splitlines()[-1]

    return run


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certs"), client_name=f"system:node:{NODE}")


@pytest.fixture
def kube(certificates):
    """Asks for a client certificate, as the API server does with the kubelet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_cert, certificates.server_key)
    context.load_verify_locations(certificates.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    with KubeStandIn(context=context) as standing:
        yield standing


@pytest.fixture
def config(kube, certificates, tmp_path):
    def write(cert=certificates.client_cert, key=certificates.client_key, ca=certificates.ca, *, user=None):
        data = {
            name: base64.b64encode(path.read_bytes()).decode() for name, path in (("ca", ca), ("c", cert), ("k", key))
        }
        inline = f"{{client-certificate-data: {data['c']}, client-key-data: {data['k']}}}"
        path = tmp_path / "kubeconfig"
        path.write_text(
            f"current-context: c\nclusters: [{{name: k, cluster: {{server: '{kube.url}', "
            f"certificate-authority-data: {data['ca']}}}}}]\n"
            f"contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nusers: [{{name: u, user: {user or inline}}}]\n"
        )
        return path

    return write


def test_certificates_in_a_kubeconfig(drain, kube, config):
    kube.add(pod("a"), pod("b"))
    words = ("kubernetes", "drain", "--node", NODE, "--kubeconfig", config(), "--token", "42")
    assert drain(*words, code=0) == f"node {NODE} is drained"
    assert kube.annotations == {"locksmith/cordoned-by": "42"}
    assert drain("kubernetes", "undo", "--node", NODE, "--kubeconfig", config(), code=0) == f"node {NODE} uncordoned"


def test_a_server_and_a_client_that_are_not_trusted(drain, kube, config, certificates):
    words = ("kubernetes", "drain", "--node", NODE, "--timeout", "30s", "--kubeconfig")
    assert "certificate not trusted" in drain(*words, config(ca=certificates.untrusted_ca), code=1)
    stranger = config(certificates.untrusted_client_cert, certificates.untrusted_client_key)
    assert "the server refused our certificate" in drain(*words, stranger, code=1)
    assert kube.asked == []


def test_a_credential_plugin_is_refused(drain, config):
    line = drain("kubernetes", "drain", "--kubeconfig", config(user="{exec: {command: aws}}"), code=2)
    assert "uses a credential plugin (exec), and none is run from here" in line


def test_no_kubeconfig(drain):
    assert "KUBECONFIG names no file that is there" in drain("kubernetes", "drain", code=2, KUBECONFIG="/nonexistent/x")


def test_the_flags_of_kubectl(drain, kube, config):
    kube.add(pod("bare", owner=None), pod("cache", emptydir=True))
    words = ("kubernetes", "drain", "--node", NODE, "--kubeconfig", config())
    assert "not evicted, and so not drained: " in drain(*words, code=1)
    assert (
        drain(*words, "--force", "--delete-emptydir-data", "--grace-period", "3", code=0) == f"node {NODE} is drained"
    )
    assert {options["gracePeriodSeconds"] for _, options in kube.evicted} == {3}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("kubernetes",), "Missing argument"),
        (("kubernetes", "reboot"), "is not one of"),
        (("docker", "drain"), "No such command"),
        (("nomad", "drain", "--timeout", "90"), "is not a duration: write a number with its unit"),
        (("nomad", "drain", "--timeout", "1m", "--deadline", "1m"), "--deadline must be shorter than --timeout"),
        (("consul", "drain", "--address", "ftp://x"), "Consul: --address: the URL begins with neither"),
        (
            ("consul", "drain", "--token-file", "/nonexistent/token"),
            "Consul: token_file /nonexistent/token: no such file",
        ),
    ],
)
def test_wrong_usage(drain, words, said):
    assert said in drain(*words, code=2)


def test_help_of_each_kind(drain):
    for kind in ("kubernetes", "containers", "nomad", "consul"):
        drain(kind, "--help", code=0)


def test_no_service(drain, tmp_path):
    nothing = "http://127.0.0.1:1"
    state = ("--state-dir", tmp_path / "state")
    assert "Nomad does not answer: 127.0.0.1:1" in drain("nomad", "drain", "--address", nothing, *state, code=1)
    assert "connection refused" in drain("consul", "drain", "--address", nothing, "--timeout", "1s", code=1)
    line = drain("containers", "drain", "--socket", tmp_path / "none.sock", "--timeout", "1s", *state, code=1)
    assert "there is no such socket" in line
    assert not (tmp_path / "state").exists()


def test_variables_of_nomads_own_command_line(drain, tmp_path):
    with NomadStandIn() as nomad:
        nomad.token = "secret"
        state = ("--state-dir", tmp_path)
        line = drain("nomad", "drain", *state, code=0, NOMAD_ADDR=nomad.url, NOMAD_TOKEN="secret", LOCKSMITH_TOKEN="42")
        assert line.endswith(" is drained")
        assert nomad.node["LastDrain"]["Meta"]["locksmith"] == "42"
