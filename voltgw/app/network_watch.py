"""Notices that a network has gone, or has become another one: a namespace was deleted, an interface unplugged or made anew.

A socket stays in the namespace in which it was made, and bound to the interface of that time, even if both have been made anew
under the same names. So it is not enough that a network is there: it has to be the one that our sockets are in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from voltgw.net.namespaces import Identity, identity
from voltgw.values.defaults import NETWORK_LOOK_S
from voltgw.values.network import Network

if TYPE_CHECKING:
    from voltgw.control.seams import Clock, Timer

#: Networks that are looked at in one turn (some 20 microseconds each); with more of them a round takes longer.
MOST_PER_TURN: Final = 64


class NetworkWatch:
    """Compares what networks are with what they were; `changed(network, now)` hears of each that is another one.

    Only networks of a namespace or an interface of their own are looked at; without any it has no timer.
    """

    def __init__(
        self, clock: Clock, changed: Callable[[Network, Identity], None],
        look: Callable[[Network], Identity] = identity,
    ) -> None:
        self._clock = clock
        self._changed = changed
        self._identify = look
        self._known: dict[Network, Identity] = {}
        self._noted: dict[Network, Identity] = {}
        self._timer: Timer | None = None
        self._round: list[Network] = []
        self.losses = 0                     # times that a network went

    def note(self, networks: Iterable[Network]) -> None:
        """Sockets are about to be made in these; what they are now is how those sockets know them, when they are followed."""
        self._noted = {network: self._identify(network) for network in _apart(networks) if network not in self._known}

    def follow(self, networks: Iterable[Network]) -> None:
        """Look at these from now on, and at no others."""
        self._known = {network: self._known.get(network) or self._noted.get(network) or self._identify(network)
                       for network in _apart(networks)}
        self._noted = {}
        if self._known and self._timer is None:
            self._timer = self._clock.callLater(NETWORK_LOOK_S, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._known = {}
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def view(self) -> list[dict[str, Any]]:
        """Every network, JSON-ready."""
        return [{"network": str(network), "netns": network.netns, "device": network.device, "present": not known.problem,
                 "problem": known.problem, "dns_servers": list(network.dns_servers), "sources": list(network.sources)}
                for network, known in self._known.items()]

    def _look(self) -> None:
        self._timer = None
        if not self._known:
            return
        if not self._round:
            self._round = list(self._known)
        now, self._round = self._round[:MOST_PER_TURN], self._round[MOST_PER_TURN:]
        self._timer = self._clock.callLater(NETWORK_LOOK_S, self._look)
        for network in now:
            known = self._known.get(network)
            if known is None:
                continue                    # a reload has taken it away
            found = self._identify(network)
            if found != known and not found.unknown:
                self._known[network] = found
                self.losses += bool(found.problem)
                self._changed(network, found)


def _apart(networks: Iterable[Network]) -> list[Network]:
    return sorted({network for network in networks if network.netns or network.device})
