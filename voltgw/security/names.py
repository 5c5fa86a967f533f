"""The names of a client: those in the certificate that it showed, which the listener has verified."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from voltgw.values.exchange import Exchange


def names_of(exchange: Exchange) -> tuple[bytes, ...]:
    """Subject alternative names (DNS, URI, e-mail) and common names of the client's certificate; () without one."""
    handshake = exchange.client.handshake
    return names_in(handshake.peer[0]) if handshake is not None and handshake.peer else ()


@lru_cache(maxsize=256)
def names_in(leaf: bytes) -> tuple[bytes, ...]:
    """Those of one certificate (DER). A bounded memo: the same clients come again.

    A common name is free text, of which authorities check less: one that looks like a URI is none, and beside a SPIFFE id,
    which is the whole identity (X.509-SVID 2 and 5.2), none counts.
    """
    try:
        certificate = x509.load_der_x509_certificate(leaf)
        found: list[str] = []
        try:
            alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            for kind in (x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name):
                found += alternatives.get_values_for_type(kind)
        except x509.ExtensionNotFound:
            pass                            # older ones have only a common name
        if not any(name.lower().startswith("spiffe://") for name in found):
            common = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            found = [*(name for name in common if "://" not in name), *found]
    except ValueError:
        return ()                           # it was verified, but its names cannot be read: it has none
    return tuple(name.encode("utf-8") for name in found)
