"""Certificates for tests, made when they are first asked for and then kept: a CA each of its own, leaves of any fault."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from voltgw.values.tls import KeyPair

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Authority:
    """A CA."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    above: bytes = b""                      # PEM of those between it and the root

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(Encoding.PEM)


def authority(name: str = "Test CA", under: str = "") -> Authority:
    """A CA of that name, always the same; `under` makes it an intermediate of another."""
    return _authority(name, under)


@cache
def _authority(name: str, under: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    parent = authority(under) if under else None
    builder = _builder(name, parent.certificate.subject if parent else _named(name), key, -1, 3650).add_extension(
        x509.BasicConstraints(True, None), True).add_extension(
        x509.KeyUsage(True, False, False, False, False, True, True, False, False), True)
    certificate = builder.sign(parent.key if parent else key, hashes.SHA256())
    return Authority(certificate, key, certificate.public_bytes(Encoding.PEM) if parent else b"")


@cache
def leaf(
    *names: str, ca: str = "Test CA", under: str = "", kind: str = "ec", days: tuple[int, int] = (-1, 30),
    client: bool = False, common_name: str = "",
) -> KeyPair:
    """A leaf for DNS names, IP addresses and URIs with its chain; valid in `days` from now."""
    issuer = authority(ca, under)
    key: Key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else _rsa_key()
    use = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    builder = _builder(common_name or "leaf", issuer.certificate.subject, key, *days).add_extension(
        x509.ExtendedKeyUsage([use]), False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
    certificate = builder.sign(issuer.key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(certificate.public_bytes(Encoding.PEM) + issuer.above, pem)


def certificate_of(pair: KeyPair) -> x509.Certificate:
    """The leaf of a pair."""
    return x509.load_pem_x509_certificate(pair.chain)


def revoked(*pairs: KeyPair, ca: str = "Test CA", days: int = 30) -> bytes:
    """A revocation list (PEM) of a CA."""
    issuer = authority(ca)
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject).last_update(
        _NOW - timedelta(days=1)).next_update(_NOW + timedelta(days=days))
    for pair in pairs:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(
            certificate_of(pair).serial_number).revocation_date(_NOW - timedelta(hours=1)).build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def stapled(*names: str) -> bytes:
    """An OCSP response (DER) that says "good" of the leaf for `names` of kind "ec"."""
    issuer = authority()
    pair = leaf(*names)
    return ocsp.OCSPResponseBuilder().add_response(
        certificate_of(pair), issuer.certificate, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD, _NOW - timedelta(hours=1),
        _NOW + timedelta(days=1), None, None,
    ).responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate).sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


@cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(name: str, issuer: x509.Name, key: Key, first_day: int, last_day: int) -> x509.CertificateBuilder:
    return x509.CertificateBuilder().subject_name(_named(name)).issuer_name(issuer).public_key(key.public_key()).serial_number(
        x509.random_serial_number()).not_valid_before(_NOW + timedelta(days=first_day)).not_valid_after(
        _NOW + timedelta(days=last_day))
