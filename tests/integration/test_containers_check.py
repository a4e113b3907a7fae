"""The containers check against a stand-in for Docker and Podman: no engine runs here, see tests/servers/engine_health.py."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.checks import Occasion, Remembering
from locksmith.checks.containers import ContainersCheck
from locksmith.core.verdict import Closed, Open, Unknown
from locksmith.errors import Damaged
from tests.servers.engine_health import Container, ListingEngine

LONG = timedelta(seconds=60)


def occasion(attempt="n1"):
    return Occasion(
        datetime(2026, 1, 1, tzinfo=UTC), clock_trusted=True, environment={}, stage="health", attempt=attempt
    )


@pytest.fixture(params=["docker", "podman"])
def engine(request, tmp_path):
    with ListingEngine(tmp_path / "engine.sock", podman=request.param == "podman") as found:
        yield found


@pytest.fixture
def check(tmp_path):
    def make(role="health", *ignore, timeout=LONG):
        baseline = tmp_path / "before.json"
        return ContainersCheck("apps", role, tmp_path / "engine.sock", timeout, ignore=ignore, baseline=baseline)

    return make


def program(engine):
    return "podman" if engine.podman else "docker"


def test_what_ran_runs_again(engine, check):
    engine.has(Container("web", health="healthy"), Container("db"), Container("job", "exited"))
    check().remember("n1")
    assert check().ask(occasion()) == Open()
    engine.has(Container("db"), Container("web", health="healthy"), Container("more"))
    assert check().ask(occasion()) == Open()


@pytest.mark.parametrize("state", ["exited", "created", "paused", "dead", "removing", "stopped"])
def test_what_ran_does_not_run(engine, check, state):
    engine.has(Container("web"), Container("db"))
    check().remember("n1")
    engine.has(Container("web", state), Container("db"))
    assert check().ask(occasion()) == Closed(
        f"not running again: web; `{program(engine)} start web`, and have a restart policy or a unit start it next time"
    )
    assert check("gate").ask(occasion()) == Open()


def test_what_ran_is_gone(engine, check):
    engine.has(Container("web"), Container("old"), Container("db"))
    check().remember("n1")
    engine.has(Container("web"))
    assert check().ask(occasion()) == Closed(
        "not there any more: db, old; create it again, or put it into `ignore` if it was removed on purpose"
    )
    assert check("health", "old", "d?").ask(occasion()) == Open()


def test_restarting_is_not_running(engine, check):
    engine.has(Container("web"))
    check().remember("n1")
    engine.has(Container("web", "restarting"))
    said = Closed(f"ends and is started again and again: web; see `{program(engine)} logs web`")
    assert check().ask(occasion()) == said
    assert check("gate").ask(occasion()) == said
    assert check("gate", "web").ask(occasion()) == Open()


@pytest.mark.parametrize("role", ["gate", "health"])
def test_unhealthy(engine, check, role):
    check().remember("n1")
    engine.has(
        Container("web", health="unhealthy"), Container("db", health="healthy"), Container("x", "exited", "unhealthy")
    )
    assert check(role).ask(occasion()) == Closed(f"unhealthy: web; see `{program(engine)} inspect web`")
    assert check(role, "w*").ask(occasion()) == Open()


@pytest.mark.parametrize("role", ["gate", "health"])
def test_a_health_check_that_has_not_passed_yet(engine, check, role):
    engine.has(Container("web", health="healthy"))
    check().remember("n1")
    engine.has(Container("web", health="starting"))
    assert check(role).ask(occasion()) == Closed("the health check has not passed yet: web")


def test_what_was_not_well_before_is_not_held_against_the_node(engine, check):
    engine.has(
        Container("web", health="unhealthy"), Container("flap", "restarting"), Container("late", health="starting")
    )
    check().remember("n1")
    assert check().ask(occasion()) == Closed("the health check has not passed yet: late")
    engine.has(
        Container("web", health="unhealthy"), Container("flap", "restarting"), Container("late", health="healthy")
    )
    assert check().ask(occasion()) == Open("not well before the reboot either: flap, web")
    engine.has(Container("web", health="starting"), Container("flap", "exited"), Container("late", health="unhealthy"))
    assert check().ask(occasion()) == Closed(f"unhealthy: late; see `{program(engine)} inspect late`")


def test_what_was_unhealthy_still_has_to_run(engine, check):
    engine.has(Container("web", health="unhealthy"))
    check().remember("n1")
    for state in ("exited", "restarting"):
        engine.has(Container("web", state))
        assert "not running again: web" in check().ask(occasion()).reason


def test_several_things_are_said_in_one_order(engine, check):
    engine.has(Container("a"), Container("b"))
    check().remember("n1")
    engine.has(Container("b", "exited"), Container("d", health="unhealthy"), Container("c", health="unhealthy"))
    reason = check().ask(occasion()).reason
    assert [part.split(":")[0] for part in reason.split("; ") if ":" in part] == [
        "not running again",
        "not there any more",
        "unhealthy",
    ]
    assert "unhealthy: c, d" in reason


@pytest.mark.parametrize(
    "passing",
    [
        Container("k8s_web_web-7d9_default_1f5b_0", labels={"io.kubernetes.pod.uid": "1f5b"}),
        Container(
            "redis.1.6qgb0pna6iphr7c4ijzuiihaa", labels={"com.docker.swarm.task.id": "6qgb0pna6iphr7c4ijzuiihaa"}
        ),
        Container("task-4243abe5-1b52", labels={"com.hashicorp.nomad.alloc_id": "4243abe5-1b52"}),
        Container("0123456789ab-infra"),
    ],
)
def test_what_comes_back_under_another_name_is_not_waited_for(engine, check, passing):
    engine.has(passing, Container("web-infra"))
    check().remember("n1")
    engine.has(Container("web-infra"))
    assert check().ask(occasion()) == Open()
    engine.has(replace(passing, health="unhealthy"), Container("web-infra"))
    assert isinstance(check().ask(occasion()), Closed)
    engine.has()
    assert "not there any more: web-infra;" in check().ask(occasion()).reason


def test_the_first_note_of_an_attempt_counts(engine, check):
    engine.has(Container("web"))
    check().remember("n1")
    engine.has(Container("web", "exited"))  # drained
    check().remember("n1")
    assert isinstance(check().ask(occasion()), Closed)


@pytest.mark.parametrize(
    ("attempt", "reason"),
    [
        ("n2", "nothing was noted before this reboot, only before an earlier one"),
        ("", "no attempt is known"),
    ],
)
def test_without_a_note_only_health_is_judged_and_that_is_said(engine, check, attempt, reason):
    engine.has(Container("web"))
    check().remember("n1")
    engine.has()
    assert check().ask(occasion(attempt)) == Open(f"whether all run again is not known: {reason}")
    engine.has(Container("new", health="unhealthy"))
    assert isinstance(check().ask(occasion(attempt)), Closed)


def test_links_give_no_other_name(engine, check):
    engine.has(Container("db", links=("web/database",)))
    check().remember("n1")
    engine.has(Container("db"))
    assert check().ask(occasion()) == Open()


@pytest.mark.parametrize(
    ("version", "oldest"), [("1.41", "1.12"), ("1.44", "1.24"), ("1.52", "1.44"), ("1.60", "1.60")]
)
def test_the_engines_own_version_is_spoken(engine, check, version, oldest):
    engine.version, engine.oldest = version, oldest
    engine.has(Container("web", health="unhealthy"))
    assert isinstance(check("gate").ask(occasion()), Closed)
    paths = [request.split("?")[0] for request in engine.requests]
    assert paths == ["/_ping", *[f"/v{version}/containers/json"] * 3]


def test_an_engine_with_an_error_is_unknown(engine, check):
    engine.failing = (500, "layer does not\x1b[1m exist")
    reason = f"the container engine at {engine.socket} answers 500: layer does not[1m exist"
    assert check().ask(occasion()) == Unknown(reason)
    with pytest.raises(Damaged, match=r"which containers run is not known: .* answers 500"):
        check().remember("n1")


def test_no_engine_is_unknown(check, tmp_path):
    verdict = check().ask(occasion())
    assert isinstance(verdict, Unknown)
    assert verdict.reason.startswith("the container engine cannot be asked: ")
    assert str(tmp_path / "engine.sock") in verdict.reason
    with pytest.raises(Damaged):
        check().remember("n1")


def test_a_note_that_cannot_be_kept(engine, tmp_path):
    check = ContainersCheck("apps", "health", engine.socket, LONG, baseline=tmp_path / "gone" / "before.json")
    with pytest.raises(Damaged, match="cannot write"):
        check.remember("n1")


def test_names(check):
    for role in ("gate", "health"):
        assert (check(role).name, check(role).kind) == ("apps", role)
    assert isinstance(check(), Remembering)
