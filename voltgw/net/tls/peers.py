"""Judging a peer's certificate beyond its chain: is it the one that was meant?

Names of endpoints are compared by service-identity (RFC 9525); a client is known by a subject alternative name of its
certificate, or by its common name; pins are digests of the certificate or of its public key (RFC 7469 2.4).
"""

from __future__ import annotations

import ipaddress
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, URI_ID, IPAddress_ID, ServiceID, verify_service_identity

if TYPE_CHECKING:
    from voltgw.values.tls import PeerRules


def refusal(leaf: bytes, rules: PeerRules, server_name: str | None) -> str:
    """Why the rules do not accept a certificate (DER) whose chain is in order, "" if they do.

    `server_name` is the name of an endpoint ("" = it has none), None for a client's certificate. `PeerRules.names` take its
    place; `skip_name` accepts any name.
    """
    if not (rules.spki_pins or rules.hash_pins or rules.names or server_name is not None):
        return ""
    try:
        certificate = x509.load_der_x509_certificate(leaf)
        if rules.spki_pins or rules.hash_pins:
            key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            if sha256(leaf).digest() not in rules.hash_pins and sha256(key).digest() not in rules.spki_pins:
                return "the certificate matches no pin"
        if rules.skip_name:
            return ""
        if server_name is None:
            return _client(certificate, rules.names) if rules.names else ""
        return _server(certificate, rules.names or (server_name,))
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        return f"the certificate cannot be read: {error}"


def subject_names(certificate: x509.Certificate) -> list[str]:
    """Its subject alternative names as text (DNS names, URIs, mail and IP addresses), then its common names.

    As for `voltgw.security.names`, a common name is no URI, and none stands beside a SPIFFE id.
    """
    names: list[str] = []
    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        pass
    else:
        names += listed.get_values_for_type(x509.DNSName)
        names += listed.get_values_for_type(x509.UniformResourceIdentifier)
        names += listed.get_values_for_type(x509.RFC822Name)
        names += map(str, listed.get_values_for_type(x509.IPAddress))
    if not any(name.lower().startswith("spiffe://") for name in names):
        common = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        names += [name for name in common if "://" not in name]
    return names


def _client(certificate: x509.Certificate, accepted: tuple[str, ...]) -> str:
    found = subject_names(certificate)
    wanted = {name.lower() for name in accepted}
    if any(name.lower() in wanted for name in found):
        return ""
    return f"the certificate names {', '.join(found) or 'nobody'}, none of which is accepted"


def _server(certificate: x509.Certificate, accepted: tuple[str, ...]) -> str:
    try:
        patterns = extract_patterns(certificate)
    except CertificateError as error:
        return f"the certificate cannot be read: {error}"
    for name in accepted:
        if not name:
            continue
        try:
            verify_service_identity(patterns, [_identity(name)], [])
        except (VerificationError, CertificateError):       # the latter: it has no alternative name at all
            continue
        except ValueError:
            return f"{name!r} is no name that a certificate could have"
        return ""
    wanted = " or ".join(repr(name) for name in accepted if name)
    if not wanted:
        return "no name is known that the certificate should have"
    return f"the certificate is for {', '.join(subject_names(certificate)) or 'nobody'}, not for {wanted}"


def _identity(name: str) -> ServiceID:
    try:
        return IPAddress_ID(str(ipaddress.ip_address(name)))
    except ValueError:
        return URI_ID(name) if ":" in name else DNS_ID(name)
