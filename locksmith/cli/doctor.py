"""`lockctl doctor`: is this machine set up so that its reboots will be coordinated, and what is to be done if not.

The one idea a reader would miss: every check is made even when an earlier one failed, unless it needs what failed; and
nothing in the store is changed, except for a session that is opened and ended at once.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import click

from locksmith.cli import render
from locksmith.cli.call import Call
from locksmith.cli.local import agent_pid
from locksmith.cli.options import Given, Subject
from locksmith.cli.output import Reported
from locksmith.core import keys
from locksmith.errors import ConfigError, Damaged, LocksmithError
from locksmith.host import identity
from locksmith.semaphore.actor import look
from locksmith.semaphore.claiming import held
from locksmith.stores import MIN_SESSION_TTL, Facts

State = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found, and what to do when it is not well."""

    name: str
    state: State
    text: str
    remedy: str = ""


@click.command(cls=Subject)
@click.pass_obj
def doctor(given: Given) -> None:
    """Check configuration, store, clock, identity and agent of this machine, and say what to do."""
    with Call.short(given) as call:
        findings = list(_examine(call))
        failed = [finding for finding in findings if finding.state == "fail"]
        error = Damaged(f"{len(failed)} of {len(findings)} checks failed: {', '.join(f.name for f in failed)}")
        if call.out.json:
            checks = [
                {"name": each.name, "state": each.state, "message": each.text, "remedy": each.remedy or None}
                for each in findings
            ]
            call.out.document({"ok": not failed, "checks": checks}, error if failed else None)
        else:
            columns = (render.Column(""), render.Column("CHECK"), render.Column("FOUND", prose=True))
            rows = [
                (render.Cell(each.state, render.VERDICTS[each.state]), each.name, _sentence(each)) for each in findings
            ]
            render.show(call.out, [render.table(columns, rows)])
        if failed:
            raise Reported(error)


def _sentence(finding: Finding) -> str:
    return f"{finding.text}: {finding.remedy}" if finding.remedy else finding.text


def _examine(call: Call) -> Iterator[Finding]:
    yield _clock(call)
    try:
        config = call.config
    except ConfigError as error:
        yield Finding("configuration", "fail", str(error))
        return
    files = ", ".join(str(path) for path in config.files) or "no file; variables, options and defaults only"
    yield Finding("configuration", "pass", f"read from {files}")
    yield from _identity(call)
    yield _agent(call)
    if config.store is None:
        try:
            call.settings  # noqa: B018  (asked for the sake of its error, which names the choices)
        except ConfigError as error:
            yield Finding("store", "fail", str(error))
        return
    yield from _store(call)


def _clock(call: Call) -> Finding:
    from locksmith.host.clock import SystemClock

    if SystemClock().synchronised():
        return Finding("clock", "pass", "synchronised")
    try:
        needed = call.config.agent.require_time_sync and bool(call.config.windows)
    except ConfigError:
        needed = False
    text = "the kernel's clock is not synchronised" + (", so all windows are closed" if needed else "")
    return Finding("clock", "fail" if needed else "warn", text, "start systemd-timesyncd, chrony or ntpd")


def _identity(call: Call) -> Iterator[Finding]:
    settings = call.config.node
    try:
        yield Finding("identity", "pass", f"this node is {call.own_id()}")
    except ConfigError as error:
        yield Finding("identity", "fail", str(error))
    try:
        identity.boot(settings.boot_id_file)
    except LocksmithError as error:
        yield Finding("boot", "fail", str(error))
    if not identity.fingerprint(settings.product_uuid_file):
        yield Finding(
            "fingerprint",
            "warn",
            f"{settings.product_uuid_file} cannot be read or says nothing, so a copied machine id is not noticed",
            "run doctor as root" if os.geteuid() else "nothing can be done about it",
        )


def _agent(call: Call) -> Finding:
    run_dir = call.config.node.run_dir
    try:
        pid = agent_pid(run_dir)
    except OSError as error:
        return Finding("agent", "warn", f"whether locksmithd runs cannot be seen: {error}")
    if pid is None:
        return Finding("agent", "warn", f"no locksmithd runs here ({run_dir})", "systemctl enable --now locksmithd")
    return Finding("agent", "pass", f"locksmithd runs (pid {pid})")


