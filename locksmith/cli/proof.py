"""`lockctl doctor --proof`: do two nodes look at the same store? A word left here is seen there, or it is another store.

The idea a reader would miss: the word has a check of its own in it, so that one that was heard wrongly is told from one that
is not there; and it stands under a session, so that nobody has to clean up.
"""

from locksmith.cli import forms
from locksmith.cli.call import Call
from locksmith.cli.output import Reported, line
from locksmith.cli.render import ago, clean
from locksmith.errors import Damaged, UsageError
from locksmith.semaphore import trials


def prove(call: Call, word: str | None) -> None:
    """Leave a word, or look for one. Raises Damaged when it is not there."""
    store = {"kind": call.settings.url.kind, "prefix": call.settings.url.prefix}
    if word is None:
        said = trials.leave(call.actor)
        if call.out.json:
            lasts = trials.PROOF_LASTS.total_seconds()
            call.out.document({"word": said, "left": True, "seen": None, "expires_in_seconds": lasts, "store": store})
            return
        line(said)
        call.out.say(f"left in {call.where}; within 10 minutes, on the other node: lockctl doctor --proof {said}")
        return
    said = _heard(word)
    found = trials.seen(call.actor, said)
    error = None
    if found is None:
        error = Damaged(
            f"{call.where} does not hold {said}: it was left more than 10 minutes ago, or in another store or prefix; "
            "compare lockctl config --origin on both nodes"
        )
    if call.out.json:
        seen = None if found is None else {"by": found.by, "host": found.host, "at": forms.instant(found.at)}
        call.out.document({"word": said, "left": False, "seen": seen, "store": store}, error)
    elif found is not None:
        since = ago(found.at, call.actor.clock.wall())
        line(f"the same store: {clean(found.by)} left {said} here {since} ago")
    if error is not None:
        raise Reported(error)


def _heard(word: str) -> str:
    found = trials.heard(word)
    if found is None:
        raise UsageError(f"{clean(word[:40])!r} is no word of lockctl doctor --proof: it was heard or typed wrongly")
    return found
