"""The cluster of a run as a store to look into, for the fleet."""

import base64
import json
import time

from tests.chaos.consuls import Consuls
from tests.chaos.etcds import Etcds
from tests.integration.fleet.stores import Entry
from tests.servers.process import ServerFailed

_PREFIX = "locksmith/"
_PATIENCE = 30.0


class Look:
    """See `tests.integration.fleet.stores.Raw`."""

    def __init__(self, cluster: Etcds | Consuls) -> None:
        """Of either kind."""
        self.cluster = cluster

    @property
    def url(self) -> str:
        """For the product."""
        return self.cluster.url()

    def snapshot(self) -> dict[str, Entry]:
        """All keys; tries on while an election goes on."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._etcd() if isinstance(self.cluster, Etcds) else self._consul(self.cluster)
            except ServerFailed:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def _etcd(self) -> dict[str, Entry]:
        answer = json.loads(self.cluster.etcdctl("get", "--prefix", _PREFIX, "--write-out", "json"))  # type: ignore[union-attr]
        return {
            base64.b64decode(item["key"]).decode().removeprefix(_PREFIX): Entry(
                base64.b64decode(item.get("value", "")), item["create_revision"], item["mod_revision"]
            )
            for item in answer.get("kvs", [])
        }

    def _consul(self, cluster: Consuls) -> dict[str, Entry]:
        items = cluster.ask(f"/v1/kv/{_PREFIX}?recurse&consistent")
        if items is None:
            raise ServerFailed("consul does not answer")
        return {
            item["Key"].removeprefix(_PREFIX): Entry(
                base64.b64decode(item["Value"] or ""), item["CreateIndex"], item["ModifyIndex"]
            )
            for item in items
        }
