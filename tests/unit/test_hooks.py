import json
import os
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.hooks import HookCancelled, HookContext, HookDone, HookFailed, HookRule, Hooks, Stage

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


def test_a_hook_finds_the_programs_of_our_own_installation(hooks, hook, monkeypatch):
    """In a virtual environment they are nowhere on the PATH of a service; what is there goes first all the same."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    hook("pre-reboot.d/10-a", "exec locksmith-drain --help")
    assert hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT) == HookDone()
    hook("pre-reboot.d/20-b", f'case "$PATH" in /usr/bin:/bin:{Path(sys.executable).parent}) ;; *) exit 1 ;; esac')
    assert hooks.run(Stage.PRE_REBOOT, "20-b", CONTEXT) == HookDone()


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


def ruled(folder, **rule):
    """Hooks with one rule, for 10-a; a pause too short to wait for."""
    given = {"timeout": timedelta(seconds=60), **rule}
    quick = timedelta(seconds=0.01)
    return Hooks(folder, timedelta(seconds=60), each={"10-a": HookRule(**given)}, grace=quick, pause=quick)


def test_a_failure_that_is_passed_over_is_told(folder, hook, caplog):
    hook("pre-reboot.d/10-a", "echo pods remain >&2; exit 4")
    hook("pre-reboot.d/20-b", "exit 4")
    hooks = ruled(folder, on_failure="continue")
    said = "pre-reboot.d/10-a: exit code 4: pods remain"
    assert hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT) == HookDone(despite=said)
    assert [record.getMessage() for record in caplog.records] == [
        f"hook {said}; the drain goes on (on_failure = continue)"
    ]
    assert isinstance(hooks.run(Stage.PRE_REBOOT, "20-b", CONTEXT), HookFailed)


@pytest.mark.parametrize("rule", ["continue", "force"])
@pytest.mark.parametrize("stage", [Stage.UNDO, Stage.POST_REBOOT])
def test_only_before_the_reboot_is_a_failure_passed_over(folder, hook, stage, rule):
    hook(f"{stage}.d/10-a", "exit 4")
    hooks = ruled(folder, on_failure=rule, force_after=timedelta(seconds=60))
    assert hooks.run(stage, "10-a", CONTEXT) == HookFailed(f"{stage}.d/10-a: exit code 4")


def test_the_time_limit_of_a_rule_is_for_all_stages(folder, hook):
    for stage in Stage:
        hook(f"{stage}.d/10-a", "sleep 100")
        hooks = ruled(folder, timeout=timedelta(seconds=0.1))
        assert hooks.run(stage, "10-a", CONTEXT) == HookFailed(f"{stage}.d/10-a: no end within 100ms")


def test_a_forced_hook_is_tried_until_it_works(folder, hook, tmp_path):
    hook("pre-reboot.d/10-a", f"echo >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) = 3")
    hooks = ruled(folder, on_failure="force", force_after=timedelta(seconds=60))
    assert hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT) == HookDone()
    assert (tmp_path / "tries").read_text() == "\n" * 3


def test_a_forced_hook_gives_way_after_its_time(folder, hook, tmp_path, caplog):
    hook("pre-reboot.d/10-a", f"echo >> {tmp_path}/tries; exit 4")
    hooks = ruled(folder, on_failure="force", force_after=timedelta(seconds=0.5))
    result = hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT)
    assert isinstance(result, HookDone)
    assert result.despite.startswith("pre-reboot.d/10-a: ")
    assert len((tmp_path / "tries").read_text()) > 1
    assert caplog.records[-1].getMessage().endswith("the drain goes on (force_after = 500ms)")
    # The same failure is told once, however often it is met; the last try may be cut short.
    assert sum("exit code 4; tried again" in record.getMessage() for record in caplog.records) == 1


def test_a_forced_hook_that_hangs_is_cut_short_by_the_whole_time(folder, hook):
    hook("pre-reboot.d/10-a", "sleep 100")
    hooks = ruled(folder, on_failure="force", force_after=timedelta(seconds=0.2))
    result = hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT)
    assert isinstance(result, HookDone)
    assert "no end within" in result.despite


@pytest.mark.parametrize("script", ["sleep 100", "exit 1"])
def test_a_forced_hook_is_called_off_while_it_runs_and_between_tries(folder, hook, tmp_path, script):
    hook("pre-reboot.d/10-a", f"echo > {tmp_path}/began; {script}")
    rule = HookRule(timedelta(seconds=60), "force", timedelta(seconds=60))
    hooks = Hooks(
        folder,
        timedelta(seconds=60),
        each={"10-a": rule},
        grace=timedelta(seconds=0.1),
        pause=timedelta(seconds=60),
    )
    cancel, results = threading.Event(), []
    running = threading.Thread(target=lambda: results.append(hooks.run(Stage.PRE_REBOOT, "10-a", CONTEXT, cancel)))
    running.start()
    while not (tmp_path / "began").exists():
        cancel.wait(0.01)
    cancel.set()
    running.join(timeout=30)
    assert results == [HookCancelled()]


def test_the_longest_time_counts_every_rule(folder):
    each = {
        "10-a": HookRule(timedelta(seconds=5), "abort", timedelta(hours=9)),
        "20-b": HookRule(timedelta(seconds=5), "force", timedelta(hours=1)),
    }
    hooks = Hooks(folder, timedelta(minutes=10), each=each, grace=timedelta(seconds=1))
    assert hooks.longest([]) == timedelta(0)
    assert hooks.longest(["10-a", "20-b", "30-c"]) == timedelta(hours=1, minutes=10, seconds=5 + 3)


def test_a_rule_for_no_hook_is_told(folder, hook):
    hook("post-reboot.d/10-a")
    assert ruled(folder).problems() == ()
    hooks = Hooks(folder, timedelta(seconds=60), each={"10-b": HookRule(timedelta(seconds=60))})
    (problem,) = hooks.problems()
    assert problem.startswith(f'[hooks.each."10-b"] is for no file in {folder}/{{pre-reboot,undo,post-reboot}}.d: ')
