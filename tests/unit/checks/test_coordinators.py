"""The gate against a second coordinator: a made-up /proc, systemctl and apt-config, and this process's real lock."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from locksmith.checks import Occasion
from locksmith.checks.coordinators import KNOWN, CoordinatorCheck
from locksmith.core.facts import Strategy
from locksmith.core.states import Steady
from locksmith.core.verdict import Closed, Open, Unknown
from locksmith.host.coordinator import CoordinatorFile
from locksmith.host.self_rebooting import UnattendedUpgrades
from locksmith.host.system import System

NOW = Occasion(datetime(2026, 1, 1, tzinfo=UTC), clock_trusted=True, environment={})
PYTHON = "/usr/bin/python3\0/usr/bin/locksmithd\0"


class Host:
    """A host in a folder: whatever is not written is not there."""

    def __init__(self, folder):
        self.root = folder / "root"
        self.proc = folder / "proc"
        self.bin = folder / "bin"
        for path in (self.root, self.proc / "self", self.bin):
            path.mkdir(parents=True)
        (self.proc / "locks").write_text("")
        (self.proc / "self" / "exe").symlink_to("/usr/bin/env")
        (self.proc / "self" / "cmdline").write_text(PYTHON)
        self.process(1, "systemd", "/sbin/init\0")

    def process(self, pid, command, line, cgroup="0::/init.scope\n", exe=None):
        folder = self.proc / str(pid)
        folder.mkdir()
        (folder / "comm").write_text(f"{command}\n")
        (folder / "cmdline").write_text(line)
        (folder / "cgroup").write_text(cgroup)
        if exe is not None:
            (folder / "exe").symlink_to(exe)

    def file(self, name, text=""):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def program(self, name, script):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def systemd(self, *active, main=None, script=None):
        """With these units active; `main` are main processes."""
        (self.root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{unit}) state=active; pid={(main or {}).get(unit, '')};; " for unit in active)
        self.program(
            "systemctl",
            script
            or '[ "$1 $2" = "show --property=Id,Names,ActiveState,MainPID" ] || exit 9; shift 2\n'
            f'for unit; do state=inactive; pid=; case "$unit" in {lines}*) ;; esac\n'
            'echo "${pid:+MainPID=$pid}"; echo "Id=$unit"; echo "Names=$unit"; echo "ActiveState=$state"; echo; done',
        )

    def unattended(self, answer="REBOOT='true'", code=0):
        self.file("usr/bin/unattended-upgrade")
        self.program("apt-config", f'echo x >> {self.root}/asked; cat <<"END"\n{answer}\nEND\nexit {code}')

    def check(self, *allow):
        return CoordinatorCheck(
            allow=allow,
            system=System(runtime=self.root / "run", tools=self.bin),
            root=self.root,
            proc=self.proc,
            unattended=UnattendedUpgrades(self.root, (str(self.bin / "apt-config"),)),
        )

    def ask(self, *allow):
        return self.check(*allow).ask(NOW)

    def names(self, *allow):
        """The coordinators that close it."""
        verdict = self.ask(*allow)
        if isinstance(verdict, Open):
            return ()
        assert isinstance(verdict, Closed), verdict
        listed = verdict.reason.rpartition("agent.allow_coordinators = [")[2].rstrip("]")
        return tuple(name.strip('"') for name in listed.split(", "))


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_a_host_with_nothing_on_it(host):
    assert isinstance(host.ask(), Open)
    assert host.check().kind == "coordinator"


def test_this_very_machine_can_be_asked():
    assert isinstance(CoordinatorCheck().ask(NOW), Open | Closed | Unknown)


def test_the_verdict_says_which_and_how_to_stop_it_and_how_to_go_on(host):
    host.process(77, "kured", "/usr/bin/kured\0--period=1h\0")
    verdict = host.ask()
    assert isinstance(verdict, Closed)
    assert verdict.reason == (
        "kured: process 77 (kured); to stop it: delete its DaemonSet, or keep it off this node; "
        'to run beside it all the same: agent.allow_coordinators = ["kured"]'
    )


# --- processes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "line", "cgroup", "found"),
    [
        ("kured", "/usr/bin/kured\0", "0::/kubepods.slice/x\n", ("kured",)),
        ("update-agent", "/bin/update-agent\0", "0::/kubepods.slice/x\n", ("flatcar-update-agent",)),
        ("update-agent", "/opt/vendor/update-agent\0", "0::/system.slice/vendor.service\n", ()),
        ("locksmithd", "/usr/lib/locksmith/locksmithd\0", "0::/\n", ("locksmithd",)),
        ("locksmithd", "locksmithd\0", "0::/\n", ("locksmithd",)),
        ("locksmithd", PYTHON, "0::/\n", ()),
        ("python3", "python3\0-m\0locksmith.daemon\0", "0::/\n", ()),
        ("locksmithd", "", "0::/\n", ()),
        ("kuredd", "/usr/bin/kuredd\0", "0::/\n", ()),
    ],
)
def test_a_process(host, command, line, cgroup, found):
    host.process(77, command, line, cgroup)
    assert host.names() == found


def test_we_are_not_another_also_as_a_program_of_our_own(host):
    """Packed into one executable, we are called locksmithd like the other one; the file tells."""
    host.process(77, "locksmithd", "/opt/bin/locksmithd\0", exe="/usr/bin/env")
    host.process(78, "locksmithd", "/usr/lib/locksmith/locksmithd\0", exe="/bin/true")
    verdict = host.ask()
    assert isinstance(verdict, Closed)
    assert "process 78" in verdict.reason
    assert "process 77" not in verdict.reason


def test_processes_that_cannot_be_listed_are_unknown(host):
    host.proc = host.root / "no-proc"
    verdict = host.ask()
    assert isinstance(verdict, Unknown)
    assert "no-proc" in verdict.reason


# --- the lock ----------------------------------------------------------------------------------------------------


def lock_row(path, pid):
    status = path.stat()
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return f"1: FLOCK  ADVISORY  WRITE {pid} {device} 0 EOF\n"


def test_our_own_lock_is_no_other_coordinator(host, tmp_path):
    (host.root / "run/update-engine").mkdir(parents=True)
    ours = CoordinatorFile(host.root / "run/update-engine")
    ours.publish(Steady(), Strategy.LOCK)
    check = CoordinatorCheck(system=System(runtime=tmp_path), root=host.root, unattended=UnattendedUpgrades(host.root))
    verdict = check.ask(NOW)
    ours.close()
    assert "coordinator.conf" not in verdict.reason


def test_somebody_elses_lock_is(host):
    conf = host.file("run/update-engine/coordinator.conf", "STATE=running\nNAME=other\n")
    host.process(77, "otherd", "/usr/bin/otherd\0")
    (host.proc / "locks").write_text(lock_row(conf, 77))
    verdict = host.ask()
    assert isinstance(verdict, Closed)
    assert "process 77 (otherd) holds" in verdict.reason
    assert "as other" in verdict.reason
    assert host.names() == ("coordinator-file",)
    assert host.names("coordinator-file") == ()


def test_an_old_locksmithd_with_the_lock_is_one_coordinator_not_two(host):
    conf = host.file("run/update-engine/coordinator.conf", "NAME=locksmithd\n")
    host.process(77, "locksmithd", "/usr/lib/locksmith/locksmithd\0")
    (host.proc / "locks").write_text(lock_row(conf, 77))
    assert host.names() == ("locksmithd",)
    assert host.names("locksmithd") == ()


def test_another_agent_of_ours_with_the_lock_is_told_as_the_one_that_has_it(host):
    conf = host.file("run/update-engine/coordinator.conf", "NAME=locksmithd\n")
    host.process(77, "locksmithd", PYTHON)
    (host.proc / "locks").write_text(lock_row(conf, 77))
    assert host.names() == ("coordinator-file",)


def test_a_file_without_a_lock_says_nothing(host):
    host.file("run/update-engine/coordinator.conf", "NAME=locksmithd\nSTATE=rebooting")
    assert host.names() == ()


def test_a_real_lock_of_another_open_file_is_seen(host, tmp_path):
    conf = host.file("run/update-engine/coordinator.conf", "NAME=other\n")
    code = f"import fcntl; f = open({str(conf)!r}); fcntl.flock(f, fcntl.LOCK_EX); print('locked', flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"
        check = CoordinatorCheck(
            allow=tuple(name for name in KNOWN if name != "coordinator-file"),
            system=System(runtime=tmp_path),
            root=host.root,
            unattended=UnattendedUpgrades(host.root),
        )
        verdict = check.ask(NOW)
        child.communicate("\n")
    assert isinstance(verdict, Closed)
    assert f"process {child.pid} " in verdict.reason


# --- units -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        ("kured.service", "kured"),
        ("zincati.service", "zincati"),
        ("rebootmgr.service", "rebootmgr"),
        ("bootc-fetch-apply-updates.timer", "bootc"),
        ("systemd-sysupdate-reboot.timer", "sysupdate"),
        ("transactional-update.timer", "transactional-update"),
        ("locksmithd.service", "locksmithd"),
    ],
)
def test_an_active_unit(host, unit, name):
    host.systemd(unit)
    assert host.names() == (name,)
    assert host.names(name) == ()
    verdict = host.ask()
    assert isinstance(verdict, Closed)
    assert unit in verdict.reason


def test_units_that_are_not_active(host):
    host.systemd()
    assert isinstance(host.ask(), Open)


@pytest.mark.parametrize("state", ["activating", "reloading"])
def test_a_unit_that_is_about_to_be_active_is_at_work(host, state):
    host.systemd("zincati.service")
    script = (host.bin / "systemctl").read_text().replace("state=active", f"state={state}")
    (host.bin / "systemctl").write_text(script)
    assert host.names() == ("zincati",)


def test_without_systemd_no_unit_is_asked_for(host):
    host.program("systemctl", "exit 1")
    assert isinstance(host.ask(), Open)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'Failed to connect to bus' >&2; exit 1", "Failed to connect"),
        ("echo Id=kured.service; echo ActiveState=inactive", "no word about"),
        ("exit 0", "no word about"),
    ],
)
def test_a_systemctl_without_an_answer_is_unknown(host, script, says):
    host.systemd(script=script)
    verdict = host.ask()
    assert isinstance(verdict, Unknown)
    assert says in verdict.reason


def test_what_was_found_elsewhere_closes_it_all_the_same(host):
    host.systemd(script="exit 1")
    host.process(77, "kured", "/usr/bin/kured\0")
    assert host.names() == ("kured",)


def test_our_own_unit_is_not_another(host):
    host.systemd("locksmithd.service")
    (host.proc / "self" / "cgroup").write_text("0::/system.slice/locksmithd.service\n")
    assert isinstance(host.ask(), Open)


@pytest.mark.parametrize(
    ("line", "found"), [(PYTHON, ()), ("/usr/lib/locksmith/locksmithd\0", ("locksmithd",)), (None, ("locksmithd",))]
)
def test_the_unit_of_another_agent(host, line, found):
    """An agent of ours is not foreign; one whose process is hidden from us may be."""
    host.systemd("locksmithd.service", main={"locksmithd.service": 77})
    if line is not None:
        host.process(77, "locksmithd", line)
    assert host.names() == found


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timer", "files", "found"),
    [
        ("dnf-automatic.timer", {"etc/dnf/automatic.conf": "[commands]\nreboot = when-needed\n"}, "dnf-automatic"),
        (
            "dnf-automatic-install.timer",
            {"etc/dnf/automatic.conf": "[commands]\nreboot=when-changed\n"},
            "dnf-automatic",
        ),
        ("dnf-automatic.timer", {"etc/dnf/automatic.conf": "[commands]\nreboot = never\n"}, None),
        ("dnf-automatic.timer", {"etc/dnf/automatic.conf": "[commands]\nreboot_command = %x\n"}, None),
        ("dnf-automatic.timer", {}, None),
        (
            "dnf5-automatic.timer",
            {
                "usr/share/dnf5/dnf5-plugins/automatic.conf": "[commands]\nreboot = when-needed\n",
                "etc/dnf/automatic.conf": "[commands]\nreboot = never\n",
            },
            None,
        ),
        (
            "dnf5-automatic-install.timer",
            {"usr/share/dnf5/dnf5-plugins/automatic.conf": "[commands]\nreboot = when-needed\n"},
            "dnf-automatic",
        ),
        (
            "rpm-ostreed-automatic.timer",
            {"etc/rpm-ostreed.conf": "[Daemon]\nAutomaticUpdatePolicy=apply\n"},
            "rpm-ostreed-automatic",
        ),
        ("rpm-ostreed-automatic.timer", {"etc/rpm-ostreed.conf": "[Daemon]\nAutomaticUpdatePolicy=stage\n"}, None),
        ("rpm-ostreed-automatic.timer", {}, None),
        ("transactional-update.timer", {}, "transactional-update"),
        ("transactional-update.timer", {"etc/transactional-update.conf": "REBOOT_METHOD=none\n"}, None),
        ("transactional-update.timer", {"etc/transactional-update.conf": 'REBOOT_METHOD="kured"\n'}, None),
        (
            "transactional-update.timer",
            {"etc/transactional-update.conf": "REBOOT_METHOD=kexec\n"},
            "transactional-update",
        ),
        (
            "transactional-update.timer",
            {"etc/transactional-update.conf": "REBOOT_METHOD=nono\n"},
            "transactional-update",
        ),
        (
            "transactional-update.timer",
            {
                "usr/etc/transactional-update.conf.d/10-a": "REBOOT_METHOD=systemd\n",
                "usr/etc/transactional-update.conf.d/20-b": "REBOOT_METHOD=notify\n",
            },
            None,
        ),
        (
            "transactional-update.timer",
            {
                "usr/etc/transactional-update.conf.d/10-a": "REBOOT_METHOD=none\n",
                "etc/transactional-update.conf": "REBOOT_METHOD=rebootmgr\n",
            },
            "transactional-update",
        ),
    ],
)
def test_an_updater_that_may_reboot(host, timer, files, found):
    for name, text in files.items():
        host.file(name, text)
    assert host.names() == ()
    host.systemd(timer)
    assert host.names() == ((found,) if found else ())


def test_a_setting_that_cannot_be_read_is_unknown(host):
    host.systemd("dnf-automatic.timer")
    host.file("etc/dnf/automatic.conf", "reboot = never\n")
    verdict = host.ask()
    assert isinstance(verdict, Unknown)
    assert "automatic.conf" in verdict.reason


@pytest.mark.parametrize(
    ("answer", "found"), [("REBOOT='true'", ("unattended-upgrades",)), ("REBOOT='false'", ()), ("", ())]
)
def test_unattended_upgrades(host, answer, found):
    host.unattended(answer)
    assert host.names() == found
    assert host.names("unattended-upgrades") == ()


def test_apt_is_not_asked_where_unattended_upgrades_is_not_installed(host):
    host.program("apt-config", "exit 1")
    assert isinstance(host.ask(), Open)


@pytest.mark.parametrize(("answer", "code"), [("", 100), ("REBOOT='tr", 0), ("E: Syntax error", 0)])
def test_an_apt_without_an_answer_is_unknown(host, answer, code):
    host.unattended(answer, code)
    verdict = host.ask()
    assert isinstance(verdict, Unknown)
    assert "apt-config" in verdict.reason


def test_what_is_allowed_need_not_be_readable(host):
    """Else allowing it would be no way out of a configuration that only its owner can mend."""
    host.unattended("E: Syntax error")
    host.systemd("dnf-automatic.timer")
    host.file("etc/dnf/automatic.conf", "reboot = never\n")
    assert isinstance(host.ask("unattended-upgrades"), Unknown)
    assert isinstance(host.ask("unattended-upgrades", "dnf-automatic"), Open)


def test_apt_is_asked_again_only_when_a_file_has_changed(host):
    host.unattended()
    check = host.check()
    asked = host.root / "asked"

    def times():
        check.ask(NOW)
        return len(asked.read_text().splitlines())

    assert [times(), times()] == [1, 1]
    host.file("etc/apt/apt.conf.d/52locksmith", "Unattended-Upgrade::Automatic-Reboot false;")
    assert [times(), times()] == [2, 2]
    (host.root / "etc/apt/apt.conf.d/52locksmith").unlink()
    assert times() == 3


def test_a_failed_question_is_asked_again(host):
    host.unattended(code=100)
    check = host.check()
    assert isinstance(check.ask(NOW), Unknown)
    host.unattended()
    assert isinstance(check.ask(NOW), Closed)


# --- all together ------------------------------------------------------------------------------------------------


def test_several_are_all_named_in_an_order_of_their_own(host):
    host.process(77, "kured", "/usr/bin/kured\0")
    host.systemd("zincati.service", "kured.service")
    host.unattended()
    assert host.names() == ("kured", "unattended-upgrades", "zincati")
    assert host.names("kured", "zincati") == ("unattended-upgrades",)
    assert isinstance(host.ask("kured", "zincati", "unattended-upgrades"), Open)


def test_the_same_state_has_the_same_words(host):
    host.process(9, "kured", "/usr/bin/kured\0")
    host.process(10, "kured", "/usr/bin/kured\0")
    assert host.ask() == host.ask()
