"""update.conf and LOCKSMITHD_* as the weakest layer: what they become, whose word wins, and what is refused with which remedy."""

import pytest

from locksmith.config import load, require_store
from locksmith.config_files import Layers, gather
from locksmith.config_flatcar import flatcar_layer, notices, read_update_conf, store_url
from locksmith.errors import ConfigError


@pytest.fixture
def host(tmp_path):
    """A Flatcar host: write its files, see the tree and the origins."""
    return Host(tmp_path)


class Host:
    def __init__(self, folder):
        self.roots = (folder / "locksmith",)
        self.files = (folder / "usr" / "update.conf", folder / "etc" / "update.conf")

    def write(self, usr="", etc="", toml=""):
        paths = (*self.files, self.roots[0] / "locksmith.toml")
        for path, text in zip(paths, (usr, etc, toml), strict=True):
            if text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return self

    def gather(self, environ=None, overrides=None, file=None):
        return gather(file, environ or {}, self.roots, overrides or {}, self.files)


def tree(environ, taken=None):
    merged = Layers()
    for part, origin in flatcar_layer(environ, taken or {}, ()).parts:
        merged.lay(part, origin)
    return merged.tree


def refusal(environ, taken=None):
    with pytest.raises(ConfigError) as caught:
        flatcar_layer(environ, taken or {}, ())
    return str(caught.value)


# --- where it is read --------------------------------------------------------------------------------------------


def test_a_host_that_is_not_flatcar_says_nothing(host):
    layers = host.gather({"PATH": "/bin", "GROUP": "x"})
    assert (layers.tree, layers.files) == ({}, [])


def test_the_later_file_wins_variable_by_variable(host):
    host.write(usr="REBOOT_STRATEGY=reboot\nLOCKSMITHD_GROUP=a\n", etc='REBOOT_STRATEGY="etcd-lock"\n')
    layers = host.gather()
    assert layers.tree == {"agent": {"strategy": "lock"}, "node": {"group": "a"}}
    assert layers.origins["agent.strategy"] == f"file:{host.files[1]}"
    assert layers.origins["node.group"] == f"file:{host.files[0]}"
    assert layers.files == list(host.files)


def test_a_variable_of_the_environment_wins_over_both_files(host):
    host.write(etc="LOCKSMITHD_GROUP=a\n")
    layers = host.gather({"LOCKSMITHD_GROUP": "b"})
    assert layers.tree == {"node": {"group": "b"}}
    assert layers.origins["node.group"] == "environment LOCKSMITHD_GROUP"
    assert layers.files == []


def test_an_empty_value_in_the_later_file_takes_the_earlier_one_back(host):
    assert host.write(usr="LOCKSMITHD_GROUP=a\n", etc="LOCKSMITHD_GROUP=\n").gather().tree == {}


def test_an_empty_variable_of_the_environment_is_an_unset_one(host):
    assert host.write(etc="LOCKSMITHD_GROUP=a\n").gather({"LOCKSMITHD_GROUP": ""}).tree == {"node": {"group": "a"}}


def test_files_that_say_nothing_to_locksmith_are_not_listed(host):
    host.write(usr="GROUP=stable\nSERVER=https://example.org/update\n", etc="MACHINE_ALIAS=x\n")
    layers = host.gather()
    assert (layers.tree, layers.files) == ({}, [])


def test_the_channel_of_updates_is_no_group_of_ours(host):
    assert host.write(etc="GROUP=alpha\n").gather().tree == {}


def test_a_named_configuration_file_is_read_alone(host, tmp_path):
    host.write(etc="LOCKSMITHD_GROUP=a\n")
    named = tmp_path / "named.toml"
    named.write_text('[node]\nid = "x"\n')
    assert host.gather({"LOCKSMITHD_GROUP": "b"}, file=named).tree == {"node": {"id": "x"}}
    assert host.gather({"LOCKSMITH_CONFIG": str(named), "REBOOT_STRATEGY": "off"}).tree == {"node": {"id": "x"}}


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_update_conf(tmp_path)


