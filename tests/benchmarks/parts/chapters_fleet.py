"""The chapters on races, outages, whole fleets, the idle agent and the command."""

import statistics
from pathlib import Path

from tests.benchmarks.parts import plots
from tests.benchmarks.parts.markdown import NAMES, Told, drawing, milliseconds, number, size, table


def races(told: Told, folder: Path) -> str:
    """At the same moment."""
    crowd_rows, rate_rows = [], []
    kinds = list(told["races"])
    served: dict[str, list[float]] = {}
    for kind in kinds:
        for name, each in told["races"][kind]["fifty"].items():
            served.setdefault(name, []).append(each["at_once"])
            rounds = "at once" if each["rounds"] == 1 else f"{each['served']} after {each['rounds']} rounds"
            crowd_rows.append([NAMES[kind], name, each["at_once"], f"{rounds}, {number(each['seconds'])} s"])
        rates = told["races"][kind]["rates"]
        for name, each in rates.items():
            if name == "bare":
                rate_rows.append([NAMES[kind], "bare commits", "", "1", f"({number(each['per_second'])})", ""])
                continue
            who, where = name.split("_")
            rate_rows.append(
                [
                    NAMES[kind],
                    "classic, again at once" if who == "classic" else who,
                    "one" if where == "one" else "eight",
                    f"{each['of_bare']:.2f}",
                    f"({number(each['per_second'])})",
                    f"{each['lost_per_grant']:.2f}",
                ]
            )
    groups = [f"{NAMES[kind]}, {word}" for kind in kinds for word in ("one group", "eight groups")]
    plots.bars(folder / "fifty.svg", [NAMES[kind] for kind in kinds], served, "served at the first call, of 50")
    plots.bars(
        folder / "rates.svg",
        groups,
        {
            who: [
                told["races"][kind]["rates"][f"{who}_{where}"]["of_bare"] for kind in kinds for where in ("one", "many")
            ]
            for who in ("locksmith", "classic")
        },
        "grants a second / bare commits a second",
    )
    return f"""
## Fifty at once, and grants a second

Fifty at a barrier, fifty slots free. Who loses the race comes again after the delay that his program documents; these
delays are added up, not slept, and those without jitter keep the losers together. Fifty *processes* are in
tests/integration/test_contention.py.

{table(["", "", "served at the first call", "all of the fifty"], crowd_rows)}

{drawing(folder, "fifty", "callers served at the first call")}

Eight threads of one process take a slot and give it back without a pause; there is a slot for each, so only the documents
are fought for. A grant is here a ticket, a claim and a release (three commits), for the classic lock two commits. It tries
again at once, which none of its users does: a lost race costs them 10 seconds or 5 minutes.

{table(["", "", "groups", "grants against bare commits", "a second", "commits that lost a race, a grant"], rate_rows)}

{drawing(folder, "rates", "grants a second on one group and on eight")}
"""


def leader(told: Told, folder: Path) -> str:
    """The leader is killed."""
    rows, heights = [], {name: [] for name in ("bare commit", "locksmith", "classic")}
    for kind, outages in told["leader"].items():
        middle = {
            name: statistics.median(each[name] for each in outages) for name in ("commit", "locksmith", "classic")
        }
        for name, shown in (("commit", "bare commit"), ("locksmith", "locksmith"), ("classic", "classic")):
            heights[shown].append(middle[name])
        rows.append(
            [
                NAMES[kind],
                len(outages),
                milliseconds(middle["commit"]),
                *(f"{middle[name] / middle['commit']:.2f} times" for name in ("locksmith", "classic")),
                " ".join(f"{each['locksmith']:.2g}" for each in outages),
            ]
        )
    plots.bars(folder / "leader.svg", [NAMES[kind] for kind in told["leader"]], heights, "seconds after the kill")
    head = [
        "three servers",
        "kills",
        "first bare commit",
        "first acquire and release",
        "classic, again at once",
        "ours, seconds of each",
    ]
    return f"""
## The leader is lost

The leader of three is killed under load. From then to the first that began after it and was done, medians; the election is
the server's, what is ours is what comes on top.

{table(head, rows)}

{drawing(folder, "leader", "seconds from the kill of the leader to the first success")}
"""


