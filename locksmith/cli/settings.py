"""`lockctl config`: the configuration in force, key by key, and where each value comes from."""

import click

from locksmith.cli import render
from locksmith.cli.call import Call
from locksmith.cli.options import Given, Subject


@click.command(cls=Subject)
@click.option("--origin", is_flag=True, help="Also show where each value comes from.")
@click.pass_obj
def config(given: Given, origin: bool) -> None:
    """Show the configuration in force, defaults included."""
    with Call.short(given) as call:
        found = call.config
        if call.out.json:
            settings = [
                {"key": each.key, "value": each.value} | ({"origin": each.origin} if origin else {})
                for each in found.settings
            ]
            call.out.document({"files": [str(path) for path in found.files], "settings": settings})
            return
        rows = [
            (each.key, "(unset)" if each.value is None else each.value, each.origin if origin else "")
            for each in found.settings
        ]
        columns = (render.Column("KEY"), render.Column("VALUE", prose=True), render.Column("ORIGIN", prose=True))
        render.show(call.out, [render.table(columns, rows)])
        if not found.files:
            call.out.say("no configuration file was read; see lockctl config --origin")
