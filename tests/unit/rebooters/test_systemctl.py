from datetime import timedelta

import pytest

from locksmith.host.system import System
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted, Rebooter
from locksmith.rebooters.method import Methods
from locksmith.rebooters.systemctl import SystemctlRebooter

SYSTEMCTL = """
echo "$@" >> {calls}
case "$1" in
is-system-running) cat {state} ;;
list-jobs) cat {jobs} ;;
reboot) {reboot} ;;
esac
"""


@pytest.fixture
def machine(tmp_path, tool):
    """A machine whose systemctl reads its state from files; returns a function that makes its rebooter."""
    runtime = tmp_path / "run"
    (runtime / "systemd" / "system").mkdir(parents=True)
    paths = {name: tmp_path / name for name in ("calls", "state", "jobs")}
    paths["calls"].write_text("")
    paths["state"].write_text("running\n")
    paths["jobs"].write_text("")

    def make(reboot="exit 0", busctl="echo 'b false'", inhibit="exit 0", limit=60):
        tool("systemctl", SYSTEMCTL.format(reboot=reboot.format(**paths), **paths))
        tool("systemd-inhibit", inhibit)
        system = System(runtime=runtime, tools=tool("busctl", busctl), tool_limit=timedelta(seconds=60))
        return SystemctlRebooter(system, timedelta(seconds=limit))

    return make


def reboots(tmp_path):
    return [line for line in (tmp_path / "calls").read_text().splitlines() if line.startswith("reboot")]


def test_a_reboot(machine, tmp_path):
    rebooter: Rebooter = machine(reboot="echo stopping > {state}")
    assert rebooter.kind == "systemctl"
    assert rebooter.pending() == Idle()
    assert rebooter.reboot("new\nkernel", {}) == Accepted()
    assert reboots(tmp_path) == ["reboot --message=locksmith: newkernel"]
    assert rebooter.pending() == Firing("the system is stopping")


def test_no_second_call_while_the_system_stops(machine, tmp_path):
    rebooter = machine()
    (tmp_path / "state").write_text("stopping\n")
    assert rebooter.reboot("kernel", {}) == Accepted()
    assert reboots(tmp_path) == []


def test_a_call_that_fails_and_leaves_nothing(machine):
    rebooter = machine(reboot="echo Access denied >&2; exit 1")
    assert rebooter.reboot("kernel", {}) == NotAccepted("systemctl reboot: exit code 1: Access denied")


def test_a_call_that_fails_but_the_system_stops(machine):
    assert machine(reboot="echo stopping > {state}; exit 1").reboot("kernel", {}) == Accepted()


def test_a_call_that_hangs_and_leaves_a_job(machine):
    rebooter = machine(reboot="echo 7 reboot.target start waiting > {jobs}; exec sleep 100", limit=0.3)
    assert rebooter.reboot("kernel", {}) == Accepted()
    assert rebooter.pending() == Firing("systemd has the job reboot.target (waiting)")


def test_no_answer_is_firing(machine, tmp_path):
    rebooter = machine()
    (tmp_path / "state").write_text("")
    pending = rebooter.pending()
    assert isinstance(pending, Firing)
    assert pending.cause.startswith("nobody can say whether the system stops")
    assert rebooter.reboot("kernel", {}) == Accepted()
    assert reboots(tmp_path) == []


def test_an_inhibitor_is_respected_and_named(machine, tmp_path):
    line = "apt   0 root 12 apt   shutdown  upgrading  block"
    rebooter = machine(
        busctl="""case "$5" in BlockInhibited) echo 's "sleep:shutdown"' ;; esac""", inhibit=f"echo '{line}'"
    )
    assert rebooter.reboot("kernel", {}) == NotAccepted(
        "an inhibitor blocks the shutdown: apt 0 root 12 apt shutdown upgrading block"
    )
    assert reboots(tmp_path) == []


def test_without_systemd(tmp_path):
    rebooter = SystemctlRebooter(System(runtime=tmp_path, tools=tmp_path))
    assert rebooter.pending() == Idle()
    assert rebooter.reboot("kernel", {}) == NotAccepted(
        "systemd is not the init of this machine: set reboot.kind to command"
    )


def test_why_the_machine_is_still_up(machine, tmp_path):
    rebooter = machine(inhibit="echo 'apt 0 root 12 apt shutdown upgrading block'; echo 'x 0 r 1 x shutdown y delay'")
    (tmp_path / "jobs").write_text("7 reboot.target start waiting\n8 nfs.mount stop running\n")
    assert rebooter.explain() == "inhibitor: apt 0 root 12 apt shutdown upgrading block; job: nfs.mount stop running"
    assert machine().explain() == "job: nfs.mount stop running"
    (tmp_path / "jobs").write_text("")
    assert machine().explain() == "nobody names an inhibitor, a running job or a unit that does not stop"


def test_what_hangs_while_stopping_is_named(machine, tool):
    rebooter = machine()
    tool(
        "systemctl",
        """case "$1" in
        list-jobs) echo "8 nfs.mount stop running" ;;
        list-units) echo "nfs.mount loaded active deactivating NFS"; echo "db.service loaded deactivating stop-sigterm DB" ;;
        esac""",
    )
    assert rebooter.explain() == "job: nfs.mount stop running; still stopping: db.service"


WEAK = "gnome   0 root 12 gnome   shutdown  editing  block-weak"
BLOCK = "apt   0 root 12 apt   shutdown  upgrading  block"


@pytest.mark.parametrize(
    ("lines", "more", "words"),
    [
        ([BLOCK], {}, None),
        ([WEAK], {}, None),
        ([BLOCK], {"ignore": ["ap"]}, None),
        ([BLOCK.replace("apt ", "apt daily ", 1)], {"ignore": ["apt"]}, None),
        ([BLOCK, WEAK], {"ignore": ["apt"]}, None),
        ([], {"ignore": ["apt"]}, None),
        ([BLOCK], {"ignore": ["apt"]}, "reboot --message=locksmith: k --check-inhibitors=no"),
        ([BLOCK], {"honour_inhibitors": False}, "reboot --message=locksmith: k --check-inhibitors=no"),
    ],
)
def test_which_inhibitors_count(machine, tmp_path, lines, more, words):
    listed = "; ".join(f"echo '{line}'" for line in lines) or "exit 1"
    made = machine(busctl="""case "$5" in BlockInhibited) echo 's "shutdown"' ;; esac""", inhibit=listed)
    answer = SystemctlRebooter(made._system, **more).reboot("k", {})
    assert reboots(tmp_path) == ([words] if words else [])
    assert isinstance(answer, NotAccepted if words is None else Accepted)


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("", ["kexec"]),
        ("kexec", ["kexec", "reboot"]),
    ],
)
def test_kexec_and_a_full_reboot_where_it_fails(machine, tmp_path, tool, fails, told):
    made = machine()
    loaded = tmp_path / "kexec_loaded"
    loaded.write_text("1")
    tool(
        "systemctl",
        f"""case "$1" in
        is-system-running) echo running ;;
        list-jobs) ;;
        *) echo "$1 $SYSTEMCTL_SKIP_AUTO_KEXEC$SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT" >> {tmp_path}/calls; [ "$1" != "{fails}" ] ;;
        esac""",
    )
    methods = Methods("kexec", made._system, tmp_path / "none", loaded)
    assert SystemctlRebooter(made._system, methods=methods).reboot("k", {}) == Accepted()
    # It does not turn into what was not chosen, either.
    assert (tmp_path / "calls").read_text().splitlines() == [f"{way} 11" for way in told]
