"""``gateway.acme``: from whom certificates are fetched, and in whose name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from voltgw.config.compound import Anything, ListOf
from voltgw.config.contents import Content, SecretContent
from voltgw.config.formats import OBJECT_NAME, Format
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Flag, Text
from voltgw.config.values import Secret

#: How names are shown to be ours where nothing is said: it needs no listener but the one that the certificate is for.
DEFAULT_CHALLENGE: Final = "tls-alpn-01"
_BASE64URL: Final = re.compile(rb"[A-Za-z0-9_-]{2,}={0,2}")
_EMAIL: Final = re.compile(r"[!-?A-~]+@[!-?A-~]+")


def _https(text: str) -> str:
    parts = urlsplit(text)
    if not text.isascii() or parts.scheme != "https" or not parts.hostname or parts.username or parts.fragment:
        raise ValueError(f"{text!r} is not an https:// URL")
    return text


def _contact(text: str) -> str:
    address = text.removeprefix("mailto:")
    if not _EMAIL.fullmatch(address):
        raise ValueError(f"{text!r} is not an e-mail address")
    return f"mailto:{address}"


HTTPS_URL: Final = Format("https:// URL", _https)
CONTACT: Final = Format("e-mail address", _contact)


class KeyType(Enum):
    """Kinds of keys of certificates."""

    ECDSA = "ecdsa"
    RSA = "rsa"


@message
class ExternalAccount:
    """What a CA gives to those who have an account with it, to tie one of ACME to that (RFC 8555 7.3.4)."""

    key_id: str = field(Text(least=1, most=1024), "The name of the key.", required=True)
    hmac_key: Secret = field(
        SecretContent(4096), "The key, base64url as the CA writes it.", required=True, example="file:eab.key")

    def rules(self) -> Iterable[Rule]:
        """The key can be read."""
        if not _BASE64URL.fullmatch(self.hmac_key.data.strip()):
            yield Rule("hmac_key", "VG0110", "this is not base64url")


@message
class Acme:
    """The account at a CA that issues certificates by ACME (RFC 8555), and how it is used."""

    directory: str = field(
        Text(HTTPS_URL, most=1024), "URL of the CA's directory.", required=True,
        example="https://acme-v02.api.letsencrypt.org/directory")
    agree_to_terms: bool = field(Flag(), "The CA's terms of service are agreed to; without that nothing is asked of it.")
    contacts: tuple[str, ...] = field(
        ListOf(Text(CONTACT, most=320), most=10, unique=True), "E-mail addresses that the CA may write to.", absent="none",
        example="[ops@example.com]")
    trusted_ca: bytes | None = field(
        Content(131072, pem=True), "PEM certificates by which the directory's own certificate is judged.",
        absent="the system's roots")
    challenge: str | None = field(
        Text(OBJECT_NAME, least=1, most=64), "How names are shown to be ours: ``tls-alpn-01``, for which the CA comes to port "
        "443, ``http-01``, for which it comes to port 80, or what an installed package offers.", absent=DEFAULT_CHALLENGE)
    challenge_options: object = field(Anything(), "What that challenge's documentation says.", absent="none")
    key_type: KeyType = field(Choice(KeyType, numbers=False), "Kind of key of certificates: P-256 or RSA with 2048 bits.")
    renew_before_s: float | None = field(
        Duration("d", 0, 366), "Renew so long before the end; at most half of a certificate's life.",
        absent="a third of a certificate's life", example="30d")
    external_account: ExternalAccount | None = field(
        Nested(ExternalAccount), "An account of another kind at the CA, to which this one belongs.", absent="none")

    def rules(self) -> Iterable[Rule]:
        """Nobody agrees on the operator's behalf."""
        if not self.agree_to_terms:
            yield Rule("", "VG0105", "nothing is asked of a CA whose terms of service nobody has agreed to",
                       "read them, and say `agree_to_terms: true`")
        if self.trusted_ca is not None and b"-----BEGIN CERTIFICATE-----" not in self.trusted_ca:
            yield Rule("trusted_ca", "VG0110", "no PEM certificate stands in it")
