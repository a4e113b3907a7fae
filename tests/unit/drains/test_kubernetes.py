"""The drain of a Kubernetes node, against the stand-in of tests/servers/kube.py: no cluster runs here."""

from datetime import UTC, datetime, timedelta

import pytest

from locksmith.drains.ending import Done, NotDone
from locksmith.drains.kubernetes import CORDONED_BY, DrainRules, KubernetesDrain, eviction_version
from locksmith.drains.pods import PodRules
from locksmith.host.http import NO_FILES
from locksmith.host.kubeconfig import Access
from tests.servers.json_api import Said
from tests.servers.kube import BOOT_ID, NODE, KubeStandIn, node, pod

BOOTED = datetime.now(UTC) - timedelta(minutes=5)
OLD = BOOTED - timedelta(minutes=5)


@pytest.fixture
def kube():
    with KubeStandIn() as standing:
        yield standing


@pytest.fixture
def drain(kube, clock, patience, said):
    def make(seconds=60.0, token="", **rules):
        kubernetes = KubernetesDrain(
            Access(kube.url, NO_FILES, "/etc/kubeconfig", token), NODE, patience(seconds), clock, said.append
        )
        return kubernetes.drain(DrainRules(**rules), "42")

    return make


@pytest.fixture
def uncordon(kube, clock, patience, said, tmp_path):
    boot_id = tmp_path / "boot_id"
    boot_id.write_text(BOOT_ID + "\n")

    def make(seconds=60.0, ready_since=None):
        access = Access(kube.url, NO_FILES, "/etc/kubeconfig")
        kubernetes = KubernetesDrain(access, NODE, patience(seconds), clock, said.append)
        return kubernetes.uncordon(ready_since, boot_id)

    return make


# ------------------------------------------------------------------------------------------------ drain


def test_an_ordinary_drain(kube, drain, uncordon):
    kube.add(pod("a"), pod("b", app="db", owner="StatefulSet"), pod("elsewhere", node="node2"))
    assert drain() == Done(f"node {NODE} is drained")
    assert kube.cordoned
    assert kube.annotations == {CORDONED_BY: "42"}
    assert sorted(name for name, _ in kube.evicted) == ["a", "b"]
    assert list(kube.pods) == ["uid-elsewhere"]
    assert uncordon() == Done(f"node {NODE} uncordoned")
    assert (kube.cordoned, kube.annotations) == (False, {})
    assert kube.node["metadata"]["labels"] == {"a": "b"}


def test_cordon_and_mark_come_in_one_request(kube, drain):
    drain()
    (patch,) = [asked for asked in kube.asked if asked.method == "PATCH"]
    assert patch.body["spec"] == {"unschedulable": True}
    assert patch.body["metadata"]["annotations"] == {CORDONED_BY: "42"}
    assert patch.body["metadata"]["resourceVersion"] == "100"


def test_twice_is_once(kube, drain, uncordon):
    kube.add(pod("a"))
    drain()
    assert drain() == Done(f"node {NODE} is drained")
    assert len(kube.lines("PATCH")) == 1
    uncordon()
    assert not kube.cordoned
    assert uncordon() == Done(f"node {NODE} was not cordoned by us: it stays as it is")


def test_what_an_administrator_has_cordoned_stays_cordoned(kube, drain, uncordon):
    kube.node["spec"]["unschedulable"] = True
    kube.add(pod("a"))
    assert drain() == Done(f"node {NODE} is drained")
    assert kube.annotations == {}
    assert uncordon() == Done(f"node {NODE} was not cordoned by us: it stays as it is")
    assert kube.cordoned
    assert kube.lines("PATCH") == []


def test_an_administrator_who_is_faster_by_a_moment_keeps_the_node(kube, drain, uncordon):
    """Between our reading and our patch: the condition on the version makes the patch fail."""

    class Faster(KubeStandIn):
        def _patch_node(self, name, asked):
            if not self.node["spec"].get("unschedulable"):
                self.node["spec"]["unschedulable"] = True
                self.touch()
            return super()._patch_node(name, asked)

    kube.__class__ = Faster
    assert isinstance(drain(), Done)
    assert kube.annotations == {}
    uncordon()
    assert kube.cordoned


