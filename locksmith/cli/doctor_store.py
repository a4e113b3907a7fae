"""What `lockctl doctor` tries at the store: each endpoint, certificates, rights, and what the fleet's documents say of us.

The idea a reader would miss: rights are tried key by key, as roles and policies are written, with what an agent or an
operator really touches; see `semaphore.trials` for why that writes nothing.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from locksmith.cli import doctor_fleet
from locksmith.cli.call import Call
from locksmith.cli.finding import Finding, guarded
from locksmith.cli.render import until
from locksmith.core import keys
from locksmith.errors import Denied, LocksmithError
from locksmith.semaphore import trials
from locksmith.stores import MIN_SESSION_TTL, Facts

if TYPE_CHECKING:
    from locksmith.host.certificates import Certificate

SOON = timedelta(days=21)
"""A certificate that ends so soon should have been renewed."""
LOOK = timedelta(seconds=2)
"""For one look at a server's certificate."""
OLDEST = {"etcd": (3, 4), "consul": (1, 8)}
"""The oldest versions that the protocol is tested with."""


def findings(call: Call, role: str) -> Iterator[Finding]:
    """All of it; what needs an answer of the store only when there is one."""
    yield from guarded("endpoint", lambda: _endpoints(call))
    yield from guarded("certificate", lambda: _certificates(call))
    try:
        facts = call.unconfirmed.store.facts()
    except LocksmithError as error:
        yield Finding("store", "fail", str(error))
        return
    yield from guarded("store", lambda: _store(call, facts))
    yield from guarded("rights", lambda: _rights(call, role))
    yield from guarded("session", lambda: _session(call))
    yield from guarded("writes", lambda: _writes(call))
    yield from doctor_fleet.findings(call, facts)


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
            yield Finding(
                "endpoint",
                "warn",
                f"{endpoint}: {error}",
                "nodes use the others while one of them answers; mend it, or take it out of store.url",
            )
        finally:
            store.close()


def _certificates(call: Call) -> Iterator[Finding]:
    """Those that the endpoints show, and those of our files."""
    from locksmith.host.certificates import of_file, served
    from locksmith.host.tls import FilesUnusable, Tls

    access, url = call.settings.access, call.settings.url
    if not url.tls:
        return
    tls = Tls(access.ca_file, access.cert_file, access.key_file)
    for option, path in (("ca_file", access.ca_file), ("cert_file", access.cert_file)):
        if path is None:
            continue
        try:
            found = of_file(path)
        except FilesUnusable as error:
            yield Finding("certificate", "fail", f"store.{option}: {error}")
            continue
        if not found:
            yield Finding("certificate", "fail", f"store.{option} {path} holds no certificate")
        elif len(found) > 1:  # a bundle or a chain: authorities that nobody uses any more may stand in it
            first = min(found, key=lambda each: each.expires)
            text = f"store.{option} {path}: {len(found)} certificates; the first to end is {_described(call, first)}"
            yield Finding("certificate", "pass", text)
        else:
            yield _dated(call, f"store.{option} {path}", found[0])
    for endpoint in url.endpoints:
        host, _, port = endpoint.rpartition(":")
        try:
            shown = served(host.strip("[]"), int(port), tls, LOOK.total_seconds())
        except FilesUnusable as error:
            yield Finding("certificate", "fail", str(error))
            return
        if shown is None:
            continue  # nobody there: said of the endpoint
        if shown.certificate is not None and not shown.trouble:
            yield _dated(call, endpoint, shown.certificate, f", trusted by {tls.trusting()}")
        else:
            whose = "" if shown.certificate is None else f" (it shows {_described(call, shown.certificate)})"
            yield Finding("certificate", "fail", f"{endpoint}: {shown.trouble}{whose}")


def _described(call: Call, certificate: "Certificate") -> str:
    left = until(certificate.expires, call.unconfirmed.clock.wall())
    return f"{certificate.subject}, by {certificate.issuer}, ends {certificate.expires:%Y-%m-%d} ({left})"


def _dated(call: Call, where: str, certificate: "Certificate", more: str = "") -> Finding:
    text = f"{where}: {_described(call, certificate)}{more}"
    left = certificate.expires - call.unconfirmed.clock.wall()
    if left <= timedelta(0):
        return Finding("certificate", "fail", text, "it is over; renew it (files are read again without a restart)")
    if left < SOON:
        return Finding("certificate", "warn", text, "renew it (files are read again without a restart)")
    return Finding("certificate", "pass", text)


def _store(call: Call, facts: Facts) -> Finding:
    kind, version = call.settings.url.kind, facts.version
    named = f", version {version}" if version else ""
    identity = f" as {facts.identity}" if facts.identity else ""
    text = f"{call.where} answers{identity}{named}"
    oldest = OLDEST.get(kind)
    if oldest is None:
        return Finding("store", "pass", text)
    least = ".".join(map(str, oldest))
    if version is None:
        return Finding("store", "pass", f"{text}; these rights do not show the version, {least} or newer is needed")
    numbers = tuple(int(part) for part in islice(version.split("."), 2) if part.isdecimal())
    if numbers and numbers < oldest:
        return Finding("store", "fail", f"{text}, older than {least}, which it is tested with", f"upgrade {kind}")
    return Finding("store", "pass", text)


def _rights(call: Call, role: str) -> Iterator[Finding]:
    """Each key that is touched, one by one. Consul hides what may not be read, so keys are asked for by name."""
    store, node, group = call.unconfirmed.store, call.own_id(), call.group
    limit = keys.group_limit(group)
    both = {
        keys.brake(group),
        keys.request(node),
        keys.guard(limit),
        keys.own(node),
        keys.ticket(group, node),
        keys.record(group, node),
        keys.entry(limit, 0),
        keys.notes_of_node(node),
    }
    written = both | ({keys.CFG, keys.hold(node), keys.unlocked(node)} if role == "operator" else set())
    lists = [keys.QUEUES, keys.OWNERS, keys.RECORDS] if role == "operator" else [keys.queue(group), keys.OWNERS]
    read = written | {keys.CFG, keys.hold(node), keys.unlocked(node)}
    refused = [
        *_refused("read", sorted(read), store.probe),
        *_refused("list", lists, lambda prefix: store.read([], [prefix])),
        *_refused("write", sorted(written), lambda key: trials.may_write(store, key)),
    ]
    for action, key, error in refused:
        text = f"an {role} must be able to {action} {call.settings.url.prefix}/{key}: {error}"
        yield Finding("rights", "fail", text, "add it to the role (etcd) or policy (Consul) of these credentials")
    if not refused:
        text = f"an {role}'s keys may be read and written: {len(read)} and {len(written)} tried, nothing was changed"
        yield Finding("rights", "pass", text)


def _refused(
    action: str, wanted: list[str], attempt: Callable[[str], object]
) -> Iterator[tuple[str, str, LocksmithError]]:
    for key in wanted:
        try:
            attempt(key)
        except Denied as error:
            yield action, key, error


def _session(call: Call) -> Finding:
    call.unconfirmed.store.session(MIN_SESSION_TTL).end()
    return Finding("session", "pass", "a session can be opened and ended")


def _writes(call: Call) -> Finding:
    trials.takes_writes(call.unconfirmed, call.own_id())
    return Finding("writes", "pass", f"the store takes writes: {keys.trial(call.own_id())} was written and deleted")
