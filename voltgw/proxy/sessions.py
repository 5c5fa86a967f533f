"""How many UDP sessions there may be, and who may begin another one.

The source of a datagram proves nothing: whoever floods us with invented ones must neither push out sessions that live nor
use up the descriptors. So at the bound only sessions go that their endpoint never answered, the oldest first; if there are
none, the new one is refused. One prefix of addresses may begin so many sessions a second, and one address may hold a share
of all.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from voltgw.net.datagrams import is_own_address
from voltgw.values.defaults import UDP_NEW_SESSIONS_PER_S, UDP_SOURCE_SHARE

if TYPE_CHECKING:
    from voltgw.net.loop import Loop
    from voltgw.proxy.udp import Session

#: Prefixes whose beginnings are counted in one second; those that come later in it share one count.
MAX_PREFIXES: Final = 4096
_OTHERS: Final = b""


class SessionRoom:
    """The UDP sessions of all listeners of a process.

    `own` are the addresses, ports and network namespaces of UDP listeners of ours, a host of "" standing for every address:
    datagrams from or to one of them would go in circles.
    """

    __slots__ = ("_begun", "_loop", "_second", "held", "open", "own", "unanswered")

    def __init__(self, loop: Loop) -> None:
        self.open = 0
        self.own: set[tuple[str, int, str]] = set()
        self.unanswered: dict[Session, None] = {}   # the oldest first
        self.held: dict[str, int] = {}              # sessions by the client's address
        self._loop = loop
        self._second = 0
        self._begun: dict[bytes, int] = {}          # by prefix, in this second

    def refusal(self, host: str, port: int, now: float, netns: str = "") -> str:
        """Why a client in a network namespace may not begin a session now ("" = it may): the reason that is counted.

        It may end another session.
        """
        if self.is_own(host, port, netns):
            return "own"
        loop = self._loop
        if loop.paused:
            return "overload"
        trusted = loop.sources.is_trusted(host)
        if not trusted:
            if self.held.get(host, 0) >= max(loop.open_limit // UDP_SOURCE_SHARE, 1):
                return "source"
            if not self._may_begin(host, now):
                return "rate"
        if self.open >= loop.open_limit or loop.accepted >= loop.open_limit:
            oldest = next(iter(self.unanswered), None)
            if oldest is None:
                return "full"
            oldest.evict()
        return ""

    def is_own(self, host: str, port: int, netns: str = "") -> bool:
        """Whether a UDP listener of ours has this address and port in a network namespace."""
        if not self.own:
            return False
        return (host, port, netns) in self.own or (("", port, netns) in self.own and is_own_address(host, netns))

    def opened(self, session: Session) -> None:
        """A session has begun; two of them take the descriptors of one relayed connection."""
        if self.open % 2 == 0:
            self._loop.accepted += 1
        self.open += 1
        self.unanswered[session] = None
        self.held[session.peer_address] = self.held.get(session.peer_address, 0) + 1

    def closed(self, session: Session) -> None:
        """It has ended."""
        self.open -= 1
        if self.open % 2 == 0:
            self._loop.accepted -= 1
            if self._loop.waiting_listeners:
                self._loop.room_again()
        self.unanswered.pop(session, None)
        held = self.held[session.peer_address] - 1
        if held:
            self.held[session.peer_address] = held
        else:
            del self.held[session.peer_address]

    def _may_begin(self, host: str, now: float) -> bool:
        second = int(now)
        if second != self._second:
            self._second = second
            self._begun.clear()
        begun = self._begun
        prefix = prefix_of(host)
        if prefix not in begun and len(begun) >= MAX_PREFIXES:
            prefix = _OTHERS
        count = begun.get(prefix, 0)
        if count >= UDP_NEW_SESSIONS_PER_S:
            return False
        begun[prefix] = count + 1
        return True


def prefix_of(host: str) -> bytes:
    """The /24 or /56 that an address stands in."""
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host)[:3]
    return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])[:7]
