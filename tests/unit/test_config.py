"""The configuration: defaults, search and merge, origins, and one refusal for each way to get it wrong."""

from dataclasses import FrozenInstanceError, replace
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.config import describe, load, require_store
from locksmith.config_checks import CommandSpec
from locksmith.config_model import (
    AgentSettings,
    GatewaySettings,
    HookSettings,
    NodeSettings,
    RebootSettings,
    StoreSettings,
    TcpListen,
    UnixListen,
    VerifySettings,
)
from locksmith.config_updates import CommandUpdate, RebootRequiredUpdate
from locksmith.core.store_url import parse_store_url
from locksmith.core.windows import parse_window
from locksmith.errors import ConfigError
from locksmith.stores import Access

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)

# The example of the documentation, whole.
EXAMPLE = """
[store]
url = "etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/locksmith"
timeout = "5s"
[node]
group = "default"
labels = { zone = "a" }
[agent]
strategy = "lock"
poll_interval = "60s"
min_uptime = "5m"
min_interval = "30m"
store_grace = "10m"
require_time_sync = true
heartbeat = "15m"
metrics_listen = "127.0.0.1:9810"
log_level = "info"
log_format = "auto"
[updates.packages]
kind = "reboot-required"
[gates.backup]
kind = "command"
command = ["/usr/lib/locksmith/may-reboot"]
timeout = "30s"
[windows.night]
start = "Thu 23:00"
length = "1h30m"
timezone = "Europe/Berlin"
[health.app]
kind = "command"
command = ["/usr/lib/locksmith/healthy"]
timeout = "30s"
[verify]
dwell = "30s"
deadline = "10m"
rollback = "hold"
[reboot]
kind = "auto"
timeout = "15m"
retries = 1
[hooks]
directory = "/etc/locksmith/hooks"
timeout = "10m"
"""


@pytest.fixture
def roots(tmp_path):
    return tuple(tmp_path / name for name in ("etc", "run", "lib"))


@pytest.fixture
def one(tmp_path):
    """Load one file with this text, with variables and options."""

    def load_text(text, environ=None, overrides=None):
        file = tmp_path / "one.toml"
        file.write_text(text)
        return load(file, environ=environ or {}, roots=(), overrides=overrides)

    return load_text


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- defaults ----------------------------------------------------------------------------------------------------


def test_nothing_configured(roots):
    config = load(environ={}, roots=roots)
    assert config.store is None
    assert config.files == ()
    assert config.node == NodeSettings(
        group="default",
        labels={},
        id=None,
        machine_id_file=Path("/etc/machine-id"),
        boot_id_file=Path("/proc/sys/kernel/random/boot_id"),
        product_uuid_file=Path("/sys/class/dmi/id/product_uuid"),
        state_dir=Path("/var/lib/locksmith"),
        run_dir=Path("/run/locksmith"),
    )
    assert config.agent == AgentSettings(
        strategy="lock",
        poll_interval=60 * SECOND,
        min_uptime=5 * MINUTE,
        min_interval=30 * MINUTE,
        store_grace=10 * MINUTE,
        heartbeat=15 * MINUTE,
        time_needed=0 * SECOND,
        require_time_sync=True,
        metrics_listen=TcpListen("127.0.0.1", 9810),
        log_level="info",
        log_format="auto",
        allow_coordinators=(),
    )
    assert (config.updates, config.gates, config.windows, config.health) == ((), (), (), ())
    assert config.detect_updates
    assert config.verify == VerifySettings(30 * SECOND, 10 * MINUTE, "hold")
    assert config.reboot == RebootSettings("auto", "reboot", "honour", (), 15 * MINUTE, 1)
    assert config.hooks == HookSettings(Path("/etc/locksmith/hooks"), 10 * MINUTE, {})
    assert set(config.origin.values()) == {"default"}


