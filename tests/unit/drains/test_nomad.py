"""The drain of a Nomad client, against the stand-in of tests/servers/nomad.py: no Nomad runs here."""

from datetime import timedelta

import pytest

from locksmith.drains.ending import Done, NotDone
from locksmith.drains.kept import Kept
from locksmith.drains.nomad import NomadDrain, NomadRules
from locksmith.drains.service import Service
from tests.servers.nomad import NODE, NomadStandIn, allocation

RULES = NomadRules(timedelta(seconds=30))


@pytest.fixture(params=[True, False], ids=["nomad 1.1", "before 1.1"])
def nomad(request):
    with NomadStandIn(knows_last_drain=request.param) as standing:
        yield standing


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path, "nomad")


@pytest.fixture
def make(nomad, kept, patience, said):
    def made(seconds=60.0, token="42", node=None, headers=None):
        service = Service("Nomad", nomad.url, headers or {})
        return NomadDrain(service, node, token, kept, patience(seconds), said.append)

    return made


def test_an_ordinary_drain(nomad, make, kept):
    nomad.allocations = [allocation("web"), allocation("log", kind="system"), allocation("old", status="complete")]
    assert make().drain(RULES) == Done(f"Nomad node {NODE} is drained")
    assert nomad.node["SchedulingEligibility"] == "ineligible"
    assert [each["ClientStatus"] for each in nomad.allocations] == ["complete", "running", "complete"]
    (post,) = [asked for asked in nomad.asked if asked.method == "POST"]
    assert post.body == {
        "NodeID": NODE,
        "DrainSpec": {"Deadline": 30_000_000_000, "IgnoreSystemJobs": True},
        "MarkEligible": False,
        "Meta": {"locksmith": "42", "locksmith-was-eligible": "true", "message": "reboot by locksmith"},
    }
    assert make().back() == Done(f"Nomad node {NODE} is eligible again")
    assert nomad.node["SchedulingEligibility"] == "eligible"
    assert kept.read() is None
    assert make().back() == Done("the Nomad node was not drained by us: it stays as it is")


def test_system_jobs_by_choice(nomad, make):
    nomad.allocations = [allocation("log", kind="system")]
    assert isinstance(make().drain(NomadRules(timedelta(seconds=30), system_jobs=True)), Done)
    assert nomad.allocations[0]["ClientStatus"] == "complete"


def test_tasks_that_still_end_are_waited_for(nomad, make, clock):
    """The drain is complete when nothing is wanted there any more; the task may still run."""
    nomad.allocations = [allocation("web", status="complete"), allocation("slow")]
    nomad.allocations[1]["DesiredStatus"] = "stop"

    class Lingers(NomadStandIn):
        def _pass_time(self):
            super()._pass_time()
            if clock.seconds < 1010:
                self.allocations[1]["ClientStatus"] = "running"

    nomad.__class__ = Lingers
    nomad.looks_until_ended = 0
    clock.at_sleep = [lambda: None] * 4 + [lambda: nomad.allocations[1].update(ClientStatus="complete")]
    assert isinstance(make().drain(RULES), Done)
    assert clock.at_sleep == []


def test_what_does_not_end(nomad, make):
    nomad.allocations = [allocation("web")]
    nomad.looks_until_ended = 10_000
    ending = make().drain(RULES)
    assert ending == NotDone(f"Nomad node {NODE} is not drained after 1m: web still runs")
    assert make().back() == Done(f"Nomad node {NODE} is eligible again")  # the undo hook
    assert nomad.node["DrainStrategy"] is None


def test_going_on_although_it_does_not_end(nomad, make):
    nomad.allocations = [allocation(name) for name in "abcde"]
    nomad.looks_until_ended = 10_000
    ending = make().drain(NomadRules(timedelta(seconds=30), go_on=True))
    assert isinstance(ending, Done)
    assert ending.note.endswith("is not drained: a, b, c and 2 more still run")


def test_twice_is_once(nomad, make):
    nomad.allocations = [allocation("web")]
    make().drain(RULES)
    assert isinstance(make().drain(RULES), Done)
    make().back()
    assert nomad.node["SchedulingEligibility"] == "eligible"


def test_a_node_that_was_ineligible_before_stays_so(nomad, make):
    nomad.node["SchedulingEligibility"] = "ineligible"
    make().drain(RULES)
    make().drain(RULES)
    assert make().back() == Done(f"Nomad node {NODE} stays ineligible, as it was before us")
    assert nomad.node["SchedulingEligibility"] == "ineligible"
    assert isinstance(make().back(), Done)  # the file is gone now
    assert nomad.node["SchedulingEligibility"] == "ineligible"


