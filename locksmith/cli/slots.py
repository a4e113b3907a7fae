"""`lockctl lock`, `unlock` and `set-max`: slots taken, given back and counted by hand."""

import click

from locksmith.cli import forms, render
from locksmith.cli.call import Call
from locksmith.cli.options import NODE, REASON, SLOTS, Given, Subject
from locksmith.cli.output import line
from locksmith.cli.progress import progress
from locksmith.errors import UsageError


@click.command(cls=Subject)
@NODE
@click.option("--wait", is_flag=True, help="Queue for it, up to --timeout if given, else for ever.")
@REASON
@click.pass_obj
def lock(given: Given, node: str | None, wait: bool, reason: str | None) -> None:
    """Take a slot by hand, for maintenance: the node's agent then leaves it alone.

    Without --wait it is taken now or not at all. A node that is held by hand already is a success. With --wait an agent
    that is not about to reboot is asked to leave its slot to you, and one that is rebooting is waited for.
    """
    from locksmith.semaphore import by_hand

    with Call.waiting(given, for_ever=wait) as call:
        ref = call.node(node)
        group = ref.group if ref.group and not call.group_is_explicit else call.group
        if ref.group and ref.group != call.group and not call.group_is_explicit:
            call.out.say(f"{render.name(ref.host, ref.node)} is in the group {group}; its slot is taken there")
        with progress(call.out) as tell, given.stop.deferred() as stop:
            locked = by_hand.lock(
                call.actor,
                ref.node,
                ref.host or "",
                group,
                reason or "",
                wait=wait,
                patience=call.deadline.left(),
                progress=lambda step: tell(forms.waiting(step)),
                stop=stop,
            )
        held = locked.held
        call.poke()
        if call.out.json:
            call.out.document(
                {
                    "group": held.holder.group,
                    "node": ref.node,
                    "host": ref.host,
                    "already": locked.already,
                    "holder": forms.held(held, call.actor.clock.wall()),
                }
            )
            return
        who = render.name(ref.host, ref.node)
        how = "holds a slot by hand already" if locked.already else "holds a slot by hand"
        line(f"{who} {how} (group {held.holder.group}, token {held.token}); give it back: lockctl unlock {ref.node}")


@click.command(cls=Subject)
@NODE
@REASON
@click.option("--strict", is_flag=True, help="Exit 3 when the node holds no slot.")
@click.option("--force", is_flag=True, help="Take it without asking the agent; needs NODE and --reason.")
@click.option(
    "--force-armed",
    is_flag=True,
    help="Also from a node that may be rebooting: only when the machine is known to be off.",
)
@click.pass_obj
def unlock(given: Given, *, node: str | None, reason: str | None, strict: bool, force: bool, force_armed: bool) -> None:
    """Give back a slot that is held by hand, or ask the agent that holds it to call its reboot off and release it."""
    if force_armed and not force:
        raise UsageError("--force-armed goes with --force")
    if force and (node is None or not reason):
        raise UsageError("--force needs NODE and --reason TEXT: it is kept on the record")
    with Call.waiting(given, for_ever=False) as call:
        ref = call.node(node)
        if force:
            _force(call, ref.node, ref.host, reason or "", armed_too=force_armed)
        else:
            _ask(call, ref.node, ref.host, reason or "", strict=strict)


def _force(call: Call, node: str, host: str | None, reason: str, *, armed_too: bool) -> None:
    from locksmith.semaphore import by_hand

    held = by_hand.force_unlock(call.actor, node, reason, armed_too=armed_too)
    call.poke()
    if call.out.json:
        call.out.document(
            {"node": node, "host": host, "result": "forced", "holder": forms.held(held, call.actor.clock.wall())}
        )
        return
    line(f"{render.name(host, node)}: the slot of {held.holder.group} is taken away (it was {held.holder.phase})")


def _ask(call: Call, node: str, host: str | None, reason: str, *, strict: bool) -> None:
    from locksmith.semaphore import by_hand

    with progress(call.out) as tell, call.given.stop.deferred() as stop:
        done = by_hand.unlock(
            call.actor,
            node,
            reason,
            strict=strict,
            patience=call.deadline.left() or call.limit_or_default(),
            progress=lambda step: tell(forms.waiting(step)),
            stop=stop,
        )
    call.poke()
    if call.out.json:
        holder = None if done.held is None else forms.held(done.held, call.actor.clock.wall())
        call.out.document({"node": node, "host": host, "result": done.how, "holder": holder})
        return
    who = render.name(host, node)
    words = {
        "by_hand": f"{who}: the slot that was held by hand is free",
        "failed": f"{who}: the slot of the failed node is free, and no longer halts its group",
        "given_back": f"{who}: its agent has given the slot back",
        "not_held": f"{who} holds no slot",
    }
    line(words[done.how])


@click.command("set-max", cls=Subject)
@click.argument("slots", type=SLOTS, metavar="N")
@click.pass_obj
def set_max(given: Given, slots: int) -> None:
    """Set how many nodes of the group may be down at once; creates the group.

    A smaller number evicts nobody: it only stops new ones. To stop them all, use `lockctl pause`.
    """
    from locksmith.semaphore import operating

    with Call.short(given) as call:
        done = operating.set_max(call.actor, call.group, slots)
        if call.out.json:
            call.out.document(
                {"group": done.group, "old": done.old, "new": done.new, "held": done.held, "created": done.created}
            )
            return
        if done.old is None:
            line(f"{done.group}: created with {done.new} {_slots(done.new)}")
        else:
            line(f"{done.group}: {done.old} -> {done.new} {_slots(done.new)}")
        if done.held > done.new:
            call.out.say(f"{done.held} are held now: no new one is given until fewer than {done.new} are")


def _slots(count: int) -> str:
    return "slot" if count == 1 else "slots"
