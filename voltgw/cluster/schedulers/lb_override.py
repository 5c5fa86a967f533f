"""What the route says: a hash policy makes it ring hash, and without one it is round robin (objects.md 6.1, LB_OVERRIDE)."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from zope.interface import implementer

from voltgw.cluster.schedulers import ring_hash, round_robin
from voltgw.cluster.schedulers.building import finished
from voltgw.interfaces import IFactory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from voltgw.cluster.cluster import Scheduler
    from voltgw.cluster.endpoint import Endpoint


class ByRoute:
    """Requests with a key by the one, those without by the other."""

    __slots__ = ("_keyed", "_plain", "pick_next", "ring")

    def __init__(self, plain: Scheduler, ring: ring_hash.Ring) -> None:
        self._plain = plain.pick
        self._keyed = ring.pick
        self.ring = ring
        self.pick_next = ring.pick_next

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """By the key if there is one."""
        return self._plain(None) if hash_key is None else self._keyed(hash_key)


@implementer(IFactory)
class Override:
    """The factory; it has no options."""

    name = "lb_override"

    def options(self, raw: object, place: object) -> object:
        """Nothing to set."""
        return round_robin.FACTORY.options(raw, place)

    def build(self, endpoints: Sequence[Endpoint], random: Random, /) -> Scheduler:
        """Both at once."""
        return finished(self.building(endpoints, random, None))

    def building(
        self, endpoints: Sequence[Endpoint], random: Random, previous: Scheduler | None, /,
    ) -> Generator[None, None, Scheduler]:
        """The ring in steps."""
        known = previous.ring if isinstance(previous, ByRoute) else None
        ring = yield from ring_hash.FACTORY.building(endpoints, random, known)
        plain = round_robin.FACTORY.build(endpoints, random)
        return ByRoute(plain, ring) if isinstance(ring, ring_hash.Ring) else plain


FACTORY: Final = Override()
