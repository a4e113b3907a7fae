"""A Consul agent that does not answer as it should; with a real one: tests/integration/test_drains_consul.py."""

from datetime import timedelta
from typing import Any

import pytest

from locksmith.drains.consul import ConsulDrain
from locksmith.drains.ending import Done, NotDone
from locksmith.drains.service import Service
from tests.servers.json_api import Asked, JsonApi, Said


class Agent(JsonApi):
    """`GET /v1/agent/checks`, `PUT /v1/agent/maintenance` as Consul's agent API has them."""

    def __init__(self) -> None:
        super().__init__()
        self.reason: str | None = None

    def answer(self, asked: Asked) -> Said:
        match str(asked):
            case "GET /v1/agent/checks":
                check = {"CheckID": "_node_maintenance", "Status": "critical", "Notes": self.reason}
                document: dict[str, Any] = {} if self.reason is None else {"_node_maintenance": check}
                return Said(200, document)
            case "PUT /v1/agent/maintenance":
                on = asked.query["enable"] == "true"
                self.reason = (self.reason or asked.query.get("reason", "")) if on else None
                return Said(200)
            case _:
                return Said(404)


@pytest.fixture
def agent():
    with Agent() as standing:
        yield standing


@pytest.fixture
def make(agent, patience, said):
    return lambda seconds=30.0: ConsulDrain(Service("Consul", agent.url), patience(seconds), said.append)


def test_errors_are_waited_for(agent, make):
    agent.fault("GET", 500, times=3)
    agent.fault("PUT", 500, times=3)
    assert make().drain("42", "", timedelta(0)) == Done("this node is in maintenance mode")
    assert agent.reason == "locksmith: 42"
    agent.fault("GET", 503)
    agent.fault("PUT", 503)
    assert make().back() == Done("this node is not in maintenance mode any more")


def test_a_right_that_is_missing(agent, make, clock):
    started = clock.seconds
    agent.fault("PUT", 403, document="Permission denied")
    assert make().drain("42", "", timedelta(0)) == NotDone('no maintenance mode: Consul says 403: "Permission denied"')
    agent.reason = "locksmith: 42"
    agent.fault("PUT", 403)
    assert make().back() == NotDone("this node stays in maintenance mode: Consul says 403")
    assert clock.seconds == started


def test_an_agent_that_hangs(agent, make):
    agent.silent.set()
    assert "no answer within the time limit" in make(0.3).drain("42", "", timedelta(0)).reason
    assert make(0.3).back().reason.startswith("the maintenance mode stays as it is: ")


def test_an_answer_that_makes_no_sense(agent, make):
    agent.fault("GET", 200, times=100, document=["x"])
    assert "no list of checks" in make().drain("42", "", timedelta(0)).reason


def test_time_for_those_who_asked_before(make, clock):
    started = clock.seconds
    make().drain("42", "", timedelta(seconds=12))
    assert clock.seconds == started + 12
