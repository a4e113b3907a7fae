"""What is shipped for Prometheus and Grafana: promtool is content, every alert is tried, and only what we export is named.

The names are those of real pages: an agent's and a gateway's, from the classes that the programs use.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from locksmith.checks.alert_answers import OWN_ALERTS
from locksmith.cli.program import COMMANDS
from tests.fakes.exported import agent_page, gateway_page
from tests.servers.fetch import PrometheusPrograms, ServerMissing
from tests.servers.fetch import prometheus as programs

TOP = Path(__file__).parents[2]
RULES = TOP / "deploy" / "prometheus" / "locksmith.rules.yml"
SCRAPE = TOP / "deploy" / "prometheus" / "scrape.example.yml"
DASHBOARD = TOP / "deploy" / "grafana" / "locksmith.json"
TESTS = sorted((TOP / "tests" / "prometheus").glob("*.yml"))
LIMIT = 300
"""Seconds after which promtool hangs."""
OF_PROMETHEUS = {"up", "ALERTS"}
"""Metrics that Prometheus makes itself."""

Labels = dict[str, set[str]]


@pytest.fixture(scope="module")
def tools() -> PrometheusPrograms:
    try:
        return programs()
    except ServerMissing as error:
        if os.environ.get("LOCKSMITH_REQUIRE_SERVERS"):
            raise
        pytest.skip(f"NOT TESTED: {error}")


def promtool(tools: PrometheusPrograms, *words: str | Path) -> str:
    """Run it; what it says. Fails the test when it is not content."""
    done = subprocess.run([tools.promtool, *words], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> dict[str, Labels]:
    """Every metric, as an expression names it, with its labels and their values here."""
    pages = agent_page(tmp_path_factory.mktemp("agent")), gateway_page()
    found: dict[str, Labels] = {}
    for page in pages:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                labels = found.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    labels.setdefault(label, set()).add(value)
    return found


# ---------------------------------------------------------------- promtool


def test_promtool_checks_the_rules(tools):
    assert "SUCCESS" in promtool(tools, "check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_promtool_checks_the_example(tools):
    assert "SUCCESS" in promtool(tools, "check", "config", "--syntax-only", SCRAPE)


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_promtool_tests_the_rules(tools, file):
    assert "SUCCESS" in promtool(tools, "test", "rules", file)


def test_promtool_would_say_something(tools, tmp_path):
    """The control: the same tests fail on rules in which one alert has lost its cause."""
    text = RULES.read_text()
    broken = text.replace("max by (group) (locksmith_group_halted) > 0\n        for", "vector(0) > 1\n        for")
    assert broken != text
    (tmp_path / "rules.yml").write_text(broken)
    fires = (TOP / "tests" / "prometheus" / "fires.yml").read_text()
    (tmp_path / "fires.yml").write_text(fires.replace("../../deploy/prometheus/locksmith.rules.yml", "rules.yml"))
    with pytest.raises(AssertionError, match="LocksmithGroupHalted"):
        promtool(tools, "test", "rules", tmp_path / "fires.yml")


def test_every_alert_is_seen_to_fire_and_not_to_fire(rules):
    fires, quiet = set(), set()
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for expected in test["promql_expr_test"]:
                named = set(re.findall(r'alertname="(\w+)",alertstate="firing"', expected["expr"]))
                (fires if expected["exp_samples"] else quiet).update(named)
    alerts = {rule["alert"] for rule in rules if "alert" in rule}
    assert alerts == fires == quiet


def test_the_dashboards_expressions_are_promql(tools, panels, tmp_path):
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(_of_panels(panels))]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool(tools, "check", "rules", tmp_path / "rules.yml")


# ---------------------------------------------------------------- what they say


def test_alerts_are_our_own_by_name_and_say_what_to_do(rules):
    alerts = [rule for rule in rules if "alert" in rule]
    assert {
        "LocksmithHolderOverdue", "LocksmithGroupHalted", "LocksmithNodeWantsRebootTooLong", "LocksmithQueueNotMoving",
        "LocksmithStoreDown", "LocksmithIdentityClash", "LocksmithAgentMissing",
    } <= {rule["alert"] for rule in alerts}  # fmt: skip
    for rule in alerts:
        assert rule["alert"].startswith(OWN_ALERTS), rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.search(r"lockctl|systemctl|locksmithd", rule["annotations"]["description"]), rule["alert"]


def test_the_commands_in_annotations_exist(rules):
    texts = [text for rule in rules for text in rule.get("annotations", {}).values()]
    named = {word for text in texts for word in re.findall(r"lockctl ([a-z][a-z-]+)", text)}
    assert {"why", "status", "unlock", "resume"} <= named
    assert named <= set(COMMANDS)


# ---------------------------------------------------------------- names


def _of_panels(panels: list[dict[str, Any]]) -> Iterator[str]:
    for panel in panels:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$group", ".*")
            assert "$" not in expression
            yield expression


_STRINGS = re.compile(r'"[^"]*"')
_MATCHER = re.compile(r"(\w+)(?:\{([^}]*)\})")
_METRIC = re.compile(r"(?<![\w:])(?:[a-z]+:)?locksmith_\w+(?::\w+)?|(?<![\w:])up(?=[{ ])")
_GROUPING = re.compile(r"(?:by|on|group_left)\s*\(([^)]*)\)")


@pytest.fixture(scope="module")
def expressions(rules, panels) -> list[str]:
    return [*(rule["expr"] for rule in rules), *_of_panels(panels)]


def test_every_metric_that_is_named_is_exported_or_recorded(expressions, exported, rules):
    recorded = {rule["record"] for rule in rules if "record" in rule}
    named = {name for expression in expressions for name in _METRIC.findall(_STRINGS.sub('""', expression))}
    assert {"locksmith_group_slots", "locksmith_store_up", "up", "group:locksmith_group_held:max"} <= named
    assert named - recorded - OF_PROMETHEUS <= set(exported)
    assert recorded <= named, "recorded and used by nothing that is shipped"


def test_every_label_and_value_that_is_named_is_exported(expressions, exported):
    labels = {label for found in exported.values() for label in found} | {"job", "instance"}
    for expression in expressions:
        for inner in _GROUPING.findall(expression):
            assert {word.strip() for word in inner.split(",") if word.strip()} <= labels, expression
        for name, matchers in _MATCHER.findall(expression):
            for label, value in re.findall(r'(\w+)="([^"]*)"', matchers):
                if label not in ("job", "instance"):
                    assert value in exported[name].get(label, ()), f"{name}: no {label} {value}"


def test_every_fleet_metric_is_shown_or_watched(expressions, exported):
    """What nobody looks at is not worth its bytes; the few that are only for a look by hand are named here."""
    by_hand = {
        "locksmith_exporter_read_bytes",
        "locksmith_exporter_unreadable_documents",
        "locksmith_exporter_read_errors_total",
    }
    text = "\n".join(expressions)
    fleet = {
        name for name in exported if name.startswith(("locksmith_group_", "locksmith_holder_", "locksmith_exporter_"))
    }
    assert not {name for name in fleet - by_hand if name not in text}


def test_the_dashboard_is_one(panels):
    board = json.loads(DASHBOARD.read_text())
    assert board["schemaVersion"] >= 39
    assert (board["uid"], board["title"], board["id"]) == ("locksmith", "locksmith", None)
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {"datasource", "group"} == {variable["name"] for variable in board["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
