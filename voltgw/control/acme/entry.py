"""One certificate that is fetched: what is served of it, how the last try went, when the next one is due."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from voltgw.control.acme.keys import Span
from voltgw.control.acme.schedule import HURRIED_S, MOST_WAIT_S, renewal
from voltgw.control.acme.store import State
from voltgw.values.tls import KeyPair

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

#: A wait that ends later than this cannot be meant: the clock was set back (seconds). CAs may ask for a week.
MOST_AHEAD_S: Final = 8 * 24 * 3600.0


class Entry:
    """A set of names for which there is to be one certificate. Times are seconds since the epoch."""

    def __init__(self, state: State, pair: KeyPair | None, span: Span | None) -> None:
        self.names = state.names
        self.hosts: tuple[str, ...] = ()    # the virtual hosts that show it, ``namespace/name``
        self.state = state
        self.pair: KeyPair | None = None
        self.span: Span | None = None
        self.fingerprint: str | None = None     # SHA-256 of the leaf in hexadecimal digits
        self._share = _share(state.names)
        if pair is not None and span is not None:
            self.serve(pair, span)
        self.running: Deferred[None] | None = None
        self.unkept = False                 # the disk has not taken `pair` yet

    def serve(self, pair: KeyPair, span: Span) -> None:
        """This is the certificate from now on."""
        self.pair, self.span, self.fingerprint = pair, span, _fingerprint(pair.chain)

    def due(self, directory: str, renew_before_s: float | None) -> float:
        """When the next try is due."""
        state = self.state
        if self.span is None or state.directory != directory:
            return state.next_try
        return max(state.next_try, renewal(self.span.begin, self.span.end, renew_before_s, self._share))

    def mend(self, now: float) -> None:
        """See to it that a wait which was written down by a clock that ran ahead does not last for years."""
        state = self.state
        if state.next_try > now + MOST_AHEAD_S:
            state.next_try = now + MOST_WAIT_S
        if state.not_before > now + MOST_AHEAD_S:
            state.not_before = state.hold = 0.0

    def hurry(self) -> None:
        """Somebody may have mended what had failed: try again soon, but no more often than public CAs bear."""
        state = self.state
        if state.failures:
            state.next_try = min(state.next_try, max(state.not_before, state.tried + HURRIED_S))

    def condition(self, now: float) -> str:
        """"pending" (there is none yet), "failed" (likewise, and a try has failed), "valid", "expired"."""
        if self.span is None:
            return "failed" if self.state.failures else "pending"
        return "valid" if now < self.span.end else "expired"

    def reason(self, due: float, now: float) -> str:
        """Why there is nothing to serve, in a sentence."""
        if self.running is not None:
            what = "an order is under way"
        elif due <= now:
            what = "an order is about to be made"
        else:
            what = f"the next try is at {utc(due)}"
        return f"certificate pending: {what}" + (f"; the last one failed: {self.state.error}" if self.state.error else "")

    def view(self, directory: str, due: float, now: float) -> dict[str, Any]:
        """For the admin page, JSON-ready."""
        return {
            "names": list(self.names), "virtual_hosts": list(self.hosts), "state": self.condition(now),
            "ends": utc(self.span.end) if self.span is not None else None,
            "fingerprint": self.fingerprint,
            "directory": directory, "issued_by": self.state.directory or None, "under_way": self.running is not None,
            "next_try": None if self.running is not None else utc(due), "failures": self.state.failures,
            "last_error": self.state.error, "kept": not self.unkept,
        }


def utc(wall: float) -> str:
    """A time as people read it."""
    try:
        return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return "never"


def _share(names: tuple[str, ...]) -> float:
    """A number in [0, 1) that these names always have, whatever process asks."""
    return int.from_bytes(hashlib.sha256("\n".join(names).encode()).digest()[:4], "big") / (1 << 32)


def _fingerprint(chain: bytes) -> str:
    return x509.load_pem_x509_certificates(chain)[0].fingerprint(SHA256()).hex()
