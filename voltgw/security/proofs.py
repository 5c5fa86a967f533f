"""What one kind of credential says of a request: who asks, or why that is not proven."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from voltgw.security.tokens import MISSING
from voltgw.values.identity import Proof, User

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from voltgw.values.exchange import Exchange
    from voltgw.values.head import Field, RequestHead
    from voltgw.values.reply import Reply

#: What is counted for a credential that was good.
ACCEPTED: Final = "accepted"
#: The response flag of a request that is refused for want of a credential.
FLAG: Final = "AU"


def realm_text(realm: str) -> bytes:
    """A realm for a challenge, as a quoted string's inside (RFC 9110 5.6.4): without what would end it, or the line."""
    return "".join(char for char in realm if " " <= char <= "~" and char not in '"\\').encode("ascii")


class Accepted:
    """A good credential. `fields` are what the endpoint is told of it, made once."""

    __slots__ = ("begins", "counted", "ends", "fields", "proof", "user")

    def __init__(self, user: User, fields: Sequence[Field] = (), begins: float = 0.0, ends: float = float("inf")) -> None:
        self.user = user
        self.proof = Proof(user, user.by)
        self.counted = (user.by, ACCEPTED)
        self.fields = tuple(fields)
        self.begins = begins                # wall seconds from which it holds…
        self.ends = ends                    # …and at which it does no more


class Denied:
    """No credential, or a bad one.

    `reason` is a word for metrics and logs, `detail` a sentence for operators; neither has anything of the credential.
    `challenge` is the WWW-Authenticate value (RFC 9110 11.6.1) that the client gets. `reply` is the whole answer where
    somebody else has given one. With `passes` the request goes on all the same: nobody could judge it, and that was asked for.
    """

    __slots__ = ("begins", "by", "challenge", "detail", "ends", "passes", "reason", "reply", "status")

    def __init__(
        self, by: str, reason: str, detail: str = "", status: int = 401, challenge: bytes | None = None,
        reply: Reply | None = None, begins: float = 0.0, ends: float = float("inf"), passes: bool = False,
    ) -> None:
        self.by = by
        self.reason = reason
        self.detail = detail
        self.status = status
        self.challenge = challenge
        self.reply = reply
        self.passes = passes
        self.begins = begins
        self.ends = ends

    @property
    def missing(self) -> bool:
        """Whether there was no credential at all."""
        return self.reason == MISSING


#: A decision; None: of this request nothing is asked.
Verdict: TypeAlias = "Accepted | Denied | None"


class Method(Protocol):
    """One kind of credential, as it is asked for by one virtual host or route."""

    @property
    def by(self) -> str:
        """Its name: ``jwt``, ``basic``, …"""

    @property
    def text(self) -> str:
        """What it asks for, in words."""

    @property
    def challenge(self) -> bytes | None:
        """The WWW-Authenticate value for a request without a credential."""

    @property
    def take_out(self) -> Callable[[RequestHead], None] | None:
        """Removes the credential from a request that goes on; None where it goes on with it."""

    def check(self, exchange: Exchange, /) -> Verdict | Deferred[Verdict]:
        """What the request proves."""

    def rehearse(self, exchange: Exchange, /) -> tuple[Verdict, str]:
        """The same for explain, at once and without a trace; the words say what could not be asked, "" for nothing."""
