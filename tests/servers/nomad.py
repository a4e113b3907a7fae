"""A stand-in for Nomad's HTTP API: one client node, its allocations, drains.

No Nomad runs here. It follows website/content/api-docs/{nodes,agent}.mdx (Read Node, List Node Allocations, Drain Node,
Query Self), and for what a drain changes `updateNodeDrainImpl` of nomad/state/state_store.go and nomad/drainer/draining_node.go.
"""

import copy
from typing import Any

from tests.servers.json_api import Asked, JsonApi, Said

NODE = "1ac61e33-a465-2ace-f63f-cffa1285e7eb"


def allocation(name: str, *, kind: str = "service", status: str = "running") -> dict[str, Any]:
    return {
        "ID": f"id-{name}",
        "Name": name,
        "ClientStatus": status,
        "DesiredStatus": "run",
        "Job": {"ID": name, "Type": kind},
    }


class NomadStandIn(JsonApi):
    """Change its fields before and between requests."""

    def __init__(self, *, knows_last_drain: bool = True) -> None:
        super().__init__()
        self.knows_last_drain = knows_last_drain
        """False: Nomad before 1.1."""
        self.token = ""
        self.is_client = True
        self.registered = True
        self.allocations: list[dict[str, Any]] = []
        self.looks_until_ended = 1
        self.node: dict[str, Any] = {
            "ID": NODE,
            "Name": "mew",
            "Drain": False,
            "DrainStrategy": None,
            "SchedulingEligibility": "eligible",
            "Status": "ready",
        }
        if knows_last_drain:
            self.node["LastDrain"] = None
        self._looks = 0

    def answer(self, asked: Asked) -> Said:
        with self.lock:
            if self.token and asked.headers.get("x-nomad-token") != self.token:
                return Said(403, "Permission denied")
            match asked.method, asked.path.split("/")[1:]:
                case "GET", ["v1", "agent", "self"]:
                    client = {"client": {"node_id": NODE}} if self.is_client else {}
                    return Said(200, {"config": {}, "stats": {"nomad": {"server": "false"}, **client}})
                case "GET", ["v1", "node", node] if node == NODE and self.registered:
                    return Said(200, copy.deepcopy(self.node))
                case "GET", ["v1", "node", node, "allocations"] if node == NODE:
                    self._pass_time()
                    return Said(200, copy.deepcopy(self.allocations))
                case (("POST" | "PUT"), ["v1", "node", node, "drain"]) if node == NODE:
                    return self._drain(asked.body)
                case _:
                    return Said(404, "node not found")

    def drain_by(self, meta: dict[str, str]) -> None:
        """An operator's `nomad node drain`."""
        self._drain({"DrainSpec": {"Deadline": 10**12, "IgnoreSystemJobs": True}, "MarkEligible": False, "Meta": meta})

    def _drain(self, body: dict[str, Any]) -> Said:
        unknown = set(body) - {"NodeID", "DrainSpec", "MarkEligible", "Meta"}
        assert not unknown, unknown
        spec = body.get("DrainSpec")
        if spec is not None:
            assert set(spec) == {"Deadline", "IgnoreSystemJobs"}
            assert isinstance(spec["Deadline"], int), spec
            self.node.update({"Drain": True, "DrainStrategy": spec, "SchedulingEligibility": "ineligible"})
            self._looks = 0
            if self.knows_last_drain:
                self.node["LastDrain"] = {"Status": "draining", "Meta": body.get("Meta")}
        else:
            self.node.update({"Drain": False, "DrainStrategy": None})
            if body.get("MarkEligible"):
                self.node["SchedulingEligibility"] = "eligible"
            if self.node.get("LastDrain") and self.node["LastDrain"]["Status"] == "draining":
                self.node["LastDrain"]["Status"] = "canceled"
        return Said(200, {"EvalIDs": None, "NodeModifyIndex": 3742, "Index": 0})

    def _pass_time(self) -> None:
        if self.node["DrainStrategy"] is None:
            return
        self._looks += 1
        if self._looks <= self.looks_until_ended:
            return
        for each in self.allocations:
            if each["Job"]["Type"] != "system" or not self.node["DrainStrategy"]["IgnoreSystemJobs"]:
                each["ClientStatus"] = "complete"
        self.node.update({"Drain": False, "DrainStrategy": None})
        if self.knows_last_drain:
            self.node["LastDrain"]["Status"] = "complete"
