"""A listener's virtual hosts while a CA looks whether names are ours: http-01 is answered before any route (RFC 8555 8.3).

Such a table stands in place of the listener's own only as long as an order is under way, so that requests pay nothing for it at
any other time; and then, too, only those for the names of that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from voltgw.routing.hosts import HostTable
from voltgw.routing.index import Chooser
from voltgw.routing.route import Route, VirtualHost
from voltgw.values.compiling import resemble
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from voltgw.routing.actions import Asked
    from voltgw.values.head import RequestHead

#: Where CAs look (RFC 8555 8.3).
PREFIX: Final = b"/.well-known/acme-challenge/"
#: Access-log detail of an answer to a challenge, and the name of its route.
DETAIL: Final = "acme_challenge"
_METHODS: Final = (b"GET", b"HEAD")


class ChallengedTable(HostTable):
    """`whole` with answers to the challenges of some names, which may be names that no virtual host has.

    `tokens` has for each name, in lower case, its tokens and what they are answered. What else is asked of such a name becomes
    what it would have become.
    """

    __slots__ = ("_stand_ins", "_tokens", "_whole")

    def __init__(self, whole: HostTable, tokens: Mapping[bytes, Mapping[bytes, bytes]]) -> None:
        super().__init__(())
        self._whole = whole
        self._tokens = tokens
        self._stand_ins: dict[tuple[bytes, VirtualHost | None], VirtualHost] = {}
        self.exact = {name: host for name, host in whole.exact.items() if name not in tokens}

    def choose(self, host: bytes, port: int | None, listener_port: int) -> VirtualHost | None:
        """As `HostTable.choose`."""
        found = self._whole.choose(host, port, listener_port)
        name = host.lower().removesuffix(b".")
        tokens = self._tokens.get(name)
        if not tokens:
            return found
        made = self._stand_ins.get((name, found))
        if made is None:
            made = self._stand_ins[name, found] = _answering(found, name, tokens)
        return made


def _answering(host: VirtualHost | None, name: bytes, tokens: Mapping[bytes, bytes]) -> VirtualHost:
    """A host that is `host` (None = one without routes) in all but the answers to these tokens."""
    made = VirtualHost(name.decode("ascii", "replace"))
    if host is not None:
        resemble(made, host)
    route = Route(made, DETAIL)

    def answer(head: RequestHead, asked: Asked) -> Reply:
        # whoever asks has just been told that the token is there
        told = tokens.get(head.path[len(PREFIX):], b"")
        return Reply(200, [(b"content-type", b"application/octet-stream")], told, detail=DETAIL)

    route.answer = answer
    made.only = None
    made.chooser = _Answering(host, route, tokens)
    return made


class _Answering(Chooser):
    """`route` for those who ask for the tokens; for all others the routes of `host`."""

    __slots__ = ("_host", "_route", "_tokens")

    def __init__(self, host: VirtualHost | None, route: Route, tokens: Mapping[bytes, bytes]) -> None:
        self._host = host
        self._route = route
        self._tokens = tokens

    def choose(self, head: RequestHead, port: int) -> Route | None:
        if head.path.startswith(PREFIX) and head.method in _METHODS and head.path[len(PREFIX):] in self._tokens:
            return self._route
        host = self._host
        return None if host is None else host.only or host.choose(head, port)
