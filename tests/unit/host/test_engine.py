import contextlib
import json
import socket
from datetime import timedelta

import pytest

from locksmith.host.engine import Container, NoAnswer, look
from tests.servers.raw import http, json_of, listening, silent

PING = http(200, "OK", "Api-Version: 1.41")
WEB = {"Id": "ab" * 32, "Names": ["/web"], "State": "Running", "Labels": {}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "docker.sock"


@contextlib.contextmanager
def serving(path, *answers, heard=None):
    """Each request gets the next of these."""
    left = iter(answers)

    def serve(peer):
        request = peer.recv(65536)
        if heard is not None:
            heard.append(request.split(b"\r\n")[0].decode())
        peer.sendall(next(left, b""))

    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(str(path))
        listener.listen()
        with listening(listener, serve):
            yield


def asked(path, *answers, timeout=60.0):
    with serving(path, *answers):
        return look(path, timedelta(seconds=timeout))


def test_four_questions(path):
    heard = []
    other = WEB | {"Names": ["/db"], "State": "exited"}
    with serving(path, PING, json_of([WEB, other]), json_of([WEB]), json_of([]), heard=heard):
        seen = look(path, timedelta(seconds=60))
    assert seen.program == "docker"
    assert seen.containers == {
        "web": Container("web", "running", passing=False),
        "db": Container("db", "exited", passing=False),
    }
    assert (seen.unhealthy, seen.starting) == (frozenset({"web"}), frozenset())
    assert seen.in_state("exited", "dead") == frozenset({"db"})
    assert heard == [
        "GET /_ping HTTP/1.1",
        "GET /v1.41/containers/json?all=true HTTP/1.1",
        "GET /v1.41/containers/json?filters=%7B%22health%22%3A+%5B%22unhealthy%22%5D%7D HTTP/1.1",
        "GET /v1.41/containers/json?filters=%7B%22health%22%3A+%5B%22starting%22%5D%7D HTTP/1.1",
    ]


def test_podman_says_so(path):
    ping = http(200, "OK", "Api-Version: 1.41", "Libpod-Api-Version: 4.3.1")
    assert asked(path, ping, *[json_of([])] * 3).program == "podman"


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["/web/alias", "/db"], "db"),
        (["/db"], "db"),
        (["db"], "db"),
        ([], "abababababab"),
        (None, "abababababab"),
        (["/d\x1b[1mb"], "d[1mb"),
    ],
)
def test_names(path, names, name):
    assert list(asked(path, PING, json_of([WEB | {"Names": names}]), *[json_of([])] * 2).containers) == [name]


@pytest.mark.parametrize("version", ["", "1.41.2", "../..", "one"])
def test_no_version_is_no_engine(path, version):
    assert asked(path, http(200, "OK", f"Api-Version: {version}")) == NoAnswer(
        f"{path} names no API version: is it the socket of Docker or Podman?"
    )


GARBAGE = [
    ("{}", "the container engine at {path} answers with no list of containers"),
    ("[1", "the container engine at {path}: the answer is not JSON"),
    ("[1]", "the container engine lists something without a name and a state"),
    (json.dumps([{"Names": ["/web"]}]), "the container engine lists something without a name and a state"),
    (json.dumps([{"Names": ["/web"], "State": 3}]), "the container engine lists something without a name and a state"),
    (json.dumps([{"State": "running"}]), "the container engine lists something without a name and a state"),
]


@pytest.mark.parametrize("position", [1, 2, 3])
@pytest.mark.parametrize(("body", "reason"), GARBAGE)
def test_garbage_is_no_answer(path, body, reason, position):
    answers = [PING, *[json_of([])] * 3]
    answers[position] = http(200, body)
    assert asked(path, *answers) == NoAnswer(reason.format(path=path))


@pytest.mark.parametrize(
    ("body", "words"),
    [('{"message": "no"}', ": no"), ("not JSON", ""), ("[]", ""), ('{"message": ""}', "")],
)
def test_refusals(path, body, words):
    assert asked(path, PING, http(403, body)) == NoAnswer(f"the container engine at {path} answers 403{words}")


@pytest.mark.timeout(30)
def test_an_engine_that_says_nothing(path):
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(str(path))
        listener.listen()
        with listening(listener, silent):
            answer = look(path, timedelta(seconds=0.2))
    assert isinstance(answer, NoAnswer)
    assert answer.reason.startswith("the container engine cannot be asked: ")


def test_no_socket(path):
    answer = look(path, timedelta(seconds=60))
    assert isinstance(answer, NoAnswer)
    assert str(path) in answer.reason
