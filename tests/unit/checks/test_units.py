from datetime import UTC, datetime, timedelta

import pytest

from locksmith.checks import Occasion, Remembering
from locksmith.checks.units import UnitsCheck
from locksmith.core.verdict import Closed, Open, Unknown
from locksmith.errors import Damaged
from locksmith.host.system import System

LONG = timedelta(seconds=60)


def occasion(attempt="n1", stage="health"):
    return Occasion(datetime(2026, 1, 1, tzinfo=UTC), clock_trusted=True, environment={}, stage=stage, attempt=attempt)


@pytest.fixture
def check(machine):
    def make(role="health", **settings):
        settings = {"baseline": machine.folder / "before.json", "grubenv": machine.folder / "grubenv"} | settings
        return UnitsCheck("units", role, machine.system, LONG, **settings)

    return make


def shown(load="loaded", active="active", sub="", kind="simple", **more):
    fields = {"LoadState": load, "ActiveState": active, "SubState": sub, "Type": kind} | more
    return "".join(f"{key}={value}\n" for key, value in fields.items())


# ---------------------------------------------------------------- failed units


def test_none_has_failed(check):
    assert check().ask(occasion()) == Open()
    assert check("gate").ask(occasion("", "queue")) == Open()


def test_a_failed_unit_closes_a_gate_whatever_was_before(check, machine):
    machine.says(failed="failed-one")
    check().remember("n1")
    assert check("gate").ask(occasion("n1", "queue")) == Closed(
        "failed: bad.service; see `systemctl status bad.service`"
    )


def test_what_had_failed_before_is_not_held_against_the_node(check, machine):
    machine.says(failed="failed-one")
    check().remember("n1")
    assert check().ask(occasion()) == Open("failed before the reboot, too: bad.service")
    machine.says(failed="failed-three")
    assert check().ask(occasion()) == Closed(
        "failed: greenboot-healthcheck.service, systemd-boot-check-no-failures.service; "
        "see `systemctl status greenboot-healthcheck.service`"
    )


def test_what_had_failed_before_and_is_well_now_is_well(check, machine):
    machine.says(failed="failed-three")
    check().remember("n1")
    machine.says(failed="failed-none")
    assert check().ask(occasion()) == Open()


def test_the_first_note_of_an_attempt_counts(check, machine):
    check().remember("n1")
    machine.says(failed="failed-one")  # drained already
    check().remember("n1")
    assert isinstance(check().ask(occasion()), Closed)
    check().remember("n2")
    assert isinstance(check().ask(occasion("n2")), Open)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "nothing was noted before the reboot"),
        ("{", "{path} is damaged"),
        (
            '{"v": 1, "attempt": "n0", "names": {"failed": ["bad.service"]}}',
            "nothing was noted before this reboot, only before an earlier one",
        ),
    ],
)
def test_without_a_note_it_judges_strictly_and_says_why(check, machine, content, why):
    path = machine.folder / "before.json"
    if content is not None:
        path.write_text(content)
    assert check().ask(occasion()) == Open()
    machine.says(failed="failed-one")
    assert check().ask(occasion()) == Closed(
        f"failed: bad.service; see `systemctl status bad.service` (not compared with before: {why.format(path=path)})"
    )


def test_a_note_that_cannot_be_kept(check, machine):
    with pytest.raises(Damaged, match=r"cannot write .*before\.json"):
        check(baseline=machine.folder / "gone" / "before.json").remember("n1")


def test_a_note_that_cannot_be_made(check, machine):
    machine.says(failed="no-bus")
    with pytest.raises(
        Damaged, match="which units have failed is not known: systemctl list-units: exit code 1: Failed"
    ):
        check().remember("n1")
    machine.says(failed="failed-one")
    check().remember("n1")
    assert isinstance(check().ask(occasion()), Open)


def test_nothing_is_noted_that_nobody_will_ask_for(check, machine):
    check(failed_units=False, units=["a"]).remember("n1")
    assert machine.asked() == []
    assert not (machine.folder / "before.json").exists()


@pytest.mark.parametrize("pattern", ["bad.service", "bad.*", "*"])
def test_ignored(check, machine, pattern):
    machine.says(failed="failed-one")
    assert check(ignore=[pattern]).ask(occasion()) == Open()


