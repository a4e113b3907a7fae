"""The worker's questions: gates before the reboot, health after it, and what must be remembered for the comparison.

The one idea a reader would miss: courtesies are gates that do something to people. They are asked last, and only when
nothing else stands in the way.
"""

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from locksmith.agent.body import Body
from locksmith.checks import Check, Occasion, Remembering, Stage
from locksmith.checks.window import WindowCheck
from locksmith.core.facts import Policy
from locksmith.core.ledger import Owed
from locksmith.core.needs import Answer as NeedAnswer
from locksmith.core.needs import NeedUnknown
from locksmith.core.states import Agent
from locksmith.core.turn import passed_over, reason_now
from locksmith.core.verdict import Answer, Open, Unknown, Verdict
from locksmith.errors import Damaged
from locksmith.hooks import HookContext
from locksmith.updates import Provider

log = logging.getLogger("locksmith.agent")


def ask_providers(body: Body) -> tuple[NeedAnswer, ...]:
    """What all update providers say. A fault in one of them is "nobody can say", and no more.

    They are asked before a slot of an earlier boot is settled: a provider that raises must not keep it from that.
    """
    return tuple(_needs(provider) for provider in body.providers)


def _needs(provider: Provider) -> NeedAnswer:
    try:
        return sayable(provider.ask())
    except Exception as error:  # a bug, told with its place and survived: see ask_providers
        log.exception("the update provider %s failed", provider.name)
        return NeedUnknown(
            provider.name, f"a fault of locksmith ({type(error).__name__}), see the log; please report it"
        )


def ask_gates(body: Body, agent: Agent, stage: Stage, *, courtesies: bool) -> tuple[Answer, ...]:
    """What all gates say; the courtesies only when the others are open, or passed over by the operator's request."""
    answers, ignored = _ask(body, body.gates, agent, stage), passed_over(agent)
    if courtesies and all(isinstance(answer.verdict, Open) or answer.kind in ignored for answer in answers):
        answers += _ask(body, body.courtesies, agent, stage)
    return answers


def ask_health(body: Body, agent: Agent) -> tuple[Answer, ...]:
    """What all health checks say."""
    return _ask(body, body.health, agent, "health")


def _verdict(check: Check, occasion: Occasion) -> Verdict:
    try:
        return sayable(check.ask(occasion))
    except Exception as error:  # a bug, told with its place and survived: as with providers
        log.exception("the check %s failed", check.name)
        return Unknown(f"a fault of locksmith ({type(error).__name__}), see the log; please report it")


A = TypeVar("A", bound=NeedAnswer | Verdict)


def sayable(answer: A) -> A:
    """The answer with half characters (from JSON, or a file's name) replaced: neither journal nor store can hold them.

    Raises TypeError for what is no answer at all.
    """
    record: Any = answer
    texts = {each.name: getattr(record, each.name) for each in fields(record)}
    kept = {name: text.encode(errors="replace").decode() for name, text in texts.items() if isinstance(text, str)}
    said: A = replace(record, **kept)
    return said


def remember(body: Body, owed: Owed) -> None:
    """Let the checks note what is so before the drain; without it they judge the new boot more strictly."""
    for check in body.health:
        if isinstance(check, Remembering):
            try:
                check.remember(owed.nonce)
            except Damaged as error:
                log.warning("health check %s cannot note what is so before the reboot: %s", check.name, error)


def hook_context(policy: Policy, owed: Owed | None, stage: str, wanted: str = "") -> HookContext:
    """What hooks and commands are told about the attempt; `wanted` is why there is to be one."""
    return HookContext(
        node=policy.home.node,
        group=owed.group if owed else policy.group,
        token=str(owed.token) if owed and owed.token is not None else "",
        reason=owed.reason if owed else wanted,
        origin=owed.origin if owed else None,
        target=owed.target if owed else None,
        stage=stage,
    )


def _ask(body: Body, checks: Sequence[Check], agent: Agent, stage: Stage) -> tuple[Answer, ...]:
    owed = agent.owed
    # For commands the word is as it always was: they are told what they are, not how far the attempt is.
    context = hook_context(body.policy, owed, "health" if stage == "health" else "gate", reason_now(agent))
    answers = []
    for check in checks:
        now = body.actor.clock.wall()
        occasion = Occasion(
            now,
            body.clock_trusted(now),
            context.environment(),
            context.payload(),
            stage,
            owed.nonce if owed is not None else "",
        )
        verdict = _verdict(check, occasion)
        kind = check.kind
        if isinstance(check, WindowCheck) and not isinstance(verdict, Open):
            kind = check.blocked_by(occasion)
        answers.append(Answer(check.name, kind, verdict))
    return tuple(answers)
