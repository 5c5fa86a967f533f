"""What an operator has said of single endpoints: drain, eject, another weight. It goes before what files and checks say.

Orders are kept for the life of the process, whatever reloads do, and whether or not the endpoint is a member just now: one that
is drained and comes back under the same address is still drained. They end by `undrain`, by their time, or with the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from voltgw.cluster.weights import read_weight
from voltgw.config.units import seconds

if TYPE_CHECKING:
    from voltgw.cluster.snapshot import EndpointKey
    from voltgw.control.membership import Membership
    from voltgw.control.seams import ControlLoop, Timer

#: Endpoints that there may be orders for.
MOST_ORDERS: Final = 10_000
#: How long an endpoint is ejected by hand where nobody says.
EJECTION_S: Final = 30.0
MOST_EJECTION_S: Final = 86_400.0


@dataclass(slots=True)
class Order:
    """What holds for one endpoint; times are monotonic seconds, 0.0 = not."""

    drained: bool = False
    weight: int | None = None               # None = what it has itself
    out_until: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing is said any more."""
        return not self.drained and self.weight is None and not self.out_until

    def keeps_out(self, now: float) -> str:
        """Why it gets no traffic now, "" if not because of this."""
        if self.drained:
            return "an operator drains it: nothing new, what is under way may finish"
        return "an operator has ejected it for a while" if self.out_until > now else ""


class Orders:
    """All orders; memberships ask for those of their endpoints and are told when one changes."""

    def __init__(self, loop: ControlLoop) -> None:
        self._loop = loop
        self._orders: dict[EndpointKey, Order] = {}
        self._timers: dict[EndpointKey, Timer] = {}
        self._followers: dict[str, list[Callable[[EndpointKey], None]]] = {}

    def __len__(self) -> int:
        return len(self._orders)

    @property
    def keys(self) -> list[EndpointKey]:
        """The endpoints that there are orders for."""
        return list(self._orders)

    def of(self, key: EndpointKey) -> Order | None:
        """What was said of an endpoint."""
        return self._orders.get(key)

    def keeps_out(self, key: EndpointKey) -> str:
        """Why an order keeps it out now, "" = none does."""
        order = self._orders.get(key)
        return order.keeps_out(self._loop.monotonic()) if order is not None else ""

    def follow(self, cluster: str, changed: Callable[[EndpointKey], None]) -> None:
        """`changed` hears of orders for this cluster's endpoints from now on. Of one name there are two in a reload."""
        self._followers.setdefault(cluster, []).append(changed)

    def leave(self, cluster: str, changed: Callable[[EndpointKey], None]) -> None:
        """`changed` hears of nothing any more."""
        told = self._followers.get(cluster, [])
        if changed in told:
            told.remove(changed)
        if not told:
            self._followers.pop(cluster, None)

    def stop(self) -> None:
        """The process ends: nobody comes back by time."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def drain(self, key: EndpointKey) -> None:
        """Nothing new for it. Raises ValueError when there are too many orders, as `eject` and `weigh` do."""
        self._order(key).drained = True
        self._changed(key)

    def undrain(self, key: EndpointKey) -> None:
        """As if nobody had drained or ejected it."""
        order = self._orders.get(key)
        if order is not None:
            self._end_timer(key)
            order.drained, order.out_until = False, 0.0
            self._changed(key)

    def eject(self, key: EndpointKey, seconds: float = EJECTION_S) -> None:
        """Nothing new for it for so long; it comes back by itself."""
        if not 0.0 < seconds <= MOST_EJECTION_S:
            raise ValueError(f"an endpoint is ejected for more than 0 and at most {MOST_EJECTION_S:g} s")
        order = self._order(key)
        self._end_timer(key)
        order.out_until = self._loop.monotonic() + seconds
        self._timers[key] = self._loop.clock.callLater(seconds, self._over, key)
        self._changed(key)

    def weigh(self, key: EndpointKey, said: str) -> None:
        """Another weight; ``reset`` = its own one again. Raises ValueError for what is no weight."""
        weight = None if said == "reset" else read_weight(said)
        self._order(key).weight = weight
        self._changed(key)

    def _over(self, key: EndpointKey) -> None:
        """The time of an ejection is over."""
        del self._timers[key]
        self._orders[key].out_until = 0.0
        self._changed(key)

    def _end_timer(self, key: EndpointKey) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def view(self, key: EndpointKey) -> dict[str, Any] | None:
        """JSON-ready; None where nothing was said."""
        now, order = self._loop.monotonic(), self._orders.get(key)
        if order is None:
            return None
        return {"drained": order.drained, "weight": order.weight,
                "ejected_for_another_s": round(max(order.out_until - now, 0.0), 3) or None}

    def _order(self, key: EndpointKey) -> Order:
        order = self._orders.get(key)
        if order is None:
            if len(self._orders) >= MOST_ORDERS:
                raise ValueError(f"there are orders for {MOST_ORDERS} endpoints already: undrain some")
            order = self._orders[key] = Order()
        return order

    def _changed(self, key: EndpointKey) -> None:
        if self._orders[key].empty:
            del self._orders[key]
        for told in tuple(self._followers.get(key.cluster, ())):
            told(key)


def ordered(
    orders: Orders, memberships: Iterable[Membership], act: str, endpoint: str, cluster: str, value: str,
) -> dict[str, Any]:
    """Carry out ``drain``, ``undrain``, ``eject`` or ``weight`` for the members called `endpoint` (``address:port``).

    `cluster` is ``namespace/name`` or a name, "" = all clusters that have such a member. Raises ValueError in words. One that
    is not there now can be undrained all the same.
    """
    mine = [each for each in memberships if not cluster or cluster in (each.cluster.name, each.cluster.name.partition("/")[2])]
    if not mine:
        raise ValueError(f"there is no cluster {cluster!r}")
    # The text of a key takes a while, and there may be very many: most are passed over by their address.
    keys = [key for each in mine for key in each.members if key.address in endpoint and endpoint == str(key)]
    ordered_before = [key for key in orders.keys if endpoint == str(key) and key not in keys]
    if ordered_before:
        names = {each.cluster.name for each in mine}
        keys += [key for key in ordered_before if key.cluster in names]
    if not keys:
        raise ValueError(f"no cluster has an endpoint {endpoint!r}; `voltgw clusters` lists them")
    if act == "eject":
        seconds_ = seconds(value, "s") if value else EJECTION_S
        for key in keys:
            orders.eject(key, seconds_)
    elif act == "weight":
        for key in keys:
            orders.weigh(key, value)
    elif act in ("drain", "undrain"):
        for key in keys:
            (orders.drain if act == "drain" else orders.undrain)(key)
    else:
        raise ValueError(f"{act!r} is none of drain, undrain, eject, weight")
    return {"act": act, "endpoints": [{"cluster": key.cluster, "endpoint": str(key)} for key in keys]}
