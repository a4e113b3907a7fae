"""A stand-in for the Kubernetes API: one node, its pods, disruption budgets, evictions, leases.

No cluster runs here. It follows the Kubernetes API reference v1.30 (Node v1, Pod v1, Eviction v1, PodDisruptionBudget v1,
Lease v1, Status v1), "API-initiated Eviction", "Kubernetes API Concepts" (chunks, resourceVersion, merge patch), and for the
words of an eviction that is refused pkg/registry/core/pod/storage/eviction.go. What the API would refuse, it refuses, too.
"""

import copy
import ssl
from datetime import UTC, datetime
from typing import Any

from tests.servers.json_api import Asked, JsonApi, Said

NODE = "node1"
BOOT_ID = "3f2c6b4e-0000-4000-8000-000000000001"
MERGE_PATCH = "application/merge-patch+json"


def status(code: int, reason: str, message: str, **details: Any) -> Said:
    """A Status v1 of kind Failure."""
    document = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return Said(code, {**document, "message": message, "reason": reason, "details": details, "code": code})


def pod(
    name: str, *, app: str = "web", owner: str | None = "ReplicaSet", node: str = NODE, **more: Any
) -> dict[str, Any]:
    """A Pod v1. `more`: phase, annotations, emptydir, deleted (a time), namespace."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": more.get("namespace", "default"),
        "uid": f"uid-{name}",
        "labels": {"app": app},
    }
    if owner:
        reference = {"apiVersion": "apps/v1", "kind": owner, "name": app, "uid": "uid-owner", "controller": True}
        metadata["ownerReferences"] = [reference]
    if more.get("annotations"):
        metadata["annotations"] = more["annotations"]
    if more.get("deleted"):
        metadata["deletionTimestamp"] = more["deleted"]
    volumes = (
        [{"name": "scratch", "emptyDir": {}}] if more.get("emptydir") else [{"name": "c", "configMap": {"name": "c"}}]
    )
    return {
        "metadata": metadata,
        "spec": {"nodeName": node, "volumes": volumes},
        "status": {"phase": more.get("phase", "Running")},
    }


def node(*, ready: str = "True", heartbeat: datetime | None = None, boot_id: str = BOOT_ID) -> dict[str, Any]:
    """A Node v1."""
    at = (heartbeat or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": "Ready",
        "status": ready,
        "lastHeartbeatTime": at,
        "lastTransitionTime": at,
        "reason": "KubeletReady" if ready == "True" else "KubeletNotReady",
        "message": "kubelet is posting ready status" if ready == "True" else "container runtime is down",
    }
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": NODE, "uid": "uid-node", "resourceVersion": "100", "labels": {"a": "b"}},
        "spec": {},
        "status": {
            "conditions": [{"type": "DiskPressure", "status": "False"}, condition],
            "nodeInfo": {"bootID": boot_id},
        },
    }


class KubeStandIn(JsonApi):
    """One node and what runs on it. Change its fields before and between requests."""

    def __init__(self, *, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context=context)
        self.name = NODE
        self.node: dict[str, Any] | None = node()
        self.owners: list[str] = []
        """Who the API says has cordoned the node (managedFields); empty: it does not say."""
        self.pods: dict[str, dict[str, Any]] = {}
        self.lease: datetime | None = None
        self.token = ""
        """When set, what a request must bear."""
        self.budgets: dict[str, int] = {}
        """By app: how many evictions its disruption budget allows now. An app that is not here has none."""
        self.refusals_until_open: dict[str, int] = {}
        """By app: after that many refusals its budget allows one more eviction, as if a replica had become ready elsewhere."""
        self.looks_until_gone = 1
        """In how many lists an evicted pod still stands, terminating."""
        self.eviction_versions = ("policy/v1", "policy/v1beta1")
        self.page_limit = 1000
        self.evicted: list[tuple[str, dict[str, Any]]] = []
        self._terminating: dict[str, int] = {}

    def add(self, *pods: dict[str, Any]) -> None:
        self.pods.update({each["metadata"]["uid"]: each for each in pods})

    @property
    def cordoned(self) -> bool:
        return bool(self.node and self.node["spec"].get("unschedulable"))

    @property
    def annotations(self) -> dict[str, str]:
        return self.node["metadata"].get("annotations", {}) if self.node else {}

    def touch(self) -> None:
        """Somebody (the kubelet, most often) has changed the node."""
        assert self.node is not None
        self.node["metadata"]["resourceVersion"] = str(int(self.node["metadata"]["resourceVersion"]) + 1)

    # ---------------------------------------------------------------- the API

    def answer(self, asked: Asked) -> Said:
        with self.lock:
            if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
                return status(401, "Unauthorized", "Unauthorized")
            match asked.method, asked.path.split("/")[1:]:
                case "GET", ["api", "v1"]:
                    return self._resources()
                case "GET", ["api", "v1", "nodes", name]:
                    return self._read_node(name)
                case "PATCH", ["api", "v1", "nodes", name]:
                    return self._patch_node(name, asked)
                case "GET", ["api", "v1", "pods"]:
                    return self._list_pods(asked.query)
                case "POST", ["api", "v1", "namespaces", namespace, "pods", name, "eviction"]:
                    return self._evict(namespace, name, asked)
                case "GET", ["apis", "coordination.k8s.io", "v1", "namespaces", "kube-node-lease", "leases", name]:
                    return self._read_lease(name)
                case _:
                    return status(404, "NotFound", "the server could not find the requested resource")

    def _resources(self) -> Said:
        resources = [{"name": "nodes", "kind": "Node", "namespaced": False, "verbs": ["get", "patch"]}]
        if self.eviction_versions:
            group, version = self.eviction_versions[0].split("/")
            eviction = {
                "name": "pods/eviction",
                "kind": "Eviction",
                "group": group,
                "version": version,
                "verbs": ["create"],
            }
            resources.append({**eviction, "namespaced": True})
        return Said(200, {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources})

    def _read_node(self, name: str) -> Said:
        if self.node is None or name != self.name:
            return status(404, "NotFound", f'nodes "{name}" not found', name=name, kind="nodes")
        found = copy.deepcopy(self.node)
        if self.owners:
            entry = {"operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1"}
            fields = {"f:spec": {"f:unschedulable": {}}} if self.cordoned else {"f:spec": {}}
            found["metadata"]["managedFields"] = [
                {**entry, "manager": "kubelet", "fieldsV1": {"f:status": {"f:conditions": {}}}},
                *({**entry, "manager": name, "fieldsV1": fields} for name in self.owners),
            ]
        return Said(200, found)

    def _patch_node(self, name: str, asked: Asked) -> Said:
        if self.node is None or name != self.name:
            return self._read_node(name)
        if asked.headers.get("content-type") != MERGE_PATCH:
            return status(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        patch = copy.deepcopy(asked.body)
        wanted = patch.get("metadata", {}).pop("resourceVersion", None)
        if wanted is not None and wanted != self.node["metadata"]["resourceVersion"]:
            words = "the object has been modified; please apply your changes to the latest version and try again"
            return status(409, "Conflict", f'Operation cannot be fulfilled on nodes "{name}": {words}')
        _merge(self.node, patch)
        self.touch()
        return Said(200, copy.deepcopy(self.node))

    def _list_pods(self, query: dict[str, str]) -> Said:
        found = [each for each in self.pods.values() if _selected(each, query)]
        start = int(query.get("continue", "0"))
        size = min(int(query.get("limit", "0")) or self.page_limit, self.page_limit)
        more = {"continue": str(start + size)} if start + size < len(found) else {}
        if not more:
            self._pass_time()
        items = copy.deepcopy(found[start : start + size])
        return Said(
            200, {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1", **more}, "items": items}
        )

    def _pass_time(self) -> None:
        for uid in list(self._terminating):
            self._terminating[uid] -= 1
            if self._terminating[uid] < 0:
                del self._terminating[uid]
                self.pods.pop(uid, None)

    def _evict(self, namespace: str, name: str, asked: Asked) -> Said:
        body = asked.body or {}
        if body.get("apiVersion") not in self.eviction_versions or body.get("kind") != "Eviction":
            return status(400, "BadRequest", f"no kind {body.get('kind')} of {body.get('apiVersion')} here")
        if (body["metadata"].get("name"), body["metadata"].get("namespace")) != (name, namespace):
            return status(400, "BadRequest", "name in URL does not match name in Eviction object")
        found = next((each for each in self.pods.values() if _is(each, namespace, name)), None)
        if found is None:
            return status(404, "NotFound", f'pods "{name}" not found')
        options = body.get("deleteOptions") or {}
        uid = options.get("preconditions", {}).get("uid")
        if uid is not None and uid != found["metadata"]["uid"]:
            return status(409, "Conflict", f"the UID in the precondition ({uid}) does not match the UID in record")
        app = found["metadata"]["labels"]["app"]
        if app in self.budgets:
            if self.budgets[app] <= 0:
                return self._refuse(app)
            self.budgets[app] -= 1
        self.evicted.append((name, options))
        found["metadata"]["deletionTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._terminating[found["metadata"]["uid"]] = self.looks_until_gone
        return Said(201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})

    def _refuse(self, app: str) -> Said:
        if app in self.refusals_until_open:
            self.refusals_until_open[app] -= 1
            if self.refusals_until_open[app] <= 0:
                self.budgets[app] += 1
        cause = {
            "reason": "DisruptionBudget",
            "message": f"The disruption budget {app} needs 2 healthy pods and has 2 currently",
        }
        return status(
            429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", causes=[cause]
        )

    def _read_lease(self, name: str) -> Said:
        if self.lease is None:
            return status(404, "NotFound", f'leases.coordination.k8s.io "{name}" not found')
        renewed = self.lease.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed}
        return Said(
            200, {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": {"name": name}, "spec": spec}
        )


def _is(document: dict[str, Any], namespace: str, name: str) -> bool:
    return document["metadata"]["name"] == name and document["metadata"]["namespace"] == namespace


def _selected(document: dict[str, Any], query: dict[str, str]) -> bool:
    field, _, value = query.get("fieldSelector", "").partition("=")
    assert field in ("", "spec.nodeName")
    if field and document["spec"]["nodeName"] != value:
        return False
    label, _, value = query.get("labelSelector", "").partition("=")
    return not label or document["metadata"]["labels"].get(label) == value


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value
