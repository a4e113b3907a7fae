"""Whether the services that Consul knows on this host are well, and whether enough of their kind are well elsewhere.

The ideas a reader would miss. The *agent* of this host is asked for its own services and checks, so that nothing waits for
the catalog to catch up. Maintenance mode that our own drain switched on (its reason begins with OWN_REASON) does not count:
it is undone only after this check has said that all is well. And `min_passing` of a gate does not count the instances of
this host, since they are about to go. With ACLs, Consul leaves out what the token may not read instead of refusing: that
nothing is registered is therefore never taken for "well".

Sources: Consul 1.8.7, whose answers to /v1/agent/services, /v1/agent/checks, /v1/agent/self, /v1/health/service/NAME and
to its maintenance calls were read; developer.hashicorp.com/consul/api-docs/agent for the fields.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from locksmith.checks import Occasion, Role
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.host.http import NO_FILES, Failed, Request, Tls, address_of, deadline_of, decoded, fetch, url_of
from locksmith.host.outcome import printable

OWN_REASON = "locksmith"
"""How the reason of our own maintenance mode begins."""
_SHOWN = 5
_PASSING = "passing"


@dataclass(frozen=True, slots=True)
class _Service:
    id: str
    name: str
    tags: frozenset[str]


@dataclass(frozen=True, slots=True)
class _State:
    """One check of Consul's; `service` is the id, empty for a check of the whole node."""

    name: str
    status: str
    service: str
    maintenance: bool
    notes: str


class _Odd(Exception):
    """No answer, or one that is not Consul's; the message is the reason."""


class ConsulHealth:
    """Open when all checks of the chosen services pass and enough instances do in the datacenter."""

    def __init__(  # noqa: PLR0913 - what an operator may say about services
        self,
        name: str,
        role: Role,
        url: str,
        timeout: timedelta,
        *,
        services: Sequence[str] = (),
        tags: Sequence[str] = (),
        min_passing: int = 0,
        token_file: Path | None = None,
        tls: Tls = NO_FILES,
    ) -> None:
        """`url` is that of this host's agent, such as http://127.0.0.1:8500; `timeout` is for all questions together.

        `services`: names that must be registered here; empty: all that are. `tags`: an instance counts that has all of
        them. `min_passing`: so many instances of each service must pass in the datacenter, for a gate those of other nodes
        alone; 0 does not ask. The token needs service:read and node:read, with `min_passing` also agent:read. Raises
        ValueError for a URL that cannot be used.
        """
        self._name = name
        self._role = role
        self._url = url
        self._where = address_of(url).authority
        self._timeout = timeout
        self._services = tuple(services)
        self._tags = frozenset(tags)
        self._min_passing = min_passing
        self._tls = replace(tls, token_file=token_file) if token_file is not None else tls

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    @property
    def kind(self) -> str:
        """See Check: `gate` or `health`."""
        return self._role

    def ask(self, occasion: Occasion) -> Verdict:  # noqa: ARG002 - as the protocol has it
        """See Check."""
        deadline = deadline_of(self._timeout)
        try:
            return self._judge(deadline)
        except _Odd as error:
            return Unknown(f"{self._where}: {error}")

    def _judge(self, deadline: float) -> Verdict:
        registered = [_service(each) for each in _table(self._get("/v1/agent/services", deadline)).values()]
        states = [_check(each) for each in _table(self._get("/v1/agent/checks", deadline)).values()]
        if not registered and not self._services:
            raise _Odd("no service is registered here, or the token may not read it (service:read)")
        chosen = [
            each
            for each in registered
            if self._tags <= each.tags and (not self._services or each.name in self._services)
        ]
        names = {each.name for each in chosen}
        missing = [wanted for wanted in self._services if wanted not in names]
        tagged = f" with {' and '.join(sorted(self._tags))}" if self._tags else ""
        troubles = [
            f"service {wanted}{tagged} is not registered here, or the token may not read it" for wanted in missing
        ]
        troubles += _troubles(chosen, states)
        if troubles:
            return Closed("; ".join(troubles[:_SHOWN]) + ("; and more" if len(troubles) > _SHOWN else ""))
        if not chosen:
            return Open(f"{self._where}: no service here{tagged}")
        if self._min_passing > 0:
            return self._enough(chosen, deadline)
        return Open(f"{self._where}: all is passing: {', '.join(sorted(names))}")

    def _enough(self, chosen: Sequence[_Service], deadline: float) -> Verdict:
        node = _word(_field(_field(self._get("/v1/agent/self", deadline), "Config"), "NodeName"))
        few: list[str] = []
        names = sorted({each.name for each in chosen})
        for name in names:
            passing = self._passing_elsewhere(name, node, deadline)
            if self._role == "health":  # what is here was found to be well
                passing += sum(each.name == name for each in chosen)
            if passing < self._min_passing:
                where = "on other nodes" if self._role == "gate" else "in the datacenter"
                few.append(f"service {name}: {passing} of the needed {self._min_passing} instances pass {where}")
        return Closed("; ".join(few)) if few else Open(f"{self._where}: enough is passing: {', '.join(names)}")

    def _passing_elsewhere(self, name: str, node: str, deadline: float) -> int:
        count = 0
        for entry in _list(self._get(f"/v1/health/service/{quote(name, safe='')}", deadline)):
            tags = _tags(_field(entry, "Service"))
            checks = [_check(each) for each in _list(_field(entry, "Checks"))]
            elsewhere = _word(_field(_field(entry, "Node"), "Node")) != node
            if elsewhere and self._tags <= tags and all(each.status == _PASSING for each in checks):
                count += 1
        return count

    def _get(self, path: str, deadline: float) -> Any:
        answer = fetch(Request(url_of(self._url, path), self._timeout, tls=self._tls), deadline)
        if isinstance(answer, Failed):
            raise _Odd(answer.reason.removeprefix(f"{self._where}: "))
        if answer.status != HTTPStatus.OK:
            said = printable(answer.body[:200].decode(errors="replace").partition("\n")[0])
            denied = answer.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED)
            raise _Odd(f"{path}: status {answer.status} ({said})" + ("; check token_file" if denied else ""))
        try:
            return decoded(answer)
        except ValueError as error:
            raise _Odd(f"{path}: {error}; check that the url is that of a Consul agent") from None


