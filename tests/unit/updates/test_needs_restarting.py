"""dnf, yum-utils and zypper: samples of what they print, and the traps. Where they come from: ORIGINS.md beside them."""

import json
import os
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.core.needs import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates import Provider
from locksmith.updates.needs_restarting import TOOLS, NeedsRestarting, Tool, read_answer

SAMPLES = Path(__file__).parents[2] / "samples" / "updates" / "needs-restarting"
LONG = timedelta(seconds=60)
RUNNING = os.uname().release


@pytest.fixture
def programs(tmp_path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def install(programs: Path, name: str, script: str) -> None:
    program = programs / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def says(sample: str, code: int) -> str:
    return f"cat {shlex.quote(str(SAMPLES / sample))}; exit {code}"


def complains(sample: str) -> str:
    return f"cat {shlex.quote(str(SAMPLES / sample))} >&2; exit 1"


def ask(programs: Path, tool: Tool = "auto", timeout: timedelta = LONG) -> Answer:
    provider: Provider = NeedsRestarting("rpm", timeout, tool, path=str(programs), flag=programs / "reboot-needed")
    return provider.ask()


@pytest.mark.parametrize(
    ("program", "tool", "sample", "code", "reason"),
    [
        ("dnf", "dnf4", "dnf4-needed.txt", 1, "kernel"),
        ("dnf-3", "dnf4", "dnf4-needed.txt", 1, "kernel"),
        ("needs-restarting", "yum-utils", "el8-issue-177-needed.txt", 1, "glibc, linux-firmware"),
        ("dnf5", "dnf5", "dnf5-issue-2341-needed.txt", 1, "dbus, kernel, kernel-core"),
        ("dnf5", "dnf5", "constructed-dnf5-needed.json", 1, "kernel, kernel-core"),
        (
            "needs-restarting",
            "yum-utils",
            "yum-utils-needed.txt",
            1,
            (
                "systemd 219-42.el7_4.4, glibc 2.17-196.el7_4.2, linux-firmware 20170606-56.gitc990aae.el7, "
                "gnutls 3.3.26-9.el7, kernel 3.10.0-693.11.1.el7"
            ),
        ),
        ("zypper", "zypper", "constructed-zypper-needed.txt", 102, "zypper says that a reboot is required"),
    ],
)
def test_needed(program, tool, sample, programs, *, code, reason):
    install(programs, program, says(sample, code))
    need = ask(programs, tool)
    assert isinstance(need, Need)
    assert (need.provider, need.kind, need.reason) == ("rpm", "needs-restarting", reason)
    assert (need.origin, need.target, need.since) == (RUNNING, None, None)
    assert ask(programs).fingerprint == need.fingerprint  # found by itself, it is the same update


@pytest.mark.parametrize(
    ("program", "tool", "sample"),
    [
        ("dnf", "dnf4", "dnf4-not-needed.txt"),
        ("dnf5", "dnf5", "dnf4-not-needed.txt"),
        ("dnf5", "dnf5", "constructed-dnf5-not-needed.json"),
        ("needs-restarting", "yum-utils", "yum-utils-not-needed.txt"),
        ("zypper", "zypper", "constructed-zypper-not-needed.txt"),
    ],
)
def test_not_needed(program, tool, sample, programs):
    install(programs, program, says(sample, 0))
    assert ask(programs, tool) == NotNeeded("rpm", RUNNING)


@pytest.mark.parametrize(
    ("program", "script", "reason"),
    [
        ("dnf", complains("dnf4-no-plugin.stderr.txt"), "install dnf-plugins-core"),
        ("dnf", "echo 'Error: Failed to lock' >&2; exit 1", "exit code 1: Error: Failed to lock"),
        ("dnf", "exit 0", "its words do not say"),
        ("dnf", says("dnf4-needed.txt", 0), "its words do not say what its exit code says"),
        ("dnf", says("dnf4-not-needed.txt", 1), "its words do not say what its exit code says"),
        ("dnf", says("dnf4-needed.txt", 3), "exit code 3"),
        ("dnf", f"{says('dnf4-needed.txt', 1).split(';')[0]}; {says('dnf4-not-needed.txt', 1)}", "its words"),
        ("dnf", says("dnf4-needed-german.txt", 1), "its words do not say"),
        ("dnf", "kill -9 $$", "killed by SIGKILL"),
        (
            "dnf5",
            complains("mkosi-2387-dnf5-no-cache.stderr.txt"),
            "dnf makecache",
        ),
        ("dnf5", says("constructed-dnf5-needed.json", 0), "its words do not say"),
        ("dnf5", says("constructed-dnf5-not-needed.json", 1), "its words do not say"),
        ("dnf5", "echo '[]'; exit 0", "its words do not say"),
        ("dnf5", """echo '[{"type":"reboot","reboot_required":"yes"}]'; exit 1""", "its words do not say"),
        ("dnf5", """echo '[{"type":"reboot"'; exit 1""", "its words do not say"),
        (
            "needs-restarting",
            "echo 'Please run as root or with --useronly option' >&2; exit 1",
            "run the agent as root",
        ),
        ("zypper", says("constructed-zypper-needed.txt", 1), "exit code 1"),
        ("zypper", "echo 'System management is locked' >&2; exit 7", "exit code 7: System management is locked"),
    ],
)
def test_anything_else_is_unknown(program, script, reason, programs):
    install(programs, program, script)
    answer = ask(programs)
    assert isinstance(answer, NeedUnknown)
    assert reason in answer.reason


@pytest.mark.parametrize("tool", TOOLS)
def test_a_missing_program_is_unknown(tool, programs):
    answer = ask(programs, tool)
    assert isinstance(answer, NeedUnknown)
    assert "is not installed on this machine" in answer.reason


def test_one_that_hangs_is_unknown(programs):
    install(programs, "dnf", "sleep 600")
    answer = ask(programs, timeout=timedelta(milliseconds=50))
    assert isinstance(answer, NeedUnknown)
    assert "no end within" in answer.reason


@pytest.mark.parametrize(
    ("dnf_is", "also", "speaks"),
    [
        ("dnf-3", ("dnf5", "needs-restarting"), "dnf-3"),  # Fedora 40: dnf5 may be there, dnf is still the other one
        ("dnf5", ("dnf-3", "needs-restarting"), "dnf5"),  # Fedora 41
        (None, ("dnf5", "needs-restarting"), "dnf5"),
        (None, ("needs-restarting", "zypper"), "needs-restarting"),  # RHEL 7
        (None, ("zypper",), "zypper"),
    ],
)
def test_auto_takes_what_dnf_is_here(dnf_is, also, speaks, programs):
    for name in (*((dnf_is,) if dnf_is else ()), *also):
        install(programs, name, f"echo it was {name} >&2; exit 9")
    if dnf_is:
        (programs / "dnf").symlink_to(dnf_is)
    answer = ask(programs)
    assert isinstance(answer, NeedUnknown)
    assert answer.reason.endswith(f"it was {speaks}")


def test_a_dnf5_without_json_is_asked_for_its_text(programs):
    complaint = shlex.quote(str(SAMPLES / "constructed-dnf5-no-json.stderr.txt"))
    install(
        programs,
        "dnf5",
        f'[ "$3" != --json ] || {{ cat {complaint} >&2; exit 2; }}\n{says("dnf5-issue-2341-needed.txt", 1)}',
    )
    need = ask(programs)
    assert isinstance(need, Need)
    assert need.reason == "dbus, kernel, kernel-core"


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("dnf", "-C needs-restarting -r"),
        ("dnf5", "-C needs-restarting --json"),
        ("needs-restarting", "-r"),
        ("zypper", "--non-interactive needs-rebooting"),
    ],
)
def test_it_stays_off_the_network_and_speaks_english(program, arguments, programs, tmp_path, monkeypatch):
    monkeypatch.setenv("LANGUAGE", "de")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    install(programs, program, f'echo "$*/$LC_ALL/$LANGUAGE" > {shlex.quote(str(tmp_path / "seen"))}')
    ask(programs)
    assert (tmp_path / "seen").read_text() == f"{arguments}/C/\n"


