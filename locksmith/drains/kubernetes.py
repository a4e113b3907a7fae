"""Kubernetes: cordon this node and evict its pods, honouring disruption budgets; uncordon what we cordoned.

The ideas a reader would miss. The mark that *we* cordoned is an annotation, written by the very patch that cordons and on
the condition that nobody changed the node meanwhile: there is no moment at which one is there without the other, and a
node that an administrator has cordoned never gets the mark. Who uncordons by hand leaves the mark, so whose a later cordon
is, is asked from the API, which keeps for each field who has set it (managedFields, since 1.18). And an eviction names the
uid of its pod: a StatefulSet's pod may be back under the same name on another node before our request arrives.

Kubernetes API reference v1.30: Node, Pod, Eviction, ManagedFieldsEntry; a manager that gives no name has that of its User-Agent
(managerOrUserAgent in apiserver's handlers/create.go), and more than ten become "ancient-changes" (capmanagers.go). https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from locksmith.core.durations import format_duration
from locksmith.drains.ending import Done, Ending, NotDone, Patience, Say
from locksmith.drains.pods import Pod, PodRules, Sorted, sort
from locksmith.host.clock import Clock
from locksmith.host.identity import KERNEL_BOOT_ID
from locksmith.host.kube import USER_AGENT, Document, KubeApi, Trouble, mapping, object_path, objects
from locksmith.host.kube_node import LEASE_GROUP, LEASE_NAMESPACE, Ready, readiness
from locksmith.host.kubeconfig import Access

CORDONED_BY = "locksmith/cordoned-by"
"""The annotation; its value is the token of the slot for which the node was cordoned."""
REQUEST = timedelta(seconds=10)
POLL = 2.0
"""Seconds between two looks at the pods that are still there."""
EVICT_AGAIN = 5.0
"""Seconds before a refused eviction is tried again, as kubectl does."""
CONFLICT = 0.1
"""Seconds before a node that changed under our hands is read again."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class DrainRules:
    """`grace`: seconds for each pod, None for its own. `selector`: a label selector, "" for all pods.

    `go_on`: when the time is over, the drain counts as done with pods still there.
    """

    pods: PodRules = field(default_factory=PodRules)
    grace: int | None = None
    selector: str = ""
    go_on: bool = False


@dataclass(slots=True)
class _Told:
    """What became of each pod (by uid): when it may be asked again, why it is still there, and the lines already said."""

    next: dict[str, float] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)


