"""Store URLs: every form, its defaults and normal form, and refusals that repeat no secret."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.core.store_url import StoreUrl, parse_store_url


@pytest.mark.parametrize(
    ("text", "url", "normal"),
    [
        (
            "sqlite:///var/lib/locksmith/store.db",
            StoreUrl("sqlite", path=Path("/var/lib/locksmith/store.db")),
            "sqlite:///var/lib/locksmith/store.db",
        ),
        ("sqlite:////tmp/a", StoreUrl("sqlite", path=Path("/tmp/a")), "sqlite:///tmp/a"),
        ("sqlite:///tmp/a%20b%3f@c", StoreUrl("sqlite", path=Path("/tmp/a b?@c")), "sqlite:///tmp/a%20b%3F%40c"),
        (
            "etcd://host1:2379,host2:2379/prefix",
            StoreUrl("etcd", ("host1:2379", "host2:2379"), "prefix"),
            "etcd://host1:2379,host2:2379/prefix",
        ),
        ("etcd://Host1,host2:1", StoreUrl("etcd", ("host1:2379", "host2:1")), "etcd://host1:2379,host2:1/locksmith"),
        ("ETCDS://h/", StoreUrl("etcd", ("h:2379",), tls=True), "etcds://h:2379/locksmith"),
        ("etcd://h,h:2379,H", StoreUrl("etcd", ("h:2379",)), "etcd://h:2379/locksmith"),
        ("etcd://h/a/b_c/d.e/", StoreUrl("etcd", ("h:2379",), "a/b_c/d.e"), "etcd://h:2379/a/b_c/d.e"),
        (
            "etcd://[::1],[2001:DB8:0::1]:1",
            StoreUrl("etcd", ("[::1]:2379", "[2001:db8::1]:1")),
            "etcd://[::1]:2379,[2001:db8::1]:1/locksmith",
        ),
        ("consul://h", StoreUrl("consul", ("h:8500",)), "consul://h:8500/locksmith"),
        ("consuls://h", StoreUrl("consul", ("h:8501",), tls=True), "consuls://h:8501/locksmith"),
        (
            "consul://10.0.0.1,b:80/p?dc=dc1",
            StoreUrl("consul", ("10.0.0.1:8500", "b:80"), "p", datacenter="dc1"),
            "consul://10.0.0.1:8500,b:80/p?dc=dc1",
        ),
        ("consul://h?dc=dc1", StoreUrl("consul", ("h:8500",), datacenter="dc1"), "consul://h:8500/locksmith?dc=dc1"),
        (
            "consul+unix:///run/consul.sock",
            StoreUrl("consul", unix_socket="/run/consul.sock"),
            "consul+unix:///run/consul.sock",
        ),
        (
            "consul+unix:///run/c.sock?prefix=a/b&dc=x",
            StoreUrl("consul", unix_socket="/run/c.sock", prefix="a/b", datacenter="x"),
            "consul+unix:///run/c.sock?dc=x&prefix=a/b",
        ),
        ("memory:", StoreUrl("memory"), "memory:"),
        ("memory://", StoreUrl("memory"), "memory:"),
    ],
)
def test_forms_defaults_and_normal_form(text, url, normal):
    assert parse_store_url(text) == url
    assert str(url) == normal
    assert parse_store_url(normal) == url


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "sqlite:///PATH"),
        ("host:2379", "write one of"),
        ("/var/lib/store.db", "write one of"),
        ("http://h:2379", "known: sqlite:///PATH"),
        ("etcd3://h", "did you mean 'etcd'"),
        ("sqlite3:///x", "did you mean 'sqlite'"),
        ("cosnul://h", "did you mean 'consul'"),
        ("etcd:h:2379", "write etcd://"),
        ("sqlite:/x", "write sqlite://"),
        ("sqlite://x/y.db", "three slashes"),
        ("sqlite:///", "absolute path of a file"),
        ("sqlite:///a/", "absolute path of a file"),
        ("sqlite:///a%00", "absolute path of a file"),
        ("sqlite:///a?mode=ro", "sqlite takes none"),
        ("consul+unix://run/x", "three slashes"),
        ("memory:x", "write memory:"),
        ("memory://x", "write memory:"),
        ("etcd://", "names no host"),
        ("etcd:///p", "names no host"),
        ("etcd://a,,b", "empty host"),
        ("etcd://a,b,", "empty host"),
        ("etcd://a, b", "space"),
        ("etcd://a\n", "space"),
        ("etcd://a:0", "1 to 65535"),
        ("etcd://a:65536", "1 to 65535"),
        ("etcd://a:0065536", "1 to 65535"),
        ("etcd://a:http", "1 to 65535"),
        ("etcd://a:", "HOST:PORT"),
        ("etcd://a-:1", "HOST:PORT"),
        ("etcd://::1:2379", "brackets"),
        ("etcd://[::1", "[ADDRESS]:PORT"),
        ("etcd://[::1]x", "[ADDRESS]:PORT"),
        ("etcd://[::1]:", "[ADDRESS]:PORT"),
        ("etcd://[1.2.3.4]:1", "IPv6"),
        ("etcd://h/a//b", "key prefix"),
        ("etcd://h/../b", "key prefix"),
        ("etcd://h/a%2Fb", "key prefix"),
        ("etcd://h/" + "a" * 257, "key prefix"),
        ("etcd://h/p#x", "'#'"),
        ("etcd://h?dc=x", "etcd takes none"),
        ("consul://h?dcs=x", "did you mean 'dc'"),
        ("consul://h?dc=", "not a Consul datacenter"),
        ("consul://h?dc=a/b", "not a Consul datacenter"),
        ("consul://h?dc=a&dc=b", "twice"),
        ("consul://h?dc", "?key=value"),
        ("etcd://" + "h" * 5000, "at most 4096"),
    ],
)
def test_refuse_with_the_remedy(text, remedy):
    with pytest.raises(ValueError, match=r"store URL|store scheme|key prefix|datacenter") as caught:
        parse_store_url(text)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "etcd://root:hunter2@h:2379/p",
        "etcd://root:hun/hunter2@h:2379/p",
        "consul://:hunter2@h",
        "postgres://root:hunter2@h/p",
        "root:hunter2@h",
        "memory:hunter2@",
        "consul://h?token=hunter2",
        "consul://h?token=hunter2 ",
        "etcd://h?token=hunter2#",
        "etcd:h?token=hunter2",
    ],
)
def test_no_message_repeats_a_secret(text):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_store_url(text)
    assert "hun" not in str(caught.value)
    if "@" in text:
        assert "password_file" in str(caught.value)


_host = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,10}[a-z0-9])?", fullmatch=True)
_endpoint = st.one_of(
    st.tuples(_host, st.integers(1, 65535)).map(lambda pair: f"{pair[0]}:{pair[1]}"),
    st.tuples(st.ip_addresses(v=6), st.integers(1, 65535)).map(lambda pair: f"[{pair[0]}]:{pair[1]}"),
)
_prefix = st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,8}", fullmatch=True), min_size=1, max_size=4).map(
    "/".join
)
_path = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)
_urls = st.one_of(
    st.builds(
        StoreUrl,
        kind=st.just("etcd"),
        endpoints=st.lists(_endpoint, min_size=1, max_size=4, unique=True).map(tuple),
        prefix=_prefix,
        tls=st.booleans(),
    ),
    st.builds(
        StoreUrl,
        kind=st.just("consul"),
        endpoints=st.lists(_endpoint, min_size=1, max_size=4, unique=True).map(tuple),
        prefix=_prefix,
        tls=st.booleans(),
        datacenter=st.none() | st.from_regex(r"[A-Za-z0-9_-]{1,10}", fullmatch=True),
    ),
    st.builds(StoreUrl, kind=st.just("consul"), prefix=_prefix, unix_socket=_path.map(lambda name: f"/run/{name}")),
    st.builds(StoreUrl, kind=st.just("sqlite"), path=_path.map(lambda name: Path(f"/tmp/{name}"))),
)


@given(_urls)
def test_the_normal_form_is_read_back(url):
    assert parse_store_url(str(url)) == url


@given(st.text(max_size=40) | st.text(alphabet="etcdsconulqimry:/+@?#[].,%123= ", max_size=40))
def test_any_text_is_a_url_or_a_value_error(text):
    try:
        url = parse_store_url(text)
    except ValueError:
        return
    assert parse_store_url(str(url)) == url