def test_a_kubelet_that_writes_its_status_meanwhile_costs_another_try(kube, drain):
    kube.fault("PATCH /api/v1/nodes", 409, times=3)
    assert isinstance(drain(), Done)
    assert kube.cordoned


def test_a_mark_without_a_cordon_is_cleaned_up(kube, drain, uncordon):
    kube.node["metadata"]["annotations"] = {CORDONED_BY: "41", "other": "stays"}
    assert isinstance(uncordon(), Done)
    assert kube.annotations == {"other": "stays"}
    kube.node["metadata"]["annotations"] = {CORDONED_BY: "41"}
    assert isinstance(drain(), Done)
    assert (kube.cordoned, kube.annotations) == (True, {CORDONED_BY: "42"})


def test_what_the_node_runs_itself_stays(kube, drain):
    kube.add(
        pod("static", owner="Node", annotations={"kubernetes.io/config.mirror": "x"}),
        pod("daemon", owner="DaemonSet", emptydir=True),
        pod("done", phase="Succeeded", owner=None),
        pod("failed", phase="Failed", emptydir=True),
    )
    assert drain() == Done(f"node {NODE} is drained")
    assert kube.evicted == []


@pytest.mark.parametrize(
    ("made", "word"),
    [({"owner": None}, "default/p has no controller"), ({"emptydir": True}, "default/p has an emptyDir")],
)
def test_what_would_be_lost_is_refused_before_anything_is_evicted(kube, drain, uncordon, made, word):
    kube.add(pod("a"), pod("p", **made))
    ending = drain()
    assert isinstance(ending, NotDone)
    assert word in ending.reason
    assert kube.evicted == []
    uncordon()  # the undo hook
    assert not kube.cordoned


def test_both_losses_are_named(kube, drain):
    kube.add(pod("p", owner=None, emptydir=True))
    ending = drain(pods=PodRules(emptydir="evict"))
    assert "no controller" in ending.reason
    assert "emptyDir" not in ending.reason
    assert " and has no controller" in drain().reason


def test_evicted_and_left_by_choice(kube, drain):
    kube.add(pod("bare", owner=None), pod("cache", emptydir=True))
    rules = PodRules(emptydir="evict", bare="leave")
    assert drain(pods=rules) == Done(f"node {NODE} is drained, 1 stay and go down with it")
    assert [name for name, _ in kube.evicted] == ["cache"]


def test_one_loss_that_is_left_leaves_the_pod(kube, drain):
    kube.add(pod("p", owner=None, emptydir=True))
    assert isinstance(drain(pods=PodRules(emptydir="leave", bare="evict")), Done)
    assert kube.evicted == []


def test_options_of_an_eviction(kube, drain):
    kube.add(pod("a"))
    drain(grace=7)
    assert kube.evicted == [("a", {"preconditions": {"uid": "uid-a"}, "gracePeriodSeconds": 7})]


def test_a_selector(kube, drain):
    kube.add(pod("a", app="web"), pod("b", app="db"))
    assert isinstance(drain(selector="app=db"), Done)
    assert [name for name, _ in kube.evicted] == ["b"]


def test_lists_of_many_pages(kube, drain):
    kube.page_limit = 2
    kube.add(*(pod(f"p{number}") for number in range(5)))
    assert isinstance(drain(), Done)
    assert len(kube.evicted) == 5


def test_a_list_that_expires_is_begun_anew(kube, drain):
    kube.page_limit = 1
    kube.add(pod("a"), pod("b"))
    kube.fault("GET /api/v1/pods", 410)
    assert isinstance(drain(), Done)


def test_a_budget_that_opens_after_a_while(kube, drain, said):
    kube.add(pod("a"), pod("b"))
    kube.budgets["web"] = 1
    kube.refusals_until_open["web"] = 3
    assert drain() == Done(f"node {NODE} is drained")
    assert len(kube.evicted) == 2
    told = [line for line in said if "429" in line]
    assert len(told) == 1  # the same refusal is told once
    assert "violate the pod's disruption budget" in told[0]
    assert "The disruption budget web needs 2 healthy pods" in told[0]


