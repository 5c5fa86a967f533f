"""Keys and certificates made for a test: self-signed, on an elliptic curve, in no time."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

#: The day on which these tests take place.
TODAY: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)


def new_key() -> EllipticCurvePrivateKey:
    """A key."""
    return generate_private_key(SECP256R1())


def key_pem(key: EllipticCurvePrivateKey, password: str = "") -> bytes:
    """A key as text, encrypted if there is a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8,
                             BestAvailableEncryption(password.encode()) if password else NoEncryption())


def certificate_pem(
    names: Sequence[str], key: EllipticCurvePrivateKey, *, begins: int = -10, ends: int = 90, common_name: str = "test",
) -> bytes:
    """A certificate for names and addresses, valid from and to so many days from `TODAY`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(1)
               .not_valid_before(TODAY + timedelta(days=begins)).not_valid_after(TODAY + timedelta(days=ends)))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def url(data: bytes) -> str:
    """Bytes as configuration holds them."""
    return "string:///" + base64.b64encode(data).decode()