def test_require_store_names_the_choices(one):
    with pytest.raises(ConfigError) as caught:
        require_store(one(""))
    for word in ("LOCKSMITH_STORE", "--store", "sqlite:///", "etcd://", "consul://", "lockctl demo"):
        assert word in str(caught.value)
    assert caught.value.exit_code == 2
    settings = require_store(one('[store]\nurl = "memory:"'))
    assert settings == StoreSettings(parse_store_url("memory:"), 5 * SECOND, Access())


def test_the_documented_example(one):
    config = one(EXAMPLE)
    assert config.store.url.endpoints == ("10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379")
    assert config.node.labels == {"zone": "a"}
    assert config.updates == (
        RebootRequiredUpdate("packages", Path("/run/reboot-required"), Path("/run/reboot-required.pkgs")),
    )
    assert not config.detect_updates
    assert config.gates == (CommandSpec("backup", ("/usr/lib/locksmith/may-reboot",), 30 * SECOND),)
    assert config.windows == (parse_window("night", "Thu 23:00", "1h30m", "Europe/Berlin"),)
    assert config.health == (CommandSpec("app", ("/usr/lib/locksmith/healthy",), 30 * SECOND),)
    # Everything else in it is the default: the documentation may not drift.
    plain = one("")
    for part in ("agent", "verify", "reboot", "hooks"):
        assert getattr(config, part) == getattr(plain, part)
    assert replace(config.node, labels={}) == plain.node


def test_a_config_is_frozen_and_equal_by_meaning(one, tmp_path):
    config = one(EXAMPLE)
    with pytest.raises(FrozenInstanceError):
        config.store = None
    other = load(write(tmp_path / "other.toml", EXAMPLE), environ={}, roots=())
    assert other == config
    assert other.origin != config.origin
    assert one(EXAMPLE.replace("23:00", "22:00")) != config


# --- search, drop-ins, merge, origins ----------------------------------------------------------------------------


def test_the_first_main_file_wins(roots):
    etc, run, lib = roots
    write(lib / "locksmith.toml", '[node]\ngroup = "lib"\nid = "x"')
    assert load(environ={}, roots=roots).node.group == "lib"
    write(run / "locksmith.toml", '[node]\ngroup = "run"')
    config = load(environ={}, roots=roots)
    assert (config.node.group, config.node.id) == ("run", None)
    main = write(etc / "locksmith.toml")
    assert load(environ={}, roots=roots).files == (main,)


def test_drop_ins_apply_by_file_name_and_mask_by_folder(roots):
    etc, run, lib = roots
    main = write(etc / "locksmith.toml", '[node]\ngroup = "main"\nid = "main"')
    write(lib / "locksmith.toml.d/50-b.toml", '[node]\ngroup = "masked"\nid = "masked"')
    masking = write(run / "locksmith.toml.d/50-b.toml", '[node]\nid = "run"')
    first = write(etc / "locksmith.toml.d/10-a.toml", '[node]\nid = "a"\ngroup = "a"')
    last = write(lib / "locksmith.toml.d/90-c.toml", "[agent]\nmin_uptime = '1m'")
    write(etc / "locksmith.toml.d/99.toml.bak", "not TOML")
    write(etc / "locksmith.toml.d/.99.toml", "not TOML")
    config = load(environ={}, roots=roots)
    assert config.files == (main, first, masking, last)
    assert (config.node.group, config.node.id, config.agent.min_uptime) == ("a", "run", MINUTE)
    assert config.origin["node.group"] == f"file:{first}"
    assert config.origin["node.id"] == f"file:{masking}"
    assert config.origin["agent.min_uptime"] == f"file:{last}"
    assert config.origin["agent.min_interval"] == "default"


def test_drop_ins_apply_without_a_main_file(roots):
    write(roots[2] / "locksmith.toml.d/a.toml", '[node]\ngroup = "a"')
    assert load(environ={}, roots=roots).node.group == "a"


