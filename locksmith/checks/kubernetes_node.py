"""Whether this host is a Ready node of its Kubernetes cluster, by a kubelet of this boot.

The idea a reader would miss: "the cluster has no such node" is an answer and closes; a cluster that does not answer is
none, and so unknown. The kubeconfig is read again when it changes, since k3s and kubeadm write a new one on renewal.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path

from locksmith.checks import Occasion, Role
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.errors import ConfigError
from locksmith.host.identity import KERNEL_BOOT_ID, host_name
from locksmith.host.kube import KubeApi, Trouble, object_path
from locksmith.host.kube_node import LEASE_GROUP, LEASE_NAMESPACE, Ready, readiness
from locksmith.host.kubeconfig import Access, load


class KubernetesNode:
    """Open when the node is Ready and its kubelet has reported in this boot."""

    def __init__(  # noqa: PLR0913, PLR0917 - one argument a key of the configuration
        self,
        name: str,
        role: Role,
        node: str | None,
        kubeconfig: Path | None,
        timeout: timedelta,
        booted_at: Callable[[], datetime],
        *,
        boot_id_file: Path = KERNEL_BOOT_ID,
        find: Callable[[Path | None], Access] = load,
    ) -> None:
        """`node` None: the host name. `kubeconfig` None: KUBECONFIG, the pod's service account or the usual places.

        `timeout` is for both requests together; `booted_at` gives the aware time of this boot.
        """
        self._name = name
        self._role: Role = role
        self._node = node or host_name().lower()  # the kubelet's own default
        self._kubeconfig = kubeconfig
        self._timeout = timeout
        self._booted_at = booted_at
        self._boot_id_file = boot_id_file
        self._find = find
        self._stamp: tuple[int, ...] | None = None
        self._access: Access | None = None

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    @property
    def kind(self) -> str:
        """See Check: `gate` or `health`."""
        return self._role

    def ask(self, occasion: Occasion) -> Verdict:  # noqa: ARG002 - see Check
        """See Check."""
        try:
            access = self._current()
        except ConfigError as error:
            return Unknown(str(error))
        api = KubeApi(access, self._timeout / 2)
        node = api.get(object_path("nodes", self._node))
        if isinstance(node, Trouble):
            if node.status == HTTPStatus.NOT_FOUND:
                return Closed(f"the cluster has no node {self._node}: set `node` if it has another name there")
            return Unknown(node.reason)
        booted_at, boot_id = self._booted_at(), self._boot_id()
        found = readiness(node, None, booted_at, boot_id)
        if not isinstance(found, Ready):
            # Only a Ready node with an old heartbeat needs its Lease looked at; the others are not helped by it.
            lease = api.get(object_path("leases", self._node, LEASE_NAMESPACE, LEASE_GROUP))
            found = readiness(node, None if isinstance(lease, Trouble) else lease, booted_at, boot_id)
        return Open(f"node {self._node} is Ready") if isinstance(found, Ready) else Closed(found.reason)

    def _current(self) -> Access:
        """Raises ConfigError."""
        if self._access is None or self._stamp != _stamp(self._access.origin):
            self._access = self._find(self._kubeconfig)
            self._stamp = _stamp(self._access.origin)
        return self._access

    def _boot_id(self) -> str:
        try:
            return self._boot_id_file.read_text(errors="replace").strip()
        except OSError:
            return ""


def _stamp(origin: str) -> tuple[int, ...] | None:
    try:
        stat = Path(origin).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