def test_not_ignored(check, machine):
    machine.says(failed="failed-one")
    for pattern in ("bad", "BAD.service", ""):
        assert isinstance(check(ignore=[pattern]).ask(occasion()), Closed)


def test_many_are_named_in_part(check, machine):
    machine.says(failed=("".join(f"u{n}.service loaded failed failed U\n" for n in (3, 1, 6, 2, 5, 4)), 0))
    assert check("gate").ask(occasion()) == Closed(
        "failed: u1.service, u2.service, u3.service, u4.service and 2 more; see `systemctl status u1.service`"
    )


# ---------------------------------------------------------------- no answer


def test_no_bus_is_unknown(check, machine):
    machine.says(failed="no-bus", show="no-bus", running="no-bus")
    reason = "exit code 1: Failed to connect to bus: No such file or directory"
    assert check().ask(occasion()) == Unknown(f"systemctl list-units: {reason}")
    only = check(failed_units=False, units=["a.service"])
    assert only.ask(occasion()) == Unknown(f"systemctl show: {reason}")
    only = check(failed_units=False, system_running=True)
    assert only.ask(occasion()) == Unknown(f"systemctl is-system-running: {reason}")


def test_without_systemd_it_is_unknown(tmp_path):
    check = UnitsCheck("u", "gate", System(runtime=tmp_path), LONG, units=["a"], baseline=tmp_path / "b")
    assert check.ask(occasion()) == Unknown("systemd is not the init of this machine: leave out what asks it")


def test_what_is_surely_wrong_outweighs_no_answer(check, machine):
    machine.says(failed="no-bus", show=(shown(active="failed", Result="signal"), 0))
    assert check(units=["web.service"]).ask(occasion()) == Closed(
        "web.service has failed (signal): see `systemctl status web.service`"
    )


def test_a_systemctl_that_hangs_is_ended(machine, tmp_path):
    tool = machine.folder / "tools" / "systemctl"
    tool.write_text("#!/bin/sh\nexec sleep 1000\n")
    check = UnitsCheck("u", "gate", machine.system, timedelta(seconds=0.2), units=["a"], baseline=tmp_path / "b")
    verdict = check.ask(occasion())
    assert isinstance(verdict, Unknown)
    assert verdict.reason.startswith("systemctl show: no end within ")


# ---------------------------------------------------------------- named units


def test_named_units_as_systemd_252_says_it(check, machine):
    machine.says(show="show-all", failed="failed-one")
    named = [
        "stays",
        "bad.service",
        "once.service",
        "flap.service",
        "skipped.service",
        "nosuch.service",
        "broken.service",
    ]
    verdict = check(units=[*named, "dbus.socket"]).ask(occasion())
    assert isinstance(verdict, Closed)
    assert verdict.reason.split("; ") == [
        "bad.service has failed (exit-code): see `systemctl status bad.service`",
        "flap.service ends and is started again and again: see `systemctl status flap.service`",
        "skipped.service is not active: `systemctl start skipped.service`, or `systemctl enable` it for the next boot",
        "nosuch.service does not exist: install it, or correct `units`",
        "broken.service cannot be loaded (bad-setting): see `systemctl status broken.service`",
    ]
    assert machine.asked()[0].endswith(f"-- {' '.join(named)} dbus.socket")


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        ("show-activating", "x.service is starting"),
        ("show-masked", "x.service is masked: `systemctl unmask x.service`"),
    ],
)
def test_one_named_unit(check, machine, sample, reason):
    machine.says(show=sample)
    assert check(units=["x.service"]).ask(occasion()) == Closed(reason)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"active": "reloading"}, None),
        ({"active": "refreshing"}, None),
        ({"active": "deactivating"}, "x is deactivating"),
        ({"active": "maintenance"}, "x is maintenance"),
        ({"active": "activating", "sub": "auto-restart-queued"}, "ends and is started again and again"),
        ({"active": "inactive", "Job": "77"}, "x waits to be started"),
        (
            {"active": "inactive", "ConditionTimestampMonotonic": "5", "ConditionResult": "no"},
            "conditions does not hold",
        ),
        ({"active": "inactive", "ConditionTimestampMonotonic": "0", "ConditionResult": "no"}, "x is not active"),
        (
            {"active": "inactive", "kind": "oneshot", "Result": "success", "InactiveExitTimestampMonotonic": "5"},
            None,
        ),
        (
            {"active": "inactive", "kind": "oneshot", "Result": "success", "InactiveExitTimestampMonotonic": "0"},
            "x is not active",
        ),
        (
            {"active": "inactive", "kind": "simple", "Result": "success", "InactiveExitTimestampMonotonic": "5"},
            "x is not active",
        ),
        (
            {"active": "inactive", "kind": "oneshot", "Result": "signal", "InactiveExitTimestampMonotonic": "5"},
            "x is not active",
        ),
        ({"load": "error"}, "x cannot be loaded (error)"),
    ],
)
def test_states_of_named_units(check, machine, fields, reason):
    machine.says(show=(shown(**fields), 0))
    verdict = check(units=["x"]).ask(occasion())
    if reason is None:
        assert verdict == Open()
    else:
        assert isinstance(verdict, Closed)
        assert reason in verdict.reason