def test_a_link_to_dev_null_removes(roots):
    write(roots[2] / "locksmith.toml.d/a.toml", '[node]\ngroup = "a"')
    link = roots[0] / "locksmith.toml.d/a.toml"
    link.parent.mkdir(parents=True)
    link.symlink_to("/dev/null")
    config = load(environ={}, roots=roots)
    assert (config.node.group, config.files) == ("default", ())


def test_a_dangling_main_file_is_told_not_passed_over(roots):
    write(roots[2] / "locksmith.toml", '[node]\ngroup = "lib"')
    roots[0].mkdir()
    (roots[0] / "locksmith.toml").symlink_to(roots[0] / "gone")
    with pytest.raises(ConfigError, match=r"etc/locksmith.toml: cannot be read"):
        load(environ={}, roots=roots)


def test_tables_merge_values_and_lists_replace(roots):
    write(
        roots[0] / "locksmith.toml",
        '[node]\nlabels = { zone = "a", rack = "1" }\n'
        '[gates.backup]\nkind = "command"\ncommand = ["a", "b"]\ntimeout = "10s"\n'
        '[gates.other]\nkind = "command"\ncommand = ["o"]',
    )
    drop_in = write(
        roots[0] / "locksmith.toml.d/a.toml",
        '[node.labels]\nrack = "2"\n[gates.backup]\ncommand = ["c"]\n[gates.other]\nenabled = false',
    )
    config = load(environ={}, roots=roots)
    assert config.node.labels == {"zone": "a", "rack": "2"}
    assert config.gates == (CommandSpec("backup", ("c",), 10 * SECOND),)
    assert config.origin["gates.backup.command"] == f"file:{drop_in}"
    assert config.origin["node.labels.rack"] == f"file:{drop_in}"


def test_config_option_and_variable_read_one_file_only(roots, tmp_path):
    write(roots[0] / "locksmith.toml", '[node]\ngroup = "etc"')
    write(roots[0] / "locksmith.toml.d/a.toml", '[node]\nid = "a"')
    named = write(tmp_path / "named.toml", '[node]\ngroup = "named"')
    other = write(tmp_path / "other.toml", '[node]\ngroup = "other"')
    config = load(environ={"LOCKSMITH_CONFIG": str(named)}, roots=roots)
    assert (config.node.group, config.node.id, config.files) == ("named", None, (named,))
    assert load(other, environ={"LOCKSMITH_CONFIG": str(named)}, roots=roots).node.group == "other"
    assert load(environ={"LOCKSMITH_CONFIG": ""}, roots=roots).node.group == "etc"


def test_options_beat_variables_beat_files(one):
    text = '[store]\nurl = "etcd://file"\n[node]\ngroup = "file"\nid = "file"'
    environ = {"LOCKSMITH_STORE": "etcd://env", "LOCKSMITH_GROUP": "env", "LOCKSMITH_NODE": "env"}
    config = one(text, environ, {"store.url": "etcd://option"})
    assert config.store.url.endpoints == ("option:2379",)
    assert (config.node.group, config.node.id) == ("env", "env")
    assert config.origin["store.url"] == "--store"
    assert config.origin["node.group"] == "environment LOCKSMITH_GROUP"
    assert one(text, environ, {"node.group": "option"}).origin["node.group"] == "--group"
    assert one(text, {"LOCKSMITH_GROUP": ""}).node.group == "file"


def test_describe_tells_every_key_with_its_value_and_origin(one, tmp_path):
    rows = {key: (value, origin) for key, value, origin in describe(one(EXAMPLE))}
    here = f"file:{tmp_path / 'one.toml'}"
    assert rows["store.url"] == ("etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/locksmith", here)
    assert rows["store.username"] == (None, "default")
    assert rows["gates.backup.command"] == ('["/usr/lib/locksmith/may-reboot"]', here)
    assert rows["windows.night.timezone"] == ("Europe/Berlin", here)
    assert rows["agent.poll_interval"] == ("1m", here)
    assert rows["agent.time_needed"] == ("0s", "default")
    assert rows["agent.require_time_sync"] == ("true", here)
    assert rows["reboot.retries"] == ("1", here)
    assert rows["node.labels.zone"] == ("a", here)
    assert len(rows) == len(list(describe(one(EXAMPLE))))


