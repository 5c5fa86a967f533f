"""user_identification: what tells users apart (objects.md 14.2)."""

from __future__ import annotations

from voltgw.config.compound import ListOf
from voltgw.config.formats import HEADER_NAME
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Presence, Text


@message
class UserIdentificationRule:
    """One thing that may tell users apart."""

    client_ip: bool = field(Presence(), "The address.", group="identifier")
    query_param_key: str | None = field(Text(least=1), "A query parameter.", group="identifier")
    http_header_name: str | None = field(Text(HEADER_NAME, least=1), "A header.", group="identifier")
    cookie_name: str | None = field(Text(least=1), "A cookie.", group="identifier")
    none: bool = field(Presence(), "Nothing: all are one user.", group="identifier")
    client_asn: bool = field(Presence(), "The autonomous system, by `gateway.geo`.", group="identifier")
    tls_fingerprint: bool = field(Presence(), "The JA3 fingerprint.", group="identifier")
    ip_and_http_header_name: str | None = field(
        Text(HEADER_NAME, least=1), "The address and a header.", group="identifier")
    ip_and_tls_fingerprint: bool = field(Presence(), "The address and the JA3 fingerprint.", group="identifier")
    client_country: bool = field(Presence(), "The country, by `gateway.geo`.", group="identifier")
    client_region: bool = field(Presence(), "The region, by `gateway.geo`.", group="identifier")
    client_city: bool = field(Presence(), "The city, by `gateway.geo`.", group="identifier")
    jwt_claim_name: str | None = field(Text(least=1), "A claim of the token.", group="identifier")
    ja4_tls_fingerprint: bool = field(Presence(), "The JA4 fingerprint.", group="identifier")
    ip_and_ja4_tls_fingerprint: bool = field(Presence(), "The address and the JA4 fingerprint.", group="identifier")


@message
class UserIdentificationSpec:
    """What tells users apart."""

    rules_: tuple[UserIdentificationRule, ...] = field(
        ListOf(Nested(UserIdentificationRule), least=1, most=4), "The first that yields a value wins.")
