"""JSON web tokens of requests (RFC 7519): verified once, remembered by a hash, their times looked at every time.

What is remembered of a token is its SHA-256, its claims and until when it holds; the token itself is not kept. A token that was
refused is remembered for a few seconds, so that the same bad one does not cost a signature at each request. Another key set
forgets everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.security.keys import ALGORITHMS, KeySet
from voltgw.security.places import CredentialPlace, each_of, find_one
from voltgw.security.proofs import Accepted, Denied, realm_text
from voltgw.security.tokens import (
    AUDIENCE,
    CLAIMS,
    EXPIRED,
    ISSUER,
    MALFORMED,
    MAX_TOKEN_BYTES,
    MISSING,
    NO_KEYS,
    NOT_YET,
    UNKNOWN_KEY,
    Refused,
    Token,
    read_token,
)
from voltgw.security.verdicts import Verdicts
from voltgw.values.defaults import JWT_LEEWAY_S
from voltgw.values.identity import User

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from voltgw.security.proofs import Verdict
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead

#: Tokens that are remembered (twice as many at most), and for how long one is that was refused.
MAX_REMEMBERED: Final = 8192
REFUSED_S: Final = 5.0
#: Largest time that is one (RFC 7519 NumericDate): the year 9999.
_MOST_SECONDS: Final = 253402300800.0
#: Longest value of a header that is made of a claim.
MAX_CLAIM_BYTES: Final = 4096

#: What a client may know of why its token is not taken (RFC 6750 3.1).
_TOLD: Final = {
    EXPIRED: "the token has expired", NOT_YET: "the token is not valid yet", MALFORMED: "the token cannot be read",
}


class KeyTerms(NamedTuple):
    """Keys that are fetched: whose, how often, and how long that may take (seconds). `trusted_ca` None = the system's."""

    url: str
    trusted_ca: bytes | None
    refresh_s: float
    pause_s: float
    timeout_s: float


class KeySource:
    """Where the keys of tokens come from. `keys` is None as long as there are none; `problem` says why the last try failed.

    `refresh` asks for them anew: it gives a Deferred that fires when that is over, or None when it may not be done so soon.
    `version` counts the key sets. `fetched` says how they come, None = they stand in the configuration.
    """

    __slots__ = ("fetched", "keys", "name", "problem", "refresh", "version")

    def __init__(self, name: str, keys: KeySet | None = None, fetched: KeyTerms | None = None) -> None:
        self.name = name
        self.fetched = fetched
        self.keys = keys
        self.problem = ""
        self.version = 0
        self.refresh: Callable[[], Deferred[None] | None] = _cannot

    def rest(self) -> None:
        """Nobody fetches them any more."""
        self.refresh = _cannot

    def install(self, keys: KeySet) -> None:
        """These are the keys from now on; what was verified with others must be verified again."""
        self.keys = keys
        self.problem = ""
        self.version += 1


def _cannot() -> Deferred[None] | None:
    return None


@dataclass(frozen=True, slots=True)
class JwtTerms:
    """What is asked of a token. `period` asks for exp and nbf; `user_claim` is the one that names the user."""

    issuer: str | None = None
    audiences: frozenset[str] = frozenset()
    mandatory: tuple[str, ...] = ()
    period: bool = True
    leeway_s: float = JWT_LEEWAY_S
    algorithms: frozenset[str] = field(default_factory=lambda: frozenset(ALGORITHMS))
    max_bytes: int = MAX_TOKEN_BYTES
    user_claim: str = "sub"
    headers: tuple[tuple[str, str], ...] = ()       # (claim, name of the field that tells the endpoint of it)