# --- entries -----------------------------------------------------------------------------------------------------


def test_entries_stand_in_the_order_of_their_names(one):
    config = one(
        '[updates.b]\nkind = "command"\ncommand = ["x", "y"]\ntimeout = "1s"\n'
        '[updates.a]\nkind = "reboot-required"\npath = "/tmp/r"\n'
        '[updates.c]\nkind = "reboot-required"\npkgs_path = "/tmp/p"'
    )
    assert config.updates == (
        RebootRequiredUpdate("a", Path("/tmp/r"), Path("/tmp/r.pkgs")),
        CommandUpdate("b", ("x", "y"), SECOND),
        RebootRequiredUpdate("c", Path("/run/reboot-required"), Path("/tmp/p")),
    )


def test_switching_off(one):
    config = one(
        "[updates.gone]\nenabled = false\n"
        '[windows.off]\nenabled = false\nstart = "25:00"\n'
        '[windows.on]\nenabled = true\nstart = "1:00"\nlength = "1h"'
    )
    assert config.updates == ()
    assert not config.detect_updates  # somebody switched a provider off: that is not "nothing was said"
    assert [window.name for window in config.windows] == ["on"]
    assert {key: value for key, value, _ in describe(config)}["updates.gone.enabled"] == "false"


def test_windows_that_can_never_hold_what_is_needed(one):
    windows = '[windows.a]\nstart = "1:00"\nlength = "1h"\n[windows.b]\nstart = "Sun 2:00"\nlength = "1h"\n'
    assert one(windows + '[agent]\ntime_needed = "2h"').agent.time_needed == 120 * MINUTE
    with pytest.raises(ConfigError, match=r"one.toml: agent.time_needed: no window lasts 2h1s"):
        one(windows + '[agent]\ntime_needed = "2h1s"')
    assert one('[agent]\ntime_needed = "99h"').windows == ()


# --- listening, reboot -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("", None),
        ("0.0.0.0:1", TcpListen("0.0.0.0", 1)),
        ("localhost:0", TcpListen("localhost", 0)),
        ("[::1]:9810", TcpListen("::1", 9810)),
        ("unix:/run/locksmith/metrics.sock", UnixListen(Path("/run/locksmith/metrics.sock"))),
    ],
)
def test_metrics_listen(one, text, listen):
    assert one(f'[agent]\nmetrics_listen = "{text}"').agent.metrics_listen == listen


def test_reboot_by_command(one):
    config = one('[reboot]\nkind = "command"\ncommand = ["/sbin/reboot", "-f"]\nretries = 0')
    assert config.reboot == RebootSettings("command", "reboot", "honour", ("/sbin/reboot", "-f"), 15 * MINUTE, 0)


# --- refusals ----------------------------------------------------------------------------------------------------

