"""The Kubernetes API's answers, good and bad, against the stand-in of tests/servers/kube.py and hand-made answers."""

from datetime import timedelta

import pytest

from locksmith.host.http import NO_FILES
from locksmith.host.kube import KubeApi, Trouble, mapping, object_path, objects
from locksmith.host.kubeconfig import Access
from tests.servers.kube import NODE, KubeStandIn, pod
from tests.servers.raw import http, routing, server

LIMIT = timedelta(seconds=30)


@pytest.fixture
def kube():
    with KubeStandIn() as standing:
        yield standing


@pytest.fixture
def api(kube):
    return KubeApi(Access(kube.url, NO_FILES, "/etc/kubeconfig"), LIMIT)


def test_paths():
    assert object_path("nodes", "n1") == "/api/v1/nodes/n1"
    assert object_path("pods", "a/b", "x y") == "/api/v1/namespaces/x%20y/pods/a%2Fb"
    assert object_path("leases", "n1", "ns", "coordination.k8s.io/v1") == (
        "/apis/coordination.k8s.io/v1/namespaces/ns/leases/n1"
    )


def test_fields_that_are_left_out():
    assert mapping({"a": {"b": {"c": 1}}}, "a", "b") == {"c": 1}
    assert mapping({"a": None}, "a", "b") == {}
    assert mapping({"a": []}, "a") == {}


def test_lists_of_objects():
    assert objects({"a": [{"b": 1}, 2, None]}, "a") == [{"b": 1}]
    assert objects({"a": 1}, "a") == objects({"a": None}, "a") == objects({}, "a") == []


def test_a_list_is_read_to_its_end(kube, api):
    kube.page_limit = 2
    kube.add(*(pod(f"p{number}") for number in range(5)), pod("other", node="node2"))
    found = api.items("/api/v1/pods", {"fieldSelector": f"spec.nodeName={NODE}"})
    assert [item["metadata"]["name"] for item in found] == ["p0", "p1", "p2", "p3", "p4"]
    assert [asked.query.get("continue") for asked in kube.asked] == [None, "2", "4"]


def test_a_list_that_expires_is_begun_anew_and_has_nothing_twice(kube, api):
    kube.page_limit = 1
    kube.add(pod("a"), pod("b"))
    first = api.items("/api/v1/pods", {})
    assert len(first) == 2

    class Expires(KubeStandIn):
        def _list_pods(self, query):
            if "continue" in query and self.expire > 0:
                self.expire -= 1
                self.fault("GET", 410)
                return self.respond(self.asked[-1])
            return super()._list_pods(query)

    kube.__class__, kube.expire = Expires, 2
    assert api.items("/api/v1/pods", {}) == first
    kube.expire = 3
    assert api.items("/api/v1/pods", {}).status == 410


def test_a_page_that_fails_fails_the_list(kube, api):
    kube.fault("GET", 503)
    assert api.items("/api/v1/pods", {}).status == 503


@pytest.mark.parametrize(
    ("status", "lasting"),
    [
        (400, True),
        (401, True),
        (403, True),
        (404, True),
        (422, True),
        (409, False),
        (429, False),
        (500, False),
        (504, False),
    ],
)
def test_what_cannot_be_helped_by_asking_again(kube, api, status, lasting):
    kube.fault("GET", status)
    found = api.get("/api/v1/nodes/x")
    assert (found.status, found.lasting) == (status, lasting)
    assert found.reason.startswith(f"the Kubernetes API says {status}: ")


def test_the_words_of_the_api(kube, api):
    details = {"causes": [{"reason": "DisruptionBudget", "message": "needs 2"}], "retryAfterSeconds": 10}
    kube.fault("GET", 429, document={"kind": "Status", "message": "Cannot\n evict", "details": details})
    found = api.get("/")
    assert found == Trouble(
        "the Kubernetes API says 429: Cannot evict needs 2", 429, retry_after=10, causes=("DisruptionBudget",)
    )


@pytest.mark.parametrize("body", ["[]", "null", "<html>", '{"a"', "1"])
def test_answers_that_are_no_object(body):
    with server(routing({"/x": http(200, body)})) as url:
        found = KubeApi(Access(f"http://{url}", NO_FILES, "x"), LIMIT).get("/x")
    assert isinstance(found, Trouble)
    assert not found.lasting


@pytest.mark.parametrize(
    "body", ["<html>bad gateway</html>", "", '{"details": []}', '{"message": 5, "details": {"causes": 1}}']
)
def test_errors_that_are_no_status(body):
    with server(routing({"/x": http(502, body)})) as url:
        found = KubeApi(Access(f"http://{url}", NO_FILES, "x"), LIMIT).get("/x")
    assert (found.status, found.lasting) == (502, False)


def test_no_answer(kube):
    found = KubeApi(Access("http://127.0.0.1:1", NO_FILES, "x"), LIMIT).get("/x")
    assert (found.status, found.lasting) == (0, False)
    assert found.reason.startswith("the Kubernetes API does not answer: 127.0.0.1:1: connection refused")


def test_a_list_that_never_ends_ends_with_its_time():
    body = '{"metadata": {"continue": "more"}, "items": []}'
    with server(routing({"/x": http(200, body)})) as url:
        found = KubeApi(Access(f"http://{url}", NO_FILES, "x"), timedelta(seconds=0.3)).items("/x", {})
    assert isinstance(found, Trouble)
    assert not found.lasting


def test_a_password_in_the_servers_url_is_not_told():
    with server(routing({"/x": http(200, "[]")})) as url:
        found = KubeApi(Access(f"http://root:secret@{url}", NO_FILES, "x"), LIMIT).get("/x")
    assert isinstance(found, Trouble)
    assert url in found.reason
    assert "secret" not in found.reason
