import pytest

from locksmith.host.system import System
from locksmith.rebooters.method import Choice, Methods

NOT_LOADED = "no kernel is loaded for kexec: a full reboot instead"
NOT_COUNTED = "systemd here does not count soft reboots (SoftRebootsCount): a full reboot instead"


@pytest.fixture
def make(tmp_path, tool):
    """A machine with these files; `count` is what systemd shows as SoftRebootsCount, None: there is no systemd."""

    def methods(method, asks=None, loaded=None, count=None):
        runtime = tmp_path / "run"
        if count is not None:
            (runtime / "systemd" / "system").mkdir(parents=True)
        system = System(runtime=runtime, tools=tool("systemctl", f"echo '{count}'"))
        requested, kexec = tmp_path / "reboot-needed", tmp_path / "kexec_loaded"
        for path, text in ((requested, asks), (kexec, loaded)):
            if text is not None:
                path.write_text(text)
        return Methods(method, system, requested, kexec)

    return methods


@pytest.mark.parametrize(
    ("facts", "choice"),
    [
        ({"method": "reboot"}, Choice("reboot")),
        ({"method": "reboot", "asks": "kexec", "loaded": "1"}, Choice("reboot")),
        ({"method": "kexec", "loaded": "1\n"}, Choice("kexec")),
        ({"method": "kexec", "loaded": "0\n"}, Choice("reboot", NOT_LOADED)),
        ({"method": "kexec", "loaded": ""}, Choice("reboot", NOT_LOADED)),
        ({"method": "kexec"}, Choice("reboot", NOT_LOADED)),
        ({"method": "soft-reboot", "count": "0"}, Choice("soft-reboot")),
        ({"method": "soft-reboot", "count": "7"}, Choice("soft-reboot")),
        ({"method": "soft-reboot", "count": ""}, Choice("reboot", NOT_COUNTED)),
        ({"method": "soft-reboot", "count": "[not set]"}, Choice("reboot", NOT_COUNTED)),
        ({"method": "soft-reboot"}, Choice("reboot", NOT_COUNTED)),
        ({"method": "requested"}, Choice("reboot")),
        ({"method": "requested", "asks": ""}, Choice("reboot")),
        ({"method": "requested", "asks": "reboot\n"}, Choice("reboot")),
        ({"method": "requested", "asks": "kexec\n", "loaded": "1"}, Choice("kexec")),
        ({"method": "requested", "asks": "kexec\n"}, Choice("reboot", NOT_LOADED)),
        ({"method": "requested", "asks": "soft-reboot", "count": "0"}, Choice("soft-reboot")),
        ({"method": "requested", "asks": "soft-reboot", "count": ""}, Choice("reboot", NOT_COUNTED)),
    ],
)
def test_the_way_to_go(make, facts, choice):
    assert make(**facts).choose() == choice


@pytest.mark.parametrize("asks", ["poweroff", "none", "reboot now", "\x1b[2Jkexec", "\udcff"])
def test_a_word_that_nobody_knows_is_a_full_reboot(make, asks):
    choice = make("requested", asks=asks.encode(errors="surrogateescape").decode(errors="replace"), loaded="1").choose()
    assert choice.way == "reboot"
    assert "asks for" in choice.instead
    assert "\x1b" not in choice.instead


def test_a_file_that_cannot_be_read_is_a_full_reboot(make, tmp_path):
    (tmp_path / "reboot-needed").mkdir()
    assert make("requested").choose() == Choice("reboot")
