"""Where the Kubernetes API is and how we prove who we are: a kubeconfig, or the files of a service account. The door to PyYAML.

The ideas a reader would miss. Whatever we cannot honour is refused by its name, never passed over: a kubeconfig with a
plugin or a proxy would otherwise work by accident, with other rights than its owner believes. And keys that stand in the
file itself are handed to TLS through memory that has a name below /proc, so that none of them reaches a disk.

The format: client-go `Config` v1, https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/.
"""

import base64
import binascii
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from locksmith.errors import ConfigError
from locksmith.host.tls import Tls, unsendable

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""What a pod finds: `token` (renewed every hour) and `ca.crt`."""
USUAL_PLACES = (
    Path("/etc/locksmith/kubeconfig"),
    Path("/etc/kubernetes/kubelet.conf"),
    Path("/var/lib/kubelet/kubeconfig"),
    Path("/var/lib/rancher/k3s/agent/kubelet.kubeconfig"),
    Path("/var/lib/rancher/rke2/agent/kubelet.kubeconfig"),
    Path("/etc/rancher/k3s/k3s.yaml"),
    Path("/etc/rancher/rke2/rke2.yaml"),
)
"""First the one made for us, then what the kubelet has (kubeadm, clouds, k3s, RKE2), at last an administrator's."""

_REFUSED_USER = {
    "exec": "a credential plugin (exec), and none is run from here",
    "auth-provider": "an auth-provider, which Kubernetes itself has removed",
    "username": "a password, which Kubernetes itself has removed",
    "as": "impersonation (as), which is not done from here",
}
_REFUSED_CLUSTER = {
    "insecure-skip-tls-verify": "an API server that is not verified (insecure-skip-tls-verify)",
    "proxy-url": "a proxy (proxy-url)",
    "tls-server-name": "another name for the server's certificate (tls-server-name)",
}
_REMEDY = "give a certificate, a token or a tokenFile in a kubeconfig of its own, such as /etc/locksmith/kubeconfig"


@dataclass(frozen=True, slots=True)
class Access:
    """`server` is a URL without a slash at its end; `origin` names the file, for messages. `token` "": that of `tls`, if any."""

    server: str
    tls: Tls
    origin: str
    token: str = field(default="", repr=False)
    _held: tuple["_InMemory", ...] = field(default=(), repr=False)


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    service_account: Path = SERVICE_ACCOUNT,
    places: Sequence[Path] = USUAL_PLACES,
) -> Access:
    """The access that is meant: `path`, else KUBECONFIG, else the pod's service account, else the first of the usual places.

    Raises ConfigError, which names the file and the remedy and holds no secret.
    """
    if path is not None:
        return _from_files((path,))
    given = os.environ if environ is None else environ
    listed = [Path(each) for each in given.get("KUBECONFIG", "").split(os.pathsep) if each]
    if listed:
        present = [each for each in listed if each.exists()]
        if not present:
            raise ConfigError(f"KUBECONFIG names no file that is there: {listed[0]}")
        return _from_files(present)
    host = given.get("KUBERNETES_SERVICE_HOST")
    if host and (service_account / "token").exists():
        bracketed = f"[{host}]" if ":" in host else host
        server = f"https://{bracketed}:{given.get('KUBERNETES_SERVICE_PORT', '443')}"
        tls = Tls(ca_file=service_account / "ca.crt", token_file=service_account / "token")
        return Access(server, tls, str(service_account))
    for each in places:
        if each.exists():
            return _from_files((each,))
    raise ConfigError(
        "no kubeconfig found: name one (kubeconfig, --kubeconfig or KUBECONFIG), or put one at "
        f"{places[0] if places else USUAL_PLACES[0]}"
    )


def _from_files(paths: Sequence[Path]) -> Access:
    documents = [(path, _document(path)) for path in paths]
    where = paths[0]
    context_name = next((str(name) for _, document in documents if (name := document.get("current-context"))), "")
    if not context_name:
        raise ConfigError(f"{where} has no current-context: set one with `kubectl config use-context`")
    _, context = _entry(documents, "context", context_name, where)
    cluster_file, cluster = _entry(documents, "cluster", str(context.get("cluster", "")), where)
    user_file, user = _entry(documents, "user", str(context.get("user", "")), where)
    _refuse(cluster, _REFUSED_CLUSTER, cluster_file)
    _refuse(user, _REFUSED_USER, user_file)
    server = str(cluster.get("server", "")).rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise ConfigError(f"{cluster_file}: the cluster has no server that begins with https://")
    held: list[_InMemory] = []
    ca_file = _file(cluster, "certificate-authority", cluster_file, held)
    cert_file = _file(user, "client-certificate", user_file, held)
    key_file = _file(user, "client-key", user_file, held)
    token_file = _relative(user.get("tokenFile"), user_file)
    token = "" if token_file is not None else _token(user, user_file)
    return Access(server, Tls(ca_file, cert_file, key_file, token_file), str(user_file), token, tuple(held))


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Nothing of what stands there: it may be a key.
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise ConfigError(f"{path} is not YAML{line}: is it a kubeconfig?") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is no kubeconfig: it holds no mapping")
    return document


def _entry(
    documents: Sequence[tuple[Path, Mapping[str, Any]]], kind: str, name: str, where: Path
) -> tuple[Path, dict[str, Any]]:
    """The first entry of that name, and the file that has it. A user without content is one, too: it has a token elsewhere."""
    for path, document in documents:
        entries = document.get(f"{kind}s")
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and entry.get("name") == name:
                content = entry.get(kind)
                return path, content if isinstance(content, dict) else {}
    raise ConfigError(f"{where} names the {kind} {name!r} and has none of that name")


def _refuse(content: Mapping[str, Any], refused: Mapping[str, str], path: Path) -> None:
    for key, words in refused.items():
        if content.get(key):
            raise ConfigError(f"{path} uses {words}: {_REMEDY}")


def _relative(value: object, path: Path) -> Path | None:
    """Paths in a kubeconfig are relative to it."""
    return path.parent / str(value) if value else None


def _file(content: Mapping[str, Any], key: str, path: Path, held: list["_InMemory"]) -> Path | None:
    inline = content.get(f"{key}-data")  # goes before the file, as in client-go
    if not inline:
        return _relative(content.get(key), path)
    try:
        made = _InMemory(base64.b64decode(str(inline), validate=False))
    except (binascii.Error, ValueError):
        raise ConfigError(f"{path}: {key}-data is not base64") from None
    held.append(made)
    return made.path


def _token(user: Mapping[str, Any], path: Path) -> str:
    token = str(user.get("token") or "")
    if token and (why := unsendable(token)):
        raise ConfigError(f"{path}: the token is {why}")
    return token


class _InMemory:
    """A file that is nowhere but in this process; gone with the last reference."""

    def __init__(self, content: bytes) -> None:
        descriptor = os.memfd_create("locksmith")
        self._finalizer = weakref.finalize(self, os.close, descriptor)
        os.write(descriptor, content)
        self.path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")
