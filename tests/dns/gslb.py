"""Forty cases of one name at several sites, as data: who is up, who asks, and which addresses have to be answered.

The same table is put to a zone (`tests.dns.test_gslb`), to a whole configuration with its load balancers
(`tests.app.test_gslb`), and to PowerDNS and gdnsd (`tests.integration.test_gslb`), as far as they can say it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final

from voltgw.routing.zone import Address, Host, Order, Target
from voltgw.wire.dnsmsg import name_of

#: The resolver that asks where a case says nothing of the client.
RESOLVER: Final = "198.51.100.7"
#: How often a question is asked whose answers have shares.
DRAWS: Final = 1200


@dataclass(frozen=True)
class Vip:
    """One address of the name, at a site."""

    site: str
    weight: int = 1
    priority: int = 0
    clients: tuple[str, ...] = ()
    six: bool = False


@dataclass(frozen=True)
class Step:
    """What has to be answered at a moment: `given` are numbers of VIPs (from 1), all in each answer, each first equally often.

    `up` are those whose service is up (None = all), without those at the sites `lost`. `client` is a resolver's address, or
    the prefix that it tells of. `shares` are for answers of one address: how often which. `size` is how many addresses an
    answer has where it has not all that are given. `scope` is that of an answer to a prefix.
    """

    given: tuple[int, ...] = ()
    up: tuple[int, ...] | None = None
    lost: tuple[str, ...] = ()
    client: str = RESOLVER
    kind: str = "A"
    scope: int = 0
    shares: Mapping[int, float] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """A name with its VIPs, and what becomes of it step by step."""

    title: str
    order: Order
    vips: tuple[Vip, ...]
    steps: tuple[Step, ...]
    serve_down: bool = True
    owner: str = "shop"
    asked: str = "shop"

    @property
    def number(self) -> int:
        """Its place in the table, from 1."""
        return CASES.index(self) + 1

    @property
    def zone(self) -> str:
        """The zone of its own that it has."""
        return f"c{self.number}.example"

    def address(self, number: int) -> Address:
        """That of a VIP, which is of the loopback network, or of IPv6."""
        return ip_address(f"2001:db8:{self.number}::{number}" if self.vips[number - 1].six else f"127.20.{self.number}.{number}")

    def up(self, step: Step) -> set[int]:
        """The VIPs whose service is up."""
        return {number for number, vip in enumerate(self.vips, 1)
                if (step.up is None or number in step.up) and vip.site not in step.lost}

    def host(self, step: Step) -> Host:
        """What the zone is told of it."""
        up = self.up(step)
        return Host(name_of(f"{self.owner}.{self.zone}"), tuple(
            Target(self.address(number), vip.weight, vip.priority, tuple(map(ip_network, vip.clients)), number in up)
            for number, vip in enumerate(self.vips, 1)), self.order, None, self.serve_down)


def on(sites: str, **more: tuple[object, ...]) -> tuple[Vip, ...]:
    """VIPs at these sites; `more` has other values of theirs, one for each."""
    return tuple(Vip(site, **{key: values[index] for key, values in more.items()})  # type: ignore[arg-type]
                 for index, site in enumerate(sites.split()))


ALL, ONE, BEST, NEAR = Order.ROUND_ROBIN, Order.WEIGHTED, Order.PRIORITY, Order.CLIENT_SUBNET
NETS: Final = (("10.0.0.0/8",), ("10.1.0.0/16", "2001:db8::/32"), ())
THREE: Final = "paris lyon nice"


def _three(case: str, order: Order, *steps: Step, serve_down: bool = True, **more: tuple[object, ...]) -> Case:
    return Case(case, order, on(THREE, **more), steps, serve_down)


CASES: Final = (
    # -- all that are up, in turn
    Case("one VIP", ALL, on("paris"), (Step((1,)), Step((1,), up=()))),
    _three("three sites", ALL, Step((1, 2, 3))),
    _three("a VIP goes down and comes back", ALL, Step((1, 2, 3)), Step((1, 3), up=(1, 3)), Step((1, 2, 3))),
    Case("a site is lost with both its VIPs", ALL, on("paris paris lyon"), (Step((3,), lost=("paris",)), Step((1, 2, 3)))),
    _three("all are down, and served all the same", ALL, Step((1, 2, 3), up=()), Step((2,), up=(2,))),
    _three("all are down, and nothing is served", ALL, Step((), up=()), Step((2,), up=(2,)), Step((), lost=("paris", "lyon", "nice")),
           serve_down=False),
    _three("weight 0 is for when nothing else is left", ALL, Step((1, 2)), Step((1,), up=(1, 3)), Step((3,), up=(3,)), weight=(1, 1, 0)),
    _three("weight 0 at every one", ALL, Step((1, 2, 3)), Step((2, 3), up=(2, 3)), weight=(0, 0, 0)),
    _three("weights and priorities mean nothing here", ALL, Step((1, 2, 3)), weight=(9, 1, 1), priority=(2, 1, 0)),
    Case("flapping", ALL, on("paris lyon"), tuple(Step((1, 2) if turn % 2 else (1,), up=(1, 2) if turn % 2 else (1,))
                                                  for turn in range(8))),
    Case("both families", ALL, on(THREE, six=(False, True, True)), (
        Step((1,)), Step((2, 3), kind="AAAA"), Step((3,), kind="AAAA", up=(1, 3)))),
    Case("one family is down, the other is not", ALL, on("paris lyon", six=(False, True)), (
        Step((), kind="AAAA", up=(1,)), Step((1,), up=(1,)), Step((2,), kind="AAAA", up=()), Step((1,), up=()))),
    Case("a wildcard", ALL, on("paris lyon"), (Step((1, 2)), Step((2,), up=(2,))), owner="*.shops", asked="a.b.shops"),
    Case("forty VIPs", ALL, on("paris lyon " * 20), (
        Step(tuple(range(1, 41)), size=16), Step(tuple(range(1, 41, 2)), size=16, lost=("lyon",)), Step((7, 8), up=(7, 8)))),
    _three("a client's subnet means nothing here", ALL, Step((1, 2, 3), client="10.1.0.0/24"), clients=NETS),
    # -- one, by its share
    _three("equal weights", ONE, Step(shares={1: 1 / 3, 2: 1 / 3, 3: 1 / 3})),
    _three("three weights", ONE, Step(shares={1: .6, 2: .3, 3: .1}), weight=(6, 3, 1)),
    _three("what is down leaves its share to the others", ONE, Step(shares={2: .75, 3: .25}, up=(2, 3)), weight=(6, 3, 1)),
    _three("a site that is lost leaves its share", ONE, Step(shares={1: .6, 2: .4}, lost=("nice",)), weight=(6, 4, 90)),
    _three("weight 0 takes nothing", ONE, Step(shares={1: .5, 2: .5}), weight=(2, 2, 0)),
    _three("weight 0 takes over", ONE, Step(shares={3: 1.0}, up=(3,)), Step(shares={1: .5, 2: .5}), weight=(2, 2, 0)),
    _three("weight 0 at all that are up", ONE, Step(shares={2: .5, 3: .5}, up=(2, 3)), weight=(5, 0, 0)),
    _three("all are down: shares as ever", ONE, Step(shares={1: .6, 2: .3, 3: .1}, up=()), weight=(6, 3, 1)),
    _three("all are down: nothing", ONE, Step((), up=()), weight=(6, 3, 1), serve_down=False),
    Case("the largest weights", ONE, on("paris lyon", weight=(65535, 65535)), (Step(shares={1: .5, 2: .5}),)),
    Case("shares of each family by itself", ONE, on("paris lyon nice oslo", weight=(3, 1, 1, 3), six=(False, False, True, True)), (
        Step(shares={1: .75, 2: .25}), Step(shares={3: .25, 4: .75}, kind="AAAA"), Step(shares={4: 1.0}, kind="AAAA", up=(1, 4)))),
    # -- the best that are up
    _three("the best", BEST, Step((1,)), priority=(0, 1, 2)),
    _three("the next, and the one after it", BEST, Step((2,), up=(2, 3)), Step((3,), up=(3,)), Step((1,)), priority=(0, 1, 2)),
    _three("equals share", BEST, Step((1, 2)), Step((2,), up=(2, 3)), Step((3,), lost=("paris", "lyon")), priority=(4, 4, 9)),
    _three("all are down: the best", BEST, Step((1, 2), up=()), priority=(0, 0, 1)),
    _three("all are down: none", BEST, Step((), up=()), Step((3,), up=(3,)), priority=(0, 0, 1), serve_down=False),
    _three("weight 0 at the best", BEST, Step((2,)), Step((1,), up=(1,)), weight=(0, 1, 1), priority=(0, 1, 2)),
    Case("the best of each family", BEST, on("paris lyon lyon", priority=(0, 1, 1), six=(False, False, True)), (
        Step((1,)), Step((3,), kind="AAAA"), Step((2,), up=(2, 3)))),
    # -- those that are near the client
    _three("by the resolver", NEAR, Step((1,), client="10.2.0.1"), Step((2,), client="10.1.0.1"), Step((3,)), clients=NETS),
    _three("by its client, the longest prefix", NEAR, Step((2,), client="10.1.2.0/24", scope=16), Step((1,), client="10.200.0.0/24", scope=9),
           Step((3,), client="192.0.2.0/24", scope=1), Step((3,), client="11.0.0.0/24", scope=8), clients=NETS),
    _three("by its client of IPv6", NEAR, Step((2,), client="2001:db8:7::/48", scope=32), Step((3,), client="2001:db9::/48", scope=32),
           clients=NETS),
    _three("a prefix that is too short to tell", NEAR, Step((1,), client="10.0.0.0/12", scope=12), Step((3,), client="8.0.0.0/6", scope=6),
           clients=NETS),
    _three("who is near is down", NEAR, Step((1,), client="10.1.2.0/24", scope=8, up=(1, 3)), Step((3,), client="10.1.2.0/24", up=(3,)),
           Step((2,), client="10.1.2.0/24", scope=16, up=()), clients=NETS),
    Case("nobody is for everybody", NEAR, on("paris lyon", clients=NETS[:2]), (
        Step((1, 2)), Step((2,), client="10.1.0.0/16", scope=16), Step((1,), client="10.1.0.0/16", scope=8, up=(1,)))),
    _three("several are near; one has weight 0", NEAR, Step((1, 2), client="10.3.0.0/16", scope=8), Step((1,), client="10.3.0.0/16", scope=8, up=(1, 3)),
           Step((3,), client="10.3.0.0/16", scope=8, up=(3,)), weight=(1, 1, 0), clients=(("10.0.0.0/8",),) * 3),
)
