"""needrestart's batch mode: samples of real answers, and the traps in them. Where they come from: ORIGINS.md beside them."""

import os
import shlex
import string
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.core.needs import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates import Provider
from locksmith.updates.needrestart import Needrestart

SAMPLES = Path(__file__).parents[2] / "samples" / "updates" / "needrestart"
LONG = timedelta(seconds=60)


@pytest.fixture
def boot(tmp_path) -> Path:
    folder = tmp_path / "boot"
    folder.mkdir()
    return folder


def ask(script: str, boot: Path, *, microcode: bool = False, root: bool = True, timeout: timedelta = LONG) -> Answer:
    provider: Provider = Needrestart(
        "nr", timeout, microcode, command=("/bin/sh", "-c", script), boot=boot, privileged=lambda: root
    )
    return provider.ask()


def sample(name: str, boot: Path, **more) -> Answer:
    return ask(f"cat {shlex.quote(str(SAMPLES / name))}", boot, **more)


@pytest.mark.parametrize(
    ("name", "running"),
    [
        ("debian12-current.txt", "6.18.44-fc-v595"),
        ("readme-batch.txt", "3.19.3-tl1+"),
        # Not asked for microcode, it does not look at what is said about it.
        ("constructed-microcode-obsolete.txt", "5.10.0-10-amd64"),
        ("constructed-microcode-unknown.txt", "5.14.0-362.24.1.el9_3.0.1.x86_64"),
    ],
)
def test_not_needed(name, running, boot):
    assert sample(name, boot) == NotNeeded("nr", running)


@pytest.mark.parametrize(
    ("name", "microcode", "reason", "origin", "target"),
    [
        ("debian12-newer-version.txt", False, "kernel 7.0.1-amd64", "6.18.44-fc-v595", "7.0.1-amd64"),
        ("debian12-newer-build.txt", False, "a newer build of kernel 6.18.44-fc-v595", "6.18.44-fc-v595", None),
        ("issue-22-jessie.txt", False, "a newer build of kernel 3.16.0-4-amd64", "3.16.0-4-amd64", None),
        ("constructed-both.txt", False, "kernel 5.10.0-11-amd64", "5.10.0-10-amd64", "5.10.0-11-amd64"),
        ("constructed-microcode-obsolete.txt", True, "CPU microcode 0x071b", "5.10.0-10-amd64", None),
        (
            "constructed-both.txt",
            True,
            "kernel 5.10.0-11-amd64, CPU microcode 0x071b",
            "5.10.0-10-amd64",
            "5.10.0-11-amd64",
        ),
    ],
)
def test_needed(name, microcode, boot, *, reason, origin, target):
    need = sample(name, boot, microcode=microcode)
    assert isinstance(need, Need)
    assert (need.provider, need.kind, need.since) == ("nr", "needrestart", None)
    assert (need.reason, need.origin, need.target) == (reason, origin, target)
    assert len(need.fingerprint) == 32


@pytest.mark.parametrize(
    ("name", "microcode", "reason"),
    [
        ("debian12-no-images.txt", False, "found no kernel image that it can read in /boot"),
        ("debian12-container.txt", False, "as in a container"),
        ("debian12-container.txt", True, "as in a container"),
        ("debian12-only-older-installed.txt", False, "only older ones are installed (6.1.0-28-amd64)"),
        ("constructed-microcode-unknown.txt", True, "install intel-microcode or amd64-microcode"),
        ("debian12-microcode-current.txt", True, "found no kernel image"),
    ],
)
def test_nobody_can_say(name, microcode, reason, boot):
    answer = sample(name, boot, microcode=microcode)
    assert isinstance(answer, NeedUnknown)
    assert reason in answer.reason


def test_a_virtual_machine_has_no_line_about_microcode_and_nothing_to_do(boot):
    assert isinstance(sample("debian12-current.txt", boot, microcode=True), NotNeeded)


def test_pending_microcode_is_a_need_also_where_the_kernel_cannot_be_told(boot):
    need = ask(
        "printf 'NEEDRESTART-%s\\n' 'VER: 3' 'KCUR: 6.1' 'KSTA: 0' 'UCSTA: 2' 'UCEXP: 0x2'", boot, microcode=True
    )
    assert isinstance(need, Need)
    assert need.reason == "CPU microcode 0x2"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 0", "printed nothing that its batch mode prints"),
        ("echo nonsense", "printed nothing that its batch mode prints"),
        ("echo 'Unknown option: w' >&2; exit 1", "exit code 1: Unknown option: w"),
        ("kill -9 $$", "killed by SIGKILL"),
        ("printf 'NEEDRESTART-%s\\n' 'VER: 3' 'KCUR: 6.1' 'KEXP: 6.2' 'KSTA: 4'", "makes no sense (KSTA 4, KCUR 6.1"),
        ("printf 'NEEDRESTART-%s\\n' 'VER: 3' 'KEXP: 6.2' 'KSTA: 3'", "makes no sense (KSTA 3, KCUR -"),
        ("printf 'NEEDRESTART-%s\\n' 'VER: 3' 'KCUR: 6.1' 'KSTA: 3'", "makes no sense (KSTA 3, KCUR 6.1, KEXP -)"),
        ("printf 'NEEDRESTART-%s\\n' 'VER: 3' 'KCUR: 6.1' 'KEXP: 6.1' 'KSTA: 3'", "makes no sense"),
        ("printf 'NEEDRESTART-%s\\n' 'VER: 3' 'KSTA: 1'", "makes no sense (KSTA 1, KCUR -"),
        ("printf 'NEEDRESTART-%s\\n' 'VER: 3' 'KCUR: 6.1' 'KSTA: 1' 'KSTA: 3'", "makes no sense (KSTA ,"),
    ],
)
def test_anything_else_is_unknown(script, reason, boot):
    answer = ask(script, boot)
    assert isinstance(answer, NeedUnknown)
    assert reason in answer.reason


