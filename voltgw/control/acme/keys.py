"""Keys of certificates, requests for certificates, and a look at what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from voltgw.control.acme.jose import encoded
from voltgw.control.acme.problems import Unusable

#: Bits of RSA keys: what public CAs want at least, and browsers verify fastest.
RSA_BITS: Final = 2048
#: A certificate may begin so much later than our clock says (seconds): clocks differ.
CLOCK_S: Final = 300.0
#: Longest common name (RFC 5280 A.1).
_MOST_NAME: Final = 64


class Span(NamedTuple):
    """When a certificate is valid, in seconds since the epoch."""

    begin: float
    end: float


def new_key(kind: str) -> bytes:
    """A new key in PEM: "ecdsa" (P-256) or "rsa"."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    key = rsa.generate_private_key(65537, RSA_BITS) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def request_for(names: Sequence[str], key: bytes) -> str:
    """The request (PKCS #10, base64url of its DER, RFC 8555 7.4) for a certificate of DNS names with the key `key` (PEM)."""
    signer = load_pem_private_key(key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)      # `new_key` made it
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, names[0])] if len(names[0]) <= _MOST_NAME else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    return encoded(builder.sign(signer, SHA256()).public_bytes(Encoding.DER))


def looked_at(chain: bytes, key: bytes, names: Sequence[str], now: float | None = None) -> Span:
    """When a chain (PEM, leaf first) is valid, if it can be served for `names` with `key`; else raises `Unusable`.

    With `now` (seconds since the epoch) it must be valid now, too.
    """
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
        mine = load_pem_private_key(key, None).public_key()
        held = leaf.public_key()
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        theirs = {name.lower() for name in found.get_values_for_type(x509.DNSName)}
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm, x509.ExtensionNotFound) as error:
        raise Unusable("what was issued is no chain of certificates with names") from error
    if held.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != mine.public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
        raise Unusable("the certificate was issued for another key")
    missing = [name for name in names if name not in theirs]
    if missing:
        raise Unusable(f"the certificate does not hold {', '.join(missing)}")
    span = Span(leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp())
    if now is not None and not span.begin - CLOCK_S <= now < span.end:
        raise Unusable(
            f"the certificate is valid from {_utc(span.begin)} to {_utc(span.end)}, but our clock says {_utc(now)}")
    return span


def _utc(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
