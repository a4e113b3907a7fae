"""The chapters on requests and hand-offs: one node, many waiters, the servers' own tools beside."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from locksmith.core.admission import MAX_TICKETS
from tests.benchmarks.parts import plots
from tests.benchmarks.parts.markdown import NAMES, PEERS, TOOLS, Told, drawing, milliseconds, number, size, table
from tests.benchmarks.parts.waiters import NOTICE_SECONDS


def cycle(told: Told, _: Path) -> str:
    """One node alone."""
    found = told["cycle"]
    kinds = list(found)

    def row(name: str, cell: Any) -> list[str]:
        return [name, *(cell(found[kind]) for kind in kinds)]

    whole = told.get("whole") or {}
    rows = [
        row("one cycle: ticket, claim, arm, verify, release", lambda f: f"{f['reads']} reads, {f['commits']} commits"),
        row("... keys and values read and written", lambda f: size(f["bytes"])),
        ["a whole reboot of a real agent, as the server counts it"]
        + [
            f"{whole[kind]['requests']} requests, {whole[kind]['writes']} of them writes, {size(whole[kind]['bytes'])}"
            if kind in whole
            else ""
            for kind in kinds
        ],
        row("a bare commit of one key under its check", lambda f: milliseconds(f["commit_seconds"])),
        row(
            "ticket, claim and release against as many bare commits (3)",
            lambda f: f"{f['pair_ratio']:.1f} times {milliseconds(f['pair_seconds'])}",
        ),
        row(
            "hand-off: from a release that is done to the next holder that knows",
            lambda f: f"{f['hand_off_ratio']:.1f} bare commits {milliseconds(f['hand_off_seconds'])}",
        ),
    ]
    return f"""
## One node

{table(["", *(NAMES[kind] for kind in kinds)], rows)}

A session is opened and ended for each ticket besides, and with pre-reboot hooks one more read and commit say `draining`.
The whole reboot also counts two starts of the agent, the store's own questions, and what it tells the registry; its bytes
are those on the wire. SQLite is polled every tenth of a second, which is its hand-off. """


def waiters(told: Told, folder: Path) -> str:
    """Requests and bytes against the number of waiters."""
    found = told["waiters"]
    ours = found["locksmith"]
    _draw_waiters(found, folder)
    rows = [_waiters_row(run, [found[peer][place] for peer in PEERS]) for place, run in enumerate(ours)]
    head = ["waiters", "for the grant", "polls in the queue", "keepalives", "watches: etcd, Consul", "from outside"]
    head += ["bytes", *PEERS, "slot free: ours, theirs"]
    first, last = ours[0], ours[-1]
    minutes = last["turn_seconds"] / 60
    asked = _of(last, "outside", "read") / max(1, last["waiters"] - MAX_TICKETS) * 60 / minutes
    theirs = [_of(found[peer][-1], "clock", "read") / last["waiters"] * 60 / minutes for peer in PEERS]
    a_second = size(_bytes(last) / last["turn_seconds"])
    queue = (_all(last) - _of(last, "outside", "read") - _grant(last)) / minutes
    even = queue * 60 / max(theirs)  # so many that poll make as many requests
    classic = size(max(_bytes(found[peer][-1]) / found[peer][-1]["turn_seconds"] for peer in PEERS))
    return f"""
## Requests and bytes against the number of waiters

So many nodes wait for one slot of one group, each holds it for {minutes:.0f} minutes; a turn is from one grant to the next,
and counts what all nodes ask together. It is a simulation under a virtual clock, with the real semaphore code on a counting
store; requests that repeat by the time (keepalives, long polls) are added. Bytes are those of keys and values. For the
classic lock: requests and bytes, and for how long the slot is free between two holders, because nobody is told that it is.
Ours is told, {NOTICE_SECONDS * 1000:.0f} ms later here: that is an assumption of the simulation, and measured above as the
hand-off.

{table(head, rows)}

{drawing(folder, "requests", "requests a turn against waiters")}
{drawing(folder, "bytes", "bytes a turn against waiters")}
{drawing(folder, "idle-slot", "seconds for which the slot is free, against waiters")}

What a grant costs is bounded: {number(_grant(first))} requests with {first["waiters"]} waiter,
{number(_grant(last))} with {last["waiters"]:,}. At most eight waiters watch the guard of a limit, everybody else watches the
ticket in front. What is asked by the clock is bounded for the queue: it has {MAX_TICKETS} tickets at most, each of which
looks once a minute whatever its watch says, keeps its session, and repeats its long poll. Whoever finds the queue full comes
back after 1 to 15 minutes, less with age: {asked:.1f} times an hour each, whatever their number; the classic locks ask
{theirs[0]:.1f} and {theirs[1]:.1f} times.

