"""Alerts of Prometheus or Alertmanager: while one fires, nothing is rebooted; after a reboot, nothing is well.

The ideas a reader would miss. Prometheus is asked by expression, and *any* answer but an empty one closes, whatever its
values are; without expressions its firing alerts count. Only Alertmanager knows silences and inhibitions, and is asked for
what neither of them suppresses. Alerts of our own never close (OWN_ALERTS): an alert about a node that waits for its reboot
would keep it waiting. When the monitoring itself cannot be asked, that is unknown and so closed, unless `on_error` is open.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal
from urllib.parse import urlencode

from locksmith.checks import Occasion, Role
from locksmith.checks.alert_answers import (
    OWN_ALERTS,
    Alerts,
    Unanswered,
    alertmanager_alerts,
    alerts,
    closing,
    series,
    shown,
)
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.host.http import NO_FILES, Failed, Request, Response, Tls, address_of, deadline_of, fetch, url_of
from locksmith.host.outcome import printable

__all__ = ["OWN_ALERTS", "AlertmanagerAlerts", "OnError", "PrometheusAlerts"]

OnError = Literal["closed", "open"]
_LONG_QUERY = 1000
"""Characters from which on a query is posted: some proxies cut a URL at 2 KiB."""


class PrometheusAlerts:
    """Closed while an expression gives something or, without expressions, while an alert fires."""

    def __init__(  # noqa: PLR0913 - what an operator may say about alerts
        self,
        name: str,
        role: Role,
        url: str,
        timeout: timedelta,
        *,
        expressions: Sequence[str] = (),
        ignore: str | re.Pattern[str] | None = None,
        pending: bool = False,
        tls: Tls = NO_FILES,
        on_error: OnError = "closed",
    ) -> None:
        """`url` is that of the web page; `timeout` is for all expressions together.

        `ignore` must match the whole `alertname`, as Prometheus' own matchers do. `pending` is for the alerts that are
        asked for without expressions. Raises ValueError for a URL that cannot be used, re.error for a pattern that is none.
        """
        self._name = name
        self._role = role
        self._asker = _Asker(url, timeout, tls, on_error)
        self._expressions = tuple(expressions)
        self._ignore = re.compile(ignore) if ignore is not None else None
        self._pending = pending

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
        deadline = self._asker.deadline()
        if not self._expressions:
            answer = self._asker.get("/api/v1/alerts", (), deadline)
            found = alerts(answer, pending=self._pending) if isinstance(answer, Response) else answer
            return self._asker.verdict(found, self._ignore, "")
        troubled: list[Verdict] = []
        for expression in self._expressions:
            answer = self._asker.query(expression, deadline)
            found = series(answer) if isinstance(answer, Response) else answer
            verdict = self._asker.verdict(found, self._ignore, f"`{printable(expression)}`: ")
            if isinstance(verdict, Closed):
                return verdict
            if isinstance(found, Unanswered) or found.partial:
                troubled.append(verdict)
            if isinstance(answer, Unanswered):  # the next one would not be answered, either
                break
        fine = Open(f"{self._asker.where}: no expression gives anything")
        return min(troubled, key=lambda verdict: isinstance(verdict, Open), default=fine)


class AlertmanagerAlerts:
    """Closed while Alertmanager has an alert that is neither silenced nor inhibited."""

    def __init__(  # noqa: PLR0913 - what an operator may say about alerts
        self,
        name: str,
        role: Role,
        url: str,
        timeout: timedelta,
        *,
        matchers: Sequence[str] = (),
        ignore: str | re.Pattern[str] | None = None,
        tls: Tls = NO_FILES,
        on_error: OnError = "closed",
    ) -> None:
        """`matchers` are Alertmanager's own, such as `severity="critical"`; an alert must fit all of them.

        `url` is that of the web page, `ignore` as in PrometheusAlerts. Raises ValueError for a URL that cannot be used,
        re.error for a pattern that is none.
        """
        self._name = name
        self._role = role
        self._asker = _Asker(url, timeout, tls, on_error)
        self._ignore = re.compile(ignore) if ignore is not None else None
        wanted = [("active", "true"), ("silenced", "false"), ("inhibited", "false"), ("unprocessed", "true")]
        self._parameters = (*wanted, *(("filter", matcher) for matcher in matchers))

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
        answer = self._asker.get("/api/v2/alerts", self._parameters, self._asker.deadline())
        found = alertmanager_alerts(answer) if isinstance(answer, Response) else answer
        return self._asker.verdict(found, self._ignore, "")


class _Asker:
    """What both have in common: how they ask, and what they make of the answer."""

    def __init__(self, url: str, timeout: timedelta, tls: Tls, on_error: OnError) -> None:
        self.where = address_of(url).authority
        self._url = url
        self._timeout = timeout
        self._tls = tls
        self._on_error = on_error

    def deadline(self) -> float:
        return deadline_of(self._timeout)

    def get(self, path: str, parameters: Sequence[tuple[str, str]], deadline: float) -> Response | Unanswered:
        return self._fetch(Request(url_of(self._url, path, parameters), self._timeout, tls=self._tls), deadline)

    def query(self, expression: str, deadline: float) -> Response | Unanswered:
        if len(expression) < _LONG_QUERY:
            return self.get("/api/v1/query", [("query", expression)], deadline)
        request = Request(
            url_of(self._url, "/api/v1/query"),
            self._timeout,
            method="POST",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode([("query", expression)]).encode(),
            tls=self._tls,
        )
        return self._fetch(request, deadline)

    def verdict(self, found: Alerts | Unanswered, ignore: re.Pattern[str] | None, about: str) -> Verdict:
        if isinstance(found, Unanswered):
            return self._no_answer(f"{self.where}: {about}{found.reason}", lasting=found.lasting)
        closed_by = closing(found.found, ignore)
        if closed_by:
            return Closed(f"{about or 'alerts: '}{shown(closed_by)}")
        if found.partial:
            return self._no_answer(f"{self.where}: {about}nothing in a partial answer ({found.partial})", lasting=False)
        return Open(f"{self.where}: no alerts")

    def _no_answer(self, reason: str, *, lasting: bool) -> Verdict:
        if self._on_error == "open" and not lasting:
            return Open(f"{reason}; it passes all the same, since on_error is open")
        return Unknown(reason)

    def _fetch(self, request: Request, deadline: float) -> Response | Unanswered:
        answer = fetch(request, deadline)
        if isinstance(answer, Failed):
            return Unanswered(answer.reason.removeprefix(f"{self.where}: "))
        return answer
