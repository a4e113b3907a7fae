import json
import os
import threading
from datetime import timedelta

import pytest

from locksmith.hooks import HookCancelled, HookContext, HookDone, HookFailed, Hooks, Stage

CONTEXT = HookContext(
    node="n1", group="web", token="42", reason="libc6 é", origin=None, target="6.1", stage=Stage.PRE_REBOOT
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root refuses")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "hooks"


@pytest.fixture
def hook(folder):
    def write(path, script="exit 0", mode=0o755):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(mode)
        return file

    return write


@pytest.fixture
def hooks(folder):
    return Hooks(folder, timedelta(seconds=60), grace=timedelta(seconds=0.1))


def test_a_missing_folder_has_no_hooks(hooks):
    assert [hooks.names(stage) for stage in Stage] == [(), (), ()]
    assert hooks.problems() == ()


def test_names_are_in_order_and_only_of_hooks(hooks, hook, folder):
    for name in ("20-b", "10-a", "9-c", ".hidden", "10-a~", "old.dpkg-old"):
        hook(f"pre-reboot.d/{name}")
    hook("pre-reboot.d/README", mode=0o644)
    (folder / "pre-reboot.d" / "folder").mkdir()
    assert hooks.names(Stage.PRE_REBOOT) == ("10-a", "20-b", "9-c")
    assert hooks.names(Stage.POST_REBOOT) == ()


def test_undo_is_the_other_way_round(hooks, hook):
    for name in ("10-a", "30-c", "40-d"):
        hook(f"undo.d/{name}")
    assert hooks.undo_names(["10-a", "20-b", "30-c"]) == ("30-c", "10-a")


def test_a_folder_that_cannot_be_read_is_no_empty_folder(folder, hooks):
    folder.mkdir()
    (folder / "pre-reboot.d").write_text("")
    assert hooks.names(Stage.PRE_REBOOT) == ()  # not a folder: there are no hooks
    (folder / "post-reboot.d").symlink_to("post-reboot.d")
    with pytest.raises(Exception, match=r"cannot read the hooks in .*post-reboot\.d"):
        hooks.names(Stage.POST_REBOOT)
    assert any("cannot read the hooks" in line for line in hooks.problems())


def test_a_hook_is_told_everything(hooks, hook, tmp_path):
    hook("pre-reboot.d/10-a", f"env | grep ^LOCKSMITH_ | sort > {tmp_path}/env; cat > {tmp_path}/json")
    assert hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT) == HookDone()
    assert (tmp_path / "env").read_text().splitlines() == [
        "LOCKSMITH_FROM=",
        "LOCKSMITH_GROUP=web",
        "LOCKSMITH_NODE=n1",
        "LOCKSMITH_REASON=libc6 é",
        "LOCKSMITH_STAGE=pre-reboot",
        "LOCKSMITH_TO=6.1",
        "LOCKSMITH_TOKEN=42",
    ]
    assert json.loads((tmp_path / "json").read_text()) == {
        "node": "n1",
        "group": "web",
        "token": "42",
        "reason": "libc6 é",
        "from": None,
        "to": "6.1",
        "stage": "pre-reboot",
    }


def test_a_reason_with_a_nul_does_not_stop_a_drain(hooks, hook):
    hook("undo.d/10-a", 'test "$LOCKSMITH_REASON" = ab')
    context = HookContext("n1", "web", "42", "a\0b", None, None, Stage.UNDO)
    assert hooks.run(Stage.UNDO, "10-a", context) == HookDone()


def test_failures_name_the_hook(hooks, hook):
    hook("pre-reboot.d/10-a", "echo draining; echo pods remain >&2; exit 4")
    assert hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT) == HookFailed("pre-reboot.d/10-a: exit code 4: pods remain")
    hook("pre-reboot.d/10-a", "kill -9 $$")
    assert hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT) == HookFailed("pre-reboot.d/10-a: killed by SIGKILL")


def test_a_hook_that_went_away(hooks, hook):
    hook("pre-reboot.d/20-b")
    outcome = hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT)
    assert isinstance(outcome, HookFailed)
    assert outcome.reason.startswith("pre-reboot.d/10-a: ")


def test_time_limit(folder, hook):
    hook("pre-reboot.d/10-a", "echo waits; sleep 100")
    hooks = Hooks(folder, timedelta(seconds=0.2))
    assert hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT) == HookFailed("pre-reboot.d/10-a: no end within 200ms: waits")


def test_cancel(hooks, hook):
    hook("pre-reboot.d/10-a", "sleep 100")
    cancel = threading.Event()
    cancel.set()
    assert hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT, cancel) == HookCancelled()


@as_root
@pytest.mark.parametrize("place", ["pre-reboot.d/10-a", "pre-reboot.d", "."])
def test_root_runs_nothing_that_anyone_may_write(hooks, hook, folder, tmp_path, place):
    hook("pre-reboot.d/10-a", f"echo > {tmp_path}/ran")
    (folder / place).chmod(0o777)
    outcome = hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT)
    assert isinstance(outcome, HookFailed)
    assert "refused, because anyone may write" in outcome.reason
    assert not (tmp_path / "ran").exists()
    assert any("refused, because anyone may write" in line for line in hooks.problems())


@as_root
def test_root_follows_a_link_to_what_anyone_may_write(hooks, hook, folder, tmp_path):
    hook("pre-reboot.d/20-b")
    target = tmp_path / "elsewhere"
    target.write_text("#!/bin/sh\n")
    target.chmod(0o777)
    (folder / "pre-reboot.d" / "10-a").symlink_to(target)
    outcome = hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT)
    assert isinstance(outcome, HookFailed)
    assert "refused" in outcome.reason


def test_problems_are_told_before_they_matter(hooks, hook, folder):
    hook("pre-reboot.d/10-a")
    hook("pre-reboot.d/README", mode=0o644)
    hook("undo.d/10-a")
    hook("undo.d/11-b")
    assert hooks.problems() == (
        f"{folder}/pre-reboot.d/README is not executable and does not run: `chmod +x` or remove it",
        f"{folder}/undo.d/11-b undoes nothing: there is no pre-reboot.d/11-b",
    )