def makespan(told: Told, folder: Path) -> str:
    """Whole fleets, to the end."""
    own = {run["nodes"]: (run, "") for run in told["makespan"]["runs"]}
    noted, large = "", told.get("large")
    if large is not None:
        added = {run["nodes"]: (run, " *") for run in large["runs"] if run["nodes"] not in own}
        own |= added
        if added:
            noted = f"\n\\* a run of its own: `{large['command']}`, commit {large['commit']}, {large['date']}."
    runs = [own[count] for count in sorted(own)]
    rows = [
        [
            f"{run['nodes']:,}{mark}",
            f"{run['groups']}, {run['slots_per_group']}",
            f"{run['ratio']:.4f}",
            number(run["requests"]["all"]),
            number(run["requests_per_hour"]),
            f"{size(run['bytes_read'])}, {size(run['bytes_written'])}",
            run["most_held"],
            f"({run['wall']:.0f} s, {run['memory_mib']:.0f} MiB)",
        ]
        for run, mark in runs
    ]
    plots.lines(
        folder / "makespan.svg",
        {"locksmith": [(run["nodes"], run["ratio"]) for run, _ in runs]},
        "nodes",
        "makespan / ideal",
        linear=True,
        limit=1.05,
    )
    plots.lines(
        folder / "fleet-requests.svg",
        {
            "locksmith": [(run["nodes"], run["requests"]["all"]) for run, _ in runs],
            "an hour of waiting": [(run["nodes"], run["requests_per_hour"]) for run, _ in runs],
        },
        "nodes",
        "requests a node",
        linear=True,
    )
    head = [
        "nodes",
        "groups, slots of each",
        "makespan / ideal",
        "requests a node",
        "... an hour of waiting",
        "bytes a node, read and written",
    ]
    head += ["most held of one group", "simulated in"]
    return f"""
## Whole fleets

All nodes have an update at the same moment; the makespan is from there to the last release, in a simulation of the real
agents under a virtual clock (`python -m tests.benchmarks.makespan`, which says what is simulated). The ideal is the time
for which slots were held, divided by the slots, of the slowest group. Promised: at most 1.05.

{table(head, rows)}
{noted}

{drawing(folder, "makespan", "makespan against the ideal")}
{drawing(folder, "fleet-requests", "requests a node against the size of the fleet")}
"""


def idle(told: Told, _: Path) -> str:
    """An agent with nothing to do."""
    found = told["idle"]
    rows = [
        ["requests, writes among them", "at most 3, 1", *(f"{each['requests']}, {each['writes']}" for each in found)],
        ["bytes on the wire", "", *(size(each["bytes"]) for each in found)],
        ["wake-ups of the loop a minute, feeders included", "at most 2, and 1.1 of the feeder"]
        + [f"{each['loop_per_minute']:.1f}" for each in found],
        ["wake-ups of its other threads together, a minute", ""]
        + [f"{sum(rate for _, rate in each['others']):.1f} ({len(each['others'])})" for each in found],
        ["processor", "", *(f"{each['processor']:.2f} s" for each in found)],
        ["memory, resident", "", *(f"{each['resident_mib']:.0f} MiB" for each in found)],
    ]
    return f"""
## An idle agent

A real `locksmithd` with nothing to do, for {found[0]["minutes"]:g} minutes, requests counted by a proxy, wake-ups by the
kernel.

{table(["", "promised", *(NAMES[each["store"]] for each in found)], rows)}

A test of every run holds it to 3 requests and 1 write over any ten minutes of three virtual hours. An etcd connection that
nobody has used for 20 seconds is put away, because gRPC's own threads wake about ten times a second while there is one.
Whoever sets `poll_interval` below its minute gets as many more wake-ups. """


def cold(told: Told, _: Path) -> str:
    """Starting lockctl."""
    found = told["cold"]
    kinds = list(found)

    def against(other: str, what: str, scale: float, unit: str) -> list[str]:
        cells = []
        for kind in kinds:
            each = found[kind]
            if other not in each:
                cells.append("")
                continue
            cells.append(
                f"{each['status'][what] / each[other][what]:.1f} times ({each['status'][what] * scale:.0f} {unit})"
            )
        return cells

    rows = [
        ["time, against `python -c pass`", *against("nothing", "wall", 1000, "ms")],
        ["time, against `python -c 'import click'`", *against("click", "wall", 1000, "ms")],
        ["time, against `etcdctl get`, `consul kv get`", *against("peer", "wall", 1000, "ms")],
        ["memory, against `python -c pass`", *against("nothing", "memory", 1, "MiB")],
        ["memory, against `etcdctl get`, `consul kv get`", *against("peer", "memory", 1, "MiB")],
    ]
    return f"""
## `lockctl status`, cold

{table(["", *(NAMES[kind] for kind in kinds)], rows)}

A store's library is imported only for a store of its kind: gRPC and requests are most of the difference.
"""


def status(told: Told, _: Path) -> str:
    """What one status reads."""
    said = "\n".join(told["status"]["said"])
    return f"""
What one `lockctl status` reads with few and with many registered nodes (`python -m tests.benchmarks.status`; `python -m
tests.benchmarks.scrape` does the same for a scrape of the gateway):

```
{said}
```
"""
