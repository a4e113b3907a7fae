"""One reboot of a real `locksmithd`, as the server sees it: from the staged update to rest after the new boot.

Besides the ten requests of the protocol there are those of two starts of the agent, of its session, and of what it tells the
registry.
"""

import time

from tests.benchmarks.parts.counting import Counting
from tests.integration.fleet.fleet import Fleet
from tests.integration.fleet.stores import ConsulRaw, EtcdRaw
from tests.integration.places import Place

REGISTRY_SECONDS = 12.0
"""The registry record is written at most once in ten seconds: the last one comes this late."""


def figures(where: Place, raw: EtcdRaw | ConsulRaw) -> dict[str, float]:
    """Requests, writes among them, and bytes on the wire."""
    kind, upstream = where.url.split("://")
    address = upstream.split("/")[0]
    with Counting(address) as proxy, Fleet(raw, 1, slots=1, urls=[f"{kind}://{proxy.endpoint}/{raw.prefix}"]) as fleet:
        (host,) = fleet.hosts
        host.start()
        fleet.wait(lambda: host.is_in("steady"), "it is steady")
        time.sleep(REGISTRY_SECONDS)
        before = proxy.requests, proxy.writes, proxy.bytes
        host.stage_update()
        fleet.wait(lambda: fleet.rebooted_and_steady(host), "it has rebooted")
        time.sleep(REGISTRY_SECONDS)
        after = proxy.requests, proxy.writes, proxy.bytes
    return {name: end - start for name, start, end in zip(("requests", "writes", "bytes"), before, after, strict=True)}