class KubernetesDrain:
    """The drain of one node. `token` is the slot's, and marks what is ours."""

    def __init__(self, access: Access, node: str, patience: Patience, clock: Clock, say: Say) -> None:
        """All waiting comes out of `patience`."""
        self._access = access
        self._node = node
        self._patience = patience
        self._clock = clock
        self._say = say

    # ---------------------------------------------------------------- drain

    def drain(self, rules: DrainRules, token: str) -> Ending:
        """Cordon and evict. Twice is the same as once."""
        refused = self._cordon(token)
        if refused is not None:
            return refused
        version = self._eviction_version()
        return version if isinstance(version, NotDone) else self._evict_all(rules, version)

    def _cordon(self, token: str) -> NotDone | None:
        while True:
            answer = self._api.get(self._path)
            if not isinstance(answer, Trouble):
                patch = cordon_patch(answer, token)
                if patch is None:
                    whose = "an earlier try of ours" if _ours(answer) else "somebody else, and stays so"
                    self._say(f"node {self._node} is cordoned already, by {whose}")
                    return None
                answer = self._api.patch(self._path, patch)
            if not isinstance(answer, Trouble):
                self._say(f"node {self._node} cordoned")
                return None
            if answer.lasting or self._patience.over:
                return NotDone(f"cannot cordon node {self._node}: {answer.reason}")
            self._patience.wait(CONFLICT if answer.status == HTTPStatus.CONFLICT else POLL)

    def _eviction_version(self) -> str | NotDone:
        """The API's own word for the version of `pods/eviction`: policy/v1 since 1.22, policy/v1beta1 before."""
        while True:
            found = self._api.get("/api/v1")
            if not isinstance(found, Trouble):
                return eviction_version(found)
            if found.status == HTTPStatus.FORBIDDEN:
                return "policy/v1"  # discovery may be closed; evicting need not be
            if found.lasting or self._patience.over:
                return NotDone(f"cannot ask which evictions there are: {found.reason}")
            self._patience.wait(POLL)

    def _evict_all(self, rules: DrainRules, version: str) -> Ending:
        """Evict, wait, and look again, until no pod is left that matters."""
        told = _Told()
        while True:
            found = self._pods(rules)
            if isinstance(found, Trouble):
                if found.lasting or self._patience.over:
                    return NotDone(f"cannot list the pods of node {self._node}: {found.reason}")
            elif found.refused:
                return NotDone(_refusal(found))
            elif isinstance(node := self._api.get(self._path), Trouble):
                if node.lasting or self._patience.over:
                    return NotDone(f"cannot see whether node {self._node} is still cordoned: {node.reason}")
            elif not mapping(node, "spec").get("unschedulable"):
                return NotDone(f"node {self._node} was uncordoned by somebody else while it was drained")
            elif not found.moving:
                left = f", {len(found.left)} stay and go down with it" if found.left else ""
                return Done(f"node {self._node} is drained{left}")
            else:
                problem = self._round(found, rules, version, told)
                if problem is not None:
                    return problem
                if self._patience.over:
                    return self._late(rules, found, told.why)
            self._patience.wait(POLL)

    def _round(self, found: Sorted, rules: DrainRules, version: str, told: "_Told") -> NotDone | None:
        """Ask once for each pod whose turn it is."""
        for pod in found.moving:
            if pod.leaving:
                told.why[pod.uid] = "is terminating"
            elif told.next.get(pod.uid, 0.0) <= self._patience.now() and not self._patience.over:
                problem = self._evict(pod, rules, version)
                if problem is not None and problem.lasting:
                    return NotDone(f"cannot evict {pod}: {problem.reason}")
                pause = max(EVICT_AGAIN, problem.retry_after if problem is not None else 0.0)
                told.next[pod.uid] = self._patience.now() + pause
                told.why[pod.uid] = problem.reason if problem is not None else "was told to end"
            line = f"{pod}: {told.why.get(pod.uid, 'waits for its turn')}"
            if line not in told.said:
                told.said.add(line)
                self._say(line)
        return None

    def _evict(self, pod: Pod, rules: DrainRules, version: str) -> Trouble | None:
        """None: it was told to end, or it is not there any more."""
        options: Document = {"preconditions": {"uid": pod.uid}}
        if rules.grace is not None:
            options["gracePeriodSeconds"] = rules.grace
        eviction = {
            "apiVersion": version,
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": options,
        }
        answer = self._api.create(f"{object_path('pods', pod.name, pod.namespace)}/eviction", eviction)
        if not isinstance(answer, Trouble) or answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status == HTTPStatus.FORBIDDEN and "NamespaceTerminating" in answer.causes:
            return Trouble(answer.reason, answer.status)  # goes by itself, as kubectl has it
        return answer

    def _late(self, rules: DrainRules, found: Sorted, waiting: dict[str, str]) -> Ending:
        pods = [f"{pod}: {waiting.get(pod.uid, 'not asked yet')}" for pod in found.moving]
        shown = "; ".join(pods[:_SHOWN]) + (f"; and {len(pods) - _SHOWN} more" if len(pods) > _SHOWN else "")
        limit = format_duration(self._patience.limit)
        if rules.go_on:
            return Done(f"going on after {limit} although pods are still there: {shown}")
        return NotDone(f"pods are still there after {limit}: {shown}")

    def _pods(self, rules: DrainRules) -> Sorted | Trouble:
        query = {"fieldSelector": f"spec.nodeName={self._node}"}
        if rules.selector:
            query["labelSelector"] = rules.selector
        items = self._api.items("/api/v1/pods", query)
        return items if isinstance(items, Trouble) else sort(items, rules.pods, self._clock.wall())

    # ---------------------------------------------------------------- undo and back

    def uncordon(self, ready_since: datetime | None, boot_id_file: Path = KERNEL_BOOT_ID) -> Ending:
        """Uncordon if the node is cordoned by us. With `ready_since`, the time of the boot, only once it is Ready in it."""
        while True:
            node = self._api.get(self._path)
            if isinstance(node, Trouble):
                # After a boot the kubelet may have to register the node anew.
                registers = ready_since is not None and node.status == HTTPStatus.NOT_FOUND
                waits, lasting = node.reason, node.lasting and not registers
            elif not _ours(node):
                return Done(f"node {self._node} was not cordoned by us: it stays as it is")
            else:
                cordoned = bool(mapping(node, "spec").get("unschedulable"))
                waits, lasting = self._not_ready(node, ready_since, boot_id_file) if cordoned else "", False
                if not waits:
                    patched = self._api.patch(self._path, uncordon_patch(node))
                    if not isinstance(patched, Trouble):
                        whom = "uncordoned" if cordoned else "was uncordoned by somebody else"
                        return Done(f"node {self._node} {whom}")
                    waits, lasting = patched.reason, patched.lasting
            if lasting or self._patience.over:
                return NotDone(f"node {self._node} stays cordoned: {waits}")
            self._patience.wait(POLL)

    def _not_ready(self, node: Document, ready_since: datetime | None, boot_id_file: Path) -> str:
        if ready_since is None:
            return ""
        lease = self._api.get(object_path("leases", self._node, LEASE_NAMESPACE, LEASE_GROUP))
        try:
            boot_id = boot_id_file.read_text(errors="replace").strip()
        except OSError:
            boot_id = ""
        found = readiness(node, None if isinstance(lease, Trouble) else lease, ready_since, boot_id)
        return "" if isinstance(found, Ready) else found.reason

    @property
    def _api(self) -> KubeApi:
        return KubeApi(self._access, self._patience.request(REQUEST))

    @property
    def _path(self) -> str:
        return object_path("nodes", self._node)


