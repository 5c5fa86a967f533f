"""Who may use a forward proxy: user and password by Proxy-Authorization (RFC 7617), held against an htpasswd file.

What hashes are made to cost must not be paid by everybody else: they are computed in a thread, one verdict for equal questions,
and a verdict is remembered for a while.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from voltgw.security.htpasswd import Verified
from voltgw.security.shares import Shares, source_of

if TYPE_CHECKING:
    from voltgw.security.htpasswd import Htpasswd

#: How long good credentials are taken at their word, and how long bad ones are refused unasked.
GOOD_S: Final = 300.0
BAD_S: Final = 5.0
#: Hashes that are computed or wait for it; whoever comes then is refused for now.
MAX_UNDER_WAY: Final = 64


class Logins:
    """The logins of a process. `in_thread` runs a function in a thread and gives its result."""

    def __init__(self, key: bytes, monotonic: Callable[[], float], in_thread: Callable[..., Deferred[Any]]) -> None:
        self._verified = Verified(key, GOOD_S, BAD_S)
        self._monotonic = monotonic
        self._in_thread = in_thread
        self._under_way: dict[bytes, list[Deferred[str | None]]] = {}
        self._shares = Shares()
        self.good = 0
        self.bad = 0
        self.crowded = 0

    def check(
        self, users: Htpasswd, credentials: bytes | None, scope: bytes, client: str = "",
    ) -> str | None | Deferred[str | None]:
        """The user that these are the credentials of, None if nobody's. `scope` tells the contents of files apart.

        `client` is the address from which they come, "" = nobody knows: of what may be under way one network gets a share.
        """
        pair = None if credentials is None else _pair(credentials)
        if pair is None:
            self.bad += credentials is not None
            return None
        user, password = pair
        name = user.decode("utf-8", "replace")
        mark = self._verified.mark(scope + user, password)
        known = self._verified.find(mark, self._monotonic())
        if known is not None:
            self._count(known)
            return name if known else None
        answer: Deferred[str | None] = Deferred()
        waiting = self._under_way.get(mark)
        if waiting is not None:
            waiting.append(answer)
            return answer
        source = source_of(client)
        under_way = len(self._under_way)
        if under_way >= MAX_UNDER_WAY or not self._shares.take(source, crowded=under_way >= MAX_UNDER_WAY // 2):
            self.crowded += 1
            return None
        self._under_way[mark] = [answer]

        def decided(good: bool) -> None:
            self._verified.note(mark, good, self._monotonic())
            tell(good)

        def tell(good: bool) -> None:
            self._shares.give_back(source)
            for each in self._under_way.pop(mark, ()):
                self._count(good)
                if not each.called:         # else whoever asked has left
                    each.callback(name if good else None)

        def failed(failure: Any) -> Any:
            tell(False)
            return failure

        self._in_thread(users.check, user, password).addCallbacks(decided, failed)
        return answer

    def _count(self, good: bool) -> None:
        if good:
            self.good += 1
        else:
            self.bad += 1


def _pair(credentials: bytes) -> tuple[bytes, bytes] | None:
    """User and password of ``Basic ...``; None where it is something else."""
    scheme, _, token = credentials.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = b64decode(token.strip(b" "), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon and user else None
