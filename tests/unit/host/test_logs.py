import io
import json
import logging
import os
import socket
import sys

import pytest

from locksmith.host import logs

RECORD_TIME = 1767225900.25  # 2026-01-01T00:05:00.250Z


@pytest.fixture
def log():
    """Set up logging to a stream for one test; the logger that the test speaks to is below ours."""
    stream = io.StringIO()

    def begin(log_format="text", level="info", **options):
        logs.setup(log_format, level, stream=options.pop("stream", stream), environment={}, **options)
        return logging.getLogger("locksmith.agent"), stream

    yield begin
    logger = logging.getLogger("locksmith")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def journal(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "journal"))
        receiver.settimeout(60)
        yield receiver, tmp_path / "journal"


def record(message="steady → blocked: window", **extra):
    made = logging.LogRecord("locksmith.agent", logging.WARNING, "f.py", 1, message, (), None)
    made.created, made.msecs = RECORD_TIME, 250.0
    made.__dict__.update(extra)
    return made


def test_text():
    line = logs.TextLine().format(record(state="blocked"))
    assert line == "2026-01-01T00:05:00.250Z warning: steady → blocked: window"


def test_json():
    line = logs.JsonLine().format(
        record("two\nlines", state="blocked", kind="window", node="n1", secret="x", token=None)
    )
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-01-01T00:05:00.250Z",
        "level": "warning",
        "logger": "locksmith.agent",
        "message": "two\nlines",
        "state": "blocked",
        "kind": "window",
        "node": "n1",
    }


def test_levels_and_a_second_setup(log):
    logger, stream = log("json", "warning")
    logger.info("not this")
    logger.warning("this %s", "one")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["this one"]
    log("text", "debug")
    logger.debug("now this")
    assert stream.getvalue().splitlines()[1].endswith("debug: now this")
    assert len(logging.getLogger("locksmith").handlers) == 1


def test_auto_without_a_journal_is_text(log):
    logger, stream = log("auto")
    logger.info("hello")
    assert stream.getvalue().endswith("Z info: hello\n")


def test_auto_is_the_journal_only_while_the_stream_is(tmp_path):
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        ours = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert logs.connected_to_journal(stream, ours)
        assert not logs.connected_to_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
        assert not logs.connected_to_journal(stream, {})
    assert not logs.connected_to_journal(io.StringIO(), ours)


def test_auto_chooses_the_journal(tmp_path, journal, log):
    receiver, address = journal
    log()
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        logs.setup("auto", "info", stream=stream, environment=environment, journal=address)
        logging.getLogger("locksmith.agent").info("hello")
    assert b"MESSAGE=hello\n" in receiver.recv(65536)
    assert (tmp_path / "stream").read_text() == ""


def test_journal_fields(journal, log):
    receiver, address = journal
    logger, stream = log("journal", journal=address)
    logger.error("broken", extra={"state": "stuck", "kind": "gate"})
    assert receiver.recv(65536) == (
        b"MESSAGE=broken\nPRIORITY=3\nSYSLOG_IDENTIFIER=locksmithd\nLOCKSMITH_LOGGER=locksmith.agent\n"
        b"LOCKSMITH_STATE=stuck\nLOCKSMITH_KIND=gate\n"
    )
    logger.info("a\nPRIORITY=0")
    assert receiver.recv(65536).startswith(b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\nPRIORITY=6\n")
    logger.info("x" * 1_000_000)
    assert len(receiver.recv(65536)) < 40_000
    assert stream.getvalue() == ""


def test_without_a_journal_the_stream_has_it(tmp_path, log):
    logger, stream = log("journal", journal=tmp_path / "nobody")
    logger.warning("still here")
    assert stream.getvalue().endswith("warning: still here\n")


def test_a_traceback_follows_the_message(log):
    logger, stream = log()
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("failed")
    assert "error: failed\nTraceback" in stream.getvalue()
    assert stream.getvalue().endswith("ValueError: why\n")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_password_reaches_a_line(log, log_format):
    logger, stream = log(log_format)
    logger.info("cannot reach %s", "etcd://me:hunter2@h1:2379/x", extra={"reason": "consul://a:hunter2@h"})
    assert "hunter2" not in stream.getvalue()
    assert "etcd://me:***@h1:2379/x" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://h/x?a=1&access_token=hunter2&b=2", "GET https://h/x?a=1&access_token=***&b=2"),
        ("http://h/?password=hunter2", "http://h/?password=***"),
        ("http://h/?APIKEY=hunter2 said no", "http://h/?APIKEY=*** said no"),
        ("Authorization: Bearer hunter2hunter2", "Authorization: Bearer ***"),
        ("Authorization: Basic aHVudGVyMg==", "Authorization: Basic ***"),
    ],
)
def test_what_else_is_blanked(text, shown):
    assert logs.redact(text) == shown


@pytest.mark.parametrize("log_format", ["json", "journal"])
def test_every_line_names_its_node_and_group(log, journal, log_format):
    receiver, address = journal
    logger, stream = log(log_format, journal=address)
    logs.belong("n0", "db")
    logs.belong("n1", "web")
    logger.info("hello")
    logger.info("of another", extra={"node": "n2", "hook": "10-drain", "attempt": 2})
    if log_format == "json":
        first, second = (json.loads(line) for line in stream.getvalue().splitlines())
        assert (first["node"], first["group"]) == ("n1", "web")
        assert (second["node"], second["group"], second["hook"], second["attempt"]) == ("n2", "web", "10-drain", "2")
    else:
        assert b"LOCKSMITH_NODE=n1\nLOCKSMITH_GROUP=web\n" in receiver.recv(65536)
        assert (
            b"LOCKSMITH_NODE=n2\nLOCKSMITH_GROUP=web\nLOCKSMITH_HOOK=10-drain\nLOCKSMITH_ATTEMPT=2\n"
            in receiver.recv(65536)
        )


@pytest.mark.parametrize(
    "text",
    [
        "token 42",
        "the token=42 of n1",
        "a Basic rule",
        "etcd://h1:2379,h2:2379/x",
        "http://h/a:b@c",
        "12:30 me@host",
        "consul://h:8500",
    ],
)
def test_what_is_no_password_stays(text):
    assert logs.redact(text) == text


def test_standard_error_is_the_default(capsys, log):
    log()
    logs.setup("text", "info", environment={}, stream=sys.stderr)
    logging.getLogger("locksmith.agent").info("hello")
    assert capsys.readouterr().err.endswith("info: hello\n")
