"""The sticky split: users keep their destination while weights move.

A user (the value of a cookie or header) is a number in [0, 1) that never changes. Among destinations of one priority the number
is turned, for each of them, into a handicap; the one whose weight divided by its handicap is greatest takes the user (weighted
rendezvous hashing, Thaler and Ravishankar 1998; with -ln of a uniform number as the handicap the shares are those of the
weights). So for any two destinations only the ratio of their weights decides, and

* a user moves from one destination to another only if the other's weight has grown in proportion to the first's;
* raising one weight brings users to that destination and moves nobody else;
* lowering one, or a destination that drops out, moves only its own users, and they come back when it does.

Intervals on one line would keep that promise for two destinations, but not for three whose weights change together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.routing.cookies import cookie_reader, header_reader
from voltgw.routing.hashing import fraction, stable_hash
from voltgw.routing.split import Destination, groups
from voltgw.values.reason import Reason

if TYPE_CHECKING:
    from voltgw.config.objects.extensions import StickyType
    from voltgw.routing.cookies import Reader
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead

_MASK: Final = (1 << 64) - 1
_BITS: Final = 1 << 53
_LOG: Final = log(1 << 64)


class _Seat(NamedTuple):
    """A destination with the odd number that turns users into its handicaps, and its weight."""

    multiplier: int
    weight: int
    destination: Destination

    def handicap(self, number: int) -> float:
        """-ln of a number in (0, 1] that the user and the destination lead to."""
        return _LOG - log((number * self.multiplier & _MASK) + 1)


class Sticky:
    """The identity that a route tells users apart by, and the choice that follows from it.

    `share` and `pick` are the route's `share` and `split`. `text` names the identity: ``cookie user``.
    """

    __slots__ = ("_ranked", "_read", "_retract", "pick", "text")

    def __init__(self, spec: StickyType, destinations: Sequence[Destination], retract: bool) -> None:
        """Raises ValueError when no destination could ever be chosen."""
        self._read: Reader
        if spec.cookie is not None:
            self._read = cookie_reader(spec.cookie)
            self.text = f"cookie {spec.cookie}"
        elif spec.header is not None:
            self._read = header_reader(spec.header)
            self.text = f"header {spec.header}"
        else:
            raise ValueError("sticky needs cookie or header")
        self._retract = retract
        self._seat(destinations)

    def among(self, destinations: Sequence[Destination]) -> Sticky:
        """The same users among `destinations`, whose weights may be others. Raises ValueError like the constructor."""
        other = Sticky.__new__(Sticky)
        other._read, other._retract, other.text = self._read, self._retract, self.text
        other._seat(destinations)
        return other

    def _seat(self, destinations: Sequence[Destination]) -> None:
        seats = _seats(destinations)
        self._ranked = [[seats[id(one)] for one in group] for group in groups(destinations)]
        self.pick: Callable[[float], Destination] = self._pick
        if len(self._ranked) == 1 and not self._retract:
            self.pick = _plain(self._ranked[0])

    def share(self, exchange: Exchange) -> float:
        """The user's number; where the request does not say whose it is, any number, made from the request's id."""
        identity = self._read(exchange.request)
        return fraction(identity or exchange.request_id)

    def _pick(self, number: float) -> Destination:
        seats = self._ranked[0]
        if len(self._ranked) > 1:
            seats = next((one for one in self._ranked if any(seat.destination.ready for seat in one)), seats)
        if self._retract:
            seats = [seat for seat in seats if seat.destination.ready] or seats
        return _best(seats, int(number * _BITS)).destination

    def why(self, head: RequestHead) -> Reason:
        """Why the user who sent `head` goes where they go, and for how long they stay."""
        identity = self._read(head)
        if not identity:
            return Reason(f"sticky by {self.text}", "any destination", "the request does not have it, so it is drawn by weight")
        number = fraction(identity)
        destination = self.pick(number)
        seats = next(group for group in self._ranked if any(seat.destination is destination for seat in group))
        seat = next(seat for seat in seats if seat.destination is destination)
        users = int(number * _BITS)
        others = [other for other in seats if other is not seat and (not self._retract or other.destination.ready)]
        need = max((other.weight * seat.handicap(users) / other.handicap(users) for other in others), default=0.0)
        why = f"this user's number is {number:.6f}"
        if others:
            why += (f": they stay while the weight of {destination.cluster_name} is over {need:.4g} (it is {seat.weight}) "
                    "and the others' are what they are")
        return Reason(f"sticky by {self.text}", f"cluster {destination.cluster_name}", why, destination.place)


def _seats(destinations: Sequence[Destination]) -> dict[int, _Seat]:
    """A seat for each destination, by its id(). Where destinations stand in the list does not count, but who they are."""
    seen: dict[str, int] = {}
    seats = {}
    for destination in destinations:
        count = seen[destination.identity] = seen.get(destination.identity, 0) + 1
        name = destination.identity if count == 1 else f"{destination.identity} #{count}"
        seats[id(destination)] = _Seat(stable_hash(name.encode("utf-8")) | 1, destination.weight, destination)
    return seats


def _best(seats: Sequence[_Seat], number: int) -> _Seat:
    """The first of those whose handicap for their weight is least."""
    return min(seats, key=lambda seat: seat.handicap(number) / seat.weight)


def _plain(seats: Sequence[_Seat]) -> Callable[[float], Destination]:
    """`_best` without a call for each destination."""
    first, *others = [(seat.multiplier, seat.weight, seat.destination) for seat in seats]
    first_multiplier, first_weight, first_destination = first

    def pick(number: float) -> Destination:
        bits = int(number * _BITS)
        best = first_destination
        least = (_LOG - log((bits * first_multiplier & _MASK) + 1)) / first_weight
        for multiplier, weight, destination in others:
            score = (_LOG - log((bits * multiplier & _MASK) + 1)) / weight
            if score < least:
                least = score
                best = destination
        return best

    return pick
