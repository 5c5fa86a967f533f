"""Certificates that a forward proxy shows in place of an origin's, signed by the operator's own CA.

Pure: PEM in, PEM out. Clients must trust that CA; nobody else will believe these certificates.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from voltgw.values.tls import KeyPair

#: Certificates begin so long before they are made at most, for clients whose clocks are behind.
BACKDATED: Final = timedelta(hours=1)
#: How long one is good for an origin whose own was refused: it only carries an error page.
FAULT_LIFETIME: Final = timedelta(hours=1)
#: Longest common name (RFC 5280 A.1, ub-common-name); the name that counts is the alternative one.
_MAX_COMMON_NAME: Final = 64


class Signer:
    """Signs with one CA. All of its certificates have one key (EC P-256), which lives as long as this object."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        """`certificate` is PEM: the CA first, then what stands between it and its root. Raises ValueError for no CA."""
        try:
            chain = x509.load_pem_x509_certificates(certificate)
            signer = load_pem_private_key(key, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ValueError(f"it cannot be read: {error}") from error
        self.certificate = chain[0]
        if not isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("its key is neither EC nor RSA")
        spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if signer.public_key().public_bytes(*spki) != self.certificate.public_key().public_bytes(*spki):
            raise ValueError("the certificate and the key do not belong together")
        try:
            constraints = self.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        except x509.ExtensionNotFound:
            raise ValueError("it is no CA (it has no basic constraints), so no client would believe what it signs") from None
        if not constraints.ca:
            raise ValueError("it is no CA, so no client would believe what it signs")
        try:
            usage = self.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        except x509.ExtensionNotFound:
            usage = None
        if usage is not None and not usage.key_cert_sign:
            raise ValueError("its key usage does not let it sign certificates")
        self._signer = signer
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._chain = b"".join(each.public_bytes(Encoding.PEM) for each in chain if not _is_root(each))
        try:
            identifier = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            self._authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        except x509.ExtensionNotFound:
            self._authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())

    def mint(self, name: str, origin: bytes | None, now: datetime) -> KeyPair:
        """A certificate for `name` (a host name or an address) that is good while the origin's (DER) is, and the CA's own.

        Without an origin's it is good for an hour.
        """
        begins, ends = now - BACKDATED, now + FAULT_LIFETIME
        if origin is not None:
            shown = x509.load_der_x509_certificate(origin)
            begins, ends = max(shown.not_valid_before_utc, now - BACKDATED * 24), shown.not_valid_after_utc
        begins = max(begins, self.certificate.not_valid_before_utc)
        ends = max(min(ends, self.certificate.not_valid_after_utc), begins + timedelta(minutes=1))
        builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
        builder = builder.issuer_name(self.certificate.subject).public_key(self._key.public_key())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if len(name) <= _MAX_COMMON_NAME else []
        builder = builder.subject_name(x509.Name(subject)).not_valid_before(begins).not_valid_after(ends)
        builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        builder = builder.add_extension(x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(name)]), critical=not subject)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        builder = builder.add_extension(self._authority, critical=False)
        leaf = builder.sign(self._signer, SHA256()).public_bytes(Encoding.PEM)
        return KeyPair(leaf + self._chain, self._pem)


def _is_root(certificate: x509.Certificate) -> bool:
    if certificate.subject != certificate.issuer:
        return False
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
