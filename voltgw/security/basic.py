"""User and password in Authorization (RFC 7617), against a file of hashes.

A hash that is worth having takes milliseconds to seconds. So it is worked out aside, by few threads and behind a bounded queue,
and remembered for a while by a keyed hash of the credential; a flood of guesses fills the queue, and then waits outside. One
network of clients has a share of that queue, and requests that come together with the same credential are worked out once.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Final, Protocol

from voltgw.security.htpasswd import Htpasswd, Verified
from voltgw.security.places import CredentialPlace, authorization
from voltgw.security.proofs import Accepted, Denied, realm_text
from voltgw.security.shares import source_of
from voltgw.security.tokens import MALFORMED, MISSING, OVERSIZED, Refused
from voltgw.values.identity import User

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from voltgw.security.proofs import Verdict
    from voltgw.security.shares import Source
    from voltgw.values.exchange import Exchange

#: For how long a good credential is remembered, and a bad one, in seconds.
GOOD_S: Final = 300.0
BAD_S: Final = 10.0
#: Largest credential, before it is decoded.
MAX_BYTES: Final = 2048
#: Reasons beside those of tokens.
WRONG: Final = "wrong_password"
BUSY: Final = "busy"


class Aside(Protocol):
    """Where slow things are done; None says that too many are waiting already, or too many from that `source`."""

    def __call__(self, work: Callable[[], Any], key: Hashable, source: Source, /) -> Deferred[Any] | None:
        """Have `work` done; the Deferred has its result. What has the same `key` at the same time is done once."""


class Basic:
    """The method ``basic``. `monotonic` and `aside` may be exchanged for the running gateway's after it is built."""

    by: Final = "basic"

    def __init__(
        self, users: Htpasswd, realm: str, key: bytes, monotonic: Callable[[], float], aside: Callable[[], Aside | None], *,
        forward: bool = False,
    ) -> None:
        self._users = users
        self._place: CredentialPlace = authorization("Basic")
        self._known = Verified(key, GOOD_S, BAD_S)
        self._monotonic = monotonic
        self._aside = aside
        self.challenge = b'Basic realm="%b", charset="UTF-8"' % realm_text(realm)
        self._missing = Denied(self.by, MISSING, "there is no user and password", challenge=self.challenge)
        self._wrong = Denied(self.by, WRONG, "no such user, or another password", challenge=self.challenge)
        self._busy = Denied(self.by, BUSY, "too many passwords wait for being checked", 503)
        self.take_out = None if forward else self._place.take_out

    @property
    def text(self) -> str:
        """What it asks for, in words."""
        return f"asks for one of {len(self._users)} users and their password"

    def check(self, exchange: Exchange) -> Verdict | Deferred[Verdict]:
        """What a request's credential proves."""
        try:
            credential = self._read(exchange)
        except Refused as refused:
            return Denied(self.by, refused.reason, refused.detail, 400 if refused.reason == MALFORMED else 401, self.challenge)
        if credential is None:
            return self._missing
        user, password = credential
        known = self._known
        mark = known.mark(user, password)
        verdict = known.find(mark, self._monotonic())
        if verdict is not None:
            return self._verdict(user, verdict)
        aside = self._aside()
        if aside is None:                   # there is no gateway around it
            return self._verdict(user, self._users.check(user, password))
        working = aside(lambda: self._users.check(user, password), (self, mark), source_of(exchange.client_address))
        if working is None:
            return self._busy

        def done(good: bool) -> Verdict:
            known.note(mark, good, self._monotonic())
            return self._verdict(user, good)

        return working.addCallback(done)

    def rehearse(self, exchange: Exchange) -> tuple[Verdict, str]:
        """The same for explain. In a running gateway only what is remembered is said: nobody shall wait for a hash."""
        try:
            credential = self._read(exchange)
        except Refused as refused:
            return Denied(self.by, refused.reason, refused.detail), ""
        if credential is None:
            return self._missing, ""
        user, password = credential
        verdict = self._known.find(self._known.mark(user, password), self._monotonic())
        if verdict is None and self._aside() is None:
            verdict = self._users.check(user, password)
        if verdict is None:
            return self._verdict(user, True), "whether the password is right: that takes too long here"
        return self._verdict(user, verdict), ""

    def _read(self, exchange: Exchange) -> tuple[bytes, bytes] | None:
        data = self._place.find(exchange.request)
        if data is None:
            return None
        if len(data) > MAX_BYTES:
            raise Refused(OVERSIZED, "the credential is too long")
        try:
            user, colon, password = b64decode(data, validate=True).partition(b":")
        except ValueError:
            raise Refused(MALFORMED, "the credential is not base64") from None
        if not colon or not user:
            raise Refused(MALFORMED, "the credential is not <user>:<password>")
        return user, password

    def _verdict(self, user: bytes, good: bool) -> Accepted | Denied:
        return Accepted(User(user.decode("utf-8", "backslashreplace"), self.by)) if good else self._wrong
