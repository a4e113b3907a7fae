"""The picture that every reader gets."""

import json

import pytest

from locksmith.agent.snapshot import picture
from locksmith.core.ledger import LastReboot
from tests.fakes.mind import NOON, agent, at, ledger, owed
from tests.unit.core.test_machine import STATES, mind_in


@pytest.mark.parametrize("name", STATES)
def test_the_status_file_is_json_in_every_state(name):
    mind = mind_in(name)
    document = json.loads(json.dumps(picture(mind.agent, at()).document()))
    assert (document["schema"], document["node"], document["group"]) == (1, "n1", "web")
    assert document["state"] == mind.told.state
    assert document["summary"] == mind.told.text
    assert document["kind"] == mind.told.kind
    assert document["steps"]
    token = mind.agent.owed.token if mind.agent.owed is not None else None
    assert document["token"] == (None if token is None else str(token))


def test_what_a_reader_on_this_machine_may_want_besides():
    last = LastReboot(at=NOON, result="healthy", origin="v1", target="v2")
    book = ledger(owed(), reboots={"healthy": 2}, called_off={"gate": 1}, last=last)
    document = picture(agent(None, book, would="x"), at()).document()
    assert document["reboots"] == {"healthy": 2}
    assert document["called_off"] == {"gate": 1}
    assert document["would"] == "x"
    assert document["last_reboot"]["result"] == "healthy"
    assert document["last_reboot"]["from"] == "v1"
    assert document["time"].endswith("Z")
