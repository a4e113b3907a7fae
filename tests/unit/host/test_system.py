from datetime import UTC, datetime, timedelta

import pytest

from locksmith.host.system import GoingDown, Scheduled, System, Unclear, Up

LOGIND = """
case "$5" in
PreparingForShutdown) echo "b {preparing}" ;;
BlockInhibited) echo 's "{inhibited}"' ;;
esac
"""


@pytest.fixture
def host(tmp_path, tool):
    """A machine: what systemctl says to each question, and logind's properties."""
    runtime = tmp_path / "run"
    (runtime / "systemd" / "system").mkdir(parents=True)
    (runtime / "systemd" / "shutdown").mkdir()

    def make(state="running", jobs="", preparing="false", inhibited="", systemctl=None):
        code = 0 if state == "running" else 1
        tools = tool(
            "systemctl",
            systemctl
            or f'case "$1" in is-system-running) echo {state}; exit {code} ;; list-jobs) echo "{jobs}" ;; esac',
        )
        tool("busctl", LOGIND.format(preparing=preparing, inhibited=inhibited))
        return System(runtime=runtime, tools=tools, tool_limit=timedelta(seconds=20))

    return make


def schedule(tmp_path, text):
    (tmp_path / "run" / "systemd" / "shutdown" / "scheduled").write_text(text)


def test_without_systemd_nothing_is_asked(tmp_path):
    system = System(runtime=tmp_path, tools=tmp_path / "no tools")
    assert not system.present()
    assert not system.going_down()
    assert system.condition() == Up()
    assert system.soft_reboots() == 0


@pytest.mark.parametrize("state", ["running", "degraded", "starting", "maintenance", "initializing"])
def test_up(host, state):
    system = host(state)
    assert system.condition() == Up()
    assert not system.going_down()


def test_stopping(host):
    system = host("stopping")
    assert system.condition() == GoingDown("the system is stopping")
    assert system.going_down()


def test_logind_waits_for_delay_inhibitors(host):
    system = host(preparing="true")
    assert system.condition() == GoingDown("logind is preparing for a shutdown")
    assert system.going_down()


@pytest.mark.parametrize("state", ["offline", "unknown", ""])
def test_no_clear_answer_counts_as_going_down(host, state):
    system = host(state)
    assert isinstance(system.condition(), Unclear)
    assert system.going_down()


def test_a_tool_that_hangs_is_bounded_and_unclear(tmp_path, host):
    host(systemctl="exec sleep 100")
    system = System(runtime=tmp_path / "run", tools=tmp_path / "tools", tool_limit=timedelta(seconds=0.2))
    assert system.condition() == Unclear("systemctl is-system-running: no end within 200ms")


def test_without_logind_the_managers_word_counts(host, tool):
    system = host()
    tool("busctl", "echo no such name >&2; exit 1")
    assert system.condition() == Up()
    assert not system.inhibited()


def test_a_reboot_job_is_named(host):
    system = host(jobs="12 reboot.target start waiting\n13 foo.service stop running\n14 reboot.target stop waiting")
    assert system.condition() == GoingDown("systemd has the job reboot.target (waiting)")
    assert not system.going_down()
    assert system.jobs() == (
        ("reboot.target", "start", "waiting"),
        ("foo.service", "stop", "running"),
        ("reboot.target", "stop", "waiting"),
    )


def test_other_jobs_take_nothing_down(host):
    assert host(jobs="12 reboot.service start running\n13 multi-user.target start waiting").condition() == Up()


def test_a_list_of_jobs_that_fails_is_unclear(host):
    system = host(systemctl='[ "$1" = list-jobs ] && exit 1; echo running')
    assert system.condition() == Unclear("systemctl list-jobs gives no answer")


def test_a_scheduled_shutdown(host, tmp_path):
    system = host()
    assert system.scheduled() is None
    schedule(tmp_path, "USEC=1767225900000000\nWARN_WALL=1\nMODE=reboot\n")
    assert system.scheduled() == Scheduled("reboot", datetime(2026, 1, 1, 0, 5, tzinfo=UTC))
    assert system.condition() == GoingDown("a reboot is scheduled for 2026-01-01T00:05:00Z; `shutdown -c` cancels it")
    assert not system.going_down()


@pytest.mark.parametrize("text", ["USEC=1\nMODE=dry-reboot\n", "USEC=1\nMODE=reboot\nDRY_RUN=1\n"])
def test_a_dry_run_takes_nothing_down(host, tmp_path, text):
    system = host()
    schedule(tmp_path, text)
    assert system.condition() == Up()


@pytest.mark.parametrize("text", ["", "garbage", "USEC=x\nMODE=poweroff\n", "USEC=99999999999999999999999\n"])
def test_a_schedule_without_a_time_still_counts(host, tmp_path, text):
    system = host()
    schedule(tmp_path, text)
    assert system.scheduled().at is None
    assert isinstance(system.condition(), GoingDown)


@pytest.mark.parametrize(("said", "count"), [("", 0), ("0", 0), ("3", 3), ("[not set]", None)])
def test_soft_reboots(host, said, count):
    assert host(systemctl=f"echo '{said}'").soft_reboots() == count


def test_soft_reboots_are_never_guessed(host):
    assert host(systemctl="echo 0; exit 1").soft_reboots() is None


@pytest.mark.parametrize(
    ("said", "blocked"), [("", False), ("sleep:shutdown", True), ("idle:sleep", False), ("handle-shutdown", False)]
)
def test_block_inhibitors(host, said, blocked):
    assert host(inhibited=said).inhibited() is blocked


def test_the_names_of_inhibitors(host, tool):
    system = host()
    tool(
        "systemd-inhibit", "echo 'apt    0 root 12 apt   shutdown  upgrading  block'; echo 'x 0 root 1 x sleep y delay'"
    )
    assert system.inhibitors() == ("apt 0 root 12 apt shutdown upgrading block",)


def test_tools_speak_c(host):
    system = host(systemctl='echo "$LC_ALL"')
    assert system.call("systemctl").stdout == "C\n"


@pytest.mark.parametrize(("said", "counts"), [("0", True), ("12", True), ("", False), ("[not set]", False)])
def test_whether_soft_reboots_are_counted(host, said, counts):
    assert host(systemctl=f"echo '{said}'").counts_soft_reboots() is counts
    assert host(systemctl=f"echo '{said}'; exit 1").counts_soft_reboots() is False


def test_without_systemd_nothing_is_counted(tmp_path):
    assert not System(runtime=tmp_path, tools=tmp_path).counts_soft_reboots()


def test_what_hangs_while_stopping(host):
    listed = "db.service   loaded deactivating stop-sigterm Database"
    assert host(systemctl=f'[ "$2" = --state=deactivating ] && echo "{listed}"').hanging() == ("db.service",)
    assert host(systemctl="exit 1").hanging() == ()


def test_tools_get_what_is_added(host):
    system = host(systemctl='echo "$LC_ALL $EXTRA"')
    assert system.call("systemctl", environment={"EXTRA": "more"}).stdout == "C more\n"
