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


def report(where: Place, raw: EtcdRaw | ConsulRaw) -> None:
    """Print the figures of one store."""
    kind, upstream = where.url.split("://")
    address = upstream.split("/")[0]
    with Counting(address) as proxy, Fleet(raw, 1, slots=1, urls=[f"{kind}://{proxy.endpoint}/{raw.prefix}"]) as fleet:
        (host,) = fleet.hosts
        host.start()
        fleet.wait(lambda: host.is_in("steady"), "it is steady")
        time.sleep(REGISTRY_SECONDS)
        requests, writes = proxy.requests, proxy.writes
        host.stage_update()
        fleet.wait(lambda: fleet.rebooted_and_steady(host), "it has rebooted")
        time.sleep(REGISTRY_SECONDS)
        print(
            f"a whole reboot of a real agent: {proxy.requests - requests} requests, of which {proxy.writes - writes} writes"
            " (two starts, the session and the registry included)"
        )
