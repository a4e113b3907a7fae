"""Every act that rewrites a document: the scene that it needs, and the act itself.

Only what both releases have is used, so that the previous one can be made to act, too: see `graft`.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from locksmith.core.documents import Holder, Phase, Then
from locksmith.errors import Asked, TimedOut
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.by_hand import lock
from locksmith.semaphore.holding import Slot, arm, fail, mark, release, to_phase, verify
from locksmith.semaphore.operating import (
    acknowledge,
    pause_fleet,
    pause_group,
    pause_node,
    resume_fleet,
    resume_group,
    resume_node,
    set_max,
)
from locksmith.semaphore.repair import fsck
from locksmith.semaphore.taking import force_unlock, unlock
from locksmith.stores import Put
from tests.fakes.world import World

SECOND = timedelta(seconds=1)
GUARD = "lim/group/web"


class Scene:
    """A group of three slots, one of which n1 has; a slot was once taken from it by force."""

    def __init__(self) -> None:
        self.world = World()
        self.operator: Actor = self.world.operator
        self.agent = self.world.actor("agent@n1")
        set_max(self.operator, "web", 3)
        self.slot: Slot = self.world.holding(self.agent, "n1")
        self.taken()
        self.slot = self.world.holding(self.agent, "n1")

    def taken(self) -> None:
        force_unlock(self.operator, "n1", "it was off", armed_too=True)

    def armed(self) -> None:
        arm(self.agent, self.slot, epoch=1, attempt=self.agent.nonce(), request=None, expected=None)

    def rebooted(self) -> None:
        self.armed()
        verify(self.agent, self.slot, "boot-2", None)

    def failed(self) -> None:
        self.rebooted()
        fail(self.agent, self.slot, "app")

    def paused(self) -> None:
        pause_fleet(self.operator, "x", None)
        pause_group(self.operator, "web", "x", None)
        pause_node(self.operator, "n1", "x", None)

    def resumed(self) -> None:
        """Paused once and no more: so the notes of each have begun."""
        self.paused()
        resume_fleet(self.operator)
        resume_group(self.operator, "web")
        resume_node(self.operator, "n1")

    def wanted(self) -> None:
        """An operator wants it by hand, once the agent has undone its drain."""
        then = Then(by="bob", host="n1", reason="disks", nonce="0" * 16)
        mark(self.operator, self.slot, lambda holder: replace(holder, then=then))

    def miscounted(self) -> None:
        self.world.judge.off = True
        self.world.memory.commit((), [Put(GUARD, replace(self.world.guard(), count=2).encode())])

    def lock(self, node: str, *, wait: bool) -> None:
        stop = threading.Event()
        lock(self.operator, node, node, "web", "disks", wait=wait, patience=SECOND, progress=_heard, stop=stop)

    def lock_in_vain(self) -> None:
        """The agent is asked for its slot, and the wish is taken back."""
        try:
            self.lock("n1", wait=True)
        except TimedOut:
            return
        raise AssertionError("nobody gave the slot back")

    def unlock(self) -> None:
        unlock(self.operator, "n1", "x", strict=True, patience=SECOND, progress=_heard, stop=threading.Event())

    def unlock_in_vain(self) -> None:
        try:
            self.unlock()
        except Asked:
            return
        raise AssertionError("nobody gave the slot back")


def _heard(_: object) -> None:
    """What a wait tells."""


def _again(holder: Holder) -> Holder:
    return replace(holder, reason="another")


def _nothing(_: Scene) -> None:
    """The scene is as it should be."""


@dataclass(frozen=True)
class Act:
    """`free`: a restriction by a newer release does not bar it."""

    do: Callable[[Scene], Any]
    before: Callable[[Scene], None] = _nothing
    free: bool = True


ACTS = {
    "claim": Act(lambda at: at.world.holding(at.world.actor("agent@n3"), "n3"), free=False),
    "arm": Act(Scene.armed, free=False),
    "lock": Act(lambda at: at.lock("db", wait=False), free=False),
    "drain": Act(lambda at: to_phase(at.agent, at.slot, Phase.DRAINING, timedelta(minutes=5))),
    "disarm": Act(lambda at: to_phase(at.agent, at.slot, Phase.DRAINING, None), Scene.armed),
    "mark": Act(lambda at: mark(at.agent, at.slot, _again)),
    "verify": Act(lambda at: verify(at.agent, at.slot, "boot-2", None), Scene.armed),
    "verify once more": Act(lambda at: verify(at.agent, at.slot, "boot-3", None), Scene.failed),
    "fail": Act(lambda at: fail(at.agent, at.slot, "app"), Scene.rebooted),
    "release": Act(lambda at: release(at.agent, at.slot), Scene.rebooted),
    "recover": Act(lambda at: release(at.agent, at.slot), Scene.failed),
    "release without a journal": Act(lambda at: release(at.agent, at.slot, unwritten="lost")),
    "leave it by hand": Act(lambda at: release(at.agent, at.slot), Scene.wanted),
    "set-max": Act(lambda at: set_max(at.operator, "web", 5)),
    "pause the fleet": Act(lambda at: pause_fleet(at.operator, "x", None), Scene.resumed),
    "pause the group": Act(lambda at: pause_group(at.operator, "web", "x", None), Scene.failed),
    "pause the node": Act(lambda at: pause_node(at.operator, "n1", "y", None), Scene.paused),
    "resume the fleet": Act(lambda at: resume_fleet(at.operator), Scene.paused),
    "resume the group": Act(lambda at: resume_group(at.operator, "web"), Scene.paused),
    "resume the node": Act(lambda at: resume_node(at.operator, "n1"), Scene.paused),
    "acknowledge": Act(lambda at: acknowledge(at.operator, "web", "known"), Scene.failed),
    "lock in vain": Act(Scene.lock_in_vain, free=False),
    "unlock in vain": Act(Scene.unlock_in_vain),
    "unlock a failed one": Act(Scene.unlock, Scene.failed),
    "unlock by force": Act(Scene.taken, Scene.rebooted),
    "fsck": Act(lambda at: fsck(at.operator, repair=True), Scene.miscounted),
}
