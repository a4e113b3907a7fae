"""Whether a Kubernetes node is Ready in this boot, and not only still called so.

The idea a reader would miss: for up to 40 s after a quick reboot the API still shows the Ready of the boot before. A status
counts when the kubelet wrote it in this boot: it names this boot's id or, where either id is unknown, its heartbeat is newer
than the boot. And the kubelet lives when its heartbeat or its Lease is newer than the boot. Both times are written by this
host's own clock, which may begin a boot with a time before the last report of the one before; hence the id goes first.

Kubernetes API reference v1.30: NodeCondition `Ready`, NodeSystemInfo.bootID, Lease.spec.renewTime in `kube-node-lease`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from locksmith.core.durations import parse_rfc3339, rfc3339
from locksmith.host.kube import mapping, objects
from locksmith.host.outcome import printable

LEASE_NAMESPACE = "kube-node-lease"
LEASE_GROUP = "coordination.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Ready:
    """The kubelet of this boot says so."""


@dataclass(frozen=True, slots=True)
class NotReady:
    """It does not, or not yet."""

    reason: str


def readiness(
    node: Mapping[str, Any], lease: Mapping[str, Any] | None, booted_at: datetime, boot_id: str
) -> Ready | NotReady:
    """Judge what the API shows. `lease` None: it could not be read. `boot_id` "" when it is unknown. `booted_at` is aware."""
    name = str(mapping(node, "metadata").get("name") or "?")
    condition = _condition(node)
    if condition is None:
        return NotReady(f"node {name} has not reported yet")
    heartbeat = _time(condition.get("lastHeartbeatTime"))
    renewed = _time(mapping(lease or {}, "spec").get("renewTime"))
    named = mapping(node, "status", "nodeInfo").get("bootID") or ""
    same_boot, other_boot = boot_id != "" and named == boot_id, "" not in {boot_id, named} and named != boot_id
    if condition.get("status") != "True":
        words = ": ".join(printable(str(condition[key])) for key in ("reason", "message") if condition.get(key))
        return NotReady(f"node {name} is not Ready{f': {words}' if words else ''}")
    if heartbeat is not None and heartbeat >= booted_at and not other_boot:
        return Ready()
    last = f" (last report {rfc3339(heartbeat)})" if heartbeat is not None else ""
    if not same_boot:
        return NotReady(f"node {name} has not reported in this boot yet{last}")
    if renewed is None or renewed < booted_at:
        return NotReady(f"the kubelet of node {name} has not been heard in this boot yet{last}")
    return Ready()


def _condition(node: Mapping[str, Any]) -> dict[str, Any] | None:
    conditions = objects(mapping(node, "status"), "conditions")
    return next((each for each in conditions if each.get("type") == "Ready"), None)


def _time(value: object) -> datetime | None:
    try:
        return parse_rfc3339(str(value)) if value else None
    except ValueError:
        return None
