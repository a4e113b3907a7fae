"""Real Prometheus and Alertmanager on loopback: with rules that a test writes, silences that it makes, TLS and a password.

Alerts fire without anything being scraped: a rule such as `vector(1)` is enough. What is in force is polled for, never
waited for by the clock; the short intervals only make that quick.
"""

import abc
import json
import os
import signal
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.servers.certs import Certificates, make_certificates
from tests.servers.fetch import prometheus as programs
from tests.servers.process import AddressInUse, DataFolder, ServerFailed, ServerProcess, free_port, read

USER, PASSWORD = "locksmith", "geheim"
_PASSWORD_HASH = "$2b$04$abcdefghijklmnopqrstuuPWRtT5yx7FBi4dcf6ROhboeNunUrLQ."  # bcrypt of PASSWORD
_ATTEMPTS = 5
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class _Server(abc.ABC):
    """A program with a web page on a free port; a context manager, usable without pytest."""

    name = ""

    def __init__(self) -> None:
        self.port = 0
        self._data: DataFolder | None = None
        self.process: ServerProcess | None = None

    @property
    def address(self) -> str:
        """`127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Of the web page."""
        return f"http://{self.address}"

    @property
    def folder(self) -> Path:
        """The temporary folder."""
        if self._data is None:
            raise ServerFailed(f"{self.name} is not started: call start() first")
        return self._data.path

    def __enter__(self) -> Self:
        """Start."""
        for attempt in range(_ATTEMPTS):
            try:
                self._start()
            except BaseException as error:
                self.stop()
                if isinstance(error, AddressInUse) and attempt + 1 < _ATTEMPTS:
                    continue
                raise
            return self
        raise AssertionError("unreachable")

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def stop(self) -> None:
        """End it and delete its data."""
        if self.process is not None:
            self.process.kill()
        if self._data is not None:
            self._data.remove()
            self._data = None

    def _start(self) -> None:
        self._data = DataFolder(self.name)
        self.port = free_port()
        self.process = ServerProcess(self._command(), self.folder / "log")
        self.process.start()
        self.process.wait_until(self._ready)

    @abc.abstractmethod
    def _command(self) -> list[str | Path]: ...

    def _ready(self) -> bool:
        return read(f"{self.url}/-/ready") != ""


class Alertmanager(_Server):
    """One member that notifies nobody."""

    name = "alertmanager"

    def __init__(self) -> None:
        """Start nothing yet; raises ServerMissing."""
        super().__init__()
        self._programs = programs()

    def _command(self) -> list[str | Path]:
        config = self.folder / "alertmanager.yml"
        config.write_text(
            "route: {receiver: nobody, group_wait: 0s}\n"
            "receivers: [{name: nobody}]\n"
            "inhibit_rules: [{source_matchers: [severity=critical], target_matchers: [severity=warning], equal: [zone]}]\n"
        )
        return [
            "/usr/bin/env",
            f"--chdir={self._programs.share}",
            self._programs.alertmanager,
            f"--config.file={config}",
            f"--storage.path={self.folder}/data",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
        ]

    def fire(self, *alerts: dict[str, str]) -> None:
        """Have alerts with these labels, until they are sent with an end."""
        self.call("POST", "/api/v2/alerts", [{"labels": labels} for labels in alerts])

    def end(self, *alerts: dict[str, str]) -> None:
        """Have them no more."""
        self.call("POST", "/api/v2/alerts", [{"labels": labels, "endsAt": "2001-01-01T00:00:00Z"} for labels in alerts])

    def silence(self, **labels: str) -> str:
        """Silence what has these labels; the id."""
        matchers = [{"name": name, "value": value, "isRegex": False} for name, value in labels.items()]
        about = {"createdBy": "a test", "comment": "maintenance"}
        span = {"startsAt": "2001-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z"}
        return str(self.call("POST", "/api/v2/silences", {"matchers": matchers, **about, **span})["silenceID"])

    def unsilence(self, number: str) -> None:
        """End a silence."""
        self.call("DELETE", f"/api/v2/silence/{number}")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the API."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with _DIRECT.open(asked, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None


class Prometheus(_Server):
    """One server that scrapes nothing; `set_rules` says which alerts it has."""

    name = "prometheus"

    def __init__(self, *, secured: bool = False, alertmanager: Alertmanager | None = None) -> None:
        """`secured`: TLS with client certificates, and USER with PASSWORD. Starts nothing yet; raises ServerMissing."""
        super().__init__()
        self._programs = programs()
        self._secured = secured
        self._alertmanager = alertmanager
        self.certificates: Certificates | None = None

    @property
    def url(self) -> str:
        """Of the web page, without a user."""
        return f"{'https' if self._secured else 'http'}://{self.address}"

    def set_rules(self, *rules: dict[str, Any]) -> None:
        """Have these alerting rules and no others, from one of the next evaluations on."""
        self._write_rules(rules)
        if self.process is None or not self.process.pid:
            raise ServerFailed("prometheus does not run: start it first")
        os.kill(self.process.pid, signal.SIGHUP)

    def _write_rules(self, rules: Sequence[dict[str, Any]]) -> None:
        text = json.dumps({"groups": [{"name": "test", "rules": list(rules)}]})  # JSON is YAML, too
        (self.folder / "rules.yml").write_text(text)

    def _command(self) -> list[str | Path]:
        self._write_rules([])
        config: dict[str, Any] = {
            "global": {"evaluation_interval": "100ms", "scrape_interval": "1h"},
            "rule_files": [f"{self.folder}/rules.yml"],
        }
        if self._alertmanager is not None:
            target = {"static_configs": [{"targets": [self._alertmanager.address]}]}
            config["alerting"] = {"alertmanagers": [target]}
        (self.folder / "prometheus.yml").write_text(json.dumps(config))
        return [
            self._programs.prometheus,
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address={self.address}",
            "--rules.alert.resend-delay=1s",  # what was sent before it knew its Alertmanager is lost
            *([f"--web.config.file={self._web_config()}"] if self._secured else []),
        ]

    def _web_config(self) -> Path:
        self.certificates = make_certificates(self.folder / "certs")
        tls = {
            "cert_file": str(self.certificates.server_cert),
            "key_file": str(self.certificates.server_key),
            "client_ca_file": str(self.certificates.ca),
            "client_auth_type": "RequireAndVerifyClientCert",
        }
        path = self.folder / "web.yml"
        path.write_text(json.dumps({"tls_server_config": tls, "basic_auth_users": {USER: _PASSWORD_HASH}}))
        return path

    def _ready(self) -> bool:
        if self._secured:
            return self.process is not None and "Server is ready to receive web requests" in self.process.tail()
        return super()._ready()
