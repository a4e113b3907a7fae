"""What other programs say: providers, checks and stores make an answer of ours of it, which can be written and shown."""

import base64
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locksmith.checks import alert_answers
from locksmith.checks.alert_answers import Alerts, closing, shown
from locksmith.checks.baseline import Baseline, Nothing
from locksmith.core.ledger import LastReboot, Ledger
from locksmith.drains.kept import Kept
from locksmith.drains.pods import PodRules, sort
from locksmith.errors import ConfigError, Damaged, StoreError
from locksmith.host import kubeconfig
from locksmith.host.certificates import decode
from locksmith.host.http import Response
from locksmith.host.identity import boot, fingerprint, machine_id, os_release, os_version
from locksmith.notify.channel import Channel
from locksmith.stores import Put
from locksmith.stores.consul_answers import Trouble, failure, found, mod_of, revision
from locksmith.updates import Need
from locksmith.updates.bootc import Bootc
from locksmith.updates.grub_menu import chosen, default_of
from locksmith.updates.reboot_required import RebootRequired
from locksmith.updates.rpm_ostree import RpmOstree
from locksmith.updates.update_engine import NEED_REBOOT, NOTHING_STAGED, UpdateEngine
from tests.fakes.bus import FakeBus
from tests.fakes.clock import VirtualClock
from tests.fuzz.profile import fuzz
from tests.fuzz.values import JSON, ODD, mutated

SAMPLES = Path(__file__).parents[1] / "samples" / "updates"
LONG = timedelta(seconds=30)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WILD = st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory, where a file's time may be one that no calendar has; disks are often stricter."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


@st.composite
def spoiled(draw: st.DrawFn, folder: str) -> bytes:
    """One of the samples with other values in it, as JSON; or with other bytes."""
    path = draw(st.sampled_from(sorted((SAMPLES / folder).glob("*.json"))))
    data = path.read_bytes()
    if draw(st.integers(0, 3)) == 0:
        return draw(mutated(data))
    tree = json.loads(data)
    for _ in range(draw(st.integers(1, 4))):
        spot = tree
        while isinstance(spot, dict | list) and spot:
            key = draw(st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot))))
            if isinstance(spot[key], dict | list) and draw(st.integers(0, 4)):
                spot = spot[key]
                continue
            spot[key] = draw(ODD)
            break
    return json.dumps(tree).encode()


def judged(answer: Any) -> None:
    """It can be kept in the journal, logged, and shown without steering a terminal."""
    texts = [value for value in asdict(answer).values() if isinstance(value, str)]
    assert all(text.isprintable() for text in texts), texts
    if isinstance(answer, Need):
        last = LastReboot(at=NOW, result="healthy", reason=answer.reason, origin=answer.origin, target=answer.target)
        book = Ledger(wanted={answer.provider: answer.fingerprint}, last=last)
        assert Ledger.decode("journal", book.encode()) == book


@pytest.mark.parametrize(("folder", "make"), [("bootc", Bootc), ("rpm-ostree", RpmOstree)], ids=["bootc", "rpm-ostree"])
def test_programs_that_say_json(tmp_path: Path, folder: str, make: Any) -> None:
    answer = tmp_path / "answer"
    provider = make("image", LONG, command=("/bin/sh", "-c", f"cat {answer}"))

    @fuzz(1.5)
    @given(spoiled(folder))
    @example(b'{"deployments":[{"checksum":"a","booted":true,"version":"\\ud800\\u001b[2J"}]}')
    def run(data: bytes) -> None:
        answer.write_bytes(data)
        judged(provider.ask())

    run()


WORDS = (
    st.sampled_from([NEED_REBOOT, *sorted(NOTHING_STAGED), "", "\x1b[2J", "0.0.0", "3510.2.1", "\ud800"]) | st.text()
)
BODIES = st.tuples(JSON, JSON, WORDS, WORDS, JSON) | st.lists(ODD, max_size=6).map(tuple)


@fuzz(4)
@given(BODIES, WILD | ODD.map(lambda value: json.dumps(value).encode()), st.none() | st.integers(-(10**12), 10**12))
@example((0, 0.0, NEED_REBOOT, "\ud800", 0), b"", 0)
@example((0, 0.0, NEED_REBOOT, "0.0.0", 0), b'{"marked":0,"version":"\\ud800"}', 0)
@example((0, 0.0, NEED_REBOOT, "1.0.0", 0), b"", 10**12)
def test_update_engine(folder: Path, body: tuple[Any, ...], memory: bytes, marked: int | None) -> None:
    bus, marker, kept, release = FakeBus(), folder / "marker", folder / "memory", folder / "release"
    marker.unlink(missing_ok=True)
    if marked is not None:
        marker.touch()
        with suppress(OSError, OverflowError):
            os.utime(marker, (marked, marked))
    kept.write_bytes(memory)
    release.write_bytes(b"VERSION_ID=1\n")
    bus.methods["GetStatus"] = body
    judged(UpdateEngine("flatcar", bus, os_release=release, marker=marker, memory=kept).ask())


@fuzz(3)
@example(b"", b"", 10**12)
@given(WILD, WILD, st.integers(-(10**12), 10**12))
def test_the_file_of_debian_and_its_list(folder: Path, text: bytes, packages: bytes, written: int) -> None:
    path = folder / "reboot-required"
    path.write_bytes(text)
    path.with_name("reboot-required.pkgs").write_bytes(packages)
    with suppress(OSError, OverflowError):
        os.utime(path, (written, written))
    judged(RebootRequired("packages", path, clock=VirtualClock()).ask())


