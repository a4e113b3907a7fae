"""The agent's unit on a running systemd: watchdog, a bad boot, a stop in the middle of a drain."""

import os
import signal

NAMES = ("n1", "n2", "n3")
CONFIG = """
deadline = "2s"
[health.boot]
kind = "units"
failed_units = false
boot_complete = true
"""
GOOD = "/etc/e2e-good-boot"
GREEN = f"""
[Unit]
Before=boot-complete.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=test -e {GOOD}
[Install]
RequiredBy=boot-complete.target
"""
HOLD = "/run/e2e-hold-drain"


def test_a_bad_boot_is_said_by_the_agent_that_it_cannot_keep_from_starting(fleet):
    rolling = fleet(NAMES, CONFIG)
    for node in rolling.nodes:
        node.unit("e2e-green.service", GREEN)
        node.enable("boot-complete.target", "locksmithd.service")  # as the check says: systemctl add-wants
        node.container.write(GOOD, "")
    rolling.boot()
    bad = rolling.nodes[0]
    assert bad.container.run("systemctl", "is-active", "boot-complete.target").stdout.strip() == "active"
    bad.container.remove(GOOD)
    bad.stage_update()
    rolling.wait_for(bad, "failed")
    assert bad.boots == 2
    assert bad.in_service()
    assert "boot-complete.target" in bad.why()
    assert list(rolling.holders().values()) == ["failed"]


def test_a_hanging_agent_is_restarted_and_goes_on_where_it_was(fleet):
    rolling = fleet(NAMES)
    node = rolling.nodes[0]
    node.drop_in("locksmithd.service", "[Service]\nWatchdogSec=5\nRestartSec=100ms\n")
    node.hook("pre-reboot", "10-drain", f"while [ -e {HOLD} ]; do sleep 0.1; done")
    rolling.boot()
    node.container.write(HOLD, "")
    node.stage_update()
    rolling.wait(lambda: rolling.phase(node.id()) == "draining", "it drains")
    agent = main_process(node)
    os.kill(agent, signal.SIGSTOP)
    rolling.wait(lambda: main_process(node) not in (0, agent), "systemd has started another")
    assert rolling.holders() == {node.id(): "draining"}
    node.container.remove(HOLD)
    rolling.wait(lambda: node.boots == 2 and node.state() == "steady", "it went on")
    assert node.status()["reboots"] == {"healthy": 1}
    assert rolling.history().granted == [node.id()]


def test_a_stop_of_the_agent_gives_the_slot_back_and_a_foreign_reboot_keeps_it(fleet):
    rolling = fleet(NAMES)
    for node in rolling.nodes:
        node.hook("pre-reboot", "10-drain", f"while [ -e {HOLD} ]; do sleep 0.1; done")
        node.hook("undo", "10-drain", "touch /run/e2e-undone")
    rolling.boot()
    stopped, rebooted, _ = rolling.nodes
    names = [stopped.id(), rebooted.id()]
    stopped.container.write(HOLD, "")
    stopped.stage_update()
    rolling.wait(lambda: rolling.phase(names[0]) == "draining", "it drains")
    stopped.container.run("systemctl", "stop", "locksmithd.service")
    assert rolling.holders() == {}
    stopped.container.run("test", "-e", "/run/e2e-undone")

    rebooted.container.write(HOLD, "")
    rebooted.stage_update()
    rolling.wait(lambda: rolling.phase(names[1]) == "draining", "it drains")
    rebooted.container.run("systemctl", "reboot")
    rolling.wait(lambda: rebooted.boots == 2 and rebooted.state() == "steady", "it went on in the next boot")
    history = rolling.history()
    assert (history.problems, history.granted, rolling.holders()) == ([], names, {})
    assert rebooted.status()["reboots"] == {"unsanctioned": 1}
    assert [node.boots for node in rolling.nodes] == [1, 2, 1]


def main_process(node):
    """The host's number of the agent; 0 while it does not run."""
    said = node.container.run("systemctl", "show", "-P", "MainPID", "locksmithd.service").stdout.strip()
    for pid in node.container.processes("locksmithd.service"):
        if node.container.inside(pid) == said:
            return pid
    return 0