def cordon_patch(node: Document, token: str) -> Document | None:
    """The patch that cordons and says by whom; None when there is nothing to do: it is cordoned, by us or by others."""
    if mapping(node, "spec").get("unschedulable"):
        return None
    metadata = {"resourceVersion": _version(node), "annotations": {CORDONED_BY: token}}
    return {"metadata": metadata, "spec": {"unschedulable": True}}


def uncordon_patch(node: Document) -> Document:
    """The patch that takes cordon and mark back together."""
    return {
        "metadata": {"resourceVersion": _version(node), "annotations": {CORDONED_BY: None}},
        "spec": {"unschedulable": None},
    }


def eviction_version(resources: Document) -> str | NotDone:
    """From the APIResourceList of `v1`. Before the group stood there (1.4 and older) it was policy/v1beta1."""
    for resource in objects(resources, "resources"):
        if resource.get("name") == "pods/eviction":
            group, version = resource.get("group"), resource.get("version")
            return f"{group}/{version}" if group and version else "policy/v1beta1"
    return NotDone("this Kubernetes API has no evictions, and pods are not deleted past their disruption budgets")


def _ours(node: Document) -> bool:
    """It bears the mark, and the API does not say that somebody else has cordoned it since."""
    if CORDONED_BY not in mapping(node, "metadata", "annotations"):
        return False
    owners = {
        each.get("manager")
        for each in objects(mapping(node, "metadata"), "managedFields")
        if "f:unschedulable" in mapping(each, "fieldsV1", "f:spec")
    }
    return not owners or not owners.isdisjoint({USER_AGENT, "ancient-changes"})


def _version(node: Document) -> Any:
    return mapping(node, "metadata").get("resourceVersion")


def _refusal(found: Sorted) -> str:
    lines = [f"{pod} {why}" for pod, why in found.refused]
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"not evicted, and so not drained: {'; '.join(lines[:_SHOWN])}{more}"
