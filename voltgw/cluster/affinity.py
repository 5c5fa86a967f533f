"""Affinity pinned to one endpoint: a cookie that says which endpoint a client was given, and that nobody else can make.

The cookie's value is BLAKE2b of the cluster's and the endpoint's names with a key of ours (RFC 7693 2.5), 128 bits in
hexadecimal digits. So it tells nothing of addresses, a client cannot make one for an endpoint of its choice, and all gateways
with the same key agree. A value that belongs to nobody, or to an endpoint that is not ready, is as if there were none: the
scheduler picks, and the client is told of another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voltgw.cluster.cluster import Scheduler
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.cluster.snapshot import EndpointKey

#: What the cookie is called where nobody says.
COOKIE: Final = "voltgw-endpoint"
#: Keys from here on are those of cookies; a route's hash policy makes smaller ones.
PINNED: Final = 1 << 64
_DIGITS: Final = 32
_HEX: Final = frozenset(b"0123456789abcdef")


@dataclass(frozen=True, slots=True)
class AffinityRules:
    """`key` b"" = one that is made when the process starts; `max_age_s` None = until the browser is closed."""

    cookie: str = COOKIE
    key: bytes = b""
    max_age_s: int | None = None
    secure: bool = False


class Affinity:
    """The cookies of one cluster."""

    __slots__ = ("_key", "cookie", "suffix")

    def __init__(self, rules: AffinityRules, made_key: bytes = b"") -> None:
        self._key = (rules.key or made_key)[:64]
        self.cookie = rules.cookie
        age = "" if rules.max_age_s is None else f"; Max-Age={rules.max_age_s}"
        self.suffix = f"{age}; Path=/{'; Secure' if rules.secure else ''}; HttpOnly; SameSite=Lax".encode("ascii")

    def value(self, key: EndpointKey) -> bytes:
        """What says this endpoint."""
        named = "\0".join((key.cluster, key.protocol, key.site, key.address, str(key.port), str(key.network)))
        return blake2b(named.encode(), digest_size=_DIGITS // 2, key=self._key).hexdigest().encode("ascii")

    def set_cookie(self, value: bytes) -> bytes:
        """The value of a Set-Cookie field (RFC 6265 4.1)."""
        return self.cookie.encode("ascii") + b"=" + value + self.suffix


    @staticmethod
    def number(value: bytes) -> int | None:
        """A cookie's value as the key by which it is picked; None for what is no endpoint's. It is never below 2^64."""
        if len(value) != _DIGITS or not _HEX.issuperset(value):
            return None
        number = int(value, 16)
        return number if number >= PINNED else None


class Pinned:
    """Gives the endpoint that a key belongs to while that is ready, and else asks the scheduler."""

    __slots__ = ("_by_number", "_pick")

    def __init__(self, scheduler: Scheduler, endpoints: Sequence[Endpoint]) -> None:
        self._pick = scheduler.pick
        self._by_number = {int(endpoint.token, 16): endpoint for endpoint in endpoints}

    def pick(self, hash_key: int | None, /) -> Endpoint | None:
        """By the key if it is somebody's."""
        if hash_key is not None:
            endpoint = self._by_number.get(hash_key)
            if endpoint is not None and endpoint.ready and endpoint.weight > 0:
                return endpoint
            if hash_key >= PINNED:
                hash_key = None
        return self._pick(hash_key)