def test_a_named_unit_has_to_be_active_also_when_it_had_failed_before(check, machine):
    machine.says(failed="failed-one", show=(shown(active="failed", Result="exit-code"), 0))
    checked = check(units=["bad"])
    checked.remember("n1")
    said = Closed("bad has failed (exit-code): see `systemctl status bad`")
    assert checked.ask(occasion()) == said
    assert check("gate", units=["bad"]).ask(occasion()) == said  # once, not as one of the failed ones too


def test_a_name_that_is_none_is_said(check, machine):
    machine.says(show="show-template")
    assert check(units=["stays.service", "foo@.service"]).ask(occasion()) == Unknown(
        "systemctl show: exit code 1: Failed to get properties: Unit name foo@.service is neither a valid invocation ID "
        "nor unit name."
    )


def test_a_pattern_is_said(check, machine):
    machine.says(show="show-all")
    assert check(units=["*.service"]).ask(occasion()) == Unknown(
        "systemctl show answers with 8 units to 1 names: write whole names, no patterns"
    )


# ---------------------------------------------------------------- the boot as a whole


def test_the_boot_is_not_over(check, machine):
    machine.says(running="running-starting", jobs="jobs-starting")
    assert check(system_running=True).ask(occasion()) == Closed("the boot is not over: slow.service to come")
    assert check().ask(occasion()) == Open()


def test_the_boot_is_not_over_and_all_jobs_wait(check, machine):
    machine.says(running=("initializing\n", 1), jobs=("1 b.target start waiting\n2 a.service start waiting\n", 0))
    assert check(system_running=True).ask(occasion()) == Closed("the boot is not over: a.service, b.target to come")


def test_the_boot_is_not_over_and_jobs_are_not_said(check, machine):
    machine.says(running="running-starting", jobs="no-bus")
    assert check(system_running=True).ask(occasion()) == Closed("the boot is not over")


def test_degraded_is_judged_by_what_has_failed(check, machine):
    machine.says(failed="failed-one")
    only = check(failed_units=False, system_running=True)
    only.remember("n1")
    machine.says(running="running-degraded")
    assert only.ask(occasion()) == Open("failed before the reboot, too: bad.service")
    assert only.ask(occasion("n2")) == Closed(
        "failed: bad.service; see `systemctl status bad.service` "
        "(not compared with before: nothing was noted before this reboot, only before an earlier one)"
    )
    machine.says(running="running-running")
    assert only.ask(occasion("n2")) == Open()


@pytest.mark.parametrize(
    ("state", "reason"),
    [("maintenance", "the system is in rescue or emergency mode"), ("stopping", "the system is stopping")],
)
def test_a_system_in_trouble(check, machine, state, reason):
    machine.says(running=(f"{state}\n", 1))
    assert check(system_running=True).ask(occasion()) == Closed(reason)


