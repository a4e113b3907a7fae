import pytest


@pytest.fixture
def tool(tmp_path):
    """Write a program that stands in for one of systemd's; returns the folder for `System(tools=…)`."""
    folder = tmp_path / "tools"
    folder.mkdir()

    def write(name, script):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return folder

    return write
