"""Bearer tokens of OAuth 2.0 for the APIs of clouds: fetched, kept until shortly before they expire, and fetched again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from voltgw.control.publish.api import Api, words
from voltgw.control.publish.registrar import RegistryError

#: A new token is asked for so long before the old one expires, in seconds.
EARLY_S: Final = 120.0
#: What we sign to get one is good for so long, in seconds.
_ASSERTION_S: Final = 600
#: A token that is said to be good for longer is fetched anew each time.
_LONGEST_S: Final = 7 * 24 * 3600.0
_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}


class Grant(Protocol):
    """How a token is asked for: a request."""

    def request(self, now: float, /) -> tuple[str, str, Mapping[str, str], bytes]:
        """Method, URL, header fields and body at the time `now` (seconds since 1970)."""


class ClientSecret:
    """By an id and a secret (RFC 6749 4.4), as Microsoft Entra wants it."""

    def __init__(self, url: str, client_id: str, secret: str, scope: str) -> None:
        self._url = url
        self._form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, "scope": scope}

    def request(self, now: float) -> tuple[str, str, Mapping[str, str], bytes]:
        """See `Grant.request`."""
        return "POST", self._url, _FORM, urlencode(self._form).encode()


class ServiceAccount:
    """By what the key of a service account signs (RFC 7523 2.1), as Google wants it."""

    def __init__(self, key_file: bytes, scope: str, url: str | None = None) -> None:
        """`key_file` is the JSON that Google gives out; `url` is in place of the one in it. Raises ValueError."""
        try:
            said = json.loads(key_file)
            self._email, self._id = str(said["client_email"]), str(said.get("private_key_id", ""))
            self._url = url or str(said["token_uri"])
            self._key = RSAKey.import_key(said["private_key"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, JoseError):
            raise ValueError("that is not the JSON file of a service account's key") from None      # what it holds is secret
        self._scope = scope

    def request(self, now: float) -> tuple[str, str, Mapping[str, str], bytes]:
        """See `Grant.request`."""
        claims = {"iss": self._email, "scope": self._scope, "aud": self._url, "iat": int(now), "exp": int(now) + _ASSERTION_S}
        head = {"alg": "RS256", "typ": "JWT", **({"kid": self._id} if self._id else {})}
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": jwt.encode(head, claims, self._key)}
        return "POST", self._url, _FORM, urlencode(form).encode()


class Metadata:
    """By where we run: the metadata service of the instance is asked."""

    def __init__(self, url: str, fields: Mapping[str, str]) -> None:
        self._url = url
        self._fields = fields

    def request(self, now: float) -> tuple[str, str, Mapping[str, str], bytes]:
        """See `Grant.request`."""
        return "GET", self._url, self._fields, b""


class Bearer:
    """A token, and a new one in time. `wall` is epoch time."""

    def __init__(self, api: Api, wall: Callable[[], float], grant: Grant) -> None:
        self._api = api
        self._wall = wall
        self._grant = grant
        self._token = ""
        self._until = float("-inf")

    async def fields(self) -> dict[str, str]:
        """The header field with it. Raises `RegistryError`."""
        now = self._wall()
        if not self._token or now > self._until - EARLY_S:
            await self._fetch(now)
        return {"authorization": f"Bearer {self._token}"}

    def forget(self) -> None:
        """It is not taken: ask for another one."""
        self._token = ""

    def close(self) -> None:
        """Cut what is under way."""
        self._api.close()

    async def _fetch(self, now: float) -> None:
        try:
            reply = await self._api.request(*self._grant.request(now))
        except RegistryError as error:
            raise RegistryError(f"no token can be had: {error}", credentials=True) from error
        if reply.status != 200:
            raise RegistryError(f"no token can be had: {reply.status} {described(reply.body)}".rstrip(), credentials=True,
                                retry_after_s=reply.retry_after_s)
        said = reply.json
        token = said.get("access_token") if isinstance(said, dict) else None
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
            raise RegistryError("the answer to the request for a token has none", credentials=True)
        self._token = token
        self._until = now + _lasts(said)


def _lasts(said: Any) -> float:
    try:
        lasts_s = float(said.get("expires_in", 0))
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return lasts_s if 0.0 < lasts_s < _LONGEST_S else 0.0


def described(body: bytes) -> str:
    """What an API that answers in JSON says was wrong: the words of Google, Azure or RFC 6749 5.2; "" = nothing."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(said, dict):
        return ""
    error = said.get("error")
    if isinstance(error, dict):
        parts = error.get("status") or error.get("code"), error.get("message")
    else:
        parts = error or said.get("code"), said.get("error_description") or said.get("message")
    return words(": ".join(str(part) for part in parts if part))
