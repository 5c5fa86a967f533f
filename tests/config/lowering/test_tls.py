"""TLS of the views."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.lowering.making import balancer, cluster, host, pool
from voltgw.config.objects.cluster import ClusterSpec
from voltgw.config.objects.tls import CIPHERS, TlsProtocol, UpstreamTlsParamsType
from voltgw.config.objects.virtual_host import VirtualHostSpec
from voltgw.config.values import Ref

INLINE = "tls_certificates: [{certificate_url: 'string:///YQ==', private_key: {clear_secret_info: {url: 'string:///Yg=='}}}]"


def by_reference(fields: str, gateway: str = "") -> VirtualHostSpec:
    """The virtual host of a load balancer with certificate objects."""
    return host(balancer(f"https: {{tls_cert_params: {{certificates: [c, n/d], {fields}}}}}"), gateway=gateway)


def upstream(fields: str) -> UpstreamTlsParamsType:
    """TLS of a pool to its servers."""
    spec: ClusterSpec = cluster(pool(f"use_tls: {{{fields}}}"))
    assert spec.tls_parameters is not None
    return spec.tls_parameters


class ClientSideTests(SynchronousTestCase):
    def test_levels_of_security(self) -> None:
        """The default one says nothing, so that a better default is taken when there is one."""
        forward_secret = {name for name in CIPHERS if not name.startswith("TLS_RSA_")}
        for level, least, suites in (
            ("", TlsProtocol.AUTO, set()), ("default_security: {}", TlsProtocol.AUTO, set()),
            ("medium_security: {}", TlsProtocol.V1_0, forward_secret), ("low_security: {}", TlsProtocol.V1_0, set(CIPHERS)),
            ("custom_security: {min_version: TLSv1_3, cipher_suites: [TLS_AES_128_GCM_SHA256]}", TlsProtocol.V1_3,
             {"TLS_AES_128_GCM_SHA256"}),
        ):
            params = by_reference(f"tls_config: {{{level}}}").tls_cert_params
            assert params is not None
            self.assertEqual((params.minimum_protocol_version, set(params.cipher_suites)), (least, suites), level)

    def test_certificates_by_reference(self) -> None:
        """They stay references."""
        params = by_reference("").tls_cert_params
        assert params is not None
        self.assertEqual(params.certificates, (Ref(None, "c"), Ref("n", "d")))

    def test_certificates_inline(self) -> None:
        """With their keys."""
        params = host(balancer(f"https: {{tls_parameters: {{{INLINE}, tls_config: {{medium_security: {{}}}}}}}}")).tls_parameters
        assert params is not None and params.common_params is not None
        (certificate,) = params.common_params.tls_certificates
        self.assertEqual(certificate.certificate_url, b"a")
        self.assertIs(params.common_params.minimum_protocol_version, TlsProtocol.V1_0)

    def test_certificates_of_clients(self) -> None:
        """Required or optional; by which roots, which are revoked, what the origin is told."""
        fields = "use_mtls: {trusted_ca: t, crl: r, xfcc_options: {xfcc_header_elements: [XFCC_DNS]}%s}"
        params = by_reference(fields % "").tls_cert_params
        assert params is not None and params.validation_params is not None and params.validation_params.trusted_ca is not None
        self.assertEqual((params.client_certificate_required, params.client_certificate_optional), (True, False))
        self.assertEqual((params.crl, params.validation_params.trusted_ca.trusted_ca_list), ((Ref(None, "r"),), (Ref(None, "t"),)))
        self.assertEqual([element.value for element in params.xfcc_header_elements], ["XFCC_DNS"])
        params = by_reference(fields % ", client_certificate_optional: true").tls_cert_params
        assert params is not None
        self.assertEqual((params.client_certificate_required, params.client_certificate_optional), (False, True))
        inline = host(balancer(f"https: {{tls_parameters: {{{INLINE}, use_mtls: {{trusted_ca_url: 'string:///YQ=='}}}}}}")).tls_parameters
        assert inline is not None and inline.common_params is not None and inline.common_params.validation_params is not None
        self.assertEqual((inline.client_certificate_required, inline.common_params.validation_params.trusted_ca_url), (True, b"a"))


class ServerSideTests(SynchronousTestCase):
    def test_server_names(self) -> None:
        """The Host header, unless it is said or switched off."""
        for fields, expected in (("", (None, True, False)), ("use_host_header_as_sni: {}", (None, True, False)),
                                 ("sni: a.b", ("a.b", False, False)), ("disable_sni: {}", (None, False, True))):
            params = upstream(fields)
            self.assertEqual((params.sni, params.use_host_header_as_sni, params.disable_sni), expected, fields)

    def test_who_is_trusted(self) -> None:
        """The system's roots, or some; that a pool trusts anybody stands in the cluster's ``voltgw`` part."""
        for fields, url, system, skipped in (
            ("", None, True, False), ("volterra_trusted_ca: {}", None, True, False), ("skip_server_verification: {}", None, True, True),
            ("use_server_verification: {trusted_ca_url: 'string:///YQ=='}", b"a", False, False),
        ):
            params = upstream(fields)
            common = params.common_params
            assert common is not None and common.validation_params is not None
            judged = common.validation_params
            self.assertEqual((judged.trusted_ca_url, judged.use_volterra_trusted_ca_url,
                              params.voltgw is not None and params.voltgw.skip_server_verification),
                             (url, system, skipped), fields)

    def test_our_own_certificate(self) -> None:
        """Inline or by reference."""
        common = upstream(f"use_mtls: {{{INLINE}}}, tls_config: {{low_security: {{}}}}").common_params
        assert common is not None
        self.assertEqual((len(common.tls_certificates), common.minimum_protocol_version), (1, TlsProtocol.V1_0))
        params = upstream("use_mtls_obj: c, tls_config: {custom_security: {max_version: TLSv1_2}}").cert_params
        assert params is not None and params.validation_params is not None
        self.assertEqual((params.certificates, params.maximum_protocol_version), ((Ref(None, "c"),), TlsProtocol.V1_2))
        self.assertTrue(params.validation_params.use_volterra_trusted_ca_url)

    def test_session_keys(self) -> None:
        """As in the cluster."""
        self.assertEqual(upstream("max_session_keys: 3").max_session_keys, 3)
