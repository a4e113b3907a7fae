"""The shipped hooks of deploy/hooks, run as the agent runs them: a drain, and then either a reboot or a called-off attempt.

Kubernetes, Nomad and container engines are stand-ins (tests/servers), since none runs here.
"""

import itertools
import json
import os
import re
import shutil
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from locksmith.drains.containers import kept_for
from locksmith.hooks import HookCancelled, HookContext, HookDone, HookFailed, HookRule, Hooks, Stage
from locksmith.host.identity import KERNEL_BOOT_ID, host_name
from tests.servers.engine import EngineStandIn
from tests.servers.kube import KubeStandIn, node, pod
from tests.servers.nomad import NomadStandIn, allocation

SHIPPED = Path(__file__).parents[2] / "deploy" / "hooks"
LIMIT = timedelta(seconds=60)
CONTEXT = HookContext("f" * 32, "web", "42", "a new kernel", "6.1.0-1", "6.1.0-2", "pre-reboot")

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    """locksmith-drain is found as it is where locksmith is installed."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "hooks"
    for stage in Stage:
        (place / f"{stage}.d").mkdir(parents=True)
    return place


@pytest.fixture
def install(folder):
    """Copy the hooks of a kind, with the edits that an operator makes."""

    def copied(kind, **edits):
        for path in SHIPPED.glob(f"*.d/*-{kind}"):
            target = folder / path.parent.name / path.name
            shutil.copy(path, target)
            text = target.read_text()
            for key, value in edits.items():
                text = "\n".join(f"{key}={value}" if line.startswith(f"{key}=") else line for line in text.splitlines())
            target.write_text(text + "\n")

    return copied


@pytest.fixture
def options(folder):
    def add(words):
        for path in folder.glob("*.d/*"):
            lines = path.read_text().splitlines()
            path.write_text("\n".join(f"{line} {words}" if line.startswith("exec ") else line for line in lines) + "\n")

    return add


def through(hooks, stage, begun=()):
    """All hooks of a stage, one after the other, until one fails."""
    names = hooks.undo_names(begun) if stage is Stage.UNDO else hooks.names(stage)
    for name in names:
        result = hooks.run(stage, name, CONTEXT)
        if not isinstance(result, HookDone):
            return result
    assert names
    return HookDone()


@pytest.fixture
def kube(monkeypatch, tmp_path):
    with KubeStandIn() as standing:
        standing.name = host_name().lower()
        standing.node = node(boot_id=KERNEL_BOOT_ID.read_text().strip())
        standing.node["metadata"]["name"] = standing.name
        config = tmp_path / "kubeconfig"
        config.write_text(
            f"current-context: c\nclusters: [{{name: k, cluster: {{server: '{standing.url}'}}}}]\n"
            "contexts: [{name: c, context: {cluster: k, user: u}}]\nusers: [{name: u, user: {token: good}}]\n"
        )
        monkeypatch.setenv("KUBECONFIG", str(config))
        standing.token = "good"
        yield standing


def on_kube(standing, *names):
    standing.add(*(pod(name, node=standing.name) for name in names))


def test_every_shipped_hook_can_run_and_has_its_partners():
    hooks = Hooks(SHIPPED, LIMIT)
    assert hooks.problems() == ()
    begun = hooks.names(Stage.PRE_REBOOT)
    assert hooks.undo_names(begun) == tuple(reversed(begun))
    kinds = {name.partition("-")[2] for name in begun}
    assert kinds == {name.partition("-")[2] for name in hooks.names(Stage.POST_REBOOT)}
    assert kinds == {"consul", "containers", "kubernetes", "nomad"}


def test_kubernetes_over_a_reboot(kube, install, folder):
    install("kubernetes")
    hooks = Hooks(folder, LIMIT)
    on_kube(kube, "a", "b")
    assert through(hooks, Stage.PRE_REBOOT) == HookDone()
    assert kube.cordoned
    assert kube.annotations == {"locksmith/cordoned-by": "42"}
    assert kube.pods == {}
    assert through(hooks, Stage.POST_REBOOT) == HookDone()
    assert not kube.cordoned


def test_the_shipped_rights_are_those_that_are_used(kube, install, folder):
    """RBAC as the API server reads it: group, resource, verb. Discovery is open to every account."""
    install("kubernetes")
    hooks = Hooks(folder, LIMIT)
    on_kube(kube, "a")
    through(hooks, Stage.PRE_REBOOT)
    through(hooks, Stage.POST_REBOOT)
    documents = list(yaml.safe_load_all((SHIPPED.parent / "kubernetes" / "rbac.yaml").read_text()))
    granted = {
        (group, resource, verb)
        for rule in (rule for document in documents for rule in document.get("rules", []))
        for group, resource, verb in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])
    }
    verbs = {
        r"GET /api/v1/nodes/[^/]+": ("", "nodes", "get"),
        r"PATCH /api/v1/nodes/[^/]+": ("", "nodes", "patch"),
        r"GET /api/v1/pods": ("", "pods", "list"),
        r"POST /api/v1/namespaces/[^/]+/pods/[^/]+/eviction": ("", "pods/eviction", "create"),
        r"GET /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/[^/]+": (
            "coordination.k8s.io",
            "leases",
            "get",
        ),
        r"GET /api/v1": None,
    }
    used = {next(right for pattern, right in verbs.items() if re.fullmatch(pattern, line)) for line in kube.lines()}
    assert used - {None} == granted


def test_kubernetes_with_a_budget_that_never_opens_is_undone(kube, install, folder):
    install("kubernetes", TIMEOUT="3s")
    hooks = Hooks(folder, LIMIT)
    on_kube(kube, "a")
    kube.budgets["web"] = 0
    result = through(hooks, Stage.PRE_REBOOT)
    assert isinstance(result, HookFailed)
    # One line says all of it; the agent cuts what is longer than its reasons may be.
    expected = "pre-reboot.d/50-kubernetes: exit code 1: locksmith-drain: pods are still there after 3s: default/a: "
    assert result.reason.startswith(expected)
    assert kube.cordoned
    assert through(hooks, Stage.UNDO, ["50-kubernetes"]) == HookDone()
    assert not kube.cordoned
    assert list(kube.pods) == ["uid-a"]


def test_kubernetes_forced_after_a_while(kube, install, folder):
    install("kubernetes", TIMEOUT="1s")
    rule = HookRule(LIMIT, "force", timedelta(seconds=4))
    hooks = Hooks(folder, LIMIT, each={"50-kubernetes": rule}, pause=timedelta(seconds=0.1))
    on_kube(kube, "a")
    kube.budgets["web"] = 0
    result = hooks.run(Stage.PRE_REBOOT, "50-kubernetes", CONTEXT)
    assert isinstance(result, HookDone)
    assert result.despite
    assert kube.evicted == []
    assert kube.cordoned


def test_kubernetes_called_off_in_the_middle(kube, install, folder):
    install("kubernetes")
    hooks = Hooks(folder, LIMIT)
    on_kube(kube, "a")
    kube.budgets["web"] = 0
    cancel, results = threading.Event(), []
    run = threading.Thread(target=lambda: results.append(hooks.run(Stage.PRE_REBOOT, "50-kubernetes", CONTEXT, cancel)))
    run.start()
    while not kube.lines("POST"):
        cancel.wait(0.02)
    cancel.set()
    run.join(60)
    assert results == [HookCancelled()]
    assert through(hooks, Stage.UNDO, ["50-kubernetes"]) == HookDone()
    assert not kube.cordoned


def test_kubernetes_not_ready_after_the_reboot_stays_cordoned(kube, install, folder, options):
    install("kubernetes")
    hooks = Hooks(folder, LIMIT)
    through(hooks, Stage.PRE_REBOOT)
    fresh = node(ready="False")
    kube.node["status"] = fresh["status"]
    options("--timeout 1s")
    result = through(hooks, Stage.POST_REBOOT)
    assert isinstance(result, HookFailed)
    assert "stays cordoned: node node1 is not Ready" in result.reason.replace(kube.name, "node1")
    assert kube.cordoned


def test_nomad_over_a_reboot(install, folder, options, monkeypatch, tmp_path):
    with NomadStandIn() as nomad:
        monkeypatch.setenv("NOMAD_ADDR", nomad.url)
        (tmp_path / "token").write_text("secret\n")
        nomad.token = "secret"
        install("nomad")
        options(f"--token-file {tmp_path}/token --state-dir {tmp_path}/drains")
        hooks = Hooks(folder, LIMIT)
        nomad.allocations = [allocation("web")]
        assert through(hooks, Stage.PRE_REBOOT) == HookDone()
        assert nomad.node["LastDrain"]["Meta"]["locksmith"] == "42"
        assert nomad.node["SchedulingEligibility"] == "ineligible"
        assert through(hooks, Stage.POST_REBOOT) == HookDone()
        assert nomad.node["SchedulingEligibility"] == "eligible"
        assert list((tmp_path / "drains").iterdir()) == []


def test_nomad_that_does_not_end_is_undone(install, folder, options, monkeypatch, tmp_path):
    with NomadStandIn() as nomad:
        monkeypatch.setenv("NOMAD_ADDR", nomad.url)
        install("nomad", TIMEOUT="2s", DEADLINE="1s")
        options(f"--state-dir {tmp_path}/drains")
        hooks = Hooks(folder, LIMIT)
        nomad.allocations, nomad.looks_until_ended = [allocation("web")], 10_000
        result = through(hooks, Stage.PRE_REBOOT)
        assert isinstance(result, HookFailed)
        assert result.reason.endswith("is not drained after 2s: web still runs")
        assert through(hooks, Stage.UNDO, ["50-nomad"]) == HookDone()
        assert (nomad.node["SchedulingEligibility"], nomad.node["DrainStrategy"]) == ("eligible", None)


def test_containers_over_a_reboot(install, folder, options, tmp_path):
    with EngineStandIn(tmp_path / "docker.sock") as engine:
        install("containers")
        options(f"--socket {tmp_path}/docker.sock --state-dir {tmp_path}/drains")
        hooks = Hooks(folder, LIMIT)
        engine.run("db", {"locksmith.drain.order": "2"})
        engine.run("app", {"locksmith.drain.order": "1"})
        engine.run("old", running=False)
        assert through(hooks, Stage.PRE_REBOOT) == HookDone()
        assert engine.did == ["stop app", "stop db"]
        (state,) = (tmp_path / "drains").iterdir()
        assert [each["name"] for each in json.loads(state.read_text())["containers"]] == ["app", "db"]
        engine.running["app"] = True  # the engine starts one by itself, its policy is `always`
        assert through(hooks, Stage.POST_REBOOT) == HookDone()
        assert engine.did == ["stop app", "stop db", "start db"]
        assert engine.running == {"db": True, "app": True, "old": False}


def test_podman_whose_socket_comes_later_than_we_do_after_the_boot(install, folder, options, tmp_path):
    """Without --socket in the hook: what is owed must be found by its file."""
    podman = Path("/run/podman/podman.sock")
    entries = [{"id": "id-a", "name": "a", "place": 1, "sure": True}]
    kept_for(tmp_path / "drains", podman).write({"v": 1, "boot": "before", "containers": entries})
    install("containers")
    options(f"--state-dir {tmp_path}/drains --timeout 1s")
    result = through(Hooks(folder, LIMIT), Stage.POST_REBOOT)
    assert isinstance(result, HookFailed)
    assert f"a: the container engine cannot be asked: unix:{podman}" in result.reason


def test_containers_called_off_while_one_is_stopping(install, folder, options, tmp_path):
    with EngineStandIn(tmp_path / "docker.sock") as engine:
        install("containers")
        options(f"--socket {tmp_path}/docker.sock --state-dir {tmp_path}/drains")
        hooks = Hooks(folder, LIMIT)
        engine.run("slow")
        engine.stubborn["slow"] = threading.Event()
        cancel, results = threading.Event(), []
        run = threading.Thread(
            target=lambda: results.append(hooks.run(Stage.PRE_REBOOT, "60-containers", CONTEXT, cancel))
        )
        run.start()
        while not engine.lines("POST"):
            cancel.wait(0.02)
        cancel.set()
        run.join(60)
        assert results == [HookCancelled()]
        engine.stubborn["slow"].set()
        assert through(hooks, Stage.UNDO, ["60-containers"]) == HookDone()
        assert engine.running == {"slow": True}
