"""Who a client is by its TLS certificate, which the listener has verified before any request came.

Of several names a certificate is known by its SPIFFE id, else another URI, else the first of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from voltgw.security.names import names_of
from voltgw.security.proofs import Accepted, Denied
from voltgw.security.tokens import MISSING
from voltgw.security.verdicts import Verdicts
from voltgw.values.identity import User

if TYPE_CHECKING:
    from voltgw.security.proofs import Verdict
    from voltgw.values.exchange import Exchange

NAME: Final = "name"
_SPIFFE: Final = b"spiffe://"
#: Certificates whose verdict is remembered.
_MOST: Final = 1024


class ClientCertificate:
    """The method ``client_certificate``. `fits` says whether a name is one that is wanted, None = any is."""

    by: Final = "client_certificate"
    challenge = None                        # HTTP has no way to ask for one
    take_out = None                         # what endpoints are told of it is for the virtual host's TLS to say

    def __init__(
        self, fits: Callable[[bytes], bool] | None, trust_domains: Sequence[str] = (), words: str = "",
    ) -> None:
        self._fits = fits
        self._domains = tuple(_SPIFFE + domain.lower().encode("utf-8") + b"/" for domain in trust_domains)
        self._words = words
        self._known: Verdicts[Accepted | Denied] = Verdicts(_MOST)
        self._missing = Denied(self.by, MISSING, "the client has shown no certificate", 403)
        self._other = Denied(self.by, NAME, "its certificate has no name that is wanted", 403)

    @property
    def text(self) -> str:
        """What it asks for, in words."""
        asked = "asks for a client certificate"
        if self._domains:
            asked += " with a SPIFFE id of " + " or ".join(
                domain[len(_SPIFFE):-1].decode("utf-8") for domain in self._domains)
        return asked + (f" that names {self._words}" if self._words else "")

    def check(self, exchange: Exchange) -> Verdict:
        """What a connection's certificate proves."""
        handshake = exchange.client.handshake
        if handshake is None or not handshake.peer:
            return self._missing
        leaf = handshake.peer[0]
        verdict = self._known.find(leaf)
        if verdict is None:
            verdict = self._judge(names_of(exchange))
            self._known.note(leaf, verdict)
        return verdict

    def rehearse(self, exchange: Exchange) -> tuple[Verdict, str]:
        """The same for explain."""
        return self.check(exchange), ""

    def _judge(self, names: Sequence[bytes]) -> Accepted | Denied:
        good = [name for name in names if self._fits is None or self._fits(name)]
        if self._domains:                   # the host of a URI has no case (RFC 3986 3.2.2); SPIFFE wants it lower
            ours = [name for name in names if name.lower().startswith(self._domains)]
            good = [name for name in good if name in ours] or (ours if good else [])
        if not good and (names or self._fits is not None or self._domains):
            return self._other
        ranked = sorted(good, key=lambda name: (not name.startswith(_SPIFFE), b"://" not in name))
        return Accepted(User(ranked[0].decode("utf-8", "backslashreplace") if ranked else "", self.by))
