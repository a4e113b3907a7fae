"""`lockctl doctor`: is this machine set up so that its reboots will be coordinated, and what is to be done if not.

The ideas a reader would miss: every check is made even when an earlier one failed, unless it needs what failed. And nothing
lasting is written: a session that is opened and ended, a scratch key that is written and deleted, commits that can never
apply; and with --proof a word that ends by itself.
"""

import os
from collections.abc import Iterator
from functools import partial
from typing import Literal

import click

from locksmith.cli import doctor_machine, render
from locksmith.cli.call import Call
from locksmith.cli.finding import Finding, guarded
from locksmith.cli.options import Given, Subject
from locksmith.cli.output import Reported
from locksmith.errors import ConfigError, Damaged, UsageError

Role = Literal["operator", "agent"]


@click.command(cls=Subject)
@click.argument("word", required=False)
@click.option("--agent", "role", flag_value="agent", help="Try the rights that an agent needs.")
@click.option("--operator", "role", flag_value="operator", help="Try the rights that an operator needs.")
@click.option(
    "--proof",
    is_flag=True,
    help="Only prove that two nodes look at the same store: without WORD, leave a word there and show it; with "
    "WORD, see whether it is there.",
)
@click.pass_obj
def doctor(given: Given, word: str | None, role: Role | None, proof: bool) -> None:
    """Check configuration, store, rights, clock, identity and agent of this machine, and say what to do.

    Without --agent and --operator the rights of an agent are tried when its state_dir belongs to who asks, else those of
    an operator. To prove that another node looks at the same store, run `lockctl doctor --proof` here and `lockctl doctor
    --proof WORD` there, with the word that was shown; it stays for 10 minutes.
    """
    if word is not None and not proof:
        raise UsageError("WORD goes with --proof: lockctl doctor --proof WORD")
    if proof and role is not None:
        raise UsageError("--proof tries no rights: leave out --agent and --operator")
    with Call.short(given) as call:
        if proof:
            from locksmith.cli.proof import prove

            prove(call, word)
        else:
            _examine(call, role)


def _examine(call: Call, role: Role | None) -> None:
    tried: Role = role or _own_role(call)
    findings = list(_findings(call, tried))
    failed = [finding for finding in findings if finding.state == "fail"]
    error = Damaged(f"{len(failed)} of {len(findings)} checks failed: {', '.join(f.name for f in failed)}")
    if call.out.json:
        checks = [
            {"name": each.name, "state": each.state, "message": each.text, "remedy": each.remedy or None}
            for each in findings
        ]
        call.out.document({"ok": not failed, "rights_of": tried, "checks": checks}, error if failed else None)
    else:
        columns = (render.Column(""), render.Column("CHECK"), render.Column("FOUND", prose=True))
        rows = [(render.Cell(each.state, render.VERDICTS[each.state]), each.name, _sentence(each)) for each in findings]
        render.show(call.out, [render.table(columns, rows)])
    if failed:
        raise Reported(error)


def _sentence(finding: Finding) -> str:
    return f"{finding.text}: {finding.remedy}" if finding.remedy else finding.text


def _own_role(call: Call) -> Role:
    """The agent's, for who owns its state_dir; where there is none, no agent has ever run."""
    try:
        owner = call.config.node.state_dir.stat().st_uid
    except (OSError, ConfigError):
        return "operator"
    return "agent" if owner == os.geteuid() else "operator"


def _findings(call: Call, role: Role) -> Iterator[Finding]:
    yield doctor_machine.clock(call)
    try:
        config = call.config
    except ConfigError as error:
        yield Finding("configuration", "fail", str(error))
        return
    files = ", ".join(str(path) for path in config.files) or "no file; variables, options and defaults only"
    yield Finding("configuration", "pass", f"read from {files}")
    yield from doctor_machine.identity_of(call)
    yield doctor_machine.agent(call)
    if role == "agent":
        yield from doctor_machine.folders(call)
    for name, check in (
        ("updates", doctor_machine.providers),
        ("health", doctor_machine.health),
        ("coordinators", doctor_machine.coordinators),
        ("hooks", doctor_machine.hooks),
    ):
        yield from guarded(name, partial(check, config))
    if config.store is None:
        try:
            call.settings  # noqa: B018  (asked for the sake of its error, which names the choices)
        except ConfigError as error:
            yield Finding("store", "fail", str(error))
        return
    from locksmith.cli import doctor_store

    yield from doctor_store.findings(call, role)
