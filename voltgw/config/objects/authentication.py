"""authentication: how users log in (objects.md 4.1; the kind itself stands there only by name)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import Anything
from voltgw.config.objects.secrets import SecretType
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Text


@message
class HashKeys:
    """Keys that sign cookies, and until when."""

    SINCE: ClassVar = "+2020-11"

    prim_key: SecretType | None = field(Nested(SecretType), "First key.")
    prim_key_expiry: str | None = field(Text(), "Until when it signs (RFC 3339).")
    sec_key: SecretType | None = field(Nested(SecretType), "Second key.")
    sec_key_expiry: str | None = field(Text(), "Until when it signs (RFC 3339).")


@message
class CookieParams:
    """The cookies of an authenticated session."""

    SINCE: ClassVar = "+2020-11"

    cookie_expiry_s: float | None = field(Duration("s"), "Life of the cookie.", absent="1 h")
    cookie_refresh_interval_s: float | None = field(Duration("s"), "It is renewed this often.", absent="50 min")
    session_expiry_s: float | None = field(Duration("s"), "Longest session.", absent="1 d")
    auth_hmac: HashKeys | None = field(Nested(HashKeys), "Keys that sign the cookies.", group="secret_choice")
    kms_key_hmac: object = field(Anything(), "Keys in the vendor's store.", group="secret_choice")


@message
class OIDCAuthParams:
    """Where the identity provider's parts are (OpenID Connect)."""

    SINCE: ClassVar = ""

    auth_endpoint_url: str = field(Text(least=1, most=128), "Its authorization endpoint.", required=True)
    token_endpoint_url: str = field(Text(least=1, most=128), "Its token endpoint.", required=True)
    end_session_endpoint_url: str = field(Text(least=1, most=128), "Its logout endpoint.", required=True)


@message
class OIDCAuthType:
    """An identity provider (OpenID Connect)."""

    SINCE: ClassVar = ""

    oidc_client_id: str = field(Text(least=1, most=256), "Who we are to it.", required=True)
    client_secret: SecretType | None = field(Nested(SecretType), "What proves it.")
    oidc_auth_params: OIDCAuthParams | None = field(
        Nested(OIDCAuthParams), "Where its parts are.", group="auth_params_choice")
    oidc_well_known_config_url: str | None = field(
        Text(least=1, most=128), "Where it says itself where its parts are.", group="auth_params_choice")


@message
class AuthenticationSpec:
    """How users log in."""

    SINCE: ClassVar = ""

    oidc_auth: OIDCAuthType | None = field(Nested(OIDCAuthType), "By OpenID Connect.", group="auth_type_choice")
    cookie_params: CookieParams | None = field(Nested(CookieParams), "The cookies of their sessions.")