def test_an_ordinary_user_is_told_of_newer_builds_that_are_none(boot):
    answer = sample("debian12-newer-build.txt", boot, root=False)
    assert isinstance(answer, NeedUnknown)
    assert "without root" in answer.reason
    assert isinstance(sample("debian12-newer-version.txt", boot, root=False), Need)
    assert isinstance(sample("debian12-current.txt", boot, root=False), NotNeeded)


def test_a_missing_program_is_unknown(boot):
    provider = Needrestart("nr", LONG, command=("/nowhere/needrestart",), boot=boot)
    answer = provider.ask()
    assert isinstance(answer, NeedUnknown)
    assert "/nowhere/needrestart: no such file" in answer.reason


def test_one_that_hangs_is_unknown(boot):
    answer = ask("sleep 600", boot, timeout=timedelta(milliseconds=50))
    assert isinstance(answer, NeedUnknown)
    assert "no end within" in answer.reason


@pytest.mark.parametrize(("microcode", "arguments"), [(False, "-b -k -r l"), (True, "-b -k -w -r l")])
def test_it_can_neither_restart_nor_ask_nor_speak_another_language(microcode, arguments, boot, tmp_path, monkeypatch):
    monkeypatch.setenv("LANGUAGE", "de")
    monkeypatch.setenv("NEEDRESTART_MODE", "a")
    seen = tmp_path / "seen"
    script = f'echo "$*/$LC_ALL/$LANGUAGE/$DEBIAN_FRONTEND" > {shlex.quote(str(seen))}'
    Needrestart("nr", LONG, microcode, command=("/bin/sh", "-c", script, "sh"), boot=boot).ask()
    assert seen.read_text() == f"{arguments}/C//noninteractive\n"


def test_the_same_build_is_the_same_update_and_the_next_build_is_another(boot):
    image = boot / "vmlinuz-6.18.44-fc-v595"
    image.write_bytes(b"one")
    os.utime(image, (1, 1))
    first = sample("debian12-newer-build.txt", boot)
    assert sample("debian12-newer-build.txt", boot) == first
    os.utime(image, (2, 2))
    assert sample("debian12-newer-build.txt", boot).fingerprint != first.fingerprint


def test_what_is_pending_makes_the_fingerprint(boot):
    made = {
        sample(name, boot, microcode=microcode).fingerprint
        for name in ("constructed-both.txt", "debian12-newer-version.txt", "debian12-newer-build.txt")
        for microcode in (False, True)
    }
    assert len(made) == 4  # microcode counts only where some is pending


_VALUES = st.sampled_from(
    ["", "0", "1", "2", "3", "6.1.0-27-amd64", "../../x", "\0", "\x1b[2J", "9" * 50, "²", "\ud800"]
)
_LINES = st.tuples(st.sampled_from(["VER", "KCUR", "KEXP", "KSTA", "UCSTA", "UCEXP", "", "KSTA:"]), _VALUES)


@given(lines=st.lists(_LINES, max_size=8), garbage=st.text(max_size=20), microcode=st.booleans())
def test_no_output_makes_it_raise_and_a_need_is_never_without_words(lines, garbage, microcode):
    text = "".join(f"NEEDRESTART-{name}: {value}\n" for name, value in lines) + garbage
    provider = Needrestart("nr", LONG, microcode, boot=Path("/nowhere"), privileged=lambda: True)
    answer = provider.judge(text)
    states = dict(lines)
    if isinstance(answer, Need):
        assert states.get("KSTA") in ("2", "3") or states.get("UCSTA") == "2"
        assert answer.reason
        assert set(answer.fingerprint) <= set(string.hexdigits)
    if isinstance(answer, NotNeeded):
        assert ("KSTA", "1") in lines


def test_a_kernel_that_the_boot_loader_will_not_start_is_no_need(tmp_path, boot):
    """GRUB_DEFAULT holds the old one: a reboot would bring it again, and look like a rollback."""
    grub = boot / "grub"
    grub.mkdir()
    menu = "set default=\"0\"\nmenuentry 'held' {\n  linux /boot/vmlinuz-%s root=/dev/vda1 ro\n}\n"
    said = "NEEDRESTART-VER: 3.6\\nNEEDRESTART-KCUR: 6.1.0-27-amd64\\nNEEDRESTART-KEXP: 6.1.0-28-amd64\\nNEEDRESTART-KSTA: 3\\n"
    for release in ("6.1.0-27-amd64", "6.1.0-28-amd64"):
        (boot / f"vmlinuz-{release}").touch()
    (grub / "grub.cfg").write_text(menu % "6.1.0-27-amd64")
    assert ask(f"printf '{said}'", boot) == NotNeeded("nr", "6.1.0-27-amd64")
    (grub / "grub.cfg").write_text(menu % "6.1.0-28-amd64")
    answer = ask(f"printf '{said}'", boot)
    assert isinstance(answer, Need)
    assert answer.target == "6.1.0-28-amd64"