def _store(call: Call) -> Iterator[Finding]:
    yield from _endpoints(call)
    try:
        facts = call.unconfirmed.store.facts()
    except LocksmithError as error:
        yield Finding("store", "fail", str(error))
        return
    version = f", version {facts.version}" if facts.version else ""
    yield Finding("store", "pass", f"{call.where} answers as {facts.identity}{version}")
    yield from _guarded("rights", lambda: _rights(call))
    yield from _guarded("session", lambda: _session(call))
    yield from _guarded("cluster", lambda: _cluster(call, facts))
    yield from _guarded("members", lambda: _members(call, facts))
    yield from _guarded("holder", lambda: _holder(call))


def _guarded(name: str, check: Callable[[], Finding | None]) -> Iterator[Finding]:
    """The check's finding; an error of it is a finding too."""
    try:
        finding = check()
    except LocksmithError as error:
        yield Finding(name, "fail", str(error))
        return
    if finding is not None:
        yield finding


def _endpoints(call: Call) -> Iterator[Finding]:
    """Each endpoint by itself, since a store that answers hides an endpoint that does not."""
    from locksmith.assemble import open_store

    endpoints = call.settings.url.endpoints
    if len(endpoints) < 2:  # noqa: PLR2004  (a single one is judged as the store)
        return
    for endpoint in endpoints:
        limit = (call.deadline.left() or timedelta(seconds=1)) / (len(endpoints) + 1)
        store = open_store(call.config, timeout=limit, endpoint=endpoint)
        try:
            facts = store.facts()
            yield Finding("endpoint", "pass", f"{endpoint} answers{f' ({facts.version})' if facts.version else ''}")
        except LocksmithError as error:
            yield Finding("endpoint", "warn", f"{endpoint}: {error}", "as long as another one answers, nodes use that")
        finally:
            store.close()


def _rights(call: Call) -> Finding:
    """Whether this node's keys may be read. Consul hides what may not be, so absent keys are asked for by name."""
    store, node = call.unconfirmed.store, call.own_id()
    for key in (keys.CFG, keys.own(node), keys.record(call.group, node), keys.ticket(call.group, node)):
        store.probe(key)
    return Finding("rights", "pass", "this node's keys may be read; that they may be written is seen when they are")


def _session(call: Call) -> Finding:
    call.unconfirmed.store.session(MIN_SESSION_TTL).end()
    return Finding("session", "pass", "a session can be opened and ended")


def _cluster(call: Call, facts: Facts) -> Finding:
    fleet = look(call.unconfirmed.store).config
    if fleet is None:
        text = f"nothing is set up under the prefix {call.settings.url.prefix}"
        return Finding("cluster", "warn", text, f"lockctl set-max N --group {call.group}, or start the first agent")
    if fleet.cluster not in (None, facts.identity):
        text = f"{fleet.cluster} is recorded under this prefix, but the store answers as {facts.identity}"
        return Finding("cluster", "fail", text, "check store.url: this may be another store")
    return Finding("cluster", "pass", "the store is the recorded one")


def _members(call: Call, facts: Facts) -> Finding | None:
    from locksmith.semaphore.registry import nodes

    if facts.members is None or call.settings.url.kind in ("sqlite", "memory"):
        return None
    registered = len(nodes(call.unconfirmed, None))
    text = f"{facts.members} voting, for {registered} registered nodes"
    if facts.members == 1 and registered > 1:
        return Finding("members", "warn", text, "while that one is down nobody reboots; use three for a fleet")
    return Finding("members", "pass", text)


def _holder(call: Call) -> Finding:
    node = call.own_id()
    current = held(look(call.unconfirmed.store, [keys.own(node)]), node)
    if current is None:
        return Finding("holder", "pass", "this node holds no slot")
    mine = identity.fingerprint(call.config.node.product_uuid_file)
    theirs = current.holder.fingerprint
    if mine and theirs and mine != theirs:
        text = f"the slot of {node} was taken by other hardware ({theirs}, this is {mine})"
        return Finding("holder", "fail", text, "two machines share one machine id: give one of them a new one")
    late = current.holder.expected_by is not None and current.holder.expected_by < call.unconfirmed.clock.wall()
    text = f"this node holds a slot of {current.holder.group} ({current.holder.phase})"
    return (
        Finding("holder", "warn", f"{text}, longer than expected", "lockctl why")
        if late
        else Finding("holder", "pass", text)
    )
