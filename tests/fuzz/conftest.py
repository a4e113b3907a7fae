"""What the tests with a store in a file share."""

from pathlib import Path

import pytest

from tests.fuzz.scenes import NODES


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of a node, with its store in a file."""
    for name in ("LOCKSMITH_STORE", "LOCKSMITH_GROUP", "LOCKSMITH_NODE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    path, store = tmp_path / "locksmith.toml", tmp_path / "store.db"
    (tmp_path / "boot_id").write_text("b-0\n")
    path.write_text(
        f'[store]\nurl = "sqlite://{store}"\n[node]\nid = "{NODES[2]}"\nrun_dir = "{tmp_path}/run"\n'
        f'state_dir = "{tmp_path}/state"\n'
        f'boot_id_file = "{tmp_path}/boot_id"\n[updates.packages]\nkind = "reboot-required"\n'
        f'[hooks]\ndirectory = "{tmp_path}/hooks"\n'
    )
    monkeypatch.setenv("LOCKSMITH_CONFIG", str(path))
    return store