def test_refused_evictions_are_not_hammered(kube, drain, clock):
    kube.add(pod("a"))
    kube.budgets["web"] = 0
    drain(60)
    tries = sum(line.endswith("/eviction") for line in kube.lines("POST"))
    assert 60 / 6 - 1 <= tries <= 60 / 5 + 1


def test_a_budget_that_never_opens(kube, drain, uncordon):
    kube.add(pod("a"), *(pod(f"b{number}", app="free") for number in range(5)))
    kube.budgets["web"] = 0
    ending = drain(60)
    assert isinstance(ending, NotDone)
    assert ending.reason.startswith("pods are still there after 1m: default/a: the Kubernetes API says 429")
    assert len(kube.evicted) == 5
    uncordon()  # the undo hook
    assert not kube.cordoned


def test_going_on_although_a_budget_never_opens(kube, drain):
    kube.add(pod("a"))
    kube.budgets["web"] = 0
    ending = drain(60, go_on=True)
    assert isinstance(ending, Done)
    assert ending.note.startswith("going on after 1m although pods are still there: default/a")
    assert kube.evicted == []


def test_many_that_stay_are_counted(kube, drain):
    kube.add(*(pod(f"p{number}") for number in range(5)))
    kube.budgets["web"] = 0
    assert drain(30).reason.endswith("; and 2 more")


def test_a_pod_that_is_terminating_is_waited_for(kube, drain, clock):
    kube.add(pod("a", deleted="2020-01-01T00:00:00Z"))
    clock.at_sleep = [lambda: None, kube.pods.clear]
    assert isinstance(drain(), Done)
    assert kube.evicted == []


def test_a_pod_that_never_ends(kube, drain):
    kube.add(pod("a", deleted="2020-01-01T00:00:00Z"))
    assert drain(30).reason == "pods are still there after 30s: default/a: is terminating"
    assert isinstance(drain(30, pods=PodRules(forget_after=timedelta(hours=1))), Done)


def test_errors_of_the_server_are_waited_for(kube, drain):
    kube.add(pod("a"))
    kube.fault("GET /api/v1/nodes", 500)
    kube.fault("PATCH", 503)
    kube.fault("GET /api/v1/pods", 500)
    kube.fault("POST", 500, times=2)
    kube.fault("GET /api/v1 ", 502)
    assert isinstance(drain(), Done)


def test_more_than_one_budget_for_a_pod_is_a_mistake_that_is_named(kube, drain):
    kube.add(pod("a"))
    words = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    kube.fault("POST", 500, times=1000, document={"kind": "Status", "message": words, "code": 500})
    assert words in drain(30).reason


def test_a_pod_that_is_gone_when_its_turn_comes(kube, drain):
    kube.add(pod("a"))
    kube.fault("POST", 404)
    clock_pods = kube.pods
    assert isinstance(drain(), Done)
    assert clock_pods == {}


def test_another_pod_of_the_same_name_is_not_evicted(kube, drain):
    """A StatefulSet's pod that is back on another node: the precondition protects it."""
    kube.add(pod("db-0"))

    class Moves(KubeStandIn):
        def _evict(self, namespace, name, asked):
            self.pods.clear()
            moved = pod("db-0", node="node2")
            moved["metadata"]["uid"] = "uid-new"
            self.add(moved)
            return super()._evict(namespace, name, asked)

    kube.__class__ = Moves
    assert isinstance(drain(), Done)
    assert kube.evicted == []
    assert "uid-new" in kube.pods


def test_a_namespace_that_is_ending_is_waited_for(kube, drain):
    kube.add(pod("a"))
    causes = [{"reason": "NamespaceTerminating", "message": "namespace default is being terminated"}]
    kube.fault("POST", 403, times=2, document={"kind": "Status", "message": "forbidden", "details": {"causes": causes}})
    assert isinstance(drain(), Done)


def test_a_right_that_is_missing_does_not_come_by_waiting(kube, drain, clock):
    kube.add(pod("a"))
    kube.fault("POST", 403, document={"kind": "Status", "message": 'pods "a" is forbidden'})
    started = clock.seconds
    ending = drain()
    assert ending.reason.startswith('cannot evict default/a: the Kubernetes API says 403: pods "a" is forbidden; ')
    assert "deploy/kubernetes/rbac.yaml" in ending.reason
    assert clock.seconds == started


