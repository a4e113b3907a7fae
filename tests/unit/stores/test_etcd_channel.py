"""A channel that nobody uses gives its connection up, and has another one when it is needed."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from locksmith.stores import etcd_rpc_pb2 as rpc
from locksmith.stores.etcd_answers import CallFailed
from locksmith.stores.etcd_channel import RANGE, WATCH, Channel, grpc
from tests.servers.proxy import TcpProxy

LONG = 60.0
SHORT = 0.05


class _Server(grpc.GenericRpcHandler):
    """Answers a read, and a watch once; the watch then stays open."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def service(self, details: Any) -> Any:
        if details.method == RANGE.path:
            return grpc.unary_unary_rpc_method_handler(
                lambda _request, _context: rpc.RangeResponse(),
                rpc.RangeRequest.FromString,
                rpc.RangeResponse.SerializeToString,
            )
        return grpc.stream_stream_rpc_method_handler(
            self._watch, rpc.WatchRequest.FromString, rpc.WatchResponse.SerializeToString
        )

    def _watch(self, _requests: Any, _context: Any) -> Iterator[Any]:
        yield rpc.WatchResponse(created=True)
        self.end.wait(LONG)


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    """Counts the connections to a server."""
    handler = _Server()
    server = grpc.server(ThreadPoolExecutor(4), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with TcpProxy(f"127.0.0.1:{port}") as made:
        yield made
        handler.end.set()
        server.stop(None).wait()


def ask(channel: Channel) -> None:
    channel.call(RANGE, rpc.RangeRequest(key=b"k"), 10.0, ())


def rested(channel: Channel) -> None:
    """Return when the thread that sees to it has ended, at once when there is none."""
    for thread in threading.enumerate():
        if thread.name == f"rest {channel._endpoint}":
            thread.join(LONG)
            assert not thread.is_alive()


def test_calls_in_quick_succession_share_a_connection(proxy: TcpProxy) -> None:
    channel = Channel(proxy.endpoint, None, LONG)
    for _ in range(3):
        ask(channel)
    assert proxy.connections == 1
    channel.close()


def test_nothing_is_opened_before_the_first_call(proxy: TcpProxy) -> None:
    Channel(proxy.endpoint, None, LONG).close()
    assert proxy.connections == 0


def test_a_rest_ends_with_the_next_call(proxy: TcpProxy) -> None:
    channel = Channel(proxy.endpoint, None, SHORT)
    for number in (1, 2, 3):
        ask(channel)
        assert proxy.connections == number
        rested(channel)
    channel.close()


def test_what_still_runs_is_not_put_away(proxy: TcpProxy) -> None:
    channel = Channel(proxy.endpoint, None, SHORT)
    with channel.stream(WATCH, iter(()), LONG, ()) as stream:
        answers = iter(stream)
        assert next(answers).created
        ask(channel)
        seer = next(thread for thread in threading.enumerate() if thread.name == f"rest {proxy.endpoint}")
        seer.join(SHORT * 6)
        assert seer.is_alive()
        ask(channel)
        assert proxy.connections == 1
    rested(channel)
    ask(channel)
    assert proxy.connections == 2
    channel.close()


def test_closed_is_closed(proxy: TcpProxy) -> None:
    channel = Channel(proxy.endpoint, None, LONG)
    ask(channel)
    channel.close()
    rested(channel)
    with pytest.raises(CallFailed):
        ask(channel)
    assert proxy.connections == 1


def test_retired_while_at_rest(proxy: TcpProxy) -> None:
    channel = Channel(proxy.endpoint, None, SHORT)
    ask(channel)
    rested(channel)
    channel.retire()
    with pytest.raises(CallFailed):
        ask(channel)
    assert proxy.connections == 1