def _troubles(chosen: Sequence[_Service], states: Sequence[_State]) -> Iterator[str]:
    """What is not passing: the node's own checks first, then those of the services, always in the same order."""
    ids = {each.id for each in chosen}
    names = {each.id: each.name for each in chosen}
    for state in sorted(states, key=lambda state: (state.service, state.name)):
        if state.status == _PASSING or (state.service and state.service not in ids):
            continue
        whose = f"service {names[state.service]}" if state.service else "node"
        if not state.maintenance:
            yield printable(f"{whose}: {state.name} is {state.status}")
        elif not state.notes.startswith(OWN_REASON):
            yield printable(f"{whose} is in maintenance mode ({state.notes})")


def _service(entry: Any) -> _Service:
    return _Service(_word(_field(entry, "ID")), _word(_field(entry, "Service")), _tags(entry))


def _tags(service: Any) -> frozenset[str]:
    return frozenset(_word(tag) for tag in _list(_field(service, "Tags") or []))


def _check(entry: Any) -> _State:
    number = _word(_field(entry, "CheckID"))
    return _State(
        name=_word(_field(entry, "Name")) or number,
        status=_word(_field(entry, "Status")),
        service=_word(_field(entry, "ServiceID")),
        maintenance=number == "_node_maintenance" or number.startswith("_service_maintenance:"),
        notes=_word(_field(entry, "Notes")),
    )


def _field(value: Any, key: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise _Odd(f"not what Consul says: {key} is missing")
    return value[key]


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Odd("not what Consul says: a table is missing")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _Odd("not what Consul says: a list is missing")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise _Odd("not what Consul says: a word is missing")
    return value