What it costs more: a full queue asks {number(queue)} requests a minute on etcd, most of them keepalives and long polls, which
is more than classic locks ask with fewer than {number(even)} waiters. And each look from outside reads the whole queue, so with
{last["waiters"]:,} waiters in one group with one slot ours moves {a_second} a second, the classic lock at most {classic}. A
fleet of that size has more slots, or more groups: the chapter on whole fleets.
"""


def _draw_waiters(found: Told, folder: Path) -> None:
    runs = {"locksmith": found["locksmith"], **{peer: found[peer] for peer in PEERS}}

    def points(value: Callable[[Told], float]) -> dict[str, list[tuple[float, float]]]:
        return {name: [(run["waiters"], value(run)) for run in told] for name, told in runs.items()}

    x = "nodes that wait for one slot"
    requests = points(_all)
    requests["locksmith, for a grant"] = [(run["waiters"], _grant(run)) for run in found["locksmith"]]
    plots.lines(folder / "requests.svg", requests, x, "requests a turn, all nodes, on etcd")
    plots.lines(folder / "bytes.svg", points(_bytes), x, "bytes a turn, all nodes")
    plots.lines(folder / "idle-slot.svg", points(lambda run: run["idle_seconds"]), x, "seconds free", linear=True)


def _waiters_row(run: Told, peers: Sequence[Told]) -> list[str]:
    return [
        f"{run['waiters']:,}",
        number(_grant(run)),
        number(_of(run, "clock", "read")),
        number(_of(run, "keeping", "session")),
        ", ".join(number(_of(run, "watching", f"watch_{kind}")) for kind in ("etcd", "consul")),
        number(_of(run, "outside", "read")),
        size(_bytes(run)),
        *(f"{number(_all(peer))}, {size(_bytes(peer))}" for peer in peers),
        ", ".join(f"{each['idle_seconds']:.3g} s" for each in (run, *peers)),
    ]


def _of(run: Told, cause: str, verb: str) -> float:
    return float(run["requests"].get(cause, {}).get(verb, 0.0))


def _bytes(run: Told) -> float:
    return float(sum(run["bytes"].values()))


def _grant(run: Told) -> float:
    """What is asked because the slot changes hands, by those who have it and those whom it wakes."""
    return float(sum(sum(run["requests"].get(cause, {}).values()) for cause in ("turn", "woken")))


def _all(run: Told) -> float:
    """All requests on etcd."""
    verbs = [(verb, count) for each in run["requests"].values() for verb, count in each.items()]
    return float(sum(count for verb, count in verbs if verb != "watch_consul"))


def crowd(told: Told, _: Path) -> str:
    """The same on real servers, without the waiting."""
    rows = []
    for kind, runs in told["crowd"].items():
        rows += [
            [
                NAMES[kind],
                run["waiters"],
                run["tickets"],
                f"{run['read']:.1f} + {run['commit']:.1f}",
                f"{run['watch']:.1f}",
            ]
            for run in runs
        ]
    head = ["", "waiters", "tickets in the queue", "reads + commits a cycle, all nodes", "long polls that ended"]
    return f"""
The same on real servers, with threads and with a slot that is held for a quarter of a second, so that the clock asks nothing:

{table(head, rows)}
"""


def tools(told: Told, folder: Path) -> str:
    """Beside the servers' own tools."""
    rows, sent = [], {}
    for kind, runs in told["tools"].items():
        slots = runs[0]["slots"]
        ours = f"locksmith on {NAMES[kind]}, {slots} slot{'s' * (slots > 1)}"
        for name, word in ((TOOLS[kind], "tool"), (ours, "locksmith")):
            sent[name] = [(run["waiters"], run[word]["requests"]) for run in runs]
            rows += [[name, run["waiters"], *_turn(run[word], run["tool"])] for run in runs]
    plots.lines(
        folder / "tools.svg", sent, "processes or threads that wait", "requests a turn, on the wire", linear=True
    )
    head = ["", "waiters", "requests a turn", "bytes a turn, on the wire", "hand-off, against the tool's"]
    return f"""
## Beside `etcdctl lock` and `consul lock`

As many processes of theirs as threads with our queue, one after the other on the same server, counted by a proxy. A
hand-off is here from the end of one holder's work to the beginning of the next one's, and theirs contains the start of a
shell. Neither tool keeps its lock over a reboot: its session ends with the process. Ours is claim and release.

{table(head, rows)}

{drawing(folder, "tools", "requests a turn against waiters, beside the tools")}
"""


def _turn(each: Told, tool: Told) -> list[str]:
    against = each["hand_off_seconds"] / tool["hand_off_seconds"]
    handed = f"{against:.1f} times {milliseconds(each['hand_off_seconds'])}"
    return [number(each["requests"]), size(each["bytes"]), handed]
