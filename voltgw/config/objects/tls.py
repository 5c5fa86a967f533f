"""TLS parameters of both directions (objects.md 3.4, 3.12)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import ClassVar, Final

from voltgw.config.compound import ListOf, refs
from voltgw.config.contents import Content
from voltgw.config.formats import HOSTNAME, SHA256
from voltgw.config.objects.secrets import SecretType
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Flag, Number, Presence, Text
from voltgw.config.values import Ref

#: Largest certificate or trust store in characters of its URL.
MAX_URL: Final = 131072
#: What happens to certificates that ask for an OCSP response to be fetched.
NOT_FETCHED: Final = "a response is stapled where one stands in `voltgw: {ocsp_response: ...}`, and none is fetched"
#: Largest revocation list, likewise.
MAX_FILE_URL: Final = 4 << 20

CIPHERS: Final = (
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_256_CBC_SHA", "TLS_RSA_WITH_AES_256_GCM_SHA384",
)


class TlsProtocol(Enum):
    """A version of TLS; TLS_AUTO is our choice, 1.2 to 1.3."""

    AUTO = "TLS_AUTO"
    V1_0 = "TLSv1_0"
    V1_1 = "TLSv1_1"
    V1_2 = "TLSv1_2"
    V1_3 = "TLSv1_3"


class HashAlgorithm(Enum):
    """A hash for OCSP requests."""

    INVALID = "INVALID_HASH_ALGORITHM"
    SHA256 = "SHA256"
    SHA1 = "SHA1"


class XfccElement(Enum):
    """A part of the client's certificate that may go into X-Forwarded-Client-Cert."""

    NONE = "XFCC_NONE"
    CERT = "XFCC_CERT"
    CHAIN = "XFCC_CHAIN"
    SUBJECT = "XFCC_SUBJECT"
    URI = "XFCC_URI"
    DNS = "XFCC_DNS"


def _ciphers() -> ListOf[str]:
    return ListOf(Text(one_of=CIPHERS), unique=True)


@message
class HashAlgorithms:
    """Hashes for OCSP requests, in order of preference."""

    SINCE: ClassVar = "+2021-12"

    hash_algorithms: tuple[HashAlgorithm, ...] = field(
        ListOf(Choice(HashAlgorithm), least=1, most=4, unique=True), "SHA256 and SHA1 in order.", required=True)


class ClientCertHeader(Enum):
    """What Client-Cert and Client-Cert-Chain tell endpoints (RFC 9440)."""

    NONE = "NONE"
    LEAF = "LEAF"
    CHAIN = "CHAIN"


@message
class CertificateExtension:
    """What voltgw adds to a certificate."""

    SINCE: ClassVar = "voltgw"

    ocsp_response: bytes | None = field(
        Content(MAX_URL), "An OCSP response (DER) that is stapled; whoever fetches it replaces the file in time.",
        absent="nothing is stapled", example="file:shop.ocsp")


@message
class PeerExtension:
    """What voltgw adds to the judgement of a peer's certificate."""

    SINCE: ClassVar = "voltgw"

    spki_pins: tuple[str, ...] = field(
        ListOf(Text(SHA256), most=16, unique=True),
        "SHA-256 of accepted public keys, as base64 or hexadecimal digits; one must match.", absent="any key")
    certificate_hashes: tuple[str, ...] = field(
        ListOf(Text(SHA256), most=64, unique=True),
        "SHA-256 of accepted certificates, likewise; one of these or of the pins must match.", absent="any certificate")
    verify_depth: int | None = field(
        Number(0, 16), "Most certificates between the peer's own and the trusted one.", absent="the TLS library's limit")
    crl: bytes | None = field(
        Content(MAX_FILE_URL, pem=True), "PEM lists of revoked certificates.", absent="revocation is not looked up",
        example="file:ca/crl.pem")


@message
class DownstreamTlsExtension:
    """What voltgw adds to TLS towards clients."""

    SINCE: ClassVar = "voltgw"

    client_cert_header: ClientCertHeader = field(
        Choice(ClientCertHeader), "Tell endpoints the client's certificate in Client-Cert (RFC 9440); CHAIN: the rest of its "
        "chain, too, in Client-Cert-Chain.")
    auto_cert: bool = field(
        Flag(), "Have a certificate for the domains fetched and renewed, as ``gateway.acme`` says, instead of naming one.")


@message
class UpstreamTlsExtension:
    """What voltgw adds to TLS towards endpoints."""

    SINCE: ClassVar = "voltgw"

    skip_server_verification: bool = field(
        Flag(), "Accept any certificate of an endpoint: whoever stands between can read and change everything. "
        "`check` and a metric say so.")


