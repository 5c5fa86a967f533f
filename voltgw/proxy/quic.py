"""QUIC connections keep their session when the client's address changes: they are known by their connection ids.

A client in a train, or behind a NAT that forgets, comes from another port although its connection goes on (RFC 9000 9.3);
by its address it would begin a session, perhaps with another endpoint, who knows nothing of it. So the ids that packets are
sent to are learned where they can be seen: the one that the client makes up for its first packet, and those by which the
endpoint calls itself in its long headers (RFC 8999 5.1). A short header does not say how long its id is; those of the endpoints
do. What an endpoint offers later is encrypted: such an id is learned when it is first used, from an address that is known.

Who sees a packet can copy it and send it from elsewhere. The endpoint does not see the change, so it cannot ask the client to
prove its new address: until some datagrams have come from it, no more than three times their bytes go there (RFC 9000 8.1), and
the next datagram from the former address takes the session back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from voltgw.wire.quic import LONG, long_ids, short_id

if TYPE_CHECKING:
    from voltgw.net.datagrams import Local
    from voltgw.proxy.udp import Session

#: Ids that one session is known by; the oldest is forgotten. Clients get two to eight at a time.
MAX_IDS: Final = 8
#: Lengths of ids that are looked for; endpoints of one cluster have one, or differ by their version.
MAX_LENGTHS: Final = 4
#: Former addresses that one session is found by while its ids are not known.
MAX_ADDRESSES: Final = 4
#: RFC 9000 8.1: what may go to an address that has proven nothing, as a multiple of what came from it;
AMPLIFICATION: Final = 3
#: and how many more datagrams from there are taken for a proof: who only copies packets seldom gets so far.
PROOF_DATAGRAMS: Final = 4


class ConnectionIds:
    """Who is who among the sessions of one listener."""

    __slots__ = ("_addresses", "_by_address", "_by_id", "_ids", "_lengths", "_unproven")

    def __init__(self) -> None:
        self._by_id: dict[bytes, Session] = {}
        self._by_address: dict[Any, Session] = {}       # the latest one of each client address
        self._ids: dict[Session, list[bytes]] = {}
        self._addresses: dict[Session, list[Any]] = {}  # those under which `_by_address` may have it
        self._unproven: dict[Session, list[int]] = {}   # bytes that may go to the new address, datagrams still to come from it
        self._lengths: list[int] = []                   # of endpoints' ids, the one that was found last first

    def __len__(self) -> int:
        """How many ids are known."""
        return len(self._by_id)

    def find(self, address: Any, data: memoryview) -> Session | None:
        """Whose a client's datagram is; None: a connection begins."""
        if not data:
            return self._by_address.get(address)
        if data[0] & LONG:
            ids = long_ids(data)
            if ids is None or not ids.destination:
                return self._by_address.get(address)
            return self._by_id.get(ids.destination)
        lengths = self._lengths
        for at, size in enumerate(lengths):
            found = self._by_id.get(bytes(data[1:1 + size]))
            if found is not None:
                if at:
                    lengths.insert(0, lengths.pop(at))
                return found
        found = self._by_address.get(address)
        if found is not None and lengths:
            used = short_id(data, lengths[0])
            if used is not None:            # one that the endpoint has offered where nobody else could read it
                self._learn(found, used)
        return found

    def knows(self, address: Any) -> bool:
        """Whether somebody at this address has a session."""
        return address in self._by_address

    @staticmethod
    def key(address: Any, data: memoryview) -> Any:
        """What a new session is known by among all: several may come from one address."""
        ids = long_ids(data)
        return address, b"" if ids is None else ids.destination

    def began(self, session: Session, address: Any, data: memoryview) -> None:
        """With this datagram."""
        self._ids.setdefault(session, [])
        self._addresses.setdefault(session, []).append(address)
        self._by_address[address] = session
        ids = long_ids(data)
        if ids is not None and ids.destination:
            self._learn(session, ids.destination)

    def came(self, session: Session, address: Any, client: Any, local: Local, size: int) -> bool:
        """A datagram of so many bytes has come for `session`; whether its client has another address from now on."""
        if session.is_at(client, local):
            unproven = self._unproven.get(session) if self._unproven else None
            if unproven is not None:
                unproven[0] += AMPLIFICATION * size
                unproven[1] -= 1
                if not unproven[1]:
                    del self._unproven[session]
            return False
        session.move(client, local)
        self._unproven[session] = [AMPLIFICATION * size, PROOF_DATAGRAMS]
        self._by_address[address] = session
        addresses = self._addresses[session]
        if address not in addresses:
            addresses.append(address)
            if len(addresses) > MAX_ADDRESSES:
                self._forget(session, addresses.pop(0))
        return True

    def answers(self, session: Session, data: memoryview) -> bool:
        """An endpoint's answer; whether it may go to the client now."""
        if session in self._ids and data and data[0] & LONG:
            self._heard(session, data)
        unproven = self._unproven.get(session) if self._unproven else None
        if unproven is not None:
            if unproven[0] < len(data):
                return False
            unproven[0] -= len(data)
        return True

    def _heard(self, session: Session, data: memoryview) -> None:
        ids = long_ids(data)
        if ids is None or not ids.source:
            return
        size = len(ids.source)
        if size not in self._lengths:
            if len(self._lengths) >= MAX_LENGTHS:
                self._lengths.pop()
            self._lengths.insert(0, size)
        self._learn(session, ids.source)

    def ended(self, session: Session) -> None:
        """It has."""
        for one in self._ids.pop(session, ()):
            if self._by_id.get(one) is session:
                del self._by_id[one]
        for address in self._addresses.pop(session, ()):
            self._forget(session, address)
        self._unproven.pop(session, None)

    def _forget(self, session: Session, address: Any) -> None:
        if self._by_address.get(address) is session:
            del self._by_address[address]

    def _learn(self, session: Session, one: bytes) -> None:
        own = self._ids[session]
        if one in own:
            return
        if len(own) >= MAX_IDS:
            oldest = own.pop(0)
            if self._by_id.get(oldest) is session:
                del self._by_id[oldest]
        own.append(one)
        self._by_id[one] = session
