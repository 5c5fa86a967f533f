"""Takes out of queries and paths what nobody should read in a log: the values of parameters that look like secrets.

A parameter is judged by its name, as an origin would read it (percent-decoded, any case, without ``[]``). A value is
judged only where it is itself a URL or a query (``?next=%2Fin%3Ftoken%3D…``), a JSON web token, or holds
``user:password@``. Too much is taken out rather than too little; a secret that is a path segment cannot be told from a name.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

HIDDEN: Final = "***"

#: Parts of a name that make it a secret's name wherever they stand in it. `author` is no `auth`; `authorization` is.
_ANYWHERE: Final = (
    r"token|secret|passw|passphrase|passcode|pwd|signature|credential|api[-_.]?key|auth(?!or(?!i[sz]))|session[-_.]?id|sessid"
    r"|assertion|samlre|jwt|cookie"
)
#: Names that are a secret's on their own, or as the last word of a name.
_AS_LAST_WORD: Final = r"pass|pin|otp|totp|sig|sid|session|nonce|ticket|cred|creds|hmac|mac"
#: Names that are a secret's on their own only: ``country_code`` and the like are not.
_ALONE: Final = r"code|user_code|device_code|pw"

_SECRET_NAME: Final = re.compile(
    rf"(?:{_ANYWHERE})|(?:^|[-_.\[])(?:{_AS_LAST_WORD})$|keys?$|^(?:{_ALONE})$"
).search

#: What a query without secrets does not hold; most queries are done after this one look. ``%4…%7`` are letters (a name
#: may be written in them), ``%3a`` and ``%3d`` the ``:`` and ``=`` of a URL in a value.
_SUSPECT: Final = re.compile(
    r"token|secret|pass|pwd|sig|cred|key|auth|sess|sid|assertion|saml|jwt|cookie|pin|otp|nonce|ticket|mac|code|pw"
    r"|eyj|:|%[4-7]|%3[ad]"
).search
_SPLIT: Final = re.compile(r"([&;])").split
_NESTED_SPLIT: Final = re.compile(r"[?&;#]").split
_TOKEN_OR_PASSWORD: Final = re.compile(r"\beyJ[\w-]{8,}\.|//[^/?#@\s]*:[^/?#@\s]*@").search

#: Parameters of a path segment: ``/cart;jsessionid=…`` (RFC 3986 3.3).
_IN_PATH: Final = re.compile(r";([^=;/]+)=([^;/]+)").sub
#: For text that is not a query: ``?token=…`` inside a sentence, up to where a URL ends.
_IN_TEXT: Final = re.compile(r"(?<=[?&;])([^=&;?\s\"'<>]{1,64})=([^&;\s\"'<>]+)").sub


def secret_name(name: str) -> bool:
    """Whether a parameter of this (decoded) name is expected to hold a secret."""
    return _SECRET_NAME(name.lower().rstrip("[]")) is not None


def redact_query(query: str) -> str:
    """The query (without ``?``) with the values of secrets replaced by ``***``; unchanged if there are none."""
    if _SUSPECT(query.lower()) is None:
        return query
    pieces = _SPLIT(query)                  # parameters, and between them their separators
    for index in range(0, len(pieces), 2):
        name, equals, value = pieces[index].partition("=")
        if not equals:
            if _TOKEN_OR_PASSWORD(unquote_plus(name)) is not None:
                pieces[index] = HIDDEN
        elif value and (secret_name(unquote_plus(name)) or _secret_value(unquote_plus(value))):
            pieces[index] = f"{name}={HIDDEN}"
    return "".join(pieces)


def redact_path(path: str) -> str:
    """The path with the secrets among the parameters of its segments replaced by ``***``."""
    return _IN_PATH(lambda found: f";{found[1]}={HIDDEN}" if secret_name(unquote_plus(found[1])) else found[0], path)


def redact_text(text: str) -> str:
    """A sentence or a traceback with the secrets of the URLs in it replaced by ``***``."""
    if "=" not in text:
        return text
    return _IN_TEXT(
        lambda found: f"{found[1]}={HIDDEN}" if secret_name(unquote_plus(found[1])) else found[0], text)


def _secret_value(value: str) -> bool:
    """Whether a decoded value is a token, or a URL or query that holds a secret."""
    if _TOKEN_OR_PASSWORD(value) is not None:
        return True
    if "=" not in value:
        return False
    parameters = [piece.partition("=") for piece in _NESTED_SPLIT(value)]
    return any(secret_name(unquote_plus(name)) for name, equals, inner in parameters if equals and inner)
