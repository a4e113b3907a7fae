"""Nomad: drain this client and wait until its allocations have ended; afterwards make it eligible again, if we drained it.

The ideas a reader would miss. Whether a node was eligible before us cannot be told from the node afterwards, so it is
written down before the drain. Whose the last drain was *can* be told (LastDrain.Meta since Nomad 1.1): an operator who
drained after us keeps the node. And "drain complete" comes when nothing else is wanted there; the tasks that were told to
stop may still run, so the allocations themselves are looked at.

Nomad HTTP API: nodes.mdx (Read Node, List Node Allocations, Drain Node), agent.mdx (Query Self).
"""

from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from locksmith.core.durations import MICROSECOND, format_duration
from locksmith.drains.ending import Done, Ending, NotDone, Patience, Say
from locksmith.drains.kept import Kept
from locksmith.drains.service import Service, Trouble

META = "locksmith"
"""The key in the drain's metadata; its value is the token of the slot."""
WAS_ELIGIBLE = "locksmith-was-eligible"
"""The key for `true` or `false`: whether the node was eligible before us."""
REQUEST = timedelta(seconds=10)
POLL = 2.0
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class NomadRules:
    """`deadline`: after it Nomad stops what still runs. `system_jobs`: stop those, too, at the end. `go_on`: late is done."""

    deadline: timedelta
    system_jobs: bool = False
    go_on: bool = False


