"""DNS cookies (RFC 7873, made as RFC 9018 4 says): who has been told a cookie of ours does not forge its address."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Final

from voltgw.wire.dnsmsg import OPTION_COOKIE, Query, option
from voltgw.wire.siphash import siphash24

#: A cookie is good for so long, and replaced by a new one when it is half as old (RFC 9018 4.3).
LIFE_S: Final = 3600
RENEW_S: Final = LIFE_S // 2
#: Clocks of servers that share a secret may be so far apart.
AHEAD_S: Final = 300
#: New cookies are dated back to the last such step, so that those who ask again at once get the same one.
_STEP_S: Final = 60
#: Cookies that were found good, and new ones, remembered so that they are not computed again; then all are forgotten.
MAX_REMEMBERED: Final = 20_000
_HEAD: Final = struct.Struct("!BBHI")
_COOKIE_BYTES: Final = 16


def own_digest(secret: bytes, data: bytes) -> bytes:
    """Eight bytes of keyed BLAKE2s (RFC 7693): as good as SipHash where no other server has the secret, and made in C.

    RFC 9018 names SipHash for servers of one address that share a secret; RFC 7873 4.2 leaves it to a server that does not.
    """
    return hashlib.blake2s(data, digest_size=8, key=secret).digest()


class Cookies:
    """Makes and checks server cookies with one secret of 16 bytes; `wall` is in seconds since 1970.

    `digest` is how: `siphash24` as RFC 9018 says, or `own_digest`.
    """

    def __init__(self, secret: bytes, wall: Callable[[], float], digest: Callable[[bytes, bytes], bytes] = siphash24) -> None:
        self._secret = secret
        self.wall = wall
        self._digest = digest
        self._good: dict[bytes, int] = {}
        self._fresh: dict[bytes, tuple[int, bytes]] = {}

    def look(self, query: Query, address: bytes) -> tuple[bool, bytes]:
        """Whether the query's cookie is one of ours for `address` (packed), and the option that its answer has.

        The query has a client's cookie, or there is nothing to look at.
        """
        now = int(self.wall())
        theirs = query.server_cookie
        good = False
        if len(theirs) == _COOKIE_BYTES:
            key = query.cookie + theirs + address
            made = self._good.get(key)
            if made is None:
                made = self._check(query.cookie, theirs, address, key)
            if made is not None and -AHEAD_S <= now - made <= LIFE_S:
                good = True
                if now - made < RENEW_S:
                    return True, option(OPTION_COOKIE, query.cookie + theirs)
        made_now = now - now % _STEP_S
        key = query.cookie + address
        fresh = self._fresh.get(key)
        if fresh is None or fresh[0] != made_now:
            if len(self._fresh) >= MAX_REMEMBERED:
                self._fresh.clear()
            fresh = self._fresh[key] = made_now, option(
                OPTION_COOKIE, query.cookie + self.make(query.cookie, address, made_now))
        return good, fresh[1]

    def steady(self, query: Query, good: bool) -> float:
        """Until when (seconds since 1970) `look` says the same of the same, having just found it `good` or not."""
        now = int(self.wall())
        until = now - now % _STEP_S + _STEP_S
        if good:
            made = _HEAD.unpack_from(query.server_cookie)[3]
            age = now - made
            if age < RENEW_S:
                return float(min(made + RENEW_S, now + _STEP_S))
            until = min(until, made + LIFE_S + 1)
        return float(until)

    def make(self, client: bytes, address: bytes, now: int) -> bytes:
        """A server cookie for a client's cookie and address."""
        head = _HEAD.pack(1, 0, 0, now & 0xFFFFFFFF)
        return head + self._digest(self._secret, client + head + address)

    def _check(self, client: bytes, theirs: bytes, address: bytes, key: bytes) -> int | None:
        """When one of our cookies was made; None: it is none of ours."""
        version, _, _, made = _HEAD.unpack_from(theirs)
        if version != 1 or self._digest(self._secret, client + theirs[:8] + address) != theirs[8:]:
            return None
        if len(self._good) >= MAX_REMEMBERED:
            self._good.clear()
        self._good[key] = made
        return int(made)
