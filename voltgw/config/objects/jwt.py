"""Validation of JSON web tokens, as a view and as an action of a rule (objects.md 17)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import ListOf
from voltgw.config.contents import Content
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Presence, Text


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

    cleartext: bytes | None = field(Content(1 << 20), "The key set as ``string:///`` and base64.")


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
    api_groups: ApiGroups | None = field(Nested(ApiGroups), "Those of some groups.", group="target")
    base_paths: BasePaths | None = field(Nested(BasePaths), "Those below some paths.", group="target")


@message
class TokenLocation:
    """Where the token stands in a request."""

    SINCE: ClassVar = ""

    bearer_token: bool = field(Presence(), "In Authorization, as a bearer token (RFC 6750).", group="token_location")


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
    auth_server_uri: str | None = field(Text(), "Where the keys are fetched (older).", group="jwks_configuration")
    jwks: str | None = field(Text(), "The keys as text (older).", group="jwks_configuration")
