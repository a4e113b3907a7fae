from datetime import timedelta

import pytest

from locksmith.core.ledger import Ledger
from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.updates import Provider
from locksmith.updates.command import CommandProvider

LONG = timedelta(seconds=60)


def ask(script, timeout=LONG):
    provider: Provider = CommandProvider("mine", ["/bin/sh", "-c", script], timeout)
    return provider.ask()


def test_text():
    need = ask("echo; echo '  new kernel  '; echo more")
    assert isinstance(need, Need)
    assert (need.provider, need.kind, need.reason) == ("mine", "command", "new kernel")
    assert (need.origin, need.target, need.since) == (None, None, None)


def test_json():
    need = ask("""echo '{"reason": "kernel", "fingerprint": "f1", "from": "6.1", "to": 7}'""")
    assert need == Need("mine", "command", "f1", "kernel", origin="6.1", target="7")


def test_the_output_is_the_fingerprint_unless_it_names_one():
    assert ask("echo a").fingerprint == ask("echo a; echo noise >&2").fingerprint
    assert ask("echo a").fingerprint != ask("echo b").fingerprint
    assert ask("""echo '{"to": "7"}'""").fingerprint != ask("""echo '{"to": "8"}'""").fingerprint
    assert ask("""echo '{"fingerprint": "f", "to": "7"}'""").fingerprint == "f"
    assert ask("echo a").fingerprint == "87428fc522803d31065e7bce3cf03fe4"  # as in 0.1.0, whose journals hold it


@pytest.mark.parametrize("script", ["exit 0", "echo '{}'", """echo '{"reason": null}'"""])
def test_a_silent_command_still_has_a_reason(script):
    need = ask(script)
    assert need.reason
    assert need.fingerprint


@pytest.mark.parametrize("text", ["[1]", '"x"', "7", "{", '{"reason": "x"} y'])
def test_what_is_no_json_object_is_text(text):
    assert ask(f"echo '{text}'").reason == text


def test_deep_nesting_is_text():
    assert ask("head -c 9000 /dev/zero | tr '\\0' '['").reason.startswith("[[[")


def test_not_needed():
    assert ask("echo nothing; exit 1") == NotNeeded("mine")


@pytest.mark.parametrize(
    ("script", "reason"), [("echo oops >&2; exit 2", "exit code 2: oops"), ("kill -15 $$", "killed by SIGTERM")]
)
def test_anything_else_is_unknown(script, reason):
    assert ask(script) == NeedUnknown("mine", reason)


def test_a_time_out_is_unknown():
    assert ask("sleep 100", timedelta(seconds=0.2)) == NeedUnknown("mine", "no end within 200ms")


def test_a_command_that_is_not_there():
    assert CommandProvider("mine", ["/nowhere"], LONG).ask() == NeedUnknown(
        "mine", "cannot be started: /nowhere: no such file or directory"
    )


@pytest.mark.parametrize("key", ["from", "to", "fingerprint", "reason"])
def test_half_of_a_surrogate_pair_does_not_end_the_agent(key):
    """JSON can hold one, the journal and the store cannot."""
    answer = ask(f"""printf '{{"{key}": "v\\\\ud800"}}'""")
    assert isinstance(answer, Need)
    Ledger(wanted={"tool": answer.fingerprint}, served=f"{answer.origin} {answer.target} {answer.reason}").encode()