@message
class TlsCertificateType:
    """A certificate with its key, inline."""

    certificate_url: bytes = field(Content(MAX_URL, pem=True), "PEM certificate or chain, leaf first.", required=True)
    private_key: SecretType = field(Nested(SecretType), "PEM key that belongs to the certificate.", required=True)
    description: str | None = field(Text(), "Free text.")
    use_system_defaults: bool = field(
        Presence(), "OCSP stapling with the system's settings.", since="+2021-12", group="ocsp_stapling_choice", state=WARNS,
        instead=NOT_FETCHED)
    disable_ocsp_stapling: bool = field(Presence(), "No OCSP stapling.", since="+2021-12", group="ocsp_stapling_choice")
    custom_hash_algorithms: HashAlgorithms | None = field(
        Nested(HashAlgorithms), "OCSP stapling with these hashes.", since="+2021-12", group="ocsp_stapling_choice",
        state=WARNS, instead=NOT_FETCHED)
    voltgw: CertificateExtension | None = field(Nested(CertificateExtension), "What voltgw adds.", since="voltgw")


@message
class TrustedCAListRef:
    """A trust store by reference."""

    trusted_ca_list: tuple[Ref, ...] = field(refs("trusted_ca_list", most=1), "One trusted_ca_list object.", since="+2023-08")


@message
class TlsValidationParamsType:
    """How the peer's certificate is judged."""

    trusted_ca_url: bytes | None = field(Content(MAX_URL, pem=True), "PEM trust store.", group="trusted_ca_choice")
    trusted_ca: TrustedCAListRef | None = field(
        Nested(TrustedCAListRef), "Trust store by reference.", since="+2023-08", group="trusted_ca_choice")
    skip_hostname_verification: bool = field(Flag(), "Do not compare the certificate's names with the name connected to.")
    verify_subject_alt_names: tuple[str, ...] = field(
        ListOf(Text(least=1)), "Names of which the certificate must hold one.", absent="the peer's host name")
    use_volterra_trusted_ca_url: bool = field(Flag(), "Use the system's roots instead of the URL.", since="2020†")
    voltgw: PeerExtension | None = field(Nested(PeerExtension), "What voltgw adds.", since="voltgw")


@message
class TlsParamsType:
    """Versions, suites, certificates and trust of one direction."""

    minimum_protocol_version: TlsProtocol = field(Choice(TlsProtocol), "Lowest version.", absent="TLS 1.2")
    maximum_protocol_version: TlsProtocol = field(Choice(TlsProtocol), "Highest version.", absent="TLS 1.3")
    cipher_suites: tuple[str, ...] = field(
        _ciphers(), "Suites in order of preference.", absent="ECDHE with AES-GCM or ChaCha20")
    tls_certificates: tuple[TlsCertificateType, ...] = field(
        ListOf(Nested(TlsCertificateType)), "Server certificates (downstream) or the client certificate (upstream).")
    trusted_ca_url: bytes | None = field(
        Content(MAX_URL, pem=True), "PEM trust store; old twin of validation_params.trusted_ca_url.", since="2020†")
    validation_params: TlsValidationParamsType | None = field(
        Nested(TlsValidationParamsType), "How the peer's certificate is judged.")


@message
class DownstreamTlsParamsType:
    """TLS towards clients, with certificates inline."""

    common_params: TlsParamsType | None = field(Nested(TlsParamsType), "Versions, suites, certificates, trust.")
    require_client_certificate: bool = field(
        Flag(), "Refuse connections without a valid client certificate.", since="2020†")
    no_client_certificate: bool = field(
        Presence(), "Ask for no client certificate.", since="+2024-08", group="client_certificate_verify_choice")
    client_certificate_required: bool = field(
        Presence(), "Newer spelling of require_client_certificate.", since="+2024-08",
        group="client_certificate_verify_choice")
    client_certificate_optional: bool = field(
        Presence(), "Ask for a certificate, verify it if one comes.", since="+2024-08",
        group="client_certificate_verify_choice")
    crl: tuple[Ref, ...] = field(refs("crl", most=1), "Revocation lists for client certificates.", since="†",
                                 internal=True)
    xfcc_header_elements: tuple[XfccElement, ...] = field(
        ListOf(Choice(XfccElement), unique=True), "Parts of the client's certificate for X-Forwarded-Client-Cert.",
        since="+2023-04", absent="no header")
    voltgw: DownstreamTlsExtension | None = field(Nested(DownstreamTlsExtension), "What voltgw adds.", since="voltgw")

    def rules(self) -> Iterable[Rule]:
        """A certificate is given, or fetched."""
        given = self.common_params is not None and self.common_params.tls_certificates
        if given and self.voltgw is not None and self.voltgw.auto_cert:
            yield Rule("voltgw", "VG0106", "a certificate is given, so none is fetched",
                       "leave `auto_cert` out, or the certificate")


