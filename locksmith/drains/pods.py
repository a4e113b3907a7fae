"""Which pods of a node a drain has to move: values in, values out.

The ideas a reader would miss. A pod that is *left* is not safe from the reboot: it goes down with the machine, asks no
disruption budget, and the kubelet starts it again after the boot, in the same place. With its emptyDir that is what keeps
the data (disk, not memory): an evicted pod loses it for good. A pod without a controller that is evicted never comes back.
So neither is done unless somebody chose it, and the default is to refuse before anything was touched.

The order of the rules follows kubectl (pkg/drain/filters.go); Kubernetes API reference v1.30: Pod, OwnerReference.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from locksmith.core.durations import parse_rfc3339
from locksmith.host.kube import mapping, objects

Choice = Literal["refuse", "evict", "leave"]
MIRROR = "kubernetes.io/config.mirror"
"""The annotation of a pod that the kubelet runs from a file: the API cannot stop it."""


@dataclass(frozen=True, slots=True)
class PodRules:
    """What to do with pods that lose something. `forget_after`: pods that were to be gone that long ago are not waited for."""

    emptydir: Choice = "refuse"
    bare: Choice = "refuse"
    forget_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod. `leaving`: it is being terminated already."""

    namespace: str
    name: str
    uid: str
    leaving: bool = False

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Sorted:
    """What is to be moved or waited for, what nobody has decided on (pod and why), and what stays by choice."""

    moving: tuple[Pod, ...]
    refused: tuple[tuple[Pod, str], ...]
    left: tuple[Pod, ...]


def sort(pods: Iterable[Mapping[str, Any]], rules: PodRules, now: datetime) -> Sorted:
    """Sort the pods of the node. `now` is aware."""
    moving: list[Pod] = []
    refused: list[tuple[Pod, str]] = []
    left: list[Pod] = []
    for document in pods:
        metadata = mapping(document, "metadata")
        deleted_at = metadata.get("deletionTimestamp")
        pod = Pod(str(metadata.get("namespace")), str(metadata.get("name")), str(metadata.get("uid")), bool(deleted_at))
        if _no_matter(document) or _forgotten(deleted_at, rules, now):
            continue
        if pod.leaving:
            moving.append(pod)
            continue
        choices = [(choice, why) for choice, why in _losses(document, rules) if choice != "evict"]
        undecided = [why for choice, why in choices if choice == "refuse"]
        if undecided:
            refused.append((pod, " and ".join(undecided)))
        elif choices:
            left.append(pod)
        else:
            moving.append(pod)
    return Sorted(tuple(moving), tuple(refused), tuple(left))


def _no_matter(pod: Mapping[str, Any]) -> bool:
    """Finished, or run by the node itself: a DaemonSet would put it back at once, whatever is cordoned."""
    if mapping(pod, "status").get("phase") in ("Succeeded", "Failed"):
        return True
    if MIRROR in mapping(pod, "metadata", "annotations"):
        return True
    return _controller(pod) == "DaemonSet"


def _losses(pod: Mapping[str, Any], rules: PodRules) -> list[tuple[Choice, str]]:
    found: list[tuple[Choice, str]] = []
    if any(volume.get("emptyDir") is not None for volume in objects(mapping(pod, "spec"), "volumes")):
        found.append((rules.emptydir, "has an emptyDir, whose data an eviction deletes (--emptydir evict or leave)"))
    if not _controller(pod):
        found.append((rules.bare, "has no controller that would start it elsewhere (--bare evict or leave)"))
    return found


def _controller(pod: Mapping[str, Any]) -> str:
    for owner in objects(mapping(pod, "metadata"), "ownerReferences"):
        if owner.get("controller"):
            return str(owner.get("kind") or "")
    return ""


def _forgotten(deleted_at: object, rules: PodRules, now: datetime) -> bool:
    """The deletion timestamp is when the grace period ends, in the API server's clock."""
    if not deleted_at or rules.forget_after is None:
        return False
    try:
        return now - parse_rfc3339(str(deleted_at)) > rules.forget_after
    except ValueError:
        return False
