"""A rebooter that a changed configuration brings still knows what the one before it may yet do in this boot."""

import json
import os
import signal
from datetime import timedelta

import pytest

from locksmith import config
from locksmith.assemble_rebooter import rebooter
from locksmith.host.system import System
from locksmith.rebooters import Accepted, Firing, Idle
from locksmith.rebooters.command import CommandRebooter

BOOT, NEXT = "b1/0", "b2/0"
PACKAGES = """
[updates.packages]
kind = "reboot-required"
"""
OSTREE = """
[updates.ostree]
kind = "rpm-ostree"
"""


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The rebooter of a configuration, on a machine without systemd and without a bus."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/no-bus")
    (tmp_path / "run").mkdir()
    system = System(runtime=tmp_path / "nothing", tools=tmp_path)

    def build(reboot, updates=PACKAGES, boot=BOOT):
        file = tmp_path / "locksmith.toml"
        file.write_text(
            f'[store]\nurl = "sqlite://{tmp_path}/store.db"\n[node]\nrun_dir = "{tmp_path}/run"\n'
            f"[reboot]\n{reboot}\n{updates}"
        )
        return rebooter(config.load(file, environ={}), boot, system)

    return build


@pytest.mark.parametrize("kind", ["auto", "logind", "systemctl"])
@pytest.mark.parametrize("updates", [PACKAGES, OSTREE], ids=["packages", "ostree"])
def test_a_command_that_still_runs_may_fire_whatever_the_kind_is_now(made, kind, updates, tmp_path):
    """The slot would be given back, and the machine go down without one when the command comes to its end."""
    run_dir = tmp_path / "run"
    slow = CommandRebooter(["sleep", "600"], run_dir, BOOT, System(runtime=tmp_path / "nothing"), timedelta(0))
    assert slow.reboot("kernel", {}) == Accepted()
    running = slow.pending()
    after = made(f'kind = "{kind}"', updates)
    try:
        assert isinstance(running, Firing)
        assert after.pending() == running
        assert after.reboot("kernel", {}) == Accepted()  # no second call beside it
        assert "still runs" in after.explain()
        assert made(f'kind = "{kind}"', updates, NEXT).pending() == Idle()  # it ended with its boot
    finally:
        os.killpg(json.loads((run_dir / "reboot-command.json").read_text())["pid"], signal.SIGKILL)
        while isinstance(slow.pending(), Firing):
            pass
    assert after.pending() == Idle()


@pytest.mark.parametrize("kind", ['kind = "command"\ncommand = ["false"]', 'kind = "systemctl"'])
def test_a_call_to_logind_without_an_answer_may_fire_whatever_the_kind_is_now(made, kind, tmp_path):
    record = tmp_path / "run/reboot-logind.json"
    record.write_text(json.dumps({"boot": BOOT, "at": 1e12}))  # later than any clock says
    after = made(kind)
    assert isinstance(after.pending(), Firing)
    assert after.reboot("kernel", {}) == Accepted()
    record.write_text(json.dumps({"boot": NEXT, "at": 1e12}))
    assert after.pending() == Idle()


def test_a_deployment_that_is_being_finalized_may_fire_without_its_provider_too(made, tmp_path):
    (tmp_path / "run/finalize-deployment").write_text(f"{BOOT}\n")
    after = made('kind = "systemctl"')
    pending = after.pending()
    assert isinstance(pending, Firing)
    assert "rpm-ostree" in pending.cause


@pytest.mark.parametrize("kind", ['kind = "command"\ncommand = ["false"]', 'kind = "auto"', 'kind = "systemctl"'])
def test_where_nothing_was_begun_nothing_fires(made, kind):
    assert made(kind).pending() == Idle()