REFUSALS = [
    # text, key of the message, remedy
    ("[stroe]\n", "stroe", "did you mean 'store'"),
    ("[zebra]\n", "zebra", "known: store, node"),
    ("store = 'etcd://h'", "store", "write [store]"),
    ("[[store]]\nurl = 'memory:'", "store", "write a table [store]"),
    ("[[gates]]\nkind = 'command'", "gates", "write a table [gates.NAME], with a name of its own"),
    ("[[gates.a]]\nkind = 'command'", "gates.a", "write a table [gates.a]"),
    ("[gates]\nkind = 'command'", "gates.kind", "write [gates.NAME] above it"),
    ("[windows]\nstart = '1:00'", "windows.start", "write [windows.NAME] above it"),
    ("[gates.Backup]\n", "gates.Backup", "small letters"),
    ("[agent]\npoll_intervall = '1s'", "agent.poll_intervall", "did you mean 'poll_interval'"),
    ("[agent]\ncolour = 'red'", "agent.colour", "known in [agent]: allow_coordinators,"),
    ("[gates.a]\nkind = 'command'\ncommand = ['x']\ntimout = '1s'", "gates.a.timout", "did you mean 'timeout'"),
    ("[gates.a]\nenabled = false\ncommmand = ['x']", "gates.a.commmand", "did you mean 'command'"),
    # slots
    ("[store]\nslots = 3", "store.slots", "slots live in the store: lockctl set-max N --group G"),
    ("slots = 3", "slots", "slots live in the store: lockctl set-max N --group G"),
    ("[groups.web]\nmax = 3", "groups.web.max", "slots live in the store"),
    ("[gates]\nmax = 3", "gates.max", "slots live in the store"),
    ("[gates.a]\nmax = 3", "gates.a.max", "slots live in the store"),
    ("[[gates]]\nslots = 3", "gates.slots", "slots live in the store"),
    # types
    ("[agent]\nmin_uptime = 60", "agent.min_uptime", 'such as "60s"'),
    ("[agent]\nmin_uptime = 1.5", "agent.min_uptime", 'such as "5m"'),
    ("[agent]\nmin_uptime = true", "agent.min_uptime", 'such as "5m"'),
    ("[agent]\nmin_uptime = '60'", "agent.min_uptime", "60s or 60m"),
    ("[agent]\nmin_uptime = '-5m'", "agent.min_uptime", "not a duration"),
    ("[agent]\npoll_interval = '0s'", "agent.poll_interval", "too short"),
    ("[agent]\nrequire_time_sync = 'yes'", "agent.require_time_sync", "neither true nor false"),
    ("[agent]\nstrategy = 'lok'", "agent.strategy", "did you mean 'lock'"),
    ("[agent]\nstrategy = 'etcd-lock'", "agent.strategy", "known: lock, observe, reboot, off"),
    ("[agent]\nstrategy = 1", "agent.strategy", "write it in quotes"),
    ("[agent]\nlog_level = 'verbose'", "agent.log_level", "known: debug"),
    ("[agent]\nlog_format = 'xml'", "agent.log_format", "known: auto"),
    ("[agent]\nmetrics_listen = ':9810'", "agent.metrics_listen", "0.0.0.0:9810"),
    ("[agent]\nmetrics_listen = '9810'", "agent.metrics_listen", "HOST:PORT"),
    ("[agent]\nmetrics_listen = 'h:65536'", "agent.metrics_listen", "HOST:PORT"),
    ("[agent]\nmetrics_listen = 'unix:x'", "agent.metrics_listen", "absolute path"),
    ("[node]\ngroup = 'a b'", "node.group", "not a group name"),
    ("[node]\nid = ''", "node.id", "not a node id"),
    ("[node]\nlabels = 'a'", "node.labels", 'name = "value"'),
    ("[node]\nlabels = { 'a/b' = 'x' }", "node.labels.a/b", "not a label name"),
    ("[node]\nlabels = { a = 'x y' }", "node.labels.a", "not a label value"),
    ("[node]\nlabels = { a = 1 }", "node.labels.a", "write it in quotes"),
    ("[node]\nstate_dir = 'var'", "node.state_dir", "absolute path"),
    ("[hooks]\ndirectory = ''", "hooks.directory", "absolute path"),
    ("[store]\nurl = 'redis://h'", "store.url", "known: sqlite"),
    ("[store]\nurl = 'memory:'\ntimeout = '0s'", "store.timeout", "too short"),
    # entries
    ("[gates.a]\ncommand = ['x']", "gates.a.kind", 'write kind = "command"'),
    ("[gates.a]\nkind = 'comand'", "gates.a.kind", "did you mean 'command'"),
    ("[gates.a]\nkind = 'window'", "gates.a.kind", "[windows.NAME]"),
    ("[gates.a]\nkind = 'command'", "gates.a.command", "is missing"),
    ("[gates.a]\nkind = 'command'\ncommand = 'x \"y\"'", "gates.a.command", r'write ["sh", "-c", "x \"y\""]'),
    ("[gates.a]\nkind = 'command'\ncommand = []", "gates.a.command", "list of texts"),
    ("[gates.a]\nkind = 'command'\ncommand = ['x', 1]", "gates.a.command", "list of texts"),
    ("[gates.a]\nkind = 'command'\ncommand = ['']", "gates.a.command", "no program"),
    ("[gates.a]\nkind = 'command'\ncommand = ['x']\ntimeout = '0s'", "gates.a.timeout", "too short"),
    ("[gates.a]\nenabled = 0\n", "gates.a.enabled", "neither true nor false"),
    ("[updates.a]\nkind = 'reboot_required'", "updates.a.kind", "did you mean 'reboot-required'"),
    ("[updates.a]\nkind = 'reboot-required'\ncommand = ['x']", "updates.a.command", "unknown key"),
    ("[windows.a]\nlength = '1h'", "windows.a.start", 'write start = "Thu 23:00"'),
    ("[windows.a]\nstart = '1:00'", "windows.a.length", 'write length = "1h30m"'),
    ("[windows.a]\nstart = '14:00abc'\nlength = '1h'", "windows.a.start", "write HH:MM"),
    ("[windows.a]\nstart = ['Mon 1:00']\nlength = '1h'", "windows.a.start", "not a text"),
    ("[windows.a]\nstart = '1:00'\nlength = '25h'", "windows.a.length", "at most 24h"),
    ("[windows.a]\nstart = '1:00'\nlength = '0s'", "windows.a.length", "never open"),
    ("[windows.a]\nstart = '1:00'\nlength = '1h'\ntimezone = 'Berlin'", "windows.a.timezone", "'Europe/Berlin'"),
    # what must fit together
    ("[verify]\ndwell = '10m'", "verify.deadline", "longer than dwell"),
    ("[verify]\nrollback = 'no'", "verify.rollback", "known: hold, release"),
    ("[reboot]\nkind = 'command'", "reboot.command", "is missing"),
    ("[reboot]\ncommand = ['x']", "reboot.command", "no use with kind auto"),
    ("[reboot]\nkind = 'kexec'", "reboot.kind", "known: auto"),
    ("[reboot]\nretries = -1", "reboot.retries", "0 or more"),
    ("[reboot]\nretries = true", "reboot.retries", "0 or more"),
    ("[reboot]\nretries = '1'", "reboot.retries", "without quotes"),
]