def test_the_whole_configuration_knows_where_it_comes_from():
    config = load(
        environ={
            "REBOOT_STRATEGY": "etcd-lock",
            "LOCKSMITHD_ENDPOINT": "http://10.0.0.1:2379,http://10.0.0.2:2379",
            "LOCKSMITHD_GROUP": "web",
            "REBOOT_WINDOW_START": "Thu 23:00",
            "REBOOT_WINDOW_LENGTH": "1h30m",
        },
        roots=(),
    )
    assert config.store is not None
    assert str(config.store.url) == "etcd://10.0.0.1:2379,10.0.0.2:2379/locksmith"
    assert (config.agent.strategy, config.node.group) == ("lock", "web")
    assert [(window.name, str(window.start), window.timezone) for window in config.windows] == [
        ("locksmith", "Thu 23:00", "local")
    ]
    assert config.origin["store.url"] == "environment LOCKSMITHD_ENDPOINT"
    assert config.origin["windows.locksmith.length"] == "environment REBOOT_WINDOW_LENGTH"


# --- whose word wins ---------------------------------------------------------------------------------------------


def test_what_locksmith_toml_says_wins_and_the_rest_is_not_even_judged(host):
    host.write(
        etc="REBOOT_STRATEGY=best-effort\nLOCKSMITHD_GROUP=a/b\nLOCKSMITHD_ENDPOINT=nonsense\nREBOOT_WINDOW_START=never\n",
        toml='[agent]\nstrategy = "lock"\n[node]\ngroup = "web"\n[store]\nurl = "consul://c/x"\n[windows.w]\nstart = "1:00"\n',
    )
    layers = host.gather()
    assert layers.tree == {
        "agent": {"strategy": "lock"},
        "node": {"group": "web"},
        "store": {"url": "consul://c/x"},
        "windows": {"w": {"start": "1:00"}},
    }


@pytest.mark.parametrize("stronger", ["variable", "option"])
def test_credentials_stay_with_their_endpoints(host, stronger):
    host.write(etc="LOCKSMITHD_ENDPOINT=https://old:2379\nLOCKSMITHD_ETCD_CAFILE=/ca\nLOCKSMITHD_ETCD_PASSWORD=x\n")
    url = "etcds://new/locksmith"
    layers = host.gather(
        {"LOCKSMITH_STORE": url} if stronger == "variable" else {}, {"store.url": url} if stronger == "option" else {}
    )
    assert layers.tree == {"store": {"url": url}}


def test_credentials_without_endpoints_are_nobodys():
    assert tree({"LOCKSMITHD_ETCD_CAFILE": "/ca", "LOCKSMITHD_ETCD_PASSWORD": "x"}) == {}


def test_a_window_of_locksmith_toml_replaces_this_one():
    """Windows add up: with both, the node would reboot in either."""
    mine = {"REBOOT_WINDOW_START": "4:00", "REBOOT_WINDOW_LENGTH": "1h"}
    assert tree(mine, {"windows": {"night": {}}}) == {}


# --- what it becomes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "ours"), [("etcd-lock", "lock"), ("reboot", "reboot"), ("off", "off")])
def test_a_strategy(word, ours):
    assert tree({"REBOOT_STRATEGY": word}) == {"agent": {"strategy": ours}}


@pytest.mark.parametrize("word", ["best-effort", "etcd-lok", "lock", "Reboot", "none", "consul-lock"])
def test_no_other_strategy_is_taken_for_one(word):
    message = refusal({"REBOOT_STRATEGY": word})
    assert message.startswith("environment REBOOT_STRATEGY: ")
    assert "etcd-lock" in message


def test_no_strategy_is_not_rebooting_without_the_lock(host):
    """locksmith: reboot at any time. Ours: the default, lock."""
    host.write(usr="GROUP=stable\n", etc="REBOOT_STRATEGY=\n")
    assert "agent" not in host.gather().tree


