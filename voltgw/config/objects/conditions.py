"""Conditions on one header or cookie of a request."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from voltgw.config.formats import FIELD_TEXT, HEADER_NAME, Format
from voltgw.config.regexes import REGEX
from voltgw.config.schema import field, message
from voltgw.config.types import Flag, Text

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"          # RFC 6265 4.1.1: a cookie's name is a token


def _cookie_name(text: str) -> str:
    if re.fullmatch(_TOKEN, text) is None:
        raise ValueError(f"{text!r} is not the name of a cookie")
    return text


COOKIE_NAME: Final = Format("cookie name", _cookie_name, pattern=f"^{_TOKEN}$")


@message
class HeaderMatcherType:
    """A condition on one request header."""

    name: str = field(Text(HEADER_NAME, least=1, most=256), "Header name; ``host`` is taken too.", required=True)
    exact: str | None = field(Text(FIELD_TEXT), "The whole value.", group="value_match")
    regex: str | None = field(Text(REGEX), "Pattern (RE2) over the whole value.", group="value_match")
    presence: bool = field(Flag(), "The header is there.", group="value_match")
    invert_match: bool = field(Flag(), "The condition must not hold.")


@message
class CookieMatcherType:
    """A condition on one cookie of the request."""

    SINCE: ClassVar = "voltgw"

    name: str = field(Text(COOKIE_NAME, least=1, most=256), "Cookie name; it compares with case.", required=True)
    exact: str | None = field(Text(FIELD_TEXT), "The whole value.", group="value_match")
    regex: str | None = field(Text(REGEX), "Pattern (RE2) over the whole value.", group="value_match")
    presence: bool = field(Flag(), "The cookie is there.", group="value_match", absent="this, if nothing else is said")
    invert_match: bool = field(Flag(), "The condition must not hold.")