@fuzz(3)
@given(WILD)
def test_the_files_that_say_who_this_is(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    os_version(os_release(path))
    fingerprint(path)
    for read in (machine_id, partial(boot, system=None)):
        with suppress(ConfigError):
            read(path)


GRUB = st.text(alphabet="menuentry submenu'\"{}$\\\n >01linux/bootvmlinuz-set default=", max_size=60)


@fuzz(3)
@given(GRUB, st.text(max_size=6) | st.sampled_from(["0", "1>0", ">", "9" * 30]))
@example("set default='1'\nmenuentry 'a' {\nlinux /vmlinuz\n}\n", "9" * 5000)
def test_the_menu_of_grub(text: str, wanted: str) -> None:
    default_of(text, {"saved_entry": wanted})
    chosen(text, wanted)


ALERTS = st.fixed_dictionaries({}, optional={
    "status": st.sampled_from(["success", "error"]) | ODD, "error": ODD, "warnings": ODD,
    "data": ODD | st.fixed_dictionaries({}, optional={
        "alerts": st.lists(st.fixed_dictionaries({}, optional={"labels": ODD, "state": ODD}) | ODD, max_size=2),
        "resultType": st.just("vector") | ODD, "result": ODD,
    }),
})  # fmt: skip


@fuzz(4)
@given(WILD | (ALERTS | ODD).map(lambda tree: json.dumps(tree).encode()), st.sampled_from([200, 400, 503]))
def test_alerts(body: bytes, status: int) -> None:
    answer = Response(status, {"content-type": "application/json"}, body)
    for read in (
        alert_answers.series, partial(alert_answers.alerts, pending=True), alert_answers.alertmanager_alerts
    ):  # fmt: skip
        said = read(answer)
        if isinstance(said, Alerts):
            assert shown(closing(said.found, None)).isprintable()
        else:
            assert said.reason.isprintable()


POD = st.fixed_dictionaries({}, optional={
    "metadata": st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "namespace", "uid", "annotations", "ownerReferences",
                                                                  "deletionTimestamp", "deletionGracePeriodSeconds"), ODD)) | ODD,
    "spec": st.fixed_dictionaries({}, optional={"volumes": ODD}) | ODD,
    "status": st.fixed_dictionaries({}, optional={"phase": ODD}) | ODD,
})  # fmt: skip


@fuzz(4)
@given(
    st.dictionaries(st.sampled_from(["apiVersion", "kind", "clusters", "contexts", "users", "current-context"]), ODD)
    | ODD
)
def test_a_kubeconfig(tmp_path: Path, tree: Any) -> None:
    path = tmp_path / "config"
    path.write_text(json.dumps(tree))
    with suppress(ConfigError):
        kubeconfig.load(path)


@fuzz(2)
@given(WILD)
@example(b"a: &a [*a]")
@example(b"a: 2026-99-99")
@example(b"? [a]\n: b")
@example(b"[" * 3000)
def test_a_kubeconfig_of_any_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "config"
    path.write_bytes(data)
    with suppress(ConfigError):
        kubeconfig.load(path)


KV = st.fixed_dictionaries({
    "Key": st.just("ls/a") | ODD, "Value": st.none() | st.just(base64.b64encode(b"x").decode()) | ODD,
    "ModifyIndex": st.integers(0, 9) | ODD, "CreateIndex": st.integers(0, 9) | ODD,
}, optional={"Session": ODD, "Flags": ODD})  # fmt: skip


@fuzz(4)
@given(ODD | st.builds(lambda kv: {"Results": [{"KV": kv}]}, KV) | st.builds(lambda kv: [kv], KV))
@example([{"ModifyIndex": float("inf")}])
def test_what_consul_answers(answer: Any) -> None:
    for read in (lambda: list(found(answer)), lambda: revision(answer, [Put("ls/a", b"")]), lambda: mod_of(answer)):
        with suppress(ValueError):
            read()


@fuzz(3)
@given(st.integers(100, 599), st.text(max_size=30) | ODD.map(json.dumps) | st.builds(
    lambda whats: json.dumps({"Results": None, "Errors": [{"OpIndex": 0, "What": what} for what in whats]}),
    st.lists(ODD, max_size=3),
))  # fmt: skip
def test_what_consul_refuses(code: int, body: str) -> None:
    assert isinstance(failure(code, body, "there"), StoreError | Trouble)


@fuzz(3)
@given(
    st.binary(max_size=60) | mutated(bytes.fromhex("301e301c0201013000300030003012170d3236303130313030303030305a3000"))
)
def test_a_certificate(data: bytes) -> None:
    with suppress(ValueError):
        decode(data)


@fuzz(2)
@given(WILD | (ODD | st.dictionaries(st.sampled_from(["v", "attempt", "names", "told", "waiting", "document"]), ODD)).map(
    lambda tree: json.dumps(tree).encode()))  # fmt: skip
@example(b'{"told":[],"waiting":[{"document":{},"since":"0001-01-01T00:00:00+05:00"}]}')
def test_our_own_files_in_anything_but_our_words(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(data)
    read = Baseline(path).read("a")
    assert isinstance(read, Nothing) or all(isinstance(names, frozenset) for names in read.values())
    with suppress(Damaged):
        Kept(tmp_path, "kept").read()
    logging.disable(logging.CRITICAL)
    try:
        channel = Channel(
            "n", Silent(), events=frozenset(), retry_for=LONG, path=path, clock=VirtualClock(), random=Random(1)
        )  # fmt: skip
        for head in channel._kept.waiting:
            channel._is_too_old(head)
    finally:
        logging.disable(logging.NOTSET)


class Silent:
    """Takes everything."""

    def send(self, document: Any) -> None:
        """Nothing comes back."""


@fuzz(3)
@given(st.lists(POD, max_size=2))
def test_pods(pods: list[dict[str, Any]]) -> None:
    sort(pods, PodRules(forget_after=timedelta(minutes=1)), NOW)
