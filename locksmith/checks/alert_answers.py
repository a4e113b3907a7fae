"""What Prometheus and Alertmanager say, taken apart: bytes in, label sets or the reason why there are none out. Pure.

The idea a reader would miss: there are two ways to have no answer. The monitoring may be in trouble, and then `on_error` of the
check decides; or the question itself is wrong (no such expression, a number instead of a list), and then it stays wrong, and
nobody wants the gate to stand open because of a slip. `Unanswered.lasting` tells them apart.

Sources: the HTTP API of Prometheus (prometheus.io/docs/prometheus/latest/querying/api), whose form Thanos, Mimir and
VictoriaMetrics share (the last one adds `isPartial`); Alertmanager's api/v2/openapi.yaml.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from locksmith.host.http import Response, decoded
from locksmith.host.outcome import printable

OWN_ALERTS = "Locksmith"
"""Alerts whose name begins so never close: ours among them, which speak of nodes that wait for their reboot."""
SHOWN = 5
"""Alerts or series that a reason names; never how many more there are, since each change of a reason is an event."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Alerts:
    """What was found; `partial` says what is missing in it, "" for nothing."""

    found: tuple[Labels, ...]
    partial: str = ""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer to the question. `lasting`: because the question is wrong."""

    reason: str
    lasting: bool = False


def series(answer: Response) -> Alerts | Unanswered:
    """The series of an instant query."""
    return _envelope(answer, _vector)


def alerts(answer: Response, *, pending: bool) -> Alerts | Unanswered:
    """The firing alerts of `/api/v1/alerts`, with `pending` also those whose time is not over."""
    states = ("firing", "pending") if pending else ("firing",)
    return _envelope(answer, lambda data: _prometheus_alerts(data, states))


def alertmanager_alerts(answer: Response) -> Alerts | Unanswered:
    """The alerts of `/api/v2/alerts`, without those that are suppressed."""
    if answer.status != HTTPStatus.OK:
        return _refused(answer, _json_text(answer))
    try:
        found = [_labels(alert) for alert in _list(decoded(answer)) if _state(alert) != "suppressed"]
    except _NoSuch as error:
        return Unanswered(f"not what Alertmanager says: {error}{_HINT}")
    except ValueError as error:
        return Unanswered(str(error))
    return Alerts(tuple(found))


def closing(found: Iterable[Labels], ignored: re.Pattern[str] | None) -> list[Labels]:
    """Those that count: neither ours nor ignored, which is asked of the whole `alertname`."""

    def counts(labels: Labels) -> bool:
        name = labels.get("alertname", "")
        return not name.startswith(OWN_ALERTS) and not (name and ignored is not None and ignored.fullmatch(name))

    return [labels for labels in found if counts(labels)]


def shown(found: Iterable[Labels]) -> str:
    """A few of them, by name, always in the same order."""
    names = sorted({_shown(labels) for labels in found})
    return ", ".join(names[:SHOWN]) + (" and more" if len(names) > SHOWN else "")


def _shown(labels: Labels) -> str:
    state = " pending" if labels.get("alertstate") == "pending" else ""
    if "alertname" in labels:
        where = f" ({printable(labels['instance'])})" if labels.get("instance") else ""
        return f"{printable(labels['alertname'])}{state}{where}"
    named = [f'{name}="{labels[name]}"' for name in sorted(labels) if name != "__name__"]
    return printable(f"{labels.get('__name__', '')}{{{', '.join(named)}}}")


class _NoSuch(Exception):
    """The JSON has another form."""


def _envelope(answer: Response, read: Callable[[Any], tuple[Labels, ...] | Unanswered]) -> Alerts | Unanswered:
    try:
        whole = decoded(answer)
    except ValueError as error:
        return _refused(answer, "") if answer.status != HTTPStatus.OK else Unanswered(str(error))
    if not isinstance(whole, dict) or whole.get("status") not in ("success", "error"):
        return (
            _refused(answer, "") if answer.status != HTTPStatus.OK else Unanswered(f"not what Prometheus says{_HINT}")
        )
    if whole["status"] == "error":
        kind, text = whole.get("errorType"), whole.get("error")
        wrong = answer.status == HTTPStatus.BAD_REQUEST or kind in ("bad_data", "execution")
        return Unanswered(printable(f"{kind}: {text}"), lasting=wrong)
    try:
        found = read(whole.get("data"))
    except _NoSuch as error:
        return Unanswered(f"not what Prometheus says: {error}{_HINT}")
    return found if isinstance(found, Unanswered) else Alerts(found, _partial(whole))


_HINT = "; check that the url is that of its web page"


def _partial(whole: Mapping[str, Any]) -> str:
    """Warnings mean that data is missing, but for the remarks about style that some versions put among them."""
    warnings = whole.get("warnings")
    told = [str(each) for each in warnings] if isinstance(warnings, list) else []
    grave = sorted({printable(each) for each in told if not each.startswith("PromQL info:")})
    if grave:
        return grave[0]
    return "the answer is partial" if whole.get("isPartial") is True else ""


def _vector(data: Any) -> tuple[Labels, ...] | Unanswered:
    kind, result = _get(data, "resultType"), _get(data, "result")
    if kind != "vector":
        return Unanswered(
            f"it gives a {printable(str(kind))}, which is never empty; write a vector that is empty when all is well, "
            "such as `up == 0` or `vector(1) > 0`",
            lasting=True,
        )
    return tuple(_labels(each, "metric") for each in _list(result))


def _prometheus_alerts(data: Any, states: Iterable[str]) -> tuple[Labels, ...]:
    found: list[Labels] = []
    for alert in _list(_get(data, "alerts")):
        state, labels = _get(alert, "state"), _labels(alert)
        if state not in ("firing", "pending", "inactive"):
            raise _NoSuch("an alert in a state that is unknown")
        if state in states:
            found.append({**labels, "alertstate": state})
    return tuple(found)


def _labels(entry: Any, name: str = "labels") -> Labels:
    value = _get(entry, name)
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise _NoSuch(f"{name} is not a table of words")
    return value


def _state(alert: Any) -> str:
    state = _get(_get(alert, "status"), "state")
    if state not in ("active", "suppressed", "unprocessed"):
        raise _NoSuch("an alert in a state that is unknown")
    return str(state)


def _get(value: Any, key: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise _NoSuch(f"{key} is missing")
    return value[key]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _NoSuch("a list is missing")
    return value


def _json_text(answer: Response) -> str:
    try:
        value = decoded(answer)
    except ValueError:
        return ""
    return printable(value) if isinstance(value, str) else ""


def _refused(answer: Response, text: str) -> Unanswered:
    """An answer that is not of the API, or says no."""
    said = f" ({text})" if text else ""
    match answer.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Unanswered(f"status {answer.status}{said}; check token_file, cert_file or the user in the url")
        case HTTPStatus.BAD_REQUEST:
            return Unanswered(f"status {answer.status}{said}", lasting=bool(text))
        case HTTPStatus.NOT_FOUND:
            return Unanswered(f"status {answer.status}{said}{_HINT}")
        case status if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return Unanswered(f"status {status}, and redirects are not followed; write the address it redirects to")
        case status:
            return Unanswered(f"status {status}{said}")
