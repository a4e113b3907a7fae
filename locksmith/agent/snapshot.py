"""What readers see: an immutable picture of the agent, published after each step.

Metrics, the status file, systemd's STATUS line and the registry record are all made from it, so they cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from locksmith.core import telling
from locksmith.core.codec import to_json
from locksmith.core.facts import Moment
from locksmith.core.states import Agent


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One picture."""

    agent: Agent
    at: Moment
    told: telling.Telling
    steps: tuple[Mapping[str, Any], ...]

    def document(self) -> dict[str, Any]:
        """For `run_dir/status.json`: the form of `why --json`, with what a reader on this machine may want besides."""
        agent = self.agent
        return {
            "schema": 1,
            "time": to_json(self.at.wall),
            "node": agent.policy.home.node,
            "group": agent.policy.group,
            "strategy": str(agent.policy.strategy),
            "store": agent.policy.home.store,
            "state": self.told.state,
            "state_since": to_json(agent.since.wall),
            "kind": self.told.kind,
            "verdict": telling.verdict(agent),
            "summary": self.told.text,
            "boot": agent.boot,
            "token": str(agent.owed.token) if agent.owed is not None and agent.owed.token is not None else None,
            "reboots": dict(agent.ledger.reboots),
            "called_off": dict(agent.ledger.called_off),
            "last_reboot": to_json(agent.ledger.last),
            "would": agent.would or None,
            "steps": [dict(step) for step in self.steps],
        }


def picture(agent: Agent, at: Moment) -> Snapshot:
    """The picture of this moment."""
    return Snapshot(agent, at, telling.tell(agent), telling.steps(agent, at))
