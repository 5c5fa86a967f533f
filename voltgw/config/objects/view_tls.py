"""TLS as the views spell it (objects.md 18): a level of security instead of versions and suites."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import ListOf, refs
from voltgw.config.contents import Content
from voltgw.config.formats import HOSTNAME
from voltgw.config.names import Reference
from voltgw.config.objects.tls import (
    CIPHERS,
    MAX_URL,
    CertificateParamsType,
    DownstreamTlsParamsType,
    TlsCertificateType,
    TlsProtocol,
    XfccElement,
)
from voltgw.config.schema import Nested, field, message, state_of
from voltgw.config.types import Choice, Flag, Number, Presence, Text
from voltgw.config.values import Ref


@message
class CustomCiphers:
    """Versions and suites by name."""

    SINCE: ClassVar = ""

    min_version: TlsProtocol = field(Choice(TlsProtocol), "Lowest version.")
    max_version: TlsProtocol = field(Choice(TlsProtocol), "Highest version.")
    cipher_suites: tuple[str, ...] = field(ListOf(Text(one_of=CIPHERS), unique=True), "Suites in order of preference.")


@message
class TlsConfig:
    """How strict TLS is."""

    SINCE: ClassVar = ""

    default_security: bool = field(
        Presence(), "TLS 1.2 and later, forward secrecy.", group="choice", absent="this")
    medium_security: bool = field(Presence(), "TLS 1.0 and later, forward secrecy.", group="choice")
    low_security: bool = field(Presence(), "TLS 1.0 and later, also without forward secrecy.", group="choice")
    custom_security: CustomCiphers | None = field(Nested(CustomCiphers), "Versions and suites by name.", group="choice")


@message
class XfccHeaderKeys:
    """What X-Forwarded-Client-Cert tells the origin."""

    SINCE: ClassVar = ""

    xfcc_header_elements: tuple[XfccElement, ...] = field(
        ListOf(Choice(XfccElement), unique=True), "Parts of the client's certificate.")


@message
class DownstreamTlsValidationContext:
    """Clients show a certificate."""

    SINCE: ClassVar = ""

    trusted_ca_url: bytes | None = field(Content(MAX_URL, pem=True), "PEM trust store.", group="trusted_ca_choice")
    trusted_ca: Ref | None = field(Reference("trusted_ca_list"), "Trust store by reference.", group="trusted_ca_choice")
    crl: Ref | None = field(Reference("crl"), "List of revoked certificates.", group="crl_choice")
    no_crl: bool = field(Presence(), "Revocation is not looked up.", group="crl_choice", absent="this")
    xfcc_options: XfccHeaderKeys | None = field(
        Nested(XfccHeaderKeys), "What X-Forwarded-Client-Cert tells the origin.", group="xfcc_header")
    xfcc_disabled: bool = field(Presence(), "No such header.", group="xfcc_header", absent="this")
    client_certificate_optional: bool = field(Flag(), "A client may come without one.")


@message
class ViewDownstreamTlsParams:
    """TLS towards clients, with certificates inline."""

    SINCE: ClassVar = ""

    tls_certificates: tuple[TlsCertificateType, ...] = field(ListOf(Nested(TlsCertificateType)), "The certificates.")
    tls_config: TlsConfig | None = field(Nested(TlsConfig), "How strict it is.")
    no_mtls: bool = field(Presence(), "Clients show no certificate.", group="mtls_choice", absent="this")
    use_mtls: DownstreamTlsValidationContext | None = field(
        Nested(DownstreamTlsValidationContext), "Clients show a certificate.", group="mtls_choice",
        state=state_of(DownstreamTlsParamsType, "client_certificate_required"))


@message
class ViewDownstreamTlsCertParams:
    """TLS towards clients, with certificates by reference."""

    SINCE: ClassVar = ""

    certificates: tuple[Ref, ...] = field(refs("certificate"), "The certificates.")
    tls_config: TlsConfig | None = field(Nested(TlsConfig), "How strict it is.")
    no_mtls: bool = field(Presence(), "Clients show no certificate.", group="mtls_choice", absent="this")
    use_mtls: DownstreamTlsValidationContext | None = field(
        Nested(DownstreamTlsValidationContext), "Clients show a certificate.", group="mtls_choice",
        state=state_of(CertificateParamsType, "client_certificate_required"))


@message
class UpstreamTlsValidationContext:
    """Origin servers are judged by these roots."""

    SINCE: ClassVar = ""

    trusted_ca_url: bytes | None = field(Content(MAX_URL, pem=True), "PEM trust store.", group="trusted_ca_choice")
    trusted_ca: Ref | None = field(Reference("trusted_ca_list"), "Trust store by reference.", group="trusted_ca_choice")


@message
class TlsCertificatesType:
    """The certificate that we show."""

    SINCE: ClassVar = ""

    tls_certificates: tuple[TlsCertificateType, ...] = field(ListOf(Nested(TlsCertificateType)), "The certificate.")


@message
class ViewUpstreamTlsParameters:
    """TLS towards origin servers."""

    SINCE: ClassVar = ""

    sni: str | None = field(Text(HOSTNAME, most=256), "Server name to send.", group="sni_choice")
    use_host_header_as_sni: bool = field(
        Presence(), "Send the Host header (after rewrites) as server name.", group="sni_choice", absent="this")
    disable_sni: bool = field(Presence(), "Send no server name.", group="sni_choice")
    skip_server_verification: bool = field(Presence(), "Trust whoever answers.", group="server_validation_choice")
    volterra_trusted_ca: bool = field(
        Presence(), "Trust the system's roots.", group="server_validation_choice", absent="this")
    use_server_verification: UpstreamTlsValidationContext | None = field(
        Nested(UpstreamTlsValidationContext), "Trust these roots.", group="server_validation_choice")
    no_mtls: bool = field(Presence(), "Show no certificate.", group="mtls_choice", absent="this")
    use_mtls: TlsCertificatesType | None = field(Nested(TlsCertificatesType), "Show this certificate.", group="mtls_choice")
    use_mtls_obj: Ref | None = field(Reference("certificate"), "Show the certificate of this object.", group="mtls_choice")
    tls_config: TlsConfig | None = field(Nested(TlsConfig), "How strict it is.")
    default_session_key_caching: bool = field(Presence(), "Keep one session key.", group="max_session_keys_type")
    disable_session_key_caching: bool = field(Presence(), "Never resume sessions.", group="max_session_keys_type")
    max_session_keys: int | None = field(Number(2, 64), "Session keys to keep.", group="max_session_keys_type")