def test_an_operators_drain_stays_the_operators(nomad, make, kept):
    nomad.drain_by({"message": "bob"})
    nomad.looks_until_ended = 1
    before = len(nomad.lines("POST"))
    assert isinstance(make().drain(RULES), Done)
    assert len(nomad.lines("POST")) == before
    assert make().back() == Done("the Nomad node was not drained by us: it stays as it is")
    assert nomad.node["SchedulingEligibility"] == "ineligible"
    assert kept.read() is None


@pytest.mark.parametrize("nomad", [True], indirect=True)
def test_an_operator_who_drains_after_us_keeps_the_node(nomad, make):
    make().drain(RULES)
    nomad.drain_by({"message": "bob"})
    make().back()
    assert nomad.node["SchedulingEligibility"] == "ineligible"


def test_an_operator_who_disables_the_node_after_our_drain_was_taken_back(nomad, make):
    """LastDrain bears our mark for ever: it must not be taken for the state of now."""
    make().drain(RULES)
    make().back()
    nomad.node["SchedulingEligibility"] = "ineligible"
    make(token="43").drain(RULES)
    make(token="43").back()
    assert nomad.node["SchedulingEligibility"] == "ineligible"


@pytest.mark.parametrize("nomad", [True], indirect=True)
def test_a_lost_file_is_made_up_for_by_the_token(nomad, make, kept):
    make().drain(RULES)
    kept.remove()
    assert isinstance(make(token="").back(), Done)
    assert nomad.node["SchedulingEligibility"] == "ineligible"
    make(token="42").back()
    assert nomad.node["SchedulingEligibility"] == "eligible"


@pytest.mark.parametrize("nomad", [True], indirect=True)
def test_a_lost_file_is_written_again(nomad, make, kept):
    nomad.node["SchedulingEligibility"] = "ineligible"
    make().drain(RULES)
    kept.remove()
    make().drain(RULES)
    assert kept.read() == {"v": 1, "node": NODE, "eligible": False}


def test_it_is_written_before_it_is_done(nomad, make, kept):
    nomad.fault("POST", 403, document="Permission denied")
    ending = make().drain(RULES)
    assert ending == NotDone(f'cannot drain the Nomad node {NODE}: Nomad says 403: "Permission denied"')
    assert kept.read() == {"v": 1, "node": NODE, "eligible": True}
    assert make().back() == Done("the Nomad node was not drained by us: it stays as it is")


def test_errors_are_waited_for(nomad, make):
    nomad.fault("POST", 500, times=2)
    nomad.fault(f"GET /v1/node/{NODE}/allocations", 500, times=2)
    assert isinstance(make().drain(RULES), Done)
    nomad.fault("GET", 503, times=3)
    nomad.fault("POST", 500)
    assert isinstance(make().back(), Done)


def test_servers_that_elect_a_leader_do_not_call_a_drain_off(nomad, make):
    """For some seconds they answer everything with 500; an agent that is not there at all is told at once."""
    nomad.fault("GET", 500, times=3, document="No cluster leader")
    assert isinstance(make().drain(RULES), Done)
    nomad.fault("GET", 500, times=1000)
    assert "Nomad says 500" in make().drain(RULES).reason


def test_back_waits_for_a_client_that_registers(nomad, make, clock):
    make().drain(RULES)
    nomad.registered = False
    clock.at_sleep = [lambda: None, lambda: setattr(nomad, "registered", True)]
    assert isinstance(make().back(), Done)
    assert nomad.node["SchedulingEligibility"] == "eligible"


def test_an_agent_that_is_no_client(nomad, make):
    nomad.is_client = False
    assert make().drain(RULES) == NotDone(
        "cannot drain the Nomad node: the local Nomad agent is no client: give --node"
    )
    assert isinstance(make(node=NODE).drain(RULES), Done)


def test_a_token_that_is_not_accepted(nomad, make, clock):
    nomad.token = "secret"
    started = clock.seconds
    assert make().drain(RULES) == NotDone('cannot drain the Nomad node: Nomad says 403: "Permission denied"')
    assert clock.seconds == started
    assert isinstance(make(headers={"X-Nomad-Token": "secret"}).drain(RULES), Done)


def test_an_api_that_hangs(nomad, make):
    nomad.silent.set()
    assert "no answer within the time limit" in make(0.3).drain(RULES).reason
    assert "no answer within the time limit" in make(0.3).back().reason