@pytest.mark.parametrize("state", ["offline", "unknown"])
def test_no_word_of_the_manager(check, machine, state):
    machine.says(running=(f"{state}\n", 1))
    assert check(system_running=True).ask(occasion()) == Unknown(f"systemctl is-system-running: {state}")


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        ("show-boot-complete-failed", "was not reached: see `systemctl list-dependencies boot-complete.target`"),
        (
            "show-boot-complete-unwanted",
            (
                "is not part of the boot, since no unit wants it: `systemctl add-wants locksmithd.service "
                "boot-complete.target`, or leave `boot_complete` off"
            ),
        ),
    ],
)
def test_the_boot_is_not_complete(check, machine, sample, reason):
    machine.says(show=sample)
    assert check(boot_complete=True).ask(occasion()) == Closed(f"boot-complete.target {reason}")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"active": "inactive", "Job": "9"}, "is not reached yet"),
        ({"load": "not-found", "active": "inactive"}, "does not exist (not-found): leave `boot_complete` off"),
    ],
)
def test_the_boot_is_not_complete_yet(check, machine, fields, reason):
    machine.says(show=(shown(**fields), 0))
    assert check(boot_complete=True).ask(occasion()) == Closed(f"boot-complete.target {reason}")


def test_the_boot_is_complete(check, machine):
    machine.says(show=(shown(), 0))
    assert check(boot_complete=True).ask(occasion()) == Open()


# ---------------------------------------------------------------- greenboot


GREEN = shown(kind="oneshot", sub="exited") + "\n" + shown(load="not-found", active="inactive")


def test_a_green_boot(check, machine):
    machine.says(show=(GREEN, 0))
    assert check(greenboot=True).ask(occasion()) == Open()


def test_a_red_boot(check, machine):
    machine.says(show="show-greenboot-red", failed="failed-three")
    assert check(greenboot=True, ignore=["bad.service", "systemd-boot-check*"]).ask(occasion()) == Closed(
        "greenboot: greenboot-healthcheck.service has failed (exit-code): see `systemctl status greenboot-healthcheck.service`"
    )


def test_redboot_target(check, machine):
    machine.says(show=(shown(kind="oneshot") + "\n" + shown(), 0))
    assert check(greenboot=True).ask(occasion()) == Closed("greenboot calls this boot red (redboot.target is active)")


def test_greenboot_is_not_installed(check, machine):
    machine.says(show=(f"{shown(load='not-found', active='inactive')}\n" * 2, 0))
    assert check(greenboot=True).ask(occasion()) == Closed(
        "greenboot-healthcheck.service does not exist: install greenboot, or leave `greenboot` off"
    )


@pytest.mark.parametrize(
    "lines", ["boot_success=1", "boot_success=0\nboot_counter=2", "boot_counter=-10", "#boot_counter=-1"]
)
def test_a_grubenv_without_fallback(check, machine, lines):
    machine.says(show=(GREEN, 0))
    (machine.folder / "grubenv").write_text(f"# GRUB Environment Block\n{lines}\n{'#' * 900}")
    assert check(greenboot=True).ask(occasion()) == Open()


def test_a_fallback(check, machine):
    machine.says(show=(GREEN, 0))
    path = machine.folder / "grubenv"
    path.write_text(f"# GRUB Environment Block\nboot_success=0\nboot_counter=-1\n{'#' * 900}")
    assert check(greenboot=True).ask(occasion()) == Closed(
        f"greenboot has fallen back to the version before (boot_counter=-1 in {path})"
    )
    assert check().ask(occasion()) == Open()


def test_a_grubenv_that_cannot_be_read(check, machine):
    machine.says(show=(GREEN, 0))
    path = machine.folder / "grubenv"
    path.mkdir()
    assert check(greenboot=True).ask(occasion()) == Unknown(
        f"cannot read {path}: Is a directory; let the agent read it, or leave `greenboot` off"
    )


# ---------------------------------------------------------------- one question for all units


def test_all_units_are_asked_for_at_once(check, machine):
    machine.says(show=(shown() + "\n" + shown() + "\n" + GREEN, 0))
    assert check(units=["a", "a"], boot_complete=True, greenboot=True, system_running=True).ask(occasion()) == Open()
    calls = [line.split(" -- ") for line in machine.asked()]
    assert [words[0].split()[0] for words in calls] == ["is-system-running", "show", "list-units"]
    assert calls[1][1] == "a boot-complete.target greenboot-healthcheck.service redboot.target"


def test_names(check):
    for role in ("gate", "health"):
        assert (check(role).name, check(role).kind) == ("units", role)
    assert isinstance(check(), Remembering)