@pytest.mark.parametrize(("text", "key", "remedy"), REFUSALS)
def test_every_refusal_says_file_key_and_remedy(one, tmp_path, text, key, remedy):
    with pytest.raises(ConfigError) as caught:
        one(text)
    assert str(caught.value).startswith(f"{tmp_path / 'one.toml'}: {key}: ")
    assert remedy in str(caught.value)


def test_names_of_people_may_be_slots_or_max(one):
    config = one(
        '[node]\nlabels = { max = "1", slots = "2" }\n[windows.max]\nstart = "1:00"\nlength = "1h"\n'
        '[gates.slots]\nkind = "command"\ncommand = ["x"]'
    )
    assert config.node.labels == {"max": "1", "slots": "2"}
    assert config.windows[0].name == "max"
    assert config.gates[0].name == "slots"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[store\n", "not TOML"),
        (b"a = 1\na = 2", "not TOML"),
        (b"a = " + b"9" * 5000, "not TOML"),
        (b"\xff", "not UTF-8"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
    ],
)
def test_files_that_cannot_be_parsed(tmp_path, content, problem):
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=problem) as caught:
        load(file, environ={}, roots=())
    assert str(caught.value).startswith(f"{file}: ")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"gone.toml: cannot be read: .*--config"):
        load(tmp_path / "gone.toml", environ={}, roots=())
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, environ={}, roots=())


