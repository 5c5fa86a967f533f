"""tls-alpn-01 (RFC 8737): a certificate of our own that holds the challenge. The CA comes to port 443, and speaks no HTTP."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier
from zope.interface import implementer

from voltgw.control.acme.challenges.kinds import no_options
from voltgw.interfaces import IChallengeFactory
from voltgw.values.tls import KeyPair

if TYPE_CHECKING:
    from voltgw.control.acme.challenges.kinds import Responder

#: The extension that holds the challenge (RFC 8737 6.1): id-pe-acmeIdentifier.
ACME_IDENTIFIER: Final = ObjectIdentifier("1.3.6.1.5.5.7.1.31")
#: It is used within minutes; the CA looks at nothing but names and extension.
_DAYS: Final = timedelta(days=2)


class TlsAlpn01:
    """Answers on the TLS listeners."""

    name = "tls-alpn-01"

    def present(self, respond: Responder, name: str, token: str, told: str) -> None:
        """The certificate is made for this challenge alone."""
        respond.answer_tls(name, challenge_certificate(name, told))

    def withdraw(self, respond: Responder, name: str, token: str) -> None:
        """It is shown no more."""
        respond.answer_tls(name, None)


def challenge_certificate(name: str, told: str) -> KeyPair:
    """The self-signed certificate for a DNS name and a key authorization (RFC 8737 3)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme challenge")])
    now = datetime.now(UTC)
    digest = hashlib.sha256(told.encode("ascii")).digest()
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - _DAYS).not_valid_after(now + _DAYS)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    # an ASN.1 OCTET STRING of 32 bytes
    builder = builder.add_extension(x509.UnrecognizedExtension(ACME_IDENTIFIER, b"\x04\x20" + digest), critical=True)
    return KeyPair(
        builder.sign(key, SHA256()).public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@implementer(IChallengeFactory)
class _Factory:
    name = TlsAlpn01.name

    def options(self, raw: object, place: object) -> None:
        """There are none."""
        no_options(self.name, raw, place)

    def build(self, options: object) -> TlsAlpn01:
        """The kind."""
        return TlsAlpn01()


FACTORY: Final = _Factory()
