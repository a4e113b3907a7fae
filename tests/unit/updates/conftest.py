"""What the tests of providers share: a made root, and a program that stands in for the one a provider asks."""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Root = Callable[[Mapping[str, str | bytes]], Path]


@pytest.fixture
def make_root(tmp_path) -> Root:
    """A root with these files; a name that ends in a slash is a folder, `->` before a text makes a link."""

    def make(files: Mapping[str, str | bytes]) -> Path:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            path = root / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content.startswith("->"):
                path.symlink_to(content.removeprefix("->"))
            else:
                path.write_text(content)
        return root

    return make


@pytest.fixture
def bzimage() -> Callable[[str], bytes]:
    """An x86 kernel image, as far as its header goes, with this version text."""

    def image(text: str) -> bytes:
        data = bytearray(0x1000)
        data[0x202:0x206] = b"HdrS"
        struct.pack_into("<H", data, 0x20E, 0x400)
        data[0x600 : 0x600 + len(text) + 1] = text.encode() + b"\0"
        return bytes(data)

    return image


@pytest.fixture
def program(tmp_path):
    """Write a program with these answers; returns the command. What it was called with: `arguments`."""
    path = tmp_path / "program"

    def write(stdout="", stderr="", code=0, then=""):
        (tmp_path / "stdout").write_text(stdout)
        (tmp_path / "stderr").write_text(stderr)
        path.write_text(
            f'#!/bin/sh\ncd {tmp_path}\necho "$@" > arguments\ncat stdout\ncat stderr >&2\n{then}\nexit {code}\n'
        )
        path.chmod(0o755)
        return (str(path),)

    return write


@pytest.fixture
def arguments(tmp_path):
    """What the program was called with."""
    return lambda: (tmp_path / "arguments").read_text().strip()
