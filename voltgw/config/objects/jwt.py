"""Validation of JSON web tokens, as a view and as an action of a rule (objects.md 17)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final
from urllib.parse import urlsplit

from voltgw.config.compound import ListOf
from voltgw.config.contents import Content, SecretContent, SecretText
from voltgw.config.formats import EDITED_HEADER, HEADER_NAME, URL
from voltgw.config.objects.conditions import COOKIE_NAME
from voltgw.config.quantities import Duration, Size
from voltgw.config.reader import REFUSES
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Flag, Presence, Text
from voltgw.config.values import Secret
from voltgw.values.address import is_loopback

#: Algorithms of RFC 7518, 8037 and 9864 that tokens may be signed with.
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448",
    "HS256", "HS384", "HS512",
)


@message
class JwtAction:
    """What becomes of a request without a good token."""

    SINCE: ClassVar = ""

    block: bool = field(Presence(), "It is refused.", group="action_choice")
    report: bool = field(Presence(), "It is logged.", group="action_choice")


@message
class JwksConfig:
    """The keys that sign tokens (RFC 7517)."""

    SINCE: ClassVar = ""

    cleartext: Secret | None = field(SecretContent(1 << 20), "The key set as ``string:///`` and base64.")


@message
class MandatoryClaims:
    """Claims that must be there."""

    SINCE: ClassVar = ""

    claim_names: tuple[str, ...] = field(ListOf(Text(least=1)), "Their names.")


@message
class Audiences:
    """For whom a token is."""

    SINCE: ClassVar = ""

    audiences: tuple[str, ...] = field(ListOf(Text(least=1)), "One of these.")


@message
class ReservedClaims:
    """Which of the registered claims are checked (RFC 7519 4.1)."""

    SINCE: ClassVar = ""

    audience: Audiences | None = field(Nested(Audiences), "aud.", group="audience_validation")
    audience_disable: bool = field(Presence(), "Not aud.", group="audience_validation")
    issuer: str | None = field(Text(least=1), "iss must be this.", group="issuer_validation")
    issuer_disable: bool = field(Presence(), "Not iss.", group="issuer_validation")
    validate_period_enable: bool = field(Presence(), "exp and nbf.", group="validate_period")
    validate_period_disable: bool = field(Presence(), "Neither exp nor nbf.", group="validate_period")


@message
class ApiGroups:
    """Groups of an API's operations."""

    SINCE: ClassVar = ""

    api_groups: tuple[str, ...] = field(ListOf(Text(least=1)), "Their names.")


@message
class BasePaths:
    """Paths and what is below them."""

    SINCE: ClassVar = ""

    base_paths: tuple[str, ...] = field(ListOf(Text(least=1)), "The paths.")


@message
class JwtTarget:
    """Which requests need a token."""

    SINCE: ClassVar = ""

    all_endpoint: bool = field(Presence(), "All.", group="target")
    api_groups: ApiGroups | None = field(Nested(ApiGroups), "Those of some groups.", group="target", state=REFUSES)
    base_paths: BasePaths | None = field(Nested(BasePaths), "Those below some paths.", group="target")


@message
class TokenLocation:
    """Where the token stands in a request."""

    SINCE: ClassVar = ""

    bearer_token: bool = field(Presence(), "In Authorization, as a bearer token (RFC 6750).", group="token_location")


@message
class TokenPlace:
    """One place where a token may stand."""

    SINCE: ClassVar = "voltgw"

    bearer: bool = field(Presence(), "In Authorization, as a bearer token (RFC 6750).", group="place")
    header: str | None = field(Text(HEADER_NAME, least=1, most=256), "In this header.", group="place")
    cookie: str | None = field(Text(COOKIE_NAME, least=1, most=256), "In this cookie.", group="place")
    query: str | None = field(
        Text(least=1, most=256), "In this parameter of the query, which then never goes on.", group="place")
    prefix: str | None = field(Text(most=64), "Text in front of it, in a header.", example='"Bearer "')

    def rules(self) -> Iterable[Rule]:
        """It says where."""
        if not (self.bearer or self.header or self.cookie or self.query):
            yield Rule("", "VG0105", "a place needs `bearer`, `header`, `cookie` or `query`")