def test_a_folder_that_cannot_be_looked_into_is_told_not_passed_over(roots):
    write(roots[1] / "locksmith.toml")
    roots[0].symlink_to(roots[0])  # a loop: refused to root as well, unlike missing rights
    with pytest.raises(ConfigError, match=r"etc/locksmith.toml: cannot be read"):
        load(environ={}, roots=roots)
    roots[0].unlink()
    roots[0].mkdir()
    (roots[0] / "locksmith.toml.d").symlink_to(roots[0] / "locksmith.toml.d")
    with pytest.raises(ConfigError, match=r"locksmith.toml.d: cannot be listed"):
        load(environ={}, roots=roots)


def test_the_refusal_names_the_drop_in_at_fault(roots):
    write(roots[0] / "locksmith.toml", '[agent]\nmin_uptime = "5m"')
    drop_in = write(roots[2] / "locksmith.toml.d/a.toml", '[agent]\nmin_uptime = "5 m"')
    with pytest.raises(ConfigError) as caught:
        load(environ={}, roots=roots)
    assert str(caught.value).startswith(f"{drop_in}: agent.min_uptime: ")


def test_variables_and_options_are_named_in_refusals(one):
    with pytest.raises(ConfigError, match=r"^environment LOCKSMITH_STORE: store.url: unknown store scheme"):
        one("", {"LOCKSMITH_STORE": "redis://h"})
    with pytest.raises(ConfigError, match=r"^--store: store.url: unknown store scheme"):
        one("", {}, {"store.url": "redis://h"})
    with pytest.raises(ConfigError, match=r"^--group: node.group: "):
        one("", {}, {"node.group": "-x"})


# --- credentials -------------------------------------------------------------------------------------------------


@pytest.fixture
def secrets(tmp_path):
    folder = tmp_path / "secrets"
    for name in ("password", "token", "ca.pem", "cert.pem", "key.pem"):
        write(folder / name, "s3cret")
    return folder


def test_credentials_from_a_file(one, secrets):
    config = one(
        f'[store]\nurl = "etcds://h"\nusername = "u"\npassword_file = "{secrets}/password"\n'
        f'ca_file = "{secrets}/ca.pem"\ncert_file = "{secrets}/cert.pem"\nkey_file = "{secrets}/key.pem"'
    )
    assert config.store.access == Access(
        username="u",
        password_file=secrets / "password",
        ca_file=secrets / "ca.pem",
        cert_file=secrets / "cert.pem",
        key_file=secrets / "key.pem",
    )
    assert "s3cret" not in repr(list(describe(config)))


@pytest.mark.parametrize(
    "keys",
    [["ca_file"], ["cert_file", "key_file"], ["username", "password_file"], ["username", "password_file", "ca_file"]],
)
def test_each_way_to_prove_oneself_works_on_its_own(one, secrets, keys):
    files = {"ca_file": "ca.pem", "cert_file": "cert.pem", "key_file": "key.pem", "password_file": "password"}
    environ = {f"LOCKSMITH_STORE_{key.upper()}": str(secrets / files[key]) if key in files else "u" for key in keys}
    access = one('[store]\nurl = "etcds://h"', environ).store.access
    assert {key for key in Access.__dataclass_fields__ if getattr(access, key) is not None} == set(keys)


def test_token_from_a_variable(one, secrets):
    config = one('[store]\nurl = "consul://h"', {"LOCKSMITH_STORE_TOKEN_FILE": str(secrets / "token")})
    assert config.store.access == Access(token_file=secrets / "token")
    assert config.origin["store.token_file"] == "environment LOCKSMITH_STORE_TOKEN_FILE"


@pytest.mark.parametrize("written", ["token", "sub/token", "/etc/locksmith/token"])
def test_the_units_credentials_come_first(one, secrets, written):
    text = f'[store]\nurl = "consul://h"\ntoken_file = "{written}"'
    assert one(text, {"CREDENTIALS_DIRECTORY": str(secrets)}).store.access.token_file == secrets / "token"