@message
class CertificateParamsType:
    """TLS towards clients, with certificates by reference."""

    certificates: tuple[Ref, ...] = field(
        refs("certificate", least=1, most=32), "1 to 32 certificate objects.", since="+2023-03", required=True)
    validation_params: TlsValidationParamsType | None = field(
        Nested(TlsValidationParamsType), "How a client's certificate is judged.", since="+2023-03")
    minimum_protocol_version: TlsProtocol = field(Choice(TlsProtocol), "Lowest version.", since="+2023-03", absent="TLS 1.2")
    maximum_protocol_version: TlsProtocol = field(Choice(TlsProtocol), "Highest version.", since="+2023-03", absent="TLS 1.3")
    cipher_suites: tuple[str, ...] = field(
        _ciphers(), "Suites in order of preference.", since="+2023-03", absent="ECDHE with AES-GCM or ChaCha20")
    require_client_certificate: bool = field(
        Flag(), "Refuse connections without a valid client certificate.", since="+2023-03†")
    no_client_certificate: bool = field(
        Presence(), "Ask for no client certificate.", since="+2024-08", group="client_certificate_verify_choice")
    client_certificate_required: bool = field(
        Presence(), "Newer spelling of require_client_certificate.", since="+2024-08",
        group="client_certificate_verify_choice")
    client_certificate_optional: bool = field(
        Presence(), "Ask for a certificate, verify it if one comes.", since="+2024-08",
        group="client_certificate_verify_choice")
    crl: tuple[Ref, ...] = field(refs("crl", most=1), "Revocation lists for client certificates.", since="†",
                                 internal=True)
    xfcc_header_elements: tuple[XfccElement, ...] = field(
        ListOf(Choice(XfccElement), unique=True), "Parts of the client's certificate for X-Forwarded-Client-Cert.",
        since="+2023-04", absent="no header")
    voltgw: DownstreamTlsExtension | None = field(Nested(DownstreamTlsExtension), "What voltgw adds.", since="voltgw")

    def rules(self) -> Iterable[Rule]:
        """Certificates are given, so none is fetched."""
        if self.voltgw is not None and self.voltgw.auto_cert:
            yield Rule("voltgw", "VG0106", "certificates are given, so none is fetched",
                       "say `tls_parameters: {voltgw: {auto_cert: true}}` instead of `tls_cert_params`")


@message
class UpstreamCertificateParamsType:
    """TLS towards endpoints, with certificates by reference."""

    certificates: tuple[Ref, ...] = field(
        refs("certificate", least=1, most=1), "The client certificate.", since="+2023-08", required=True)
    validation_params: TlsValidationParamsType | None = field(
        Nested(TlsValidationParamsType), "How the endpoint's certificate is judged.", since="+2023-08")
    minimum_protocol_version: TlsProtocol = field(Choice(TlsProtocol), "Lowest version.", since="+2023-08", absent="TLS 1.2")
    maximum_protocol_version: TlsProtocol = field(Choice(TlsProtocol), "Highest version.", since="+2023-08", absent="TLS 1.3")
    cipher_suites: tuple[str, ...] = field(
        _ciphers(), "Suites in order of preference.", since="+2023-08", absent="ECDHE with AES-GCM or ChaCha20")


@message
class UpstreamTlsParamsType:
    """TLS towards endpoints; its presence turns TLS on."""

    common_params: TlsParamsType | None = field(
        Nested(TlsParamsType), "Versions, suites, trust, client certificate.", group="tls_params_choice")
    cert_params: UpstreamCertificateParamsType | None = field(
        Nested(UpstreamCertificateParamsType), "The same by reference.", since="+2023-08", group="tls_params_choice")
    sni: str | None = field(Text(HOSTNAME, most=256), "Server name to send.", group="sni_choice",
                            absent="the DNS name or address by which an endpoint is configured")
    use_host_header_as_sni: bool = field(
        Presence(), "Send the Host header (after rewrites) as server name.", since="+2020-12", group="sni_choice")
    disable_sni: bool = field(Presence(), "Send no server name.", since="+2020-12", group="sni_choice")
    default_session_key_caching: bool = field(
        Presence(), "Keep one session key.", since="+2024-08", group="max_session_keys_type")
    disable_session_key_caching: bool = field(
        Presence(), "Never resume sessions.", since="+2024-08", group="max_session_keys_type")
    max_session_keys: int | None = field(
        Number(2, 64), "Session keys to keep.", since="+2024-08", group="max_session_keys_type")
    voltgw: UpstreamTlsExtension | None = field(Nested(UpstreamTlsExtension), "What voltgw adds.", since="voltgw")


@message
class TLSCoalescingOptions:
    """Whether virtual hosts with different TLS settings may share a listener."""

    default_coalescing: bool = field(Presence(), "They may.", since="+2024-12", group="coalescing_choice")
    strict_coalescing: bool = field(Presence(), "They may not.", since="+2024-12", group="coalescing_choice")