def test_an_expired_token(kube, drain, clock):
    kube.token = "fresh"
    started = clock.seconds
    ending = drain(token="expired")
    assert ending.reason == (
        f"cannot cordon node {NODE}: the Kubernetes API says 401: Unauthorized; "
        "the credentials of /etc/kubeconfig are not accepted: have they expired?"
    )
    assert clock.seconds == started
    assert isinstance(drain(token="fresh"), Done)


def test_an_api_that_hangs(kube, drain, uncordon):
    kube.silent.set()
    ending = drain(0.3)
    assert "no answer within the time limit" in ending.reason
    assert "no answer within the time limit" in uncordon(0.3).reason


def test_an_api_that_hangs_in_the_middle(kube, drain, clock):
    kube.add(pod("a"))
    kube.budgets["web"] = 0
    clock.at_sleep = [kube.silent.set]
    ending = drain(2.2)
    assert ending.reason.startswith(f"cannot list the pods of node {NODE}: the Kubernetes API does not answer")


def test_no_such_node(kube, drain):
    kube.node = None
    assert 'nodes "node1" not found' in drain().reason


@pytest.mark.parametrize("versions", [("policy/v1", "policy/v1beta1"), ("policy/v1beta1",)])
def test_the_version_of_evictions_is_asked_for(kube, drain, versions):
    kube.eviction_versions = versions
    kube.add(pod("a"))
    assert isinstance(drain(), Done)
    (post,) = [asked for asked in kube.asked if asked.method == "POST"]
    assert post.body["apiVersion"] == versions[0]


def test_discovery_may_be_closed(kube, drain):
    kube.add(pod("a"))
    kube.fault("GET /api/v1 ", 403)
    assert isinstance(drain(), Done)
    assert eviction_version({"resources": [{"name": "pods/eviction"}]}) == "policy/v1beta1"


def test_no_evictions_at_all(kube, drain):
    kube.eviction_versions = ()
    kube.add(pod("a"))
    assert "has no evictions" in drain().reason


def test_a_node_that_somebody_uncordons_in_the_middle(kube, drain, clock, uncordon):
    """Its pods come back as fast as they are evicted, and it says that somebody does not want this."""
    kube.add(pod("a"))
    kube.budgets["web"] = 0
    clock.at_sleep = [lambda: kube.node["spec"].pop("unschedulable")]
    started = clock.seconds
    assert drain() == NotDone(f"node {NODE} was uncordoned by somebody else while it was drained")
    assert clock.seconds < started + 10
    assert isinstance(uncordon(), Done)
    assert kube.annotations == {}


def test_a_node_that_somebody_uncordons_at_the_end(kube, drain, clock):
    kube.add(pod("a"))

    class Uncordons(KubeStandIn):
        def _evict(self, namespace, name, asked):
            self.node["spec"].pop("unschedulable")
            return super()._evict(namespace, name, asked)

    kube.__class__ = Uncordons
    assert isinstance(drain(), NotDone)


def test_a_list_that_never_ends(kube, drain):
    class Endless(KubeStandIn):
        def _list_pods(self, query):
            return Said(200, {"metadata": {"continue": "more"}, "items": []})

    kube.__class__ = Endless
    ending = drain(0.5)
    assert isinstance(ending, NotDone)
    assert ending.reason.startswith(f"cannot list the pods of node {NODE}: ")


# ------------------------------------------------------------------------------------------------ back


@pytest.fixture
def cordoned(kube):
    kube.node["spec"]["unschedulable"] = True
    kube.node["metadata"]["annotations"] = {CORDONED_BY: "42"}


def renew(kube, **made):
    fresh = node(**made)
    kube.node["status"] = fresh["status"]
    kube.touch()


@pytest.mark.usefixtures("cordoned")
def test_back_waits_for_the_kubelet_of_this_boot(kube, uncordon, clock):
    renew(kube, heartbeat=OLD, boot_id="of-the-boot-before")
    clock.at_sleep = [lambda: renew(kube, ready="False"), lambda: renew(kube)]
    assert uncordon(ready_since=BOOTED) == Done(f"node {NODE} uncordoned")
    assert clock.at_sleep == []
    assert not kube.cordoned


