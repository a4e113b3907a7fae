"""Kubeconfigs as kubeadm, k3s and clouds write them; the format: client-go Config v1."""

import base64
import contextlib
import gc
import os
from pathlib import Path

import pytest

from locksmith.errors import ConfigError
from locksmith.host.kubeconfig import Access, load

K3S = """
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {ca}
    server: https://127.0.0.1:6443
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
preferences: {{}}
users:
- name: default
  user:
    client-certificate-data: {cert}
    client-key-data: {key}
"""
"""Constructed after what k3s writes to /etc/rancher/k3s/k3s.yaml."""
KUBELET = """
apiVersion: v1
kind: Config
current-context: default-context
clusters: [{name: default-cluster, cluster: {server: "https://10.0.0.1:6443/", certificate-authority: pki/ca.crt}}]
contexts: [{name: default-context, context: {cluster: default-cluster, namespace: default, user: default-auth}}]
users:
- name: default-auth
  user: {client-certificate: /var/lib/kubelet/pki/current.pem, client-key: /var/lib/kubelet/pki/current.pem}
"""
"""Constructed after what kubeadm writes to /etc/kubernetes/kubelet.conf."""


def user(content: str, cluster: str = "server: https://k") -> str:
    return (
        f"current-context: c\nclusters: [{{name: k, cluster: {{{cluster}}}}}]\n"
        f"contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nusers: [{{name: u, user: {{{content}}}}}]\n"
    )


@pytest.fixture
def written(tmp_path):
    def write(text, name="config"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def test_what_stands_in_the_file_reaches_no_disk(written):
    path = written(K3S.format(ca=encoded("the ca"), cert=encoded("the cert"), key=encoded("the key")))
    access = load(path)
    assert (access.server, access.origin, access.token) == ("https://127.0.0.1:6443", str(path), "")
    files = [access.tls.ca_file, access.tls.cert_file, access.tls.key_file]
    assert [file.read_text() for file in files] == ["the ca", "the cert", "the key"]
    assert all(str(file).startswith("/proc/") for file in files)
    assert "the key" not in repr(access)


def test_descriptors_end_with_the_access(written):
    path = written(K3S.format(ca=encoded("a"), cert=encoded("b"), key=encoded("c")))
    access = load(path)
    numbers = [int(file.name) for file in (access.tls.ca_file, access.tls.cert_file, access.tls.key_file)]
    inodes = [os.fstat(number).st_ino for number in numbers]
    del access
    gc.collect()
    for number, inode in zip(numbers, inodes, strict=True):
        with contextlib.suppress(OSError):  # closed, or another thread's by now
            assert os.fstat(number).st_ino != inode


def test_paths_are_relative_to_the_file(written, tmp_path):
    access = load(written(KUBELET))
    assert access.server == "https://10.0.0.1:6443"
    assert access.tls.ca_file == tmp_path / "pki/ca.crt"
    assert access.tls.cert_file == access.tls.key_file == Path("/var/lib/kubelet/pki/current.pem")


def test_tokens(written, tmp_path):
    access = load(written(user("token: abc")))
    assert (access.token, access.tls.token_file) == ("abc", None)
    assert "abc" not in repr(access)
    access = load(written(user("token: abc, tokenFile: t")))  # the file goes first, as in client-go
    assert (access.token, access.tls.token_file) == ("", tmp_path / "t")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            user("exec: {command: aws}"),
            "uses a credential plugin \\(exec\\), and none is run from here: give a certificate",
        ),
        (user("auth-provider: {name: gcp}"), "uses an auth-provider"),
        (user("username: a, password: secret"), "uses a password"),
        (user("as: admin"), "uses impersonation"),
        (user("", "server: https://k, insecure-skip-tls-verify: true"), "insecure-skip-tls-verify"),
        (user("", "server: https://k, proxy-url: http://p"), "uses a proxy"),
        (user("", "server: https://k, tls-server-name: n"), "tls-server-name"),
        (user("", "server: k:6443"), "no server that begins with https://"),
        (user("", "server: https://k, certificate-authority-data: 'é'"), "certificate-authority-data is not base64"),
        (user("token: a b"), "not one word"),
        ("current-context: c\n", "names the context 'c' and has none"),
        ("apiVersion: v1\n", "has no current-context"),
        ("- a\n", "is no kubeconfig"),
        ("a: [secret\n", r"is not YAML \(line 2\)"),
        ("\0", "is not YAML"),
        (user("").replace("user: u", "user: other"), "names the user 'other' and has none"),
    ],
)
def test_what_cannot_be_honoured_is_refused(written, text, words):
    path = written(text)
    with pytest.raises(ConfigError, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_off_is_not_refused(written):
    assert load(written(user("", "server: https://k, insecure-skip-tls-verify: false"))).server == "https://k"


def test_kubeconfig_may_name_several_files(written, tmp_path):
    first = written("current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n", "first")
    (tmp_path / "sub").mkdir()
    second = written(user("tokenFile: t"), "sub/second")
    environ = {"KUBECONFIG": f"{tmp_path}/none:{first}:{second}"}
    access = load(environ=environ)
    assert access.tls.token_file == tmp_path / "sub/t"
    with pytest.raises(ConfigError, match="KUBECONFIG names no file that is there"):
        load(environ={"KUBECONFIG": f"{tmp_path}/none"})


def test_the_order_of_places(written, tmp_path):
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("t")
    usual = written(user("token: usual"), "usual")
    given = written(user("token: given"), "given")
    inside = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}

    def found(environ, path=None):
        return load(path, environ=environ, service_account=account, places=(tmp_path / "none", usual))

    assert found({**inside, "KUBECONFIG": str(usual)}, given).token == "given"
    assert found({**inside, "KUBECONFIG": str(given)}).token == "given"
    assert found(inside) == Access("https://[fd00::1]:6443", found(inside).tls, str(account))
    assert found(inside).tls.token_file == account / "token"
    assert found(inside).tls.ca_file == account / "ca.crt"
    assert found({}).token == "usual"
    with pytest.raises(ConfigError, match="no kubeconfig found"):
        load(environ={}, service_account=account, places=(tmp_path / "none",))


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*: no such file or directory"):
        load(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"cannot read .*: is a directory"):
        load(tmp_path)
