"""Who is in the way: a block inhibitor and somebody at a terminal delay a node, are named, and hold up nobody else."""

from tests.e2e.conftest import END_OF_FILE, LOGIN

NAMES = ("n1", "n2", "n3")
CONFIG = """
[gates.people]
kind = "sessions"
grace = "1h"
"""
INHIBIT = ("systemd-inhibit", "--what=shutdown", "--mode=block", "--who=tape-robot", "--why=changes a tape", "cat")


def test_a_block_inhibitor_delays_and_is_named(inside, fleet):
    rolling = fleet(NAMES)
    rolling.boot()
    busy, *others = rolling.nodes
    robot = inside(busy, *INHIBIT)
    rolling.wait(
        lambda: "tape-robot" in busy.container.run("systemd-inhibit", "--list").stdout, "the inhibitor is there"
    )
    for node in rolling.nodes:
        node.stage_update()
    rolling.wait(lambda: all(node.boots == 2 and node.state() == "steady" for node in others), "the others rebooted")
    assert busy.boots == 1
    assert busy.state() == "blocked"
    assert "tape-robot" in busy.why()
    rolling.wait(lambda: "tape-robot" in busy.ctl("why"), "lockctl names it")
    robot.communicate(timeout=60)
    rolling.wait(lambda: busy.boots == 2 and busy.state() == "steady", "it went on when the inhibitor was gone")
    downs, history = rolling.downs(), rolling.history()
    assert (downs.problems, downs.most, downs.pairs) == ([], 1, dict.fromkeys(NAMES, 1))
    assert (history.problems, history.most) == ([], {"group/e2e": 1})


def test_somebody_at_a_terminal_is_told_and_delays(inside, fleet):
    rolling = fleet(NAMES, CONFIG)
    rolling.boot()
    used, *others = rolling.nodes
    used.container.run("useradd", "--create-home", "--shell=/bin/cat", "alice")
    terminal = inside(used, *LOGIN)
    rolling.wait(lambda: "pts/" in used.container.run("loginctl", "list-sessions").stdout, "alice has a session")
    for node in rolling.nodes:
        node.stage_update()
    rolling.wait(lambda: all(node.boots == 2 and node.state() == "steady" for node in others), "the others rebooted")
    assert used.boots == 1
    assert used.state() == "blocked"
    assert "alice (pts/0) may log out until" in used.why()
    rolling.wait(lambda: "alice (pts/0)" in used.ctl("why"), "lockctl names her")
    seen, _ = terminal.communicate(END_OF_FILE, timeout=60)
    assert "This machine will reboot" in seen
    rolling.wait(lambda: used.boots == 2 and used.state() == "steady", "it went on when she had left")
    downs, history = rolling.downs(), rolling.history()
    assert (downs.problems, downs.most, downs.pairs) == ([], 1, dict.fromkeys(NAMES, 1))
    assert (history.problems, history.most) == ([], {"group/e2e": 1})