@message
class ClaimToHeader:
    """A claim that endpoints are told of."""

    SINCE: ClassVar = "voltgw"

    claim: str = field(
        Text(least=1, most=256), "Its name; of one inside another both, with a ``.`` between.", required=True,
        example="realm_access.roles")
    header: str = field(
        Text(EDITED_HEADER, least=1, most=256), "The header; text stands in it as it is, everything else as JSON. What "
        "clients send under this name is taken out.", required=True)


@message
class JwtExtension:
    """What voltgw adds to the validation of tokens."""

    SINCE: ClassVar = "voltgw"

    jwks_url: str | None = field(
        Text(URL, most=2048), "The keys are fetched here, and again and again.", example="https://id.example/.well-known/jwks.json")
    trusted_ca: bytes | None = field(
        Content(1 << 20, pem=True), "Who vouches for the server of ``jwks_url``.", absent="the system's authorities")
    plain_http: bool = field(
        Flag(), "``jwks_url`` may be ``http://`` although it leaves this machine: whoever stands on the way chooses the keys.")
    refresh_interval_s: float | None = field(
        Duration("s", 10, 86400), "The keys are fetched so often.", absent="5 min")
    refetch_pause_s: float | None = field(
        Duration("s", 1, 3600), "For tokens of keys that are not known they are fetched at once, but not more often than this.",
        absent="30 s")
    fetch_timeout_s: float | None = field(Duration("s", 0.1, 60), "They must be here in this time.", absent="5 s")
    algorithms: tuple[str, ...] = field(
        ListOf(Text(one_of=ALGORITHMS), most=len(ALGORITHMS), unique=True), "Algorithms that are accepted.",
        absent="those of the keys", example="[RS256, ES256]")
    leeway_s: float | None = field(
        Duration("s", 0, 3600, zero="value"), "By so much the clocks of others may be wrong.", absent="60 s")
    places: tuple[TokenPlace, ...] = field(
        ListOf(Nested(TokenPlace), most=8, unique=True), "Where the token may stand.", absent="token_location")
    claims_to_headers: tuple[ClaimToHeader, ...] = field(
        ListOf(Nested(ClaimToHeader), most=32, unique=True), "Claims that endpoints are told of.")
    user_claim: str | None = field(Text(least=1, most=256), "The claim that names the user.", absent="sub")
    drop_token: bool = field(Flag(), "The token does not go on to the endpoint; one in a query never does.")
    realm: str | None = field(Text(least=1, most=128), "What the client is told that it needs a token for.",
                              absent="the virtual host's name")
    max_token_bytes: int | None = field(Size("B", 64, 65536), "Largest token.", absent="8 KiB")

    def rules(self) -> Iterable[Rule]:
        """Keys are not fetched in the clear by accident."""
        url = self.jwks_url
        if url is not None and url.startswith("http://") and not self.plain_http and not _on_this_machine(url):
            yield Rule("jwks_url", "VG0103", "keys that are fetched in the clear may be anybody's",
                       "write https://, or `plain_http: true` where the way is safe")


def _on_this_machine(url: str) -> bool:
    """Whether what is asked for leads to a loopback address, or to ``localhost``: ``127.example`` is a name like any other."""
    return is_loopback(urlsplit(url).hostname or "")


@message
class JwtValidation:
    """Requests need a token."""

    SINCE: ClassVar = ""

    action: JwtAction | None = field(Nested(JwtAction), "What becomes of those without a good one.")
    jwks_config: JwksConfig | None = field(Nested(JwksConfig), "The keys.", group="jwks_configuration")
    mandatory_claims: MandatoryClaims | None = field(Nested(MandatoryClaims), "Claims that must be there.")
    reserved_claims: ReservedClaims | None = field(Nested(ReservedClaims), "Registered claims that are checked.")
    target: JwtTarget | None = field(Nested(JwtTarget), "Which requests.")
    token_location: TokenLocation | None = field(Nested(TokenLocation), "Where the token stands.")
    auth_server_uri: str | None = field(
        Text(), "Where the keys are fetched (older; ``jwks_url`` of voltgw).", group="jwks_configuration", state=REFUSES)
    jwks: Secret | None = field(SecretText(), "The keys as text (older).", group="jwks_configuration")
    voltgw: JwtExtension | None = field(Nested(JwtExtension), "What voltgw adds to it.", since="voltgw")

    @property
    def in_authorization(self) -> bool:
        """Whether the token may only stand in Authorization."""
        places = self.voltgw.places if self.voltgw is not None else ()
        return all(place.bearer or (place.header or "").lower() == "authorization" for place in places)
