"""A store that anybody has written to: every key that there is, with values that fit, that almost fit, and that do not."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from hypothesis import strategies as st

from locksmith.core import keys
from locksmith.core.codec import Document
from locksmith.core.documents import (
    Brake,
    Config,
    Guard,
    Hold,
    Holder,
    NodeRecord,
    Phase,
    Request,
    Ticket,
    Unlocked,
)
from locksmith.core.history import ACTS, Entry, Notes
from locksmith.core.states import STATE_NAMES
from tests.fuzz.values import almost, mutated, of

GROUPS = ("web", "default")
NODES = ("n1", "n2", "0123456789abcdef0123456789abcdef")
LIMITS = ("group/web", "group/default", "fleet/all")
GROUP, NODE = st.sampled_from(GROUPS), st.sampled_from(NODES)
LIKELY: Mapping[str, st.SearchStrategy[Any]] = {
    "group": GROUP,
    "limits": st.lists(st.sampled_from(LIMITS), min_size=1, max_size=2, unique=True).map(tuple),
    "phase": st.sampled_from(list(Phase)),
    "state": st.sampled_from(list(STATE_NAMES.values())),
    "act": st.sampled_from(ACTS),
    "node": NODE,
    "nonce": st.sampled_from(["n", "m"]),
    "effective": st.integers(0, 3),
    "count": st.integers(0, 3),
    "slots": st.integers(0, 3) | st.sampled_from([10**30]),
    "seq": st.integers(0, 3),
    "outcome": st.sampled_from(["healthy", "recovered", ""]),
    "strategy": st.sampled_from(["lock", "", "off"]),
}
"""What decides how deep a reader comes; the rest is anything."""


@st.composite
def places(draw: st.DrawFn) -> tuple[str, type[Document]]:
    """A key, and what belongs there."""
    group, node, limit = draw(GROUP), draw(NODE), draw(st.sampled_from(LIMITS))
    return draw(
        st.sampled_from([
            (keys.CFG, Config),
            (keys.guard(limit), Guard),
            (keys.brake(group), Brake),
            (keys.hold(node), Hold),
            (keys.request(node), Request),
            (keys.own(node), Holder),
            (keys.own(node), Holder),
            (keys.ticket(group, node), Ticket),
            (keys.hand_ticket(group, node, "h"), Ticket),
            (keys.record(group, node), NodeRecord),
            (keys.record(group, node), NodeRecord),
            (keys.unlocked(node), Unlocked),
            (keys.entry(limit, draw(st.integers(0, 3))), Entry),
            (keys.notes_of_fleet(), Notes),
            (keys.notes_of_group(group), Notes),
            (keys.notes_of_node(node), Notes),
        ])
    )  # fmt: skip


@st.composite
def likely(draw: st.DrawFn, cls: type[Document]) -> Document:
    """A document whose deciding fields say what they would."""
    document = draw(of(cls))
    usual = {each.name: draw(LIKELY[each.name]) for each in fields(cls) if each.name in LIKELY}
    return replace(document, **usual)


@st.composite
def scenes(draw: st.DrawFn) -> dict[str, bytes]:
    """What stands under each key."""
    scene: dict[str, bytes] = {}
    if draw(st.integers(0, 4)):
        scene[keys.CFG] = Config(store="s").encode()
    for key, cls in draw(st.lists(places(), max_size=6)):
        how = draw(st.integers(0, 9))
        good = draw(likely(cls)).encode()
        scene[key] = draw(mutated(good)) if how == 9 else draw(almost(cls)) if how == 8 else good
    if draw(st.integers(0, 9)) == 0:
        stray = draw(st.sampled_from(["own/x", "q/web", "lim/x", "node/web/n1", "ev/lim/group/web/x", "ev/x", "zz"]))
        scene[stray] = b"{}"
    return scene
