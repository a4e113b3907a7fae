"""The agent as its own user, by what deploy/ has for it: it reboots; without the polkit rule it says so."""

import re
from pathlib import Path

from tests.e2e.conftest import LOGIN

NAMES = ("n1", "n2", "n3")
DEPLOY = "/usr/share/locksmith/deploy"
CONFIG = """
[gates.people]
kind = "sessions"
grace = "0s"
"""


def test_with_the_rule_it_reboots_and_without_it_says_what_is_missing(inside, fleet):
    rolling = fleet(NAMES, CONFIG)
    drop_in = "/etc/systemd/system/locksmithd.service.d/unprivileged.conf"
    *allowed, denied = rolling.nodes
    for node in rolling.nodes:
        node.container.link(drop_in, f"{DEPLOY}/systemd/unprivileged.conf")
    for node in allowed:
        node.container.link("/etc/polkit-1/rules.d/50-locksmith.rules", f"{DEPLOY}/polkit/50-locksmith.rules")
    rolling.boot()
    for node in rolling.nodes:
        status = Path(f"/proc/{node.container.processes('locksmithd.service')[0]}/status").read_text()
        assert re.findall(r"^Uid:\t(\d+)", status, re.MULTILINE) != ["0"]
        assert re.findall(r"^(?:NoNewPrivs|CapBnd):\t(\w+)", status, re.MULTILINE) == ["0" * 16, "1"]

    # Somebody else is logged in, which needs a right of its own, and terminals are written.
    used = allowed[0]
    used.container.run(
        "sed", "-i", "s/^TTYPERM.*/TTYPERM 0620/", "/etc/login.defs"
    )  # as sshd leaves them; Debian's login: mesg n
    used.container.run("useradd", "--create-home", "--shell=/bin/cat", "alice")
    terminal = inside(used, *LOGIN)
    rolling.wait(lambda: "pts/" in used.container.run("loginctl", "list-sessions").stdout, "alice has a session")
    for node in allowed:
        node.stage_update()
    rolling.wait(lambda: all(node.boots == 2 and node.state() == "steady" for node in allowed), "both rebooted")
    seen, _ = terminal.communicate(timeout=60)
    assert "Broadcast message from locksmith" in seen  # ours
    assert "This machine reboots now." in seen
    assert "locksmith: reboot-required: linux-image" in seen  # logind's, which took it from us

    denied.stage_update()
    rolling.wait_for(denied, "stuck")
    assert re.search("does not allow RebootWithFlags.*polkit rule", denied.why())
    assert denied.boots == 1
    downs, history = rolling.downs(), rolling.history()
    assert (downs.problems, downs.most, downs.pairs) == ([], 1, dict.fromkeys(NAMES[:2], 1))
    assert (history.problems, history.most) == ([], {"group/e2e": 1})
