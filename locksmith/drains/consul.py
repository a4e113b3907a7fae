"""Consul: put the local agent's node into maintenance mode, and take it out again if the mode is ours.

The ideas a reader would miss. The reason's text is the mark: it is all that Consul keeps, and it keeps it over a restart
of the agent, so over the reboot as well. Enabling a mode that is on already changes nothing, not even the reason, so
somebody else's mode stays theirs.

Consul HTTP API: agent "Enable Maintenance Mode" (needs `node:write`), "List Checks" (`node:read`).
"""

from datetime import timedelta
from typing import Any

from locksmith.drains.ending import Done, Ending, NotDone, Patience, Say
from locksmith.drains.service import Service, Trouble

CHECK = "_node_maintenance"
"""The id of the check by which the mode is kept."""
MARK = "locksmith: "
"""What our reasons begin with."""
REQUEST = timedelta(seconds=10)
AGAIN = 2.0


class ConsulDrain:
    """The local agent."""

    def __init__(self, service: Service, patience: Patience, say: Say) -> None:
        """All waiting comes out of `patience`."""
        self._service = service
        self._patience = patience
        self._say = say

    def drain(self, token: str, reason: str, settle: timedelta) -> Ending:
        """Turn it on, and then wait for `settle`, until those who asked before have heard of it."""
        before = self._reason()
        if isinstance(before, Trouble):
            return NotDone(f"no maintenance mode: {before.reason}")
        if before is not None and not before.startswith(MARK):
            return Done("somebody else has put this node into maintenance mode, and it stays so")
        if before is None:
            query = {"enable": "true", "reason": f"{MARK}{token} {reason}".strip()}
            answer = self._call("PUT", "/v1/agent/maintenance", query)
            if isinstance(answer, Trouble):
                return NotDone(f"no maintenance mode: {answer.reason}")
        if settle:
            self._say(f"in maintenance mode; waiting {settle.total_seconds():g} s for those who asked before")
            self._patience.wait(settle.total_seconds())
        return Done("this node is in maintenance mode")

    def back(self) -> Ending:
        """Turn it off if it is ours."""
        before = self._reason()
        if isinstance(before, Trouble):
            return NotDone(f"the maintenance mode stays as it is: {before.reason}")
        if before is None:
            return Done("this node is not in maintenance mode")
        if not before.startswith(MARK):
            return Done("the maintenance mode is not ours: it stays")
        answer = self._call("PUT", "/v1/agent/maintenance", {"enable": "false"})
        if isinstance(answer, Trouble):
            return NotDone(f"this node stays in maintenance mode: {answer.reason}")
        return Done("this node is not in maintenance mode any more")

    def _reason(self) -> str | Trouble | None:
        """The reason of the mode that is on; None when it is off."""
        checks = self._call("GET", "/v1/agent/checks", {})
        if isinstance(checks, Trouble):
            return checks
        if not isinstance(checks, dict):
            return Trouble("the Consul agent answers with no list of checks")
        check = checks.get(CHECK)
        return str(check.get("Notes") or "") if isinstance(check, dict) else None

    def _call(self, method: str, path: str, query: dict[str, str]) -> Any | Trouble:
        while True:
            answer = self._service.call(method, path, self._patience.request(REQUEST), query=query)
            if not isinstance(answer, Trouble) or answer.lasting or self._patience.over:
                return answer
            self._patience.wait(AGAIN)
