"""Who a client is: whom to believe when other proxies of ours stand before the gateway, and what a credential has proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class User:
    """Who has sent a request, as a credential has proven it (`Exchange.user`).

    `name` is whom it speaks of: the subject of a token, a user of a password file, the name of an API key, a name in a
    certificate; "" where it says none. `by` is the kind of credential: ``jwt``, ``basic``, ``api_key``, ``client_certificate``
    or ``forward_auth``, several with a ``+`` between. `claims` are the claims of the token, {} without one; values are as
    JSON has them.
    """

    name: str
    by: str
    claims: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of asking a request for credentials. `user` None: nobody has been proven, for the reason that `said` gives.

    `said` is for logs: ``jwt``, ``jwt expired``, ``jwt expired (report only)``.
    """

    user: User | None
    said: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Which peers may say whom they speak for, and what endpoints are told of it.

    A peer is believed if it stands in `prefixes`; without any, if `hops` is not 0. The client is then the address that the
    `hops`-th proxy before us has seen, or, with `hops` 0, the nearest one that does not stand in `prefixes`. `forwarded`
    asks for the field of RFC 7239 in requests to endpoints.
    """

    hops: int = 0
    prefixes: tuple[Network, ...] = ()
    forwarded: bool = False

    def believes(self, peer: str) -> bool:
        """Whether the peer with this address may speak for somebody else."""
        return self._among(peer) if self.prefixes else self.hops > 0

    def client(self, peer: str, chain: Sequence[str]) -> str:
        """The client's address; `chain` are the addresses that a believed `peer` names, the nearest one last.

        What is no address ends the chain: whoever wrote it is then the client, as far as anybody knows.
        """
        if self.hops:
            nearest = chain[-self.hops:]
            if len(nearest) < self.hops or not all(_is_address(each) for each in nearest):
                return peer
            return nearest[0]
        client = peer
        for address in reversed(chain):
            if not self._among(client) or not _is_address(address):
                break
            client = address
        return client

    def _among(self, address: str) -> bool:
        known = ip_address(address)
        mapped = getattr(known, "ipv4_mapped", None)
        return any((mapped or known) in prefix for prefix in self.prefixes)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