class Jwt:
    """The method ``jwt``. `wall` gives seconds since the epoch; `realm` is named in challenges."""

    by: Final = "jwt"

    def __init__(
        self, terms: JwtTerms, keys: KeySource, places: Sequence[CredentialPlace], wall: Callable[[], float], realm: str, *,
        drop: bool = False, applies: Callable[[RequestHead], bool] | None = None,
    ) -> None:
        self.terms = terms
        self.keys = keys
        self.places = tuple(places)
        self._find = find_one(self.places)
        self._wall = wall
        leaving = [place.take_out for place in self.places if drop or place.hidden]
        self.take_out = each_of(leaving) if leaving else None
        hidden = [place.take_out for place in self.places if place.hidden]
        self.hide = each_of(hidden) if hidden else None
        self._realm = realm_text(realm)
        self.challenge = b'Bearer realm="%b"' % self._realm
        self._missing = Denied(self.by, MISSING, "there is no token", challenge=self.challenge)
        self._known: Verdicts[Accepted | Denied] = Verdicts(MAX_REMEMBERED)
        self._version = keys.version        # of the keys that `_known` is about
        self._applies = applies

    @property
    def text(self) -> str:
        """What it asks for, in words."""
        return f"asks for a token in {' or '.join(place.text for place in self.places)}"

    def check(self, exchange: Exchange) -> Verdict | Deferred[Verdict]:
        """What the token of a request proves."""
        if self._applies is not None and not self._applies(exchange.request):
            return None
        try:
            data = self._find(exchange.request)
        except Refused as refused:
            return self._denied(refused, 400)
        if not data:
            return self._missing
        mark = sha256(data).digest()
        known = self._known
        if self.keys.version != self._version:
            self._version = self.keys.version
            known.clear()
        verdict = known.young.get(mark) or known.find(mark)
        now = self._wall()
        if verdict is not None and verdict.begins <= now < verdict.ends:
            return verdict
        return self._verify(data, mark, now)

    def _verify(self, data: bytes, mark: bytes, now: float) -> Verdict | Deferred[Verdict]:
        verdict = self._judge(data, now)
        if isinstance(verdict, Denied) and verdict.reason in (UNKNOWN_KEY, NO_KEYS):
            waiting = self.keys.refresh()   # the issuer may have new keys
            if waiting is not None:
                return waiting.addCallback(lambda _: self._remember(mark, self._judge(data, self._wall())))
        return self._remember(mark, verdict)

    def _remember(self, mark: bytes, verdict: Accepted | Denied) -> Accepted | Denied:
        if self.keys.version == self._version and not (isinstance(verdict, Denied) and verdict.reason == NO_KEYS):
            self._known.note(mark, verdict)
        return verdict

    def rehearse(self, exchange: Exchange) -> tuple[Verdict, str]:
        """The same for explain, without a trace."""
        if self._applies is not None and not self._applies(exchange.request):
            return None, "the path is not one of those that need a token"
        try:
            data = self._find(exchange.request)
            if not data:
                return self._missing, ""
            now = self._wall()
            if self.keys.keys is None:
                token = read_token(data, self.terms.max_bytes)
                if token.alg not in self.terms.algorithms:
                    return self._judge(data, now), ""
                accepted = self._accepted(token, *self._check_claims(token.claims, now))
                return accepted, f"its signature: the keys of {self.keys.name} are not here"
        except Refused as refused:
            return self._denied(refused), ""
        return self._judge(data, now), ""

    # -- one token ---------------------------------------------------------------------------------------------------------

    def _judge(self, data: bytes, now: float) -> Accepted | Denied:
        """The verdict on a token, worked out anew."""
        terms = self.terms
        try:
            token = read_token(data, terms.max_bytes)
            keys = self.keys.keys
            if keys is None:
                if token.alg in terms.algorithms:
                    raise Refused(NO_KEYS, f"there are no keys: {self.keys.problem or 'they have not come yet'}")
                keys = KeySet(())           # it is refused for its algorithm
            keys.verify(token, terms.algorithms)
            return self._accepted(token, *self._check_claims(token.claims, now))
        except Refused as refused:
            return self._denied(refused, begins=now, ends=now + REFUSED_S)

    def _check_claims(self, claims: Mapping[str, object], now: float) -> tuple[float, float]:
        """From when and until when they hold, in wall seconds. Raises `Refused`."""
        terms = self.terms
        for name in terms.mandatory:
            if claims.get(name) in (None, "", []):
                raise Refused(CLAIMS, f"it has no claim {name!r}")
        if terms.issuer is not None and claims.get("iss") != terms.issuer:
            raise Refused(ISSUER, "it is of another issuer, or of none")
        if terms.audiences:
            said = claims.get("aud")
            listed = said if isinstance(said, list) else [said]
            if not any(isinstance(one, str) and one in terms.audiences for one in listed):
                raise Refused(AUDIENCE, "it is for another audience, or for none")
        if not terms.period:
            return 0.0, float("inf")
        ends = _time(claims, "exp", float("inf")) + terms.leeway_s
        begins = _time(claims, "nbf", 0.0) - terms.leeway_s
        if now >= ends:
            raise Refused(EXPIRED, "its time (exp) is over")
        if now < begins:
            raise Refused(NOT_YET, "its time (nbf) has not come")
        return begins, ends

    def _accepted(self, token: Token, begins: float, ends: float) -> Accepted:
        claims = token.claims
        name = claims.get(self.terms.user_claim)
        user = User(name if isinstance(name, str) else "", self.by, claims)
        fields = []
        for claim, header in self.terms.headers:
            value = field_value(claim_at(claims, claim))
            if value is not None:
                fields.append((header.encode("ascii"), value))
        return Accepted(user, fields, begins, ends)

    def _denied(self, refused: Refused, status: int = 401, begins: float = 0.0, ends: float = float("inf")) -> Denied:
        if refused.reason == NO_KEYS:
            return Denied(self.by, NO_KEYS, refused.detail, 503)
        error = b"invalid_request" if status == 400 else b"invalid_token"
        told = _TOLD.get(refused.reason, "the token is not accepted").encode("ascii")
        challenge = b'Bearer realm="%b", error="%b", error_description="%b"' % (self._realm, error, told)
        return Denied(self.by, refused.reason, refused.detail, status, challenge, begins=begins, ends=ends)


def _time(claims: Mapping[str, object], name: str, absent: float) -> float:
    """A NumericDate (RFC 7519 2) in seconds; raises `Refused` for what is none."""
    value = claims.get(name)
    if value is None and name not in claims:
        return absent
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MOST_SECONDS < value < _MOST_SECONDS:
        raise Refused(MALFORMED, f"its {name} is no time")
    return float(value)


def claim_at(claims: Mapping[str, object], path: str) -> object:
    """A claim by its name, or one inside another by their names with a ``.`` between; None where there is none."""
    if path in claims:
        return claims[path]
    value: object = claims
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def field_value(value: object) -> bytes | None:
    """A claim as the value of a field: text as it is, everything else as JSON; None for what no field can carry.

    White space around a text is such a thing (RFC 9110 5.5): the endpoint would be told of another one, which somebody may be.
    """
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:              # half of a surrogate pair
        return None
    if len(data) > MAX_CLAIM_BYTES or data != data.strip() or any(byte < 32 or byte == 127 for byte in data):
        return None
    return data
