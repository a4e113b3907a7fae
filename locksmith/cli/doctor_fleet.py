"""What the fleet's documents tell `lockctl doctor`: is it the recorded store, is it shared, does anybody use our name?

The idea a reader would miss: two machines with one node id take turns in one record and one slot, and each looks well for
itself. What gives them away is hardware that changes, or a boot that this machine never had, reported while it was up.
"""

import ipaddress
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from locksmith.cli.call import Call
from locksmith.cli.doctor_machine import MEND_CLOCK
from locksmith.cli.finding import Finding, guarded
from locksmith.cli.render import span
from locksmith.core import keys
from locksmith.core.ledger import Home, Ledger
from locksmith.errors import Corrupt, LocksmithError
from locksmith.host import identity
from locksmith.semaphore.actor import look
from locksmith.semaphore.claiming import held
from locksmith.semaphore.registry import nodes
from locksmith.stores import Facts

if TYPE_CHECKING:
    from locksmith.semaphore.registry import NodeLine

AHEAD = timedelta(seconds=10)
"""A record from so far in the future was written by another clock."""
NEW_ID = "give one of them a new machine id (systemd-machine-id-setup after removing /etc/machine-id), or set node.id"
SHOWN = 3


def findings(call: Call, facts: Facts) -> Iterator[Finding]:
    """All of it."""
    yield from guarded("cluster", lambda: _cluster(call, facts))
    yield from guarded("journal", lambda: _journal(call))
    try:
        lines = nodes(call.unconfirmed, None)
    except LocksmithError as error:
        yield Finding("registry", "fail", f"the registry cannot be read: {error}")
    else:
        yield from guarded("members", lambda: _members(call, facts, lines))
        yield from guarded("clocks", lambda: _clocks(call, lines))
        yield from guarded("clash", lambda: _clash(call, lines))
    yield from guarded("holder", lambda: _holder(call))


def _cluster(call: Call, facts: Facts) -> Finding:
    fleet = look(call.unconfirmed.store).config
    if fleet is None:
        text = f"nothing is set up under the prefix {call.settings.url.prefix}"
        return Finding("cluster", "warn", text, f"lockctl set-max N --group {call.group}, or start the first agent")
    if fleet.cluster not in (None, facts.identity):
        text = f"{fleet.cluster} is recorded under this prefix, but the store answers as {facts.identity}"
        return Finding("cluster", "fail", text, "check store.url: this may be another store")
    return Finding("cluster", "pass", f"the store is the recorded one: incarnation {fleet.store}, epoch {fleet.epoch}")


def _journal(call: Call) -> Iterator[Finding]:
    """Whether this machine's agent has worked with this store; nothing where its journal may not be read."""
    path = call.config.node.state_dir / "journal.json"
    try:
        home = Ledger.decode(str(path), path.read_bytes()).home
    except OSError:
        return
    except Corrupt as error:
        yield Finding("journal", "warn", str(error), "locksmithd puts it aside at its next start")
        return
    fleet = look(call.unconfirmed.store).config
    if home is None or fleet is None:
        return
    yield from _moved(call, home, fleet.store, fleet.epoch)


def _moved(call: Call, home: Home, incarnation: str, epoch: int) -> Iterator[Finding]:
    if home.identity not in ("", incarnation):
        text = (
            f"this machine's agent worked with the incarnation {home.identity} at {home.store}; here is {incarnation}"
        )
        yield Finding("journal", "fail", text, "another store, or it was made anew: check store.url, then restart it")
    elif home.epoch not in (0, epoch):
        text = f"this machine's agent worked in epoch {home.epoch}; the store says {epoch}"
        yield Finding("journal", "warn", text, "the store was restored from a backup: restart locksmithd")
    elif home.store != str(call.settings.url):
        text = f"this machine's agent works with {home.store}, this command with {call.settings.url}"
        yield Finding("journal", "warn", text, "let both read one configuration")
    else:
        yield Finding("journal", "pass", "this machine's agent works with this store, in this epoch")


def _members(call: Call, facts: Facts, lines: "tuple[NodeLine, ...]") -> Iterator[Finding]:
    url = call.settings.url
    if url.kind in ("sqlite", "memory"):
        return
    others = sum(line.node != call.own_id() for line in lines)
    if facts.members is None:
        yield Finding("members", "pass", "these rights do not show how many members the store has")
    else:
        text = f"{facts.members} voting, for {len(lines)} registered nodes"
        if facts.members == 1 and len(lines) > 1:
            yield Finding("members", "warn", text, "while that one is down nobody reboots; use three for a fleet")
        else:
            yield Finding("members", "pass", text)
    ours = [endpoint for endpoint in url.endpoints if _loopback(endpoint)]
    # An agent of Consul on each machine is how Consul is meant to be reached; a lone server there is not.
    if ours and others and (url.kind == "etcd" or facts.members == 1):
        text = f"{', '.join(ours)} is on this machine only, and {others} other nodes are registered"
        remedy = "name the store's members by addresses that all nodes reach; on each of them lockctl doctor --proof"
        yield Finding("loopback", "warn", text, remedy)


