"""`lockctl doctor`, `fsck` and `config` on a real store."""

import fcntl
import os
import socket
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from locksmith.cli.local import LOCK, agent_pid, poke
from locksmith.core import keys
from locksmith.core.documents import Config, Guard, Phase
from locksmith.core.ledger import Home, Ledger
from locksmith.host.identity import KERNEL_BOOT_ID
from locksmith.semaphore.actor import look
from tests.unit.cli.conftest import ID, Fleet, Lockctl, node_id


def checks(document: dict) -> dict[str, str]:
    return {check["name"]: check["state"] for check in document["checks"]}


def test_doctor_on_a_sound_store(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    said = lockctl("doctor", "--json")
    assert said.code == 0
    assert said.document["ok"] is True
    found = checks(said.document)
    for name in ("configuration", "identity", "store", "rights", "session", "writes", "cluster", "holder"):
        assert found[name] == "pass", name
    assert found["agent"] == "warn"
    assert list(fleet.store.read([], ["q/", "own/", "req/", "hold/", "brake/", "ev/doctor/"]).items) == []
    assert "pass" in lockctl("doctor").out


def findings(document: dict, name: str) -> list[tuple[str, str]]:
    return [(check["state"], check["message"]) for check in document["checks"] if check["name"] == name]


def test_whose_rights_are_tried(lockctl: Lockctl, fleet: Fleet, tmp_path: Path) -> None:
    fleet.slots(1)
    assert lockctl("doctor", "--json").document["rights_of"] == "operator"
    assert lockctl("doctor", "--agent", "--json").document["rights_of"] == "agent"
    (tmp_path / "state").mkdir()
    assert lockctl("doctor", "--json").document["rights_of"] == "agent"
    assert lockctl("doctor", "--operator", "--json").document["rights_of"] == "operator"
    assert lockctl("doctor", "--agent", "--proof").code == 2


def test_trying_the_rights_changes_no_document(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.hold(ID, Phase.DRAINING)
    fleet.register(ID, "n0")
    before = fleet.store.read([], ["cfg", "own/", "lim/", "node/", "ev/"])
    assert lockctl("doctor").code == 0
    assert lockctl("doctor", "--agent").code == 0
    assert fleet.store.read([], ["cfg", "own/", "lim/", "node/", "ev/"]) == before


def test_an_id_that_two_machines_report(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1", group="web", fingerprint="a" * 16)
    fleet.register(node_id(1), "n9", group="db", fingerprint="b" * 16)
    said = lockctl("doctor", "--json")
    assert said.code == 1
    ((state, text),) = findings(said.document, "clash")
    assert state == "fail"
    assert "n1 in web" in text
    assert "n9 in db" in text


def test_a_node_that_moved_to_another_group_is_no_clash(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1", group="web", fingerprint="a" * 16)
    fleet.register(node_id(1), "n1", group="db", fingerprint="a" * 16)
    assert checks(lockctl("doctor", "--json").document)["clash"] == "pass"


def test_our_id_reported_from_a_boot_that_was_not_ours(lockctl: Lockctl, fleet: Fleet, tmp_path: Path) -> None:
    fleet.slots(1)
    path = tmp_path / "real.toml"
    path.write_text(f'[node]\nid = "{ID}"\nproduct_uuid_file = "{tmp_path}/none"\n')
    fleet.register(ID, "n0", boot=KERNEL_BOOT_ID.read_text().strip() + "/0")
    assert checks(lockctl("doctor", "--config", str(path), "--json").document)["clash"] == "pass"
    fleet.register(ID, "twin", boot="another/0", seen=datetime.now(UTC))
    ((state, text),) = findings(lockctl("doctor", "--config", str(path), "--json").document, "clash")
    assert state in ("fail", "warn")
    assert "twin" in text
    fleet.register(ID, "n0", boot="the-last/0", seen=datetime.now(UTC) - timedelta(days=4000))
    assert checks(lockctl("doctor", "--config", str(path), "--json").document)["clash"] == "pass"


def test_clocks_that_go_ahead(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1")
    fleet.register(node_id(2), "n2")
    fleet.register(node_id(3), "n3", seen=datetime.now(UTC) + timedelta(minutes=5))
    ((state, text),) = findings(lockctl("doctor", "--json").document, "clocks")
    assert state == "warn"
    assert text.startswith("1 of 3 other nodes are ahead of this clock: n3 by ")
    fleet.register(node_id(3), "n3")
    assert checks(lockctl("doctor", "--json").document)["clocks"] == "pass"


def test_the_journal_of_another_store(lockctl: Lockctl, fleet: Fleet, tmp_path: Path) -> None:
    fleet.slots(1)
    config = look(fleet.store).config
    assert config is not None
    (tmp_path / "state").mkdir()
    path = tmp_path / "state" / "journal.json"

    def journal(**home: Any) -> list[tuple[str, str]]:
        kept = {"store": fleet.url, "prefix": "locksmith", "node": ID, "identity": config.store, "epoch": 1, **home}
        path.write_bytes(Ledger(gen="g", home=Home(**kept)).encode())
        return findings(lockctl("doctor", "--json").document, "journal")

    assert journal()[0][0] == "pass"
    assert journal(identity="f" * 32)[0][0] == "fail"
    assert journal(epoch=7)[0][0] == "warn"
    assert "another.db" in journal(store="sqlite:///another.db")[0][1]
    path.write_text("{")
    assert findings(lockctl("doctor", "--json").document, "journal")[0][0] == "warn"


def test_hooks_and_providers(lockctl: Lockctl, fleet: Fleet, tmp_path: Path) -> None:
    fleet.slots(1)
    folder = tmp_path / "hooks/pre-reboot.d"
    folder.mkdir(parents=True)
    (folder / "10-drain").write_text("#!/bin/sh\n")
    document = lockctl("doctor", "--json").document
    assert "not executable" in findings(document, "hooks")[0][1]
    assert findings(document, "updates") == [("pass", "packages (configured)")]
    (folder / "10-drain").chmod(0o755)
    assert findings(lockctl("doctor", "--json").document, "hooks")[0][0] == "pass"
    path = tmp_path / "off.toml"
    path.write_text(f'[node]\nid = "{ID}"\n[updates.packages]\nkind = "reboot-required"\nenabled = false\n')
    assert findings(lockctl("doctor", "--config", str(path), "--json").document, "updates")[0][0] == "fail"


def test_a_proof_is_seen_in_the_same_store_only(lockctl: Lockctl, fleet: Fleet, tmp_path: Path) -> None:
    fleet.slots(1)
    left = lockctl("doctor", "--proof")
    assert left.code == 0
    word = left.out.strip()
    assert f"lockctl doctor --proof {word}" in left.err
    seen = lockctl("doctor", "--proof", word.upper().replace("-", " "))
    assert (seen.code, seen.out.startswith("the same store: ")) == (0, True)
    document = lockctl("doctor", "--proof", word, "--json").document
    assert (document["word"], document["left"], document["seen"]["host"]) == (word, False, socket.gethostname())
    elsewhere = lockctl("doctor", "--proof", word, "--json", "--store", f"sqlite://{tmp_path}/another.db")
    assert (elsewhere.code, elsewhere.kind, elsewhere.document["seen"]) == (1, "damaged", None)
    assert lockctl("doctor", "--proof", "lusab-babaf").code == 2
    assert lockctl("doctor", word).code == 2
    again = lockctl("doctor", "--proof", "--json").document
    assert again["word"] != word
    assert again["expires_in_seconds"] == 600


def test_doctor_without_a_store(bare: Lockctl) -> None:
    said = bare("doctor", "--json")
    assert (said.code, said.kind) == (1, "damaged")
    assert checks(said.document)["store"] == "fail"
    assert said.document["ok"] is False


def test_doctor_with_a_broken_configuration(bare: Lockctl, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[agent]\npol_interval = 3\n")
    said = bare("doctor", "--config", str(path), "--json")
    assert said.code == 1
    assert checks(said.document)["configuration"] == "fail"


def test_doctor_sees_another_cluster_and_another_hardware(
    lockctl: Lockctl, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.slots(1)
    config = look(fleet.store).config
    assert config is not None
    fleet.put(keys.CFG, replace(config, cluster="another", gen="x").encode())
    fleet.hold(ID, Phase.DRAINING, fingerprint="0123456789abcdef")
    (tmp_path / "uuid").write_text("aa5cd2b4-6a3e-4a4f-9a8e-0e2f6c7d8e9f\n")
    path = tmp_path / "node.toml"
    path.write_text(f'[node]\nid = "{ID}"\nproduct_uuid_file = "{tmp_path}/uuid"\n')
    said = lockctl("doctor", "--config", str(path), "--json")
    assert said.code == 1
    found = checks(said.document)
    assert (found["cluster"], found["holder"]) == ("fail", "fail")


def test_doctor_warns_when_nothing_is_set_up(lockctl: Lockctl) -> None:
    said = lockctl("doctor", "--json")
    assert said.code == 0
    assert checks(said.document)["cluster"] == "warn"


def test_the_agent_is_found_by_the_lock_that_it_holds(tmp_path: Path) -> None:
    assert agent_pid(tmp_path) is None
    path = tmp_path / LOCK
    path.write_text(f"{os.getpid()}\n")
    assert agent_pid(tmp_path) is None
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert agent_pid(tmp_path) == os.getpid()
    assert agent_pid(tmp_path) is None


def test_the_agent_on_this_machine_is_poked(lockctl: Lockctl, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.slots(1)
    # A socket's path has at most 107 characters, and a test's folder may have more.
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        agent.bind(f"{folder}/poke.sock")
        agent.settimeout(30)
        path = Path(folder) / "locksmith.toml"
        path.write_text(f'[node]\nid = "{ID}"\nrun_dir = "{folder}"\n')
        monkeypatch.setenv("LOCKSMITH_CONFIG", str(path))
        for words in (["reboot"], ["reboot", "--cancel"], ["pause", "--reason", "x"], ["resume"], ["lock"], ["unlock"]):
            assert lockctl(*words).code == 0
            assert agent.recv(100) == b"poke"


def test_nobody_to_poke_is_no_error(tmp_path: Path) -> None:
    poke(tmp_path)
    poke(tmp_path / "missing")


def test_fsck_finds_and_mends(lockctl: Lockctl, fleet: Fleet) -> None:
    assert lockctl("fsck", "--json").document["findings"][0]["kind"] == "not_set_up"
    fleet.slots(3)
    fleet.register(node_id(1), "n1")
    fleet.hold(node_id(1), Phase.ARMED, host="n1")
    sound = lockctl("fsck", "--json")
    assert (sound.code, sound.document["findings"]) == (0, [])
    assert (sound.document["holders"], sound.document["guards"]) == (1, 1)
    key = keys.guard(keys.group_limit("default"))
    guard = look(fleet.store, [key]).document(key, Guard)
    assert guard is not None
    fleet.put(key, replace(guard, count=3, gen="wrong").encode())
    found = lockctl("fsck", "--json")
    assert (found.code, found.kind) == (1, "damaged")
    assert [(f["key"], f["kind"], f["repaired"]) for f in found.document["findings"]] == [(key, "count", False)]
    assert "--repair" in lockctl("fsck").err
    mended = lockctl("fsck", "--repair", "--json")
    assert mended.code == 0
    assert [f["repaired"] for f in mended.document["findings"]] == [True]
    assert lockctl("fsck").code == 0


@pytest.mark.parametrize(
    ("value", "kind"),
    [(b"not json", "corrupt"), (Config(v=99, gen="x", store="s").encode(), None)],
)
def test_a_document_that_cannot_be_read_is_named(
    lockctl: Lockctl, fleet: Fleet, value: bytes, kind: str | None
) -> None:
    fleet.slots(1)
    fleet.put(keys.CFG, value)
    said = lockctl("status", "--json")
    assert said.kind == kind
    assert said.code == (1 if kind else 0)
    assert kind is None or "cfg" in said.err


def test_config_shows_every_key_and_its_origin(lockctl: Lockctl, fleet: Fleet) -> None:
    settings = lockctl("config", "--origin", "--group", "web", "--json").document["settings"]
    by_key = {setting["key"]: (setting["value"], setting["origin"]) for setting in settings}
    assert by_key["store.url"] == (fleet.url, "environment LOCKSMITH_STORE")
    assert by_key["node.group"] == ("web", "--group")
    assert by_key["node.id"][1].startswith("file:")
    assert by_key["agent.strategy"] == ("lock", "default")
    plain = lockctl("config")
    assert "agent.strategy" in plain.out
    assert "environment" not in plain.out
    assert "origin" not in lockctl("config", "--json").document["settings"][0]


def test_config_that_cannot_be_read(bare: Lockctl, tmp_path: Path) -> None:
    assert bare("config", "--config", str(tmp_path / "missing.toml"), "--json").kind == "config"
    path = tmp_path / "typo.toml"
    path.write_text('[agent]\nstrategi = "lock"\n')
    said = bare("config", "--config", str(path), "--json")
    assert (said.code, said.kind) == (2, "config")
    assert "strategy" in said.err