@pytest.mark.usefixtures("cordoned")
@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"heartbeat": OLD, "boot_id": "x"}, "has not reported in this boot yet (last report "),
        ({"heartbeat": OLD}, "has not been heard in this boot yet"),
        ({"ready": "False"}, "is not Ready: KubeletNotReady: container runtime is down"),
        ({"ready": "Unknown"}, "is not Ready"),
    ],
)
def test_back_leaves_a_node_cordoned_that_is_not_ready(kube, uncordon, made, reason):
    renew(kube, **made)
    ending = uncordon(10, ready_since=BOOTED)
    assert ending.reason.startswith(f"node {NODE} stays cordoned: ")
    assert reason in ending.reason
    assert kube.cordoned


@pytest.mark.usefixtures("cordoned")
def test_a_lease_of_this_boot_does_for_a_status_of_this_boot(kube, uncordon):
    """The clock was set after the kubelet's first report: only the boot id and the Lease tell."""
    renew(kube, heartbeat=OLD)
    kube.lease = BOOTED + timedelta(seconds=1)
    assert isinstance(uncordon(ready_since=BOOTED), Done)


@pytest.mark.usefixtures("cordoned")
def test_back_waits_for_a_node_that_registers_anew(kube, uncordon, clock):
    saved = kube.node
    kube.node = None
    clock.at_sleep = [lambda: setattr(kube, "node", saved)]
    assert isinstance(uncordon(ready_since=BOOTED), Done)
    kube.node = None
    assert "404" in uncordon().reason  # without a reboot it is simply not there


@pytest.mark.usefixtures("cordoned")
def test_back_waits_for_the_api_and_tries_conflicts_again(kube, uncordon):
    kube.fault("GET", 503, times=2)
    kube.fault("PATCH", 409, times=2)
    assert isinstance(uncordon(), Done)
    kube.node["spec"]["unschedulable"] = True
    kube.node["metadata"]["annotations"] = {CORDONED_BY: "42"}
    kube.fault("PATCH", 403)
    assert "stays cordoned: the Kubernetes API says 403" in uncordon().reason


@pytest.mark.usefixtures("cordoned")
def test_a_ready_of_the_boot_before_does_not_count_when_our_clock_is_behind(kube, uncordon):
    """A machine without a clock of its own begins with a time before its last report; the boot id tells."""
    renew(kube, heartbeat=BOOTED + timedelta(seconds=30), boot_id="of-the-boot-before")
    ending = uncordon(10, ready_since=BOOTED)
    assert isinstance(ending, NotDone)
    assert "has not reported in this boot yet" in ending.reason
    assert kube.cordoned


@pytest.mark.usefixtures("cordoned")
def test_back_on_a_node_that_somebody_has_uncordoned_only_takes_the_mark_away(kube, uncordon, clock):
    """Else the mark would make the next cordon of an administrator look like ours."""
    del kube.node["spec"]["unschedulable"]
    renew(kube, ready="False")
    started = clock.seconds
    assert isinstance(uncordon(ready_since=BOOTED), Done)
    assert clock.seconds == started
    assert kube.annotations == {}


@pytest.mark.usefixtures("cordoned")
def test_a_cordon_of_an_administrator_under_a_mark_that_was_left(kube, drain, uncordon):
    """Uncordoned and cordoned again by hand between two looks of ours: the API knows who owns the field."""
    kube.owners = ["kubectl-cordon"]
    drain()
    assert uncordon() == Done(f"node {NODE} was not cordoned by us: it stays as it is")
    assert kube.cordoned


@pytest.mark.usefixtures("cordoned")
@pytest.mark.parametrize("owners", [["locksmith"], ["kubectl", "locksmith"], ["ancient-changes"], []])
def test_owners_of_the_field_that_speak_for_us_or_say_nothing(kube, uncordon, owners):
    kube.owners = owners
    assert isinstance(uncordon(), Done)
    assert not kube.cordoned
