"""Edits of headers and cookies, and the case of header names (objects.md 3.5, 3.11)."""

from __future__ import annotations

from voltgw.config.formats import EDITED_HEADER, FIELD_TEXT, HOSTNAME
from voltgw.config.objects.secrets import SecretType
from voltgw.config.quantities import Duration
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Flag, Presence, Text


@message
class HeaderManipulationOptionType:
    """One header to add or replace."""

    name: str = field(Text(EDITED_HEADER, least=1, most=256), "Header name.", required=True, example="x-canary")
    value: str | None = field(
        Text(FIELD_TEXT, most=8096), "Value; it may have variables such as ``%CLIENT_ADDRESS%``.", group="value_choice",
        absent="empty")
    secret_value: SecretType | None = field(
        Nested(SecretType), "Value from a secret.", since="+2021-12", group="value_choice")
    append: bool = field(Flag(), "Add another value beside those that are there.", absent="replace them")


@message
class CookieValueOption:
    """One request cookie to add."""

    name: str = field(Text(least=1, most=256), "Cookie name.", since="+2025-06", required=True)
    value: str | None = field(
        Text(FIELD_TEXT, most=8096), "Value; it may have variables.", since="+2025-06", group="value_choice")
    secret_value: SecretType | None = field(Nested(SecretType), "Value from a secret.", since="+2025-06", group="value_choice")
    overwrite: bool = field(Flag(), "Replace the cookie if the client sent it.", since="+2025-06", absent="leave it")


@message
class SetCookieValueOption:
    """One response cookie to add, with its attributes."""

    name: str = field(Text(least=1, most=256), "Cookie name.", since="+2025-06", required=True)
    value: str | None = field(
        Text(FIELD_TEXT, most=8096), "Value; it may have variables.", since="+2025-06", group="value_choice")
    secret_value: SecretType | None = field(Nested(SecretType), "Value from a secret.", since="+2025-06", group="value_choice")
    ignore_value: bool = field(Presence(), "Leave the value.", since="+2025-06", group="value_choice")
    overwrite: bool = field(Flag(), "Replace a cookie of the same name.", since="+2025-06", absent="leave it")
    add_domain: str | None = field(Text(HOSTNAME, most=256), "Domain attribute.", since="+2025-06", group="domain_choice")
    ignore_domain: bool = field(Presence(), "Leave the domain.", since="+2025-06", group="domain_choice")
    add_expiry: str | None = field(Text(FIELD_TEXT, most=256), "Expires attribute.", since="+2025-06", group="expiry_choice")
    ignore_expiry: bool = field(Presence(), "Leave the expiry.", since="+2025-06", group="expiry_choice")
    add_httponly: bool = field(Presence(), "HttpOnly.", since="+2025-06", group="httponly_choice")
    ignore_httponly: bool = field(Presence(), "Leave HttpOnly.", since="+2025-06", group="httponly_choice")
    max_age_value_s: float | None = field(
        Duration("s", 0, 34560000, zero="value"), "Max-Age.", since="+2025-06", group="max_age_choice")
    ignore_max_age: bool = field(Presence(), "Leave Max-Age.", since="+2025-06", group="max_age_choice")
    add_partitioned: bool = field(Presence(), "Partitioned.", since="+2025-06", group="partitioned_choice")
    ignore_partitioned: bool = field(Presence(), "Leave Partitioned.", since="+2025-06", group="partitioned_choice")
    add_path: str | None = field(Text(FIELD_TEXT, most=256), "Path attribute.", since="+2025-06", group="path_choice")
    ignore_path: bool = field(Presence(), "Leave the path.", since="+2025-06", group="path_choice")
    samesite_strict: bool = field(Presence(), "SameSite=Strict.", since="+2025-06", group="samesite_choice")
    samesite_lax: bool = field(Presence(), "SameSite=Lax.", since="+2025-06", group="samesite_choice")
    samesite_none: bool = field(Presence(), "SameSite=None.", since="+2025-06", group="samesite_choice")
    ignore_samesite: bool = field(Presence(), "Leave SameSite.", since="+2025-06", group="samesite_choice")
    add_secure: bool = field(Presence(), "Secure.", since="+2025-06", group="secure_choice")
    ignore_secure: bool = field(Presence(), "Leave Secure.", since="+2025-06", group="secure_choice")


@message
class CookieManipulationOptionType:
    """Attributes to put on one of the origin's cookies."""

    name: str = field(Text(least=1, most=256), "Cookie name.", since="†", required=True)
    disable_tampering_protection: bool = field(
        Presence(), "Do not sign the cookie.", since="†", group="cookie_tampering")
    enable_tampering_protection: bool = field(
        Presence(), "Sign the cookie.", since="†", group="cookie_tampering", state=WARNS)
    add_httponly: bool = field(Presence(), "HttpOnly.", since="†", group="httponly")
    ignore_httponly: bool = field(Presence(), "Leave HttpOnly.", since="†", group="httponly")
    max_age_value_s: float | None = field(
        Duration("s", 0, 34560000, zero="value"), "Max-Age.", since="†", group="max_age")
    ignore_max_age: bool = field(Presence(), "Leave Max-Age.", since="†", group="max_age")
    samesite_strict: bool = field(Presence(), "SameSite=Strict.", since="†", group="samesite")
    samesite_lax: bool = field(Presence(), "SameSite=Lax.", since="†", group="samesite")
    samesite_none: bool = field(Presence(), "SameSite=None.", since="†", group="samesite")
    ignore_samesite: bool = field(Presence(), "Leave SameSite.", since="†", group="samesite")
    add_secure: bool = field(Presence(), "Secure.", since="†", group="secure")
    ignore_secure: bool = field(Presence(), "Leave Secure.", since="†", group="secure")


@message
class HeaderTransformationType:
    """How header names are written in HTTP/1.1."""

    default_header_transformation: bool = field(
        Presence(), "In lower case.", since="+2022-09", group="header_transformation_choice")
    proper_case_header_transformation: bool = field(
        Presence(), "``Content-Type``.", since="+2022-09", group="header_transformation_choice")
    preserve_case_header_transformation: bool = field(
        Presence(), "As they came.", since="+2022-09", group="header_transformation_choice")
    legacy_header_transformation: bool = field(
        Presence(), "As before there was a choice: in lower case.", since="+2022-09", group="header_transformation_choice")
