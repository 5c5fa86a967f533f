"""Making certificates for labs: a small CA with EC P-256 keys, certificates of servers and clients, a list of revoked ones.

Pure: PEM in, PEM out; files are the caller's. `now` is aware. Keys come from the system's randomness.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from voltgw.config.formats import HOSTNAME

#: Certificates begin so long before they are made, for peers whose clocks are behind.
BACKDATED: Final = timedelta(minutes=5)
CA_DAYS: Final = 3650
LEAF_DAYS: Final = 90
#: A list of revoked certificates says that there will be a newer one by then; voltgw refuses everybody once that has passed.
CRL_DAYS: Final = 365


class Usage(Enum):
    """What a certificate is for."""

    SERVER = "server"
    CLIENT = "client"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def new_authority(name: str, now: datetime, days: int = CA_DAYS) -> Issued:
    """A CA of its own, which may sign leaves but no further CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _called(name)
    builder = _begun(subject, subject, key.public_key(), now, days)
    builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    return _signed(builder, key, key)


def issue(authority: Issued, name: str, names: Sequence[str], usage: Usage, now: datetime, days: int = LEAF_DAYS) -> Issued:
    """A leaf with the subject `name` and the alternative names `names`: host names, ``*.host``, addresses, URIs, e-mail.

    Raises ValueError for a name that is none of these, and for a server without one.
    """
    if usage is not Usage.CLIENT and not names:
        raise ValueError("a server's certificate needs a name or address by which clients know it")
    signer, key_of_signer = _authority(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _begun(_called(name), signer.subject, key.public_key(), now, days, signer)
    builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    purposes = {Usage.SERVER: [ExtendedKeyUsageOID.SERVER_AUTH], Usage.CLIENT: [ExtendedKeyUsageOID.CLIENT_AUTH],
                Usage.BOTH: [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]}[usage]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(each) for each in names]), critical=False)
    return _signed(builder, key, key_of_signer)


def renew(authority: Issued, certificate: bytes, now: datetime, days: int | None = None) -> Issued:
    """A certificate like this one, with a new key, from now on for `days` (None = as long as it was made for).

    Raises ValueError when the CA has not signed it.
    """
    old = _certificate(certificate)
    signer, key_of_signer = _authority(authority)
    try:
        old.verify_directly_issued_by(signer)
    except Exception as error:              # the library raises what its signature algorithm raises
        raise ValueError("this certificate was not signed by this CA") from error
    span = (old.not_valid_after_utc - old.not_valid_before_utc - BACKDATED).days
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _begun(old.subject, signer.subject, key.public_key(), now, span if days is None else days, signer)
    for kind in (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName):
        try:
            kept = old.extensions.get_extension_for_class(kind)
        except x509.ExtensionNotFound:
            continue
        builder = builder.add_extension(kept.value, kept.critical)
    return _signed(builder, key, key_of_signer)


def revoke(
    authority: Issued, certificates: Iterable[bytes], before: bytes | None, now: datetime, days: int = CRL_DAYS,
) -> bytes:
    """A PEM list of revoked certificates: those of the list `before` (None = there is none), and `certificates`."""
    signer, key = _authority(authority)
    builder = x509.CertificateRevocationListBuilder().issuer_name(signer.subject)
    builder = builder.last_update(now - BACKDATED).next_update(now + timedelta(days=days))
    serials: dict[int, datetime] = {}
    if before is not None:
        serials.update((one.serial_number, one.revocation_date_utc) for one in x509.load_pem_x509_crl(before))
    for certificate in certificates:
        serials.setdefault(_certificate(certificate).serial_number, now)
    for serial, since in serials.items():
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since).build()
        builder = builder.add_revoked_certificate(revoked)
    identifier = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    builder = builder.add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def names_of(certificate: bytes) -> list[str]:
    """The alternative names of a PEM certificate, as `issue` takes them."""
    try:
        found = _certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in found]


def ends(certificate: bytes) -> datetime:
    """When a PEM certificate ends."""
    return _certificate(certificate).not_valid_after_utc


# -- parts -------------------------------------------------------------------------------------------------------------


def _authority(authority: Issued) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = load_pem_private_key(authority.key, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the CA's key is not an EC key: this CA was made by something else")
    return _certificate(authority.certificate), key


def _certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int,
    signer: x509.Certificate | None = None,
) -> x509.CertificateBuilder:
    if days < 1:
        raise ValueError("a certificate is good for a day at least")
    now = now.astimezone(UTC)
    end = now + timedelta(days=days)
    if signer is not None and end > signer.not_valid_after_utc:
        end = signer.not_valid_after_utc    # nobody believes a leaf longer than its CA
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - BACKDATED).not_valid_after(end)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    if signer is not None:
        identifier = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    return builder


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False)


def _alternative(name: str) -> x509.GeneralName:
    """One alternative name, by its form. Raises ValueError."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        pass
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    if "@" in name:
        return x509.RFC822Name(name)
    star = name.startswith("*.")
    return x509.DNSName("*." * star + HOSTNAME.read(name.removeprefix("*.")))


def _signed(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey,
) -> Issued:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Issued(builder.sign(signer, SHA256()).public_bytes(Encoding.PEM), pem)
