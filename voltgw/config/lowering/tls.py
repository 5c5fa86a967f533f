"""TLS of the views: levels of security become versions and suites, choices become the fields of the primitives."""

from __future__ import annotations

from typing import Any, Final

from voltgw.config.lowering.making import Maker, Part
from voltgw.config.model import Path
from voltgw.config.objects.tls import (
    CIPHERS,
    CertificateParamsType,
    DownstreamTlsExtension,
    DownstreamTlsParamsType,
    TlsParamsType,
    TlsProtocol,
    TlsValidationParamsType,
    TrustedCAListRef,
    UpstreamCertificateParamsType,
    UpstreamTlsExtension,
    UpstreamTlsParamsType,
)
from voltgw.config.objects.view_tls import (
    DownstreamTlsValidationContext,
    TlsConfig,
    ViewDownstreamTlsCertParams,
    ViewDownstreamTlsParams,
    ViewUpstreamTlsParameters,
)
from voltgw.config.objects.virtual_host import VirtualHostSpec
from voltgw.config.values import Ref

#: Suites with forward secrecy, those of TLS 1.3 among them.
FORWARD_SECRET: Final = tuple(name for name in CIPHERS if not name.startswith("TLS_RSA_"))


def towards_clients(
    make: Maker[Any], host: Part[VirtualHostSpec], inline: ViewDownstreamTlsParams | None,
    by_reference: ViewDownstreamTlsCertParams | None, path: Path,
) -> None:
    """Give a virtual host the TLS that stands at `path`; without a certificate there is none, which is an error."""
    if inline is not None and inline.tls_certificates:
        host.put("tls_parameters", _inline_certificates(inline, (*path, "tls_parameters")))
    elif by_reference is not None and by_reference.certificates:
        host.put("tls_cert_params", _certificates_by_reference(by_reference, (*path, "tls_cert_params")))
    else:
        make.wrong("VG0105", "no certificate is said here", *path,
                   hint="give it `tls_cert_params: {certificates: [...]}` or `tls_parameters: {tls_certificates: [...]}`")


def _inline_certificates(params: ViewDownstreamTlsParams, path: Path) -> Part[DownstreamTlsParamsType]:
    """TLS towards clients with certificates that stand in the view."""
    common = Part(TlsParamsType, path)
    common.copy(params, path, "tls_certificates")
    _security(common, params.tls_config, (*path, "tls_config"))
    part = Part(DownstreamTlsParamsType, path)
    if params.use_mtls is not None:
        _client_certificates(part, common, params.use_mtls, (*path, "use_mtls"))
    part.put("common_params", common)
    return part


def _certificates_by_reference(params: ViewDownstreamTlsCertParams, path: Path) -> Part[CertificateParamsType]:
    """TLS towards clients with certificate objects."""
    part = Part(CertificateParamsType, path)
    part.copy(params, path, "certificates")
    _security(part, params.tls_config, (*path, "tls_config"))
    if params.use_mtls is not None:
        _client_certificates(part, part, params.use_mtls, (*path, "use_mtls"))
    return part


def fetched_certificates(
    config: TlsConfig | None, mtls: DownstreamTlsValidationContext | None, path: Path,
) -> Part[DownstreamTlsParamsType]:
    """TLS towards clients with a certificate that is fetched."""
    common = Part(TlsParamsType, path)
    _security(common, config, (*path, "tls_config"))
    part = Part(DownstreamTlsParamsType, path)
    if mtls is not None:
        _client_certificates(part, common, mtls, (*path, "use_mtls"))
    part.put("common_params", common)
    ours = Part(DownstreamTlsExtension, path)
    ours.set("auto_cert", True, path)
    part.put("voltgw", ours)
    return part


def to_origins(params: ViewUpstreamTlsParameters, path: Path) -> Part[UpstreamTlsParamsType]:
    """TLS towards origin servers."""
    part = Part(UpstreamTlsParamsType, path)
    part.copy(params, path, "sni", "disable_sni", "default_session_key_caching", "disable_session_key_caching",
              "max_session_keys")
    if params.sni is None and not params.disable_sni:
        part.set("use_host_header_as_sni", True, (*path, "use_host_header_as_sni"))
    inner: Part[Any]
    if params.use_mtls_obj is not None:
        inner = Part(UpstreamCertificateParamsType, path)
        inner.set("certificates", (params.use_mtls_obj,), (*path, "use_mtls_obj"))
    else:
        inner = Part(TlsParamsType, path)
        inner.copy(params.use_mtls, (*path, "use_mtls"), "tls_certificates")
    _security(inner, params.tls_config, (*path, "tls_config"))
    inner.put("validation_params", _origins_are_judged(params, path))
    if params.skip_server_verification:
        ours = Part(UpstreamTlsExtension, (*path, "skip_server_verification"))
        ours.set("skip_server_verification", True, (*path, "skip_server_verification"))
        part.put("voltgw", ours)
    part.put("common_params" if params.use_mtls_obj is None else "cert_params", inner)
    return part


def _security(part: Part[Any], config: TlsConfig | None, path: Path) -> None:
    """Versions and suites of a level; the default one is what a primitive without them means."""
    if config is None:
        return
    if config.custom_security is not None:
        here = (*path, "custom_security")
        part.set("minimum_protocol_version", config.custom_security.min_version, (*here, "min_version"))
        part.set("maximum_protocol_version", config.custom_security.max_version, (*here, "max_version"))
        part.set("cipher_suites", config.custom_security.cipher_suites, (*here, "cipher_suites"))
    elif config.medium_security or config.low_security:
        here = (*path, "medium_security" if config.medium_security else "low_security")
        part.set("minimum_protocol_version", TlsProtocol.V1_0, here)
        part.set("cipher_suites", FORWARD_SECRET if config.medium_security else CIPHERS, here)


def _client_certificates(part: Part[Any], inner: Part[Any], mtls: DownstreamTlsValidationContext, path: Path) -> None:
    """Clients show a certificate; `inner` is the part that says how it is judged."""
    choice = "client_certificate_optional" if mtls.client_certificate_optional else "client_certificate_required"
    part.set(choice, True, path)
    part.set("crl", () if mtls.crl is None else (mtls.crl,), (*path, "crl"))
    if mtls.xfcc_options is not None:
        part.copy(mtls.xfcc_options, (*path, "xfcc_options"), "xfcc_header_elements")
    inner.put("validation_params", _trust(mtls.trusted_ca_url, mtls.trusted_ca, path))


def _origins_are_judged(params: ViewUpstreamTlsParameters, path: Path) -> Part[TlsValidationParamsType]:
    """By which roots; a primitive cannot say that nothing is verified, so that stands in its ``voltgw`` part."""
    if params.use_server_verification is not None:
        roots = params.use_server_verification
        return _trust(roots.trusted_ca_url, roots.trusted_ca, (*path, "use_server_verification"))
    part = Part(TlsValidationParamsType, path)
    part.set("use_volterra_trusted_ca_url", True, (*path, "volterra_trusted_ca"))
    return part


def _trust(url: bytes | None, ref: Ref | None, path: Path) -> Part[TlsValidationParamsType]:
    part = Part(TlsValidationParamsType, path)
    part.set("trusted_ca_url", url, (*path, "trusted_ca_url"))
    if ref is not None:
        store = Part(TrustedCAListRef, (*path, "trusted_ca"))
        store.set("trusted_ca_list", (ref,), (*path, "trusted_ca"))
        part.put("trusted_ca", store)
    return part