def _loopback(endpoint: str) -> bool:
    host = endpoint.rpartition(":")[0].strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _clocks(call: Call, lines: "tuple[NodeLine, ...]") -> Finding | None:
    """Records of others that come from the future: then their clock goes ahead, or ours is late."""
    now = call.unconfirmed.clock.wall()
    others = [line for line in lines if line.node != call.own_id()]
    if not others:
        return None
    ahead = sorted(
        ((line.record.seen - now, line.record.host) for line in others if line.record.seen - now > AHEAD), reverse=True
    )
    if not ahead:
        return Finding("clocks", "pass", f"none of {len(others)} other nodes is ahead of this clock")
    named = ", ".join(f"{host} by {span(by)}" for by, host in ahead[:SHOWN])
    text = f"{len(ahead)} of {len(others)} other nodes are ahead of this clock: {named}"
    whose = "this machine's clock is late" if 2 * len(ahead) > len(others) else "their clocks are wrong"
    return Finding("clocks", "warn", text, f"{whose}: {MEND_CLOCK}")


def _clash(call: Call, lines: "tuple[NodeLine, ...]") -> Iterator[Finding]:
    """Two machines with one id: somewhere in the fleet, or this one's."""
    by_id: dict[str, list[NodeLine]] = {}
    for line in lines:
        by_id.setdefault(line.node, []).append(line)
    found = False
    for node, several in sorted(by_id.items()):
        prints = {line.record.fingerprint for line in several if line.record.fingerprint}
        if len(prints) > 1:
            found = True
            where = ", ".join(f"{line.record.host} in {line.record.group}" for line in several)
            state = "warn" if any(line.silent for line in several) else "fail"
            text = f"{node} is reported from {len(prints)} different machines: {where}"
            yield Finding("clash", state, text, NEW_ID)  # type: ignore[arg-type]
    for line in by_id.get(call.own_id(), []):
        for finding in _mine(call, line):
            found = True
            yield finding
    if not found:
        yield Finding("clash", "pass", f"no id is used twice among {len(by_id)} registered nodes, as far as is known")


def _mine(call: Call, line: "NodeLine") -> Iterator[Finding]:
    record, settings = line.record, call.config.node
    mine = identity.fingerprint(settings.product_uuid_file)
    if mine and record.fingerprint and mine != record.fingerprint:
        text = f"{line.node} is registered by other hardware ({record.host}, {record.fingerprint}; this is {mine})"
        yield Finding("clash", "fail", text, f"if the disk was moved, start locksmithd; else {NEW_ID}")
    elif settings.boot_id_file == identity.KERNEL_BOOT_ID and record.boot:
        boot = identity.KERNEL_BOOT_ID.read_text(encoding="ascii").strip()
        clock = call.unconfirmed.clock
        up = timedelta(seconds=clock.boottime())
        theirs = record.boot.partition("/")[0]
        if theirs != boot and record.seen > clock.wall() - up + timedelta(minutes=1):
            text = f"{line.node} was reported by {record.host} in the boot {theirs} while this machine ran in {boot}"
            yield Finding("clash", "fail" if clock.synchronised() else "warn", text, NEW_ID)
    if record.group != call.group and not line.silent:
        text = f"this node's agent reports in the group {record.group}, and this command means {call.group}"
        yield Finding("group", "warn", text, "let both read one configuration, or lockctl forget the old entry")


def _holder(call: Call) -> Finding:
    node = call.own_id()
    current = held(look(call.unconfirmed.store, [keys.own(node)]), node)
    if current is None:
        return Finding("holder", "pass", "this node holds no slot")
    mine = identity.fingerprint(call.config.node.product_uuid_file)
    theirs = current.holder.fingerprint
    if mine and theirs and mine != theirs:
        text = f"the slot of {node} was taken by other hardware ({theirs}, this is {mine})"
        return Finding("holder", "fail", text, f"two machines share one node id: {NEW_ID}")
    late = current.holder.expected_by is not None and current.holder.expected_by < call.unconfirmed.clock.wall()
    text = f"this node holds a slot of {current.holder.group} ({current.holder.phase})"
    return (
        Finding("holder", "warn", f"{text}, longer than expected", "lockctl why")
        if late
        else Finding("holder", "pass", text)
    )
