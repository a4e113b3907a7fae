"""`lockctl fsck`: do the store's counts fit its holders; with --repair, make them fit."""

import click

from locksmith.cli import render
from locksmith.cli.call import Call
from locksmith.cli.options import Given, Subject
from locksmith.cli.output import Reported
from locksmith.errors import Damaged


@click.command(cls=Subject)
@click.option("--repair", is_flag=True, help="Mend counts and lists of failed nodes; nothing else is touched.")
@click.pass_obj
def fsck(given: Given, repair: bool) -> None:
    """Check the counts of all groups against their holders, and every document of the store."""
    from locksmith.semaphore.repair import fsck as examine

    with Call.short(given) as call:
        report = examine(call.actor, repair=repair)
        left = [finding for finding in report.findings if not finding.repaired]
        error = Damaged(f"{len(left)} found that {'is' if len(left) == 1 else 'are'} not mended") if left else None
        if call.out.json:
            findings = [
                {"key": each.key, "kind": each.kind, "message": each.text, "repaired": each.repaired}
                for each in report.findings
            ]
            call.out.document({"holders": report.holders, "guards": report.guards, "findings": findings}, error)
        else:
            summary = f"guards: {report.guards}, holders: {report.holders}; found: {len(report.findings) or 'nothing'}"
            columns = (
                render.Column("KEY"),
                render.Column("KIND"),
                render.Column("FOUND", prose=True),
                render.Column(""),
            )
            rows = [
                (each.key, each.kind, each.text, render.Cell("mended", "green") if each.repaired else "")
                for each in report.findings
            ]
            shown: list[render.Block] = [render.Line(summary)]
            render.show(call.out, [*shown, render.table(columns, rows)] if rows else shown)
            if left and not repair and any(each.kind in _MENDABLE for each in left):
                call.out.say("lockctl fsck --repair mends counts and lists of failed nodes")
        if error is not None:
            raise Reported(error)


_MENDABLE = ("count", "no_guard", "failed_set")