def test_other_files_are_used_when_the_unit_has_no_such_credential(one, secrets, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    text = f'[store]\nurl = "consul://h"\ntoken_file = "{secrets}/token"'
    assert one(text, {"CREDENTIALS_DIRECTORY": str(empty)}).store.access.token_file == secrets / "token"


@pytest.mark.parametrize(
    ("url", "keys", "refusal"),
    [
        ("etcd://h", {"ca_file": "ca.pem"}, r"ca_file: .*write etcds://"),
        ("consul://h", {"ca_file": "ca.pem"}, r"ca_file: .*write consuls://"),
        ("consul+unix:///x", {"ca_file": "ca.pem"}, r"ca_file: .*leave it out"),
        ("etcd://h", {"token_file": "token"}, r"token_file: .*leave it out"),
        ("consul://h", {"password_file": "password"}, r"password_file: .*leave it out"),
        ("memory:", {"token_file": "token"}, r"token_file: .*leave it out"),
        ("etcds://h", {"cert_file": "cert.pem"}, r"cert_file: .*needs key_file"),
        ("etcds://h", {"key_file": "key.pem"}, r"key_file: .*needs cert_file"),
        ("etcds://h", {"password_file": "password"}, r"password_file: .*needs username"),
        ("etcds://h", {"ca_file": "gone.pem"}, r"ca_file: .*there is no file"),
    ],
)
def test_credentials_that_do_not_fit(one, secrets, url, keys, refusal):
    lines = "".join(f'{key} = "{secrets / name}"\n' for key, name in keys.items())
    with pytest.raises(ConfigError, match=rf"one.toml: store.{refusal}"):
        one(f'[store]\nurl = "{url}"\n{lines}')


def test_credentials_of_the_store_that_was_put_aside_are_left_out(one, secrets):
    text = f'[store]\nurl = "etcds://h"\nusername = "u"\npassword_file = "/gone"\nca_file = "{secrets}/ca.pem"'
    assert one(text, {}, {"store.url": "memory:"}).store.access == Access()
    assert one(text, {"LOCKSMITH_STORE": "consuls://h"}).store.access == Access(ca_file=secrets / "ca.pem")
    # A token given for this URL, in the same place or a stronger one, must not vanish.
    with pytest.raises(ConfigError, match=r"^environment LOCKSMITH_STORE_TOKEN_FILE: store.token_file: has no use"):
        one("", {"LOCKSMITH_STORE": "etcd://h", "LOCKSMITH_STORE_TOKEN_FILE": str(secrets / "token")})


def test_relative_credentials(one, secrets, monkeypatch):
    with pytest.raises(ConfigError, match="absolute path"):
        one('[store]\nurl = "consul://h"\ntoken_file = "token"')
    monkeypatch.chdir(secrets)
    environ = {"LOCKSMITH_STORE_TOKEN_FILE": "token"}
    assert one('[store]\nurl = "consul://h"', environ).store.access.token_file == secrets / "token"


@pytest.mark.parametrize("variable", ["LOCKSMITH_STORE_PASSWORD", "LOCKSMITH_STORE_TOKEN"])
def test_secrets_in_variables_are_refused_and_not_repeated(one, variable):
    with pytest.raises(ConfigError, match=f"{variable}_FILE") as caught:
        one("", {variable: "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_gateway(one):
    assert one("").gateway == GatewaySettings(TcpListen("127.0.0.1", 9811), 10 * SECOND)
    told = one('[gateway]\nmetrics_listen = "unix:/run/locksmith/gateway.sock"\ncache = "0s"').gateway
    assert told == GatewaySettings(UnixListen(Path("/run/locksmith/gateway.sock")), 0 * SECOND)
    assert one('[gateway]\nmetrics_listen = ""').gateway.metrics_listen is None
    with pytest.raises(ConfigError, match=r"gateway\.cash: unknown key"):
        one('[gateway]\ncash = "1s"')
