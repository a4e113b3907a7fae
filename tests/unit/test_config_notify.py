"""[notify.NAME]: defaults, all keys, and what is refused with which words; and what becomes of it in assemble_notify."""

from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

from locksmith import assemble_notify
from locksmith.config import describe, load
from locksmith.config_model import Config
from locksmith.config_notify import NOTIFY_KEYS, AppriseSpec, NotifyEvent, NotifySpec, WebhookSpec
from locksmith.errors import ConfigError
from locksmith.host.tls import NO_FILES, Tls

SECOND = timedelta(seconds=1)
ALL = get_args(NotifyEvent)
URL = "http://127.0.0.1:9/hook"


def read(folder: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    file = folder / "locksmith.toml"
    file.write_text(f'[node]\nstate_dir = "{folder}"\n{text}')
    return load(file, environ=environ or {})


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return str(caught.value).removeprefix(f"{folder}/locksmith.toml: ")


def test_nothing_is_told_by_default(tmp_path):
    assert read(tmp_path, "").notify == ()


def test_defaults(tmp_path):
    assert read(tmp_path, f'[notify.hook]\nkind = "webhook"\nurl = "{URL}"\n').notify == (
        WebhookSpec("hook", URL, None, 10 * SECOND, NO_FILES, timedelta(days=1), ALL),
    )
    (tmp_path / "urls").write_text("json://127.0.0.1\n")
    assert read(tmp_path, f'[notify.chat]\nkind = "apprise"\nurl_file = "{tmp_path}/urls"\n').notify == (
        AppriseSpec("chat", tmp_path / "urls", timedelta(days=1), ALL),
    )


def test_all_keys(tmp_path):
    for name in ("url", "ca", "cert", "key", "token"):
        (tmp_path / name).write_text("x")
    text = f"""
        [notify.hook]
        kind = "webhook"
        url_file = "{tmp_path}/url"
        timeout = "3s"
        retry_for = "1h"
        events = ["back", "failed"]
        ca_file = "{tmp_path}/ca"
        cert_file = "{tmp_path}/cert"
        key_file = "{tmp_path}/key"
        token_file = "{tmp_path}/token"
        """
    files = Tls(tmp_path / "ca", tmp_path / "cert", tmp_path / "key", tmp_path / "token")
    assert read(tmp_path, text).notify == (
        WebhookSpec("hook", None, tmp_path / "url", 3 * SECOND, files, 3600 * SECOND, ("back", "failed")),
    )
    assert {line.split(" = ")[0].strip() for line in text.splitlines() if " = " in line} - {"kind"} == set(
        NOTIFY_KEYS
    ) - {"url"}


def test_the_keys_are_those_of_some_kind():
    known = {each.name for kind in get_args(NotifySpec) for each in fields(kind)} - {"name", "tls"}
    assert set(NOTIFY_KEYS) == known | {"ca_file", "cert_file", "key_file", "token_file"}


def test_one_that_is_switched_off(tmp_path):
    assert read(tmp_path, f'[notify.hook]\nenabled = false\nkind = "webhook"\nurl = "{URL}"\n').notify == ()


def test_a_credential_of_the_unit(tmp_path):
    (tmp_path / "urls").write_text("json://127.0.0.1\n")
    [spec] = read(
        tmp_path, '[notify.chat]\nkind = "apprise"\nurl_file = "/x/urls"\n', {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    ).notify
    assert spec.url_file == tmp_path / "urls"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "notify.x.kind: is missing"),
        ('kind = "webhok"', "notify.x.kind: unknown kind 'webhok'; did you mean 'webhook'"),
        ('kind = "webhook"', "notify.x.url: write either url, or url_file"),
        (f'kind = "webhook"\nurl = "{URL}"\nurl_file = "/etc/hostname"', "notify.x.url: write either url, or url_file"),
        ('kind = "webhook"\nurl = "https://a:b@x/"', "no user or password in a URL"),
        ('kind = "webhook"\nurl = "ftp://x/"', "is no URL"),
        (f'kind = "webhook"\nurl = "{URL}"\nca_file = "/x"', "notify.x.ca_file: has no use without TLS"),
        (f'kind = "webhook"\nurl = "{URL}"\nevents = ["bak"]', "notify.x.events: unknown event 'bak'"),
        (f'kind = "webhook"\nurl = "{URL}"\nevents = "back"', "notify.x.events: 'back' is not a list"),
        (f'kind = "webhook"\nurl = "{URL}"\nretry_for = "0s"', "notify.x.retry_for"),
        (f'kind = "webhook"\nurl = "{URL}"\nretries = 3', "notify.x.retries: unknown key"),
        ('kind = "apprise"', "notify.x.url_file: is missing"),
        ('kind = "apprise"\nurl_file = "/etc/hostname"\nurl = "json://x"', "notify.x.url: unknown key"),
        ('kind = "apprise"\nurl_file = "/etc/hostname"\ntimeout = "1s"', "notify.x.timeout: unknown key"),
    ],
)
def test_what_is_refused(tmp_path, text, words):
    assert words in refused(tmp_path, f"[notify.x]\n{text}\n")


def test_a_list_of_entries_shows_the_right_spelling(tmp_path):
    assert "[notify.NAME]" in refused(tmp_path, '[[notify]]\nkind = "webhook"\n')


def test_no_secret_is_shown(tmp_path):
    (tmp_path / "url").write_text("https://hooks.example/T000/hunter2")
    config = read(tmp_path, f'[notify.hook]\nkind = "webhook"\nurl_file = "{tmp_path}/url"\n')
    assert "hunter2" not in repr(list(describe(config)))
    assert "hunter2" not in repr(assemble_notify.sink(config.notify[0]))


# ------------------------------------------------------------------------------------------------ assembled


def test_channels_have_files_of_their_own(tmp_path):
    config = read(
        tmp_path, f'[notify.a]\nkind = "webhook"\nurl = "{URL}"\n[notify.b]\nkind = "webhook"\nurl = "{URL}"\n'
    )
    assemble_notify.check(config)
    made = assemble_notify.channels(config)
    assert [(channel.name, channel._path) for channel in made] == [
        ("a", tmp_path / "notify-a.json"),
        ("b", tmp_path / "notify-b.json"),
    ]
    assert not list(tmp_path.glob("notify-*"))  # before anything is told


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise's own import
def test_a_file_without_a_url_is_an_error_at_the_start(tmp_path):
    pytest.importorskip("apprise", reason="NOT TESTED: the extra locksmith-reboot[apprise] is not installed")
    (tmp_path / "urls").write_text("# nothing yet\n")
    config = read(tmp_path, f'[notify.chat]\nkind = "apprise"\nurl_file = "{tmp_path}/urls"\n')
    with pytest.raises(ConfigError, match=r"notify\.chat: url_file .*: holds no URL"):
        assemble_notify.check(config)


@pytest.mark.parametrize("kind", ["webhook", "apprise"])
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_a_file_that_is_not_there_is_an_error_of_the_agent_and_not_of_lockctl(tmp_path, kind):
    if kind == "apprise":
        pytest.importorskip("apprise", reason="NOT TESTED: the extra locksmith-reboot[apprise] is not installed")
    config = read(tmp_path, f'[notify.chat]\nkind = "{kind}"\nurl_file = "{tmp_path}/urls"\n')
    with pytest.raises(ConfigError, match=r"notify\.chat: url_file .*/urls: no such file or directory"):
        assemble_notify.check(config)