def test_the_packages_are_the_update_in_whatever_order_they_come(programs):
    install(
        programs,
        "needs-restarting",
        "printf 'Core libraries or services have been updated:\\n a -> 1\\n b -> 2\\n\\nReboot is required\\n'; exit 1",
    )
    first = ask(programs).fingerprint
    install(
        programs,
        "needs-restarting",
        "printf 'Core libraries or services have been updated:\\n b -> 2\\n a -> 1\\n\\nReboot is required\\n'; exit 1",
    )
    assert ask(programs).fingerprint == first
    install(
        programs,
        "needs-restarting",
        "printf 'Core libraries or services have been updated:\\n b -> 2\\n a -> 9\\n\\nReboot is required\\n'; exit 1",
    )
    assert ask(programs).fingerprint != first


def test_lines_of_other_plugins_are_no_packages(programs):
    install(programs, "dnf", f"echo Updating Subscription Management repositories.; echo; {says('dnf4-needed.txt', 1)}")
    assert ask(programs).reason == "kernel"


def test_zypper_names_nothing_so_its_flag_tells_updates_apart(programs):
    install(programs, "zypper", says("constructed-zypper-needed.txt", 102))
    flag = programs / "reboot-needed"
    flag.touch()
    os.utime(flag, (1, 1))
    first = ask(programs).fingerprint
    assert ask(programs).fingerprint == first
    os.utime(flag, (2, 2))
    assert ask(programs).fingerprint != first


_WORDS = st.lists(
    st.one_of(
        st.sampled_from(
            ["Reboot is required", "Reboot should not be necessary.", "  * kernel", "  a -> 1", "", "[", "[[["]
        ),
        st.text(max_size=20),
    ),
    max_size=8,
).map("\n".join)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("reboot"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "reboot_required", "packages"]), inner, max_size=3)
    ),
    max_leaves=8,
).map(json.dumps)


@given(text=_WORDS | _JSON, code=st.integers(0, 255), tool=st.sampled_from(["dnf4", "dnf5", "yum-utils", "zypper"]))
def test_no_output_makes_it_raise_and_an_answer_needs_words_and_code(text, code, tool):
    said = read_answer(tool, code, text)
    if said is not None:
        assert said.needed is (code == (102 if tool == "zypper" else 1))
        assert "Reboot " in text or "reboot_required" in text


def test_deep_nesting_is_no_answer():
    assert read_answer("dnf5", 1, "[" * 100_000) is None
