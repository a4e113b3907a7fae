"""The door to Apprise, with the real package: its json:// and form:// services speak HTTP to a receiver on loopback."""

import logging
import subprocess
import sys

import pytest

pytest.importorskip("apprise", reason="NOT TESTED: the extra locksmith-reboot[apprise] is not installed")

from locksmith.errors import ConfigError
from locksmith.notify import Delivered, Undelivered
from locksmith.notify.apprise import Apprise
from tests.fakes.receiver import receiver

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise's own import

DOCUMENT = {
    "id": "1",
    "event": "failed",
    "host": "n1",
    "group": "web",
    "text": "came back unhealthy: app: bad",
    "reason": "kernel",
    "from": "v1",
    "to": None,
    "time": "2026-01-01T00:00:00Z",
    "state": "failed",
}


def json_url(told) -> str:
    return told.url.replace("http://", "json://")


def test_every_service_is_told(tmp_path):
    file = tmp_path / "apprise"
    with receiver() as one, receiver() as other:
        file.write_text(f"# on call\n{json_url(one)}\n\n  {json_url(other)}\n")
        assert Apprise("notify.chat", file).send(DOCUMENT) == Delivered()
    for told in (one, other):
        [said] = told.taken
        assert (said["title"], said["type"]) == ("n1: failed (group web)", "warning")
        assert said["message"].splitlines() == [
            "came back unhealthy: app: bad", "reason: kernel", "from v1 to unknown", "at 2026-01-01T00:00:00Z, state failed",
        ]  # fmt: skip


def test_who_has_it_is_not_told_again(tmp_path):
    file = tmp_path / "apprise"
    with receiver() as one, receiver(500) as other:
        file.write_text(f"{json_url(one)}\n{json_url(other)}\n")
        chat = Apprise("notify.chat", file)
        assert chat.send(DOCUMENT) == Undelivered("not taken by json (of 2 services)")
        assert chat.send(DOCUMENT) == Delivered()
        assert chat.send(DOCUMENT | {"id": "2"}) == Delivered()
    assert (len(one.taken), len(other.taken)) == (2, 2)


def test_no_secret_gets_out(tmp_path, capfd):
    file = tmp_path / "apprise"
    with receiver(500, 500) as told:
        file.write_text(json_url(told).replace("://", "://alice:hunter2@") + "?+X-Token=sesame\n")
        outcome = Apprise("notify.chat", file).send(DOCUMENT)
    assert outcome == Undelivered("not taken by json (of 1 services)")
    assert not logging.getLogger("apprise").propagate
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no URL"),
        ("# nothing\n", "holds no URL"),
        ("json://127.0.0.1\nhunter2-no-url\n", "URL 2 (no scheme) is none"),
        ("json://127.0.0.1\nnosuch://hunter2@x\n", "URL 2 (nosuch) is none"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_at_the_start(tmp_path, content, words):
    file = tmp_path / "apprise"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        Apprise("notify.chat", file)
    assert str(caught.value).startswith("notify.chat: ")
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_went_away_is_tried_again(tmp_path):
    file = tmp_path / "apprise"
    file.write_text("json://127.0.0.1\n")
    chat = Apprise("notify.chat", file)
    file.unlink()
    assert chat.send(DOCUMENT) == Undelivered(f"url_file {file}: no such file or directory")


def test_without_the_package_the_error_says_how_to_install_it(tmp_path):
    """In a process whose import of it fails, as where it is not installed."""
    program = (
        "import sys\n"
        "sys.modules['apprise'] = None\n"
        "from pathlib import Path\n"
        "from locksmith.errors import ConfigError\n"
        "from locksmith.notify.apprise import Apprise\n"
        "try:\n    Apprise('notify.chat', Path('/nowhere'))\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == (
        "notify.chat: kind apprise needs a package that is not installed: pip install 'locksmith-reboot[apprise]', "
        'or use kind = "webhook"\n'
    )
