"""Certificates and their keys, looked at as they stand in the configuration: names, dates, and whether the two belong together.

It is imported only where there is a certificate, since `cryptography` (which pyOpenSSL brings along) takes a while to load.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from voltgw.errors import Severity

#: Certificates are renewed a month before they end; one that is older than that has been forgotten.
SOON: Final = timedelta(days=30)

NOT_COVERED: Final = "VG0401"
EXPIRED: Final = "VG0402"
EXPIRES_SOON: Final = "VG0403"
WRONG_KEY: Final = "VG0404"
UNREADABLE: Final = "VG0405"


class Finding(NamedTuple):
    """Something wrong with a certificate or (`key`) with its key."""

    code: str
    message: str
    hint: str = ""
    severity: Severity = Severity.WARNING
    key: bool = False


@dataclass(frozen=True, slots=True)
class Certificate:
    """What matters of one: the names in it, in lower case, and what is wrong with it."""

    names: frozenset[str]
    findings: tuple[Finding, ...]


def examine(chain: bytes, key: bytes | None, now: datetime) -> Certificate:
    """Look at a PEM certificate or chain, leaf first, and at its PEM key (None = not at hand). `now` is aware."""
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except (ValueError, UnsupportedAlgorithm) as error:
        return Certificate(frozenset(), (Finding(
            UNREADABLE, f"this is not a PEM certificate: {_words(error)}", severity=Severity.ERROR),))
    leaf = certificates[0]
    names = frozenset(_names(leaf))
    findings = [*_dates(leaf, names, now)]
    if key is not None:
        findings += _key(certificates, key, names)
    return Certificate(names, tuple(findings))


def uncovered(domains: Iterable[str], certificates: Sequence[Certificate]) -> list[str]:
    """The domains of which no certificate holds the name. A lone ``*`` says nothing about names, so it is never among them."""
    return [domain for domain in domains if domain != "*" and not any(covers(one.names, domain) for one in certificates)]


def covers(names: frozenset[str], domain: str) -> bool:
    """Whether clients that ask for a `domain` of ours, ``host`` or ``*.host`` with an optional ``:port``, accept the names.

    A ``*`` stands for one whole label (RFC 9525 6.3). A domain ``*.shop.example`` also takes ``a.b.shop.example``, which no
    certificate can cover together with ``a.shop.example``; so only the latter is asked for.
    """
    host = _without_port(domain).lower()
    if host in names:
        return True
    star, dot, rest = host.partition(".")
    # "*-eu.shop.example" (2020) takes some names of one label more, and so is within "*.shop.example"
    return bool(dot) and star != "*" and f"*.{rest}" in names and not _is_address(host)


def _without_port(domain: str) -> str:
    if domain.startswith("["):
        return domain[1:].partition("]")[0]
    host, colon, port = domain.rpartition(":")
    return host if colon and port.isdigit() and ":" not in host else domain


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _names(leaf: x509.Certificate) -> Iterator[str]:
    """The DNS names and addresses of a certificate; its common name counts no more (RFC 9525 2)."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return                              # without names that can be read, it covers nothing
    yield from (name.lower() for name in names.get_values_for_type(x509.DNSName))
    yield from (str(address) for address in names.get_values_for_type(x509.IPAddress))


def _dates(leaf: x509.Certificate, names: frozenset[str], now: datetime) -> Iterator[Finding]:
    begin, end = _aware(leaf, "not_valid_before"), _aware(leaf, "not_valid_after")
    what = _called(names)
    if end <= now:
        yield Finding(EXPIRED, f"{what} expired on {end:%Y-%m-%d}, {_days(now - end)} ago")
    elif begin > now:
        yield Finding(EXPIRED, f"{what} is not valid before {begin:%Y-%m-%d}, {_days(begin - now)} from now")
    elif end - now <= SOON:
        yield Finding(EXPIRES_SOON, f"{what} expires on {end:%Y-%m-%d}, in {_days(end - now)}")


def _aware(leaf: x509.Certificate, name: str) -> datetime:
    """A date in UTC. The names with ``_utc`` are younger than the oldest `cryptography` that we take."""
    found: datetime | None = getattr(leaf, f"{name}_utc", None)
    if found is None:
        found = getattr(leaf, name).replace(tzinfo=UTC)
    return found


def _days(span: timedelta) -> str:
    return "1 day" if span.days == 1 else f"{span.days} days"


def _called(names: frozenset[str]) -> str:
    """How messages call a certificate: by its first name in alphabetical order."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"the certificate of {min(names)}{more}" if names else "the certificate"


def _key(certificates: Sequence[x509.Certificate], pem: bytes, names: frozenset[str]) -> Iterator[Finding]:
    """Whether the key is that of the leaf."""
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:                       # that is how it says that a password is missing
        yield Finding(UNREADABLE, "the key is encrypted", "decrypt it: nobody could type a password when the gateway starts",
                      Severity.ERROR, key=True)
        return
    except (ValueError, UnsupportedAlgorithm) as error:
        yield Finding(UNREADABLE, f"this is not a PEM key: {_words(error)}", "", Severity.ERROR, key=True)
        return
    mine = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if _public_key(certificates[0]) == mine:
        return
    later = next((index for index, one in enumerate(certificates) if _public_key(one) == mine), None)
    hint = f"it belongs to certificate {later + 1} of the chain; the leaf must stand first" if later is not None else ""
    yield Finding(WRONG_KEY, f"the key does not belong to {_called(names)}", hint, Severity.ERROR, key=True)


def _public_key(one: x509.Certificate) -> bytes:
    """The public key of a certificate; b"" for a kind of key that the library does not know."""
    try:
        return one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _words(error: Exception) -> str:
    """The first sentence of the library's message, without its advice."""
    return str(error).partition(". ")[0].partition("\n")[0] or type(error).__name__
