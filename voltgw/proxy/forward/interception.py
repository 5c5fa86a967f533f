"""Which TLS connections a forward proxy opens, and which certificates it shows then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.values.tls import ServerTls

if TYPE_CHECKING:
    from voltgw.cluster.cluster import ClientContextLike
    from voltgw.net.tls.engine import ServerContext
    from voltgw.security.minting import Signer

#: How long an origin that was verified is taken at its word: its certificate is looked at again then.
VERIFIED_S: Final = 300.0
#: How long a client that has refused our certificate is left alone with that name, and how many of those are remembered.
SPLICED_S: Final = 3600.0
MAX_SPLICED: Final = 4096
_ALPN: Final = (b"h2", b"http/1.1")


class Action(Enum):
    """What becomes of a TLS connection to some name."""

    SPLICE = "splice"                       # passed on untouched
    PEEK = "peek"                           # passed on, once the origin's certificate was looked at
    OPEN = "open"                           # ended here, looked at, and begun again towards the origin


class NameRule(NamedTuple):
    """What is done with names that `fits` takes; `text` says which these are."""

    fits: Callable[[bytes], bool]
    action: Action
    text: str


class _Shown(NamedTuple):
    context: ServerContext
    origin: bytes                           # SHA-256 of the certificate that it stands for
    until: float                            # monotonic seconds: then the origin is looked at again


class Interception:
    """The rules of one connector, and the certificates that were minted under them.

    `otherwise` is for names that no rule takes. `origins` makes TLS connections to origins; `server_context` makes contexts of
    what clients are shown. With `error_page` a client is shown a page where the origin's certificate is refused, else its
    handshake fails. With `splice_failing` whoever refuses our certificate is left alone with that name for a while.
    """

    def __init__(
        self, rules: Sequence[NameRule], otherwise: Action, signer: Signer, origins: ClientContextLike,
        server_context: Callable[[ServerTls], ServerContext], *, wall: Callable[[], float], error_page: bool = False,
        splice_failing: bool = False, most: int = 1024,
    ) -> None:
        self.rules = tuple(rules)
        self.otherwise = otherwise
        self.origins = origins
        self.error_page = error_page
        self.splice_failing = splice_failing
        self._signer = signer
        self._server_context = server_context
        self._wall = wall
        self._most = most
        self.made_from: object = None       # what it was built from, for whoever builds the next one
        self._shown: dict[str, _Shown] = {}
        self._spliced: dict[tuple[str, bytes], float] = {}      # until when (epoch seconds)

    def __len__(self) -> int:
        return len(self._shown)

    def choose(self, name: bytes, client: str) -> Action:
        """What becomes of TLS to `name` (b"" = the client names nobody) from the address `client`."""
        if self._spliced and self._spliced.get((client, name), 0.0) > self._wall():
            return Action.SPLICE
        for rule in self.rules:
            if name and rule.fits(name):
                return rule.action
        return self.otherwise

    def why(self, name: bytes) -> tuple[Action, str]:
        """The same for somebody who has refused nothing, and why."""
        for number, rule in enumerate(self.rules):
            if name and rule.fits(name):
                return rule.action, f"interception rule {number}: {rule.text}"
        return self.otherwise, "no rule takes the name" if self.rules else "all names"

    def refused_by(self, client: str, name: bytes) -> bool:
        """A client has not taken our certificate for a name; whether it is left alone with that name from now on."""
        if not self.splice_failing:
            return False
        while len(self._spliced) >= MAX_SPLICED:
            del self._spliced[next(iter(self._spliced))]
        self._spliced.pop((client, name), None)
        self._spliced[client, name] = self._wall() + SPLICED_S
        return True

    # -- certificates ----------------------------------------------------------------------------------------------------------

    def ready(self, name: str, now: float) -> ServerContext | None:
        """What is shown for `name` if its origin was verified a moment ago; `now` is monotonic seconds."""
        shown = self._shown.get(name)
        return None if shown is None or now >= shown.until else shown.context

    def verified(self, name: str, origin: bytes, now: float) -> tuple[ServerContext, bool]:
        """What is shown for `name`, whose origin has shown `origin` (DER) and was verified; and whether it was minted anew."""
        digest = sha256(origin).digest()
        shown = self._shown.pop(name, None)
        anew = shown is None or shown.origin != digest
        context = self._context(name, origin) if shown is None or anew else shown.context
        while len(self._shown) >= self._most:
            del self._shown[next(iter(self._shown))]
        self._shown[name] = _Shown(context, digest, now + VERIFIED_S)
        return context, anew

    def for_fault(self, name: str) -> ServerContext:
        """What is shown for `name`, whose origin was refused: under it, there is only an error page. It is not kept."""
        return self._context(name, None)

    def _context(self, name: str, origin: bytes | None) -> ServerContext:
        pair = self._signer.mint(name, origin, datetime.fromtimestamp(self._wall(), UTC))
        return self._server_context(ServerTls(certificates=(pair,), alpn=_ALPN, scope=b"inspected " + name.encode()))
