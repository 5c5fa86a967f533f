"""certificate: a certificate with its key (objects.md 17)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.contents import Content
from voltgw.config.names import Reference
from voltgw.config.objects.secrets import SecretType
from voltgw.config.objects.tls import MAX_URL, NOT_FETCHED, CertificateExtension, HashAlgorithms
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Presence
from voltgw.config.values import Ref


@message
class CertificateSpec:
    """A certificate with its key, for those who refer to it."""

    SINCE: ClassVar = "+2023-05"

    certificate_url: bytes | None = field(Content(MAX_URL, pem=True), "PEM certificate or chain, leaf first.")
    private_key: SecretType | None = field(Nested(SecretType), "PEM key that belongs to the certificate.")
    certificate_chain: Ref | None = field(
        Reference("certificate_chain"), "Its intermediate certificates; they may also stand behind the leaf.", state=WARNS)
    use_system_defaults: bool = field(
        Presence(), "OCSP stapling with the system's settings.", group="ocsp_stapling_choice", state=WARNS, instead=NOT_FETCHED)
    disable_ocsp_stapling: bool = field(Presence(), "No OCSP stapling.", group="ocsp_stapling_choice")
    custom_hash_algorithms: HashAlgorithms | None = field(
        Nested(HashAlgorithms), "OCSP stapling with these hashes.", group="ocsp_stapling_choice", state=WARNS,
        instead=NOT_FETCHED)
    voltgw: CertificateExtension | None = field(Nested(CertificateExtension), "What voltgw adds.", since="voltgw")
