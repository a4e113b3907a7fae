"""What providers and checks say, at the door to the agent."""

from dataclasses import dataclass
from typing import Any

import pytest

from locksmith.agent.asking import sayable
from locksmith.core.needs import Need, NotNeeded
from locksmith.core.verdict import Closed, Open

HALF = "caf\udce9"


@dataclass(frozen=True, slots=True)
class _Other:
    number: int


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (Need("f", "file", HALF, HALF, None, HALF), Need("f", "file", "caf?", "caf?", None, "caf?")),
        (NotNeeded("f", HALF), NotNeeded("f", "caf?")),
        (Closed(HALF), Closed("caf?")),
        (Open("café 🎉"), Open("café 🎉")),
        (_Other(3), _Other(3)),
    ],
)
def test_half_characters_come_no_further(said: Any, kept: Any) -> None:
    assert sayable(said) == kept


@pytest.mark.parametrize("said", [None, "text", 3, ()])
def test_what_is_no_answer_is_a_fault_of_who_gave_it(said: Any) -> None:
    with pytest.raises(TypeError):
        sayable(said)
