"""What it costs when one of very many endpoints leaves or comes: CPU time in all, and of the longest turn of the reactor.

No sockets and no probes: a feed speaks, and membership works out the new set and the scheduler. Needs voltgw's interpreter.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import thread_time
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.cluster.making import FakePool
from tests.control.fakes import FakeLoop, FakeNet
from tests.control.test_membership import FakeFeed
from voltgw.cluster.cluster import Cluster, SchedulerFactory
from voltgw.cluster.schedulers import least_request, maglev, ring_hash, round_robin
from voltgw.control.feed import Add, Found, Remove, Reset
from voltgw.control.membership import Membership
from voltgw.control.probes.prober import Prober

FACTORIES: Final[tuple[SchedulerFactory, ...]] = (
    round_robin.FACTORY, least_request.FACTORY, ring_hash.FACTORY, maglev.FACTORY)


def measure(factory: SchedulerFactory, count: int) -> None:
    """Print what one leaving and one coming cost in a cluster of so many."""
    loop, net, feed = FakeLoop(), FakeNet(), FakeFeed()
    cluster = Cluster("default/c", factory, lambda _: FakePool(), Random(0))
    membership = Membership(cluster, (feed,), (), Prober(loop, Random(0), net.dial), loop)
    membership.startService()
    found = tuple(Found(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 80) for number in range(count))
    feed.say(Reset(found))
    loop.advance(1.0)

    def turns(act: Callable[[], None]) -> list[float]:
        act()
        loop.clock.advance(1.0)             # a pass waits a moment behind the last one
        spent = []
        while loop.calls:
            began = thread_time()
            loop.turn()
            spent.append((thread_time() - began) * 1e3)
        return spent

    one = found[count // 2:count // 2 + 1]
    for what, act in (("leaves", lambda: feed.say(Remove(one))), ("comes", lambda: feed.say(Add(one)))):
        spent = turns(act)
        print(f"{getattr(factory, 'name', ''):16}{what:8}{sum(spent):>10.1f}{max(spent):>14.1f}{len(spent):>8}")
    membership.stopService()


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=10_000, help="endpoints (default: %(default)s)")
    given = options.parse_args()
    print(f"{'scheduler':16}{'one':8}{'ms in all':>10}{'longest turn':>14}{'turns':>8}")
    for factory in FACTORIES:
        measure(factory, given.count)


if __name__ == "__main__":
    main()