@pytest.mark.parametrize(
    ("endpoints", "url"),
    [
        ("http://127.0.0.1:2379", "etcd://127.0.0.1:2379/locksmith"),
        ("http://a:2379,http://b:4001", "etcd://a:2379,b:4001/locksmith"),
        (" http://a:2379 , http://b:2379/ ", "etcd://a:2379,b:2379/locksmith"),
        ("https://a:2379,https://b:2379", "etcds://a:2379,b:2379/locksmith"),
        ("http://a", "etcd://a:80/locksmith"),
        ("https://a", "etcds://a:443/locksmith"),
        ("http://[fd00::1]:2379", "etcd://[fd00::1]:2379/locksmith"),
        ("HTTP://A:2379", "etcd://a:2379/locksmith"),
    ],
)
def test_endpoints(endpoints, url):
    assert store_url(endpoints) == url


@pytest.mark.parametrize(
    ("endpoints", "says"),
    [
        ("http://a:2379,https://b:2379", "mixed"),
        ("http://a:2379,", "empty"),
        ("a:2379", "not an etcd endpoint"),
        ("10.0.0.1:2379", "not an etcd endpoint"),
        ("unix:///run/etcd.sock", "not an etcd endpoint"),
        ("http://a:99999", "cannot be read"),
        ("http://a:2379/v2/keys", "has a path"),
        ("http://", "not an etcd endpoint"),
        ("http://[::1", "cannot be read"),
        ("http://a b:2379", "write"),
    ],
)
def test_no_endpoints(endpoints, says):
    message = refusal({"LOCKSMITHD_ENDPOINT": endpoints})
    assert message.startswith("environment LOCKSMITHD_ENDPOINT: ")
    assert says in message


def test_a_password_in_an_endpoint_is_not_repeated():
    message = refusal({"LOCKSMITHD_ENDPOINT": "http://root:s3cret@a:2379"})
    assert "password_file" in message
    assert "s3cret" not in message


def test_an_etcd_on_this_host_is_never_assumed():
    """locksmith: 127.0.0.1:2379 and :4001. Where each node has an etcd of its own, every node would get every slot."""
    assert tree({"REBOOT_STRATEGY": "etcd-lock"}) == {"agent": {"strategy": "lock"}}


def test_who_has_no_store_hears_why_the_old_default_is_none():
    config = load(environ={"REBOOT_STRATEGY": "etcd-lock"}, roots=())
    with pytest.raises(ConfigError, match=r"LOCKSMITHD_ENDPOINT.*127\.0\.0\.1"):
        require_store(config)
    with pytest.raises(ConfigError) as caught:
        require_store(load(environ={}, roots=()))
    assert "LOCKSMITHD" not in str(caught.value)


def test_certificates():
    assert tree(
        {
            "LOCKSMITHD_ENDPOINT": "https://a:2379",
            "LOCKSMITHD_ETCD_CAFILE": "/ca",
            "LOCKSMITHD_ETCD_CERTFILE": "/cert",
            "LOCKSMITHD_ETCD_KEYFILE": "/key",
        }
    ) == {"store": {"url": "etcds://a:2379/locksmith", "ca_file": "/ca", "cert_file": "/cert", "key_file": "/key"}}


def test_certificates_for_a_connection_in_clear_are_refused():
    message = refusal({"LOCKSMITHD_ENDPOINT": "http://a:2379", "LOCKSMITHD_ETCD_CAFILE": "/ca"})
    assert "LOCKSMITHD_ETCD_CAFILE" in message
    assert "https://" in message


def test_a_password_is_refused_unless_a_file_has_it():
    environ = {
        "LOCKSMITHD_ENDPOINT": "http://a:2379",
        "LOCKSMITHD_ETCD_USERNAME": "me",
        "LOCKSMITHD_ETCD_PASSWORD": "s3cret",
    }
    message = refusal(environ)
    assert "password_file" in message
    assert "s3cret" not in message
    taken = {"store": {"password_file": "/run/pw"}}
    assert tree(environ, taken) == {"store": {"url": "etcd://a:2379/locksmith", "username": "me"}}


