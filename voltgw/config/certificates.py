"""Certificates and their keys, looked at as they stand in the configuration: names, dates, and whether the two belong together.

It is imported only where there is a certificate, since `cryptography` (which pyOpenSSL brings along) takes a while to load.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from voltgw.errors import Severity

#: Certificates are renewed a month before they end; one that is older than that has been forgotten.
SOON: Final = timedelta(days=30)

_LIST: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\n?", re.DOTALL)

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


class Shown(NamedTuple):
    """A certificate as operators see it: its names, when it ends (aware), and the SHA-256 of the leaf in hexadecimal digits."""

    names: tuple[str, ...]
    ends: datetime
    fingerprint: str


def shown(chain: bytes) -> Shown | None:
    """What to show of a PEM certificate or chain; None for one that cannot be read."""
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
        return Shown(tuple(sorted(_names(leaf))), _aware(leaf, "not_valid_after"), leaf.fingerprint(SHA256()).hex())
    except (ValueError, UnsupportedAlgorithm):
        return None


def subject(leaf: x509.Certificate) -> str:
    """The subject as RFC 4514 writes it; "" where it cannot be read."""
    try:
        return leaf.subject.rfc4514_string()
    except ValueError:
        return ""


def alternative_names(leaf: x509.Certificate) -> list[tuple[str, str]]:
    """The alternative names of the kinds that say who somebody is: ("URI" | "DNS" | "email", name)."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [*(("URI", uri) for uri in found.get_values_for_type(x509.UniformResourceIdentifier)),
                *(("DNS", name) for name in found.get_values_for_type(x509.DNSName)),
                *(("email", name) for name in found.get_values_for_type(x509.RFC822Name))]
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return []


def identity(der: bytes) -> tuple[str, str]:
    """Who a client's certificate (DER) says it is: its subject, and its alternative names in one text, ``URI:...,DNS:...``."""
    try:
        leaf = x509.load_der_x509_certificate(der)
    except ValueError:
        return "", ""
    return subject(leaf), ",".join(f"{kind}:{name}" for kind, name in alternative_names(leaf))


def names_in(chain: bytes) -> tuple[str, ...]:
    """The names and addresses of a PEM certificate; () for one that cannot be read."""
    found = shown(chain)
    return found.names if found is not None else ()


def kind_of(chain: bytes) -> str:
    """The kind of key of a PEM certificate, in a word; "" for one that cannot be read, of which others will complain."""
    try:
        return type(x509.load_pem_x509_certificates(chain)[0].public_key()).__name__
    except (ValueError, UnsupportedAlgorithm):
        return ""


class Revoked:
    """What some lists (PEM, several may stand in one file) revoke. Their signatures are for TLS to check. Raises ValueError."""

    def __init__(self, lists: Iterable[bytes]) -> None:
        self._serials: set[tuple[bytes, int]] = set()
        for text in lists:
            for one in _LIST.findall(text):
                found = x509.load_pem_x509_crl(one)
                issuer = found.issuer.public_bytes()
                self._serials.update((issuer, each.serial_number) for each in found)

    def names(self, chain: Iterable[bytes]) -> bool:
        """Whether a certificate of a chain (DER) is among them."""
        for der in chain:
            one = x509.load_der_x509_certificate(der)
            if (one.issuer.public_bytes(), one.serial_number) in self._serials:
                return True
        return False


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