class NomadDrain:
    """One client node."""

    def __init__(  # noqa: PLR0913, PLR0917 - where, which, whose, where it is kept, how long, to whom it is told
        self, service: Service, node: str | None, token: str, kept: Kept, patience: Patience, say: Say
    ) -> None:
        """`node` is the full id; None asks the local agent. `token` is the slot's. All waiting comes out of `patience`."""
        self._service = service
        self._given = node
        self._token = token
        self._kept = kept
        self._patience = patience
        self._say = say

    def drain(self, rules: NomadRules) -> Ending:
        """Drain, and wait for the allocations. Twice is the same as once. Raises Damaged for the file."""
        node = self._node(again=False)
        if isinstance(node, Trouble):
            return NotDone(f"cannot drain the Nomad node: {node.reason}")
        begun = self._begin(node, rules)
        return begun if begun is not None else self._await(str(node["ID"]), rules)

    def back(self) -> Ending:
        """End the drain and make the node eligible, as far as that is ours. Raises Damaged for the file."""
        kept = self._kept.read()
        node = self._node(again=True)
        if isinstance(node, Trouble):
            return NotDone(f"the Nomad node stays as it is: {node.reason}")
        name = str(node["ID"])
        if not ours(node, kept, self._token):
            self._kept.remove()
            return Done("the Nomad node was not drained by us: it stays as it is")
        eligible = was_eligible(node, kept)
        answer = self._change(name, {"DrainSpec": None, "MarkEligible": eligible})
        if isinstance(answer, Trouble):
            return NotDone(f"the Nomad node {name} stays drained: {answer.reason}")
        self._kept.remove()
        return Done(f"Nomad node {name} {'is eligible again' if eligible else 'stays ineligible, as it was before us'}")

    def _begin(self, node: dict[str, Any], rules: NomadRules) -> Ending | None:
        """None: the drain is under way, by us or by somebody else."""
        name, kept = str(node["ID"]), self._kept.read()
        by_us = ours(node, kept, self._token)
        if node.get("DrainStrategy") and not by_us:
            self._say(f"node {name} is being drained by somebody else, and stays so")
            return None
        eligible = was_eligible(node, kept) if by_us else node.get("SchedulingEligibility") == "eligible"
        self._kept.write({"v": 1, "node": name, "eligible": eligible})
        spec = {"Deadline": rules.deadline // MICROSECOND * 1000, "IgnoreSystemJobs": not rules.system_jobs}
        meta = {META: self._token, WAS_ELIGIBLE: str(eligible).lower(), "message": "reboot by locksmith"}
        answer = self._change(name, {"DrainSpec": spec, "MarkEligible": False, "Meta": meta})
        if isinstance(answer, Trouble):
            return NotDone(f"cannot drain the Nomad node {name}: {answer.reason}")
        self._say(f"node {name} is being drained, at most for {format_duration(rules.deadline)}")
        return None

    def _await(self, name: str, rules: NomadRules) -> Ending:
        """Until the drain is complete and nothing of it runs."""
        while True:
            node = self._get(f"/v1/node/{quote(name)}")
            allocations: Any = node if isinstance(node, Trouble) else self._get(f"/v1/node/{quote(name)}/allocations")
            problem = allocations if isinstance(allocations, Trouble) else None
            running = running_of(allocations, system_jobs=rules.system_jobs) if problem is None else ()
            if problem is None and not running and isinstance(node, dict) and not node.get("DrainStrategy"):
                return Done(f"Nomad node {name} is drained")
            waits = problem.reason if problem is not None else _few(running) or "Nomad has not finished the drain"
            if problem is not None and problem.lasting:
                return NotDone(f"cannot see the drain of Nomad node {name}: {waits}")
            if self._patience.over:
                limit = format_duration(self._patience.limit)
                if rules.go_on and problem is None:
                    return Done(f"going on after {limit} although Nomad node {name} is not drained: {waits}")
                return NotDone(f"Nomad node {name} is not drained after {limit}: {waits}")
            self._patience.wait(POLL)

    def _node(self, *, again: bool) -> dict[str, Any] | Trouble:
        """The node's document. `again`: wait for an agent that is just starting, too; one that has trouble is waited for."""
        while True:
            name = self._given or self._own_id()
            found = name if isinstance(name, Trouble) else self._get(f"/v1/node/{quote(name)}")
            if isinstance(found, dict) and found.get("ID"):
                return found
            problem = found if isinstance(found, Trouble) else Trouble("Nomad answers with no node", lasting=True)
            if problem.status == HTTPStatus.NOT_FOUND and again:
                problem = Trouble(problem.reason, problem.status)  # it registers after the boot
            absent = problem.status == 0 and not again
            if problem.lasting or absent or self._patience.over:
                return problem
            self._patience.wait(POLL)

    def _own_id(self) -> str | Trouble:
        """The local agent's node id, as `nomad node drain -self` finds it."""
        found = self._get("/v1/agent/self")
        if isinstance(found, Trouble):
            return found
        stats = found.get("stats") if isinstance(found, dict) else None
        client = stats.get("client") if isinstance(stats, dict) else None
        own = client.get("node_id") if isinstance(client, dict) else None
        return str(own) if own else Trouble("the local Nomad agent is no client: give --node", lasting=True)

    def _get(self, path: str) -> Any | Trouble:
        return self._service.call("GET", path, self._patience.request(REQUEST))

    def _change(self, name: str, body: dict[str, Any]) -> Any | Trouble:
        """Ask for a drain, or its end, until it is accepted or the time is over; asking twice is the same as once."""
        while True:
            answer = self._service.call(
                "POST", f"/v1/node/{quote(name)}/drain", self._patience.request(REQUEST), body={"NodeID": name, **body}
            )
            if not isinstance(answer, Trouble) or answer.lasting or self._patience.over:
                return answer
            self._patience.wait(POLL)


def ours(node: dict[str, Any], kept: dict[str, Any] | None, token: str) -> bool:
    """Whether the drain of the node is ours: it is drained or ineligible, our file says so, and nobody drained it since.

    Without the file (it was lost) it is ours if the last drain bears this very `token` ("": none does). The mark alone is
    not enough, because LastDrain stays long after the drain was taken back.
    """
    if not node.get("DrainStrategy") and node.get("SchedulingEligibility") == "eligible":
        return False
    mark = _meta(node).get(META)
    if kept is not None and kept.get("node") == node.get("ID"):
        return mark is not None or not isinstance(node.get("LastDrain"), dict)
    return token != "" and mark == token


def was_eligible(node: dict[str, Any], kept: dict[str, Any] | None) -> bool:
    """Of a node whose drain is ours: whether it was eligible before it."""
    if kept is not None:
        return kept.get("eligible") is not False
    return _meta(node).get(WAS_ELIGIBLE) != "false"


def _meta(node: dict[str, Any]) -> dict[str, Any]:
    """What the last drain bears; nothing before Nomad 1.1."""
    last = node.get("LastDrain")
    meta = last.get("Meta") if isinstance(last, dict) else None
    return meta if isinstance(meta, dict) else {}


def running_of(allocations: Any, *, system_jobs: bool) -> tuple[str, ...]:
    """The names of the allocations that still run and that the drain is to end."""
    found = []
    for each in allocations if isinstance(allocations, list) else []:
        if not isinstance(each, dict):
            continue
        job = each.get("Job")
        kind = job.get("Type") if isinstance(job, dict) else None
        if each.get("ClientStatus") in ("pending", "running") and (system_jobs or kind != "system"):
            found.append(str(each.get("Name") or each.get("ID")))
    return tuple(found)


def _few(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more} still run" + ("s" if len(names) == 1 else "")