@pytest.mark.parametrize("group", ["prod/database", ".", "..", "a b", "-x"])
def test_a_group_whose_name_we_do_not_take(group):
    message = refusal({"LOCKSMITHD_GROUP": group})
    assert message.startswith("environment LOCKSMITHD_GROUP: ")
    assert "rename" in message


# --- the window --------------------------------------------------------------------------------------------------


def test_a_window():
    assert tree({"REBOOT_WINDOW_START": "thu 4:00", "REBOOT_WINDOW_LENGTH": "1.5h"}) == {
        "windows": {"locksmith": {"start": "Thu 04:00", "length": "1h30m", "timezone": "local"}}
    }


def test_the_longer_names_win_one_by_one():
    assert tree(
        {
            "REBOOT_WINDOW_START": "4:00",
            "REBOOT_WINDOW_LENGTH": "1h",
            "LOCKSMITHD_REBOOT_WINDOW_START": "5:00",
            "LOCKSMITHD_REBOOT_WINDOW_LENGTH": "",
        }
    )["windows"]["locksmith"] == {"start": "05:00", "length": "1h", "timezone": "local"}


@pytest.mark.parametrize("name", ["START", "LENGTH"])
@pytest.mark.parametrize("prefix", ["", "LOCKSMITHD_"])
def test_half_a_window(name, prefix):
    message = refusal({f"{prefix}REBOOT_WINDOW_{name}": "1:00"})
    assert message.startswith(f"environment {prefix}REBOOT_WINDOW_{name}: ")
    assert "both or neither" in message


@pytest.mark.parametrize(
    ("start", "length", "name"),
    [("25:00", "1h", "START"), ("4:00", "1d", "LENGTH"), ("4:00", "24h", "LENGTH"), ("4:00", "0", "LENGTH")],
)
def test_a_window_that_cannot_be(start, length, name):
    message = refusal({"REBOOT_WINDOW_START": start, "REBOOT_WINDOW_LENGTH": length})
    assert message.startswith(f"environment REBOOT_WINDOW_{name}: ")


def test_an_error_in_a_file_names_file_and_variable(host):
    host.write(etc="REBOOT_STRATEGY=best-effort\n")
    with pytest.raises(ConfigError) as caught:
        host.gather()
    assert str(caught.value).startswith(f"{host.files[1]}: REBOOT_STRATEGY: ")


# --- what is to be said at the start -----------------------------------------------------------------------------


def test_whoever_takes_over_the_endpoints_hears_of_the_old_lock():
    (notice,) = notices({"store.url": "file:/etc/flatcar/update.conf"})
    assert "v2" in notice
    assert len(list(notices({"store.url": "environment LOCKSMITHD_ENDPOINT"}))) == 1
    assert not list(notices({"store.url": "file:/etc/locksmith/locksmith.toml"}))
    assert not list(notices({}))


@pytest.mark.parametrize("stronger", ["", '[agent]\nstrategy = "reboot"\n', '[agent]\nstrategy = "lock"\n'])
def test_who_names_a_store_is_not_left_without_the_lock_by_an_old_line(tmp_path, stronger):
    """REBOOT_STRATEGY=reboot of old, and a store in locksmith.toml: one of both is meant, and it must be said which."""
    root = tmp_path / "etc"
    root.mkdir()
    (root / "locksmith.toml").write_text(f'[store]\nurl = "sqlite:///var/lib/x/store.db"\n{stronger}')
    environ = {"REBOOT_STRATEGY": "reboot"}
    if stronger:
        assert load(environ=environ, roots=(root,)).agent.strategy in stronger
    else:
        with pytest.raises(ConfigError, match="takes no slot, while the store is configured elsewhere"):
            load(environ=environ, roots=(root,))
    assert (
        load(environ={**environ, "LOCKSMITHD_ENDPOINT": "http://127.0.0.1:2379"}, roots=()).agent.strategy == "reboot"
    )
