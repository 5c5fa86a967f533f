"""What configuration says of TLS, as values."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import host, policy, route, runtime
from tests.certificates import NOW, authority, client, inline, server, shown
from voltgw.app.build import Runtime
from voltgw.app.tls import Terms, certificate_sets
from voltgw.config.issuing import Issued, revoke
from voltgw.errors import ConfigErrors
from voltgw.values.tls import ClientAuth, ClientTls, KeyPair, SniSource, Version

SHOP = server("shop.example")
CA = f"validation_params: {{trusted_ca_url: '{inline(authority().certificate)}'}}"
OBJECTS = ("objects:\n" + policy("p", "address: 127.0.0.1, port: 8443") + route("r")
           + "- {kind: cluster, metadata: {name: c}, spec: {endpoints: []}}\n")


def secure(name: str, tls: str, *, domains: str = "[shop.example]", policies: str = "[p]", more: str = "") -> str:
    """An HTTPS_PROXY host with ``tls_parameters: {tls}``."""
    return host(name, policies, domains=domains, proxy="HTTPS_PROXY", more=f", tls_parameters: {{{tls}}}{more}")


def terms_of(made: Runtime, name: str = "default/h") -> Terms:
    """The terms of a host, where it is offered first."""
    (found, *_) = made.sources[name].terms
    assert found is not None
    return found


class HostTests(SynchronousTestCase):
    def terms(self, tls: str, objects: str = "", more: str = "") -> Terms:
        """The terms of a host with these ``tls_parameters``."""
        return terms_of(runtime(OBJECTS + secure("h", tls, more=more) + objects))

    def refused(self, tls: str, objects: str = "", gateway: str = "") -> str:
        """The message with which such a host is refused."""
        with self.assertRaises(ConfigErrors) as caught:
            runtime(gateway + OBJECTS + secure("h", tls) + objects)
        (problem,) = caught.exception.problems
        self.assertEqual(problem.code, "VG0410")
        self.assertTrue(problem.place.line)
        message: str = problem.message
        return message

    def test_nothing_but_a_certificate(self) -> None:
        """TLS 1.2 and 1.3, no client certificate, HTTP/2 before HTTP/1.1."""
        server_tls, admission, *_ = self.terms(f"common_params: {{{shown(SHOP)}}}")
        self.assertEqual((server_tls.minimum, server_tls.maximum, server_tls.client_auth, server_tls.alpn),
                         (Version.TLS_1_2, Version.TLS_1_3, ClientAuth.NONE, (b"h2", b"http/1.1")))
        self.assertEqual(server_tls.certificates, (KeyPair(SHOP.certificate, SHOP.key),))
        self.assertEqual((admission.auth, admission.strict, bool(admission.tells)), (ClientAuth.NONE, (), False))

    def test_versions_of_http(self) -> None:
        """What the host's options allow is what is offered."""
        for option, expected in (("v1_only: {}", (b"http/1.1",)), ("v2_only: {}", (b"h2",)), ("v1_v2: {}", (b"h2", b"http/1.1"))):
            found = self.terms(f"common_params: {{{shown(SHOP)}}}",
                               more=f", http_protocol_options: {{http_protocol_enable_{option}}}")
            self.assertEqual(found.server.alpn, expected)

    def test_spellings_of_client_certificates(self) -> None:
        """The old flag and the three choices."""
        for said, auth in (("require_client_certificate: true", ClientAuth.REQUIRED),
                           ("client_certificate_required: {}", ClientAuth.REQUIRED),
                           ("client_certificate_optional: {}", ClientAuth.OPTIONAL), ("require_client_certificate: false", ClientAuth.NONE),
                           ("no_client_certificate: {}", ClientAuth.NONE)):
            trust = CA if auth is not ClientAuth.NONE else ""
            found = self.terms(f"{said}, common_params: {{{shown(SHOP)}, {trust}}}")
            self.assertIs(found.server.client_auth, auth, said)
            self.assertEqual(found.server.peer.ca, authority().certificate if trust else None)

    def test_pins_and_depth(self) -> None:
        """Digests are read in base64 and in hexadecimal digits."""
        digest = hashlib.sha256(b"key").digest()
        base64_digest = inline(digest)[len("string:///"):]
        found = self.terms(
            f"client_certificate_required: {{}}, common_params: {{{shown(SHOP)}, validation_params: {{trusted_ca_url: "
            f"'{inline(authority().certificate)}', verify_subject_alt_names: [alice], "
            f"voltgw: {{spki_pins: ['{base64_digest}'], certificate_hashes: ['{digest.hex()}'], verify_depth: 2}}}}}}")
        rules = found.server.peer
        self.assertEqual((rules.names, rules.spki_pins, rules.hash_pins, rules.depth), (("alice",), (digest,), (digest,), 2))
        self.assertEqual(found.admission.peer, rules)

    def test_client_certificates_that_nobody_judges(self) -> None:
        """A CA or pins, but not nothing, and not the public roots."""
        self.assertIn("nothing says which are good", self.refused(
            f"client_certificate_required: {{}}, common_params: {{{shown(SHOP)}}}"))
        self.assertIn("public roots", self.refused(
            f"client_certificate_required: {{}}, common_params: {{{shown(SHOP)}, "
            "validation_params: {use_volterra_trusted_ca_url: true}}"))

    def test_a_ca_that_judges_nobody(self) -> None:
        """Whoever names one believes that clients are judged."""
        self.assertIn("no client is asked", self.refused(f"common_params: {{{shown(SHOP)}, {CA}}}"))

    def test_no_certificate_to_show(self) -> None:
        """A client could not be answered."""
        self.assertIn("no certificate", self.refused("common_params: {}"))

    def test_a_key_of_another_certificate(self) -> None:
        """The TLS library's refusal is an error with a place."""
        other = server("other.example")
        self.assertIn("TLS of", self.refused(
            f"common_params: {{tls_certificates: [{{certificate_url: '{inline(SHOP.certificate)}', private_key: "
            f"{{clear_secret_info: {{url: '{inline(other.key)}'}}}}}}]}}"))

    def test_a_sealed_key(self) -> None:
        """It is refused, unless the gateway has one in its place."""
        sealed = ("private_key: {blindfold_secret_info: {location: 'string:///YQ=='}}")
        tls = f"common_params: {{tls_certificates: [{{certificate_url: '{inline(SHOP.certificate)}', {sealed}}}]}}"
        self.assertIn("sealed", self.refused(tls))
        made = runtime(f"gateway: {{secrets: {{default/h: '{inline(SHOP.key)}'}}}}\n" + OBJECTS + secure("h", tls))
        self.assertEqual(terms_of(made).server.certificates[0].key, SHOP.key)

    def test_certificates_by_reference(self) -> None:
        """One of each kind of key, and a trusted CA by reference."""
        other = server("shop.example", "www.shop.example")
        objects = "".join(
            f"- {{kind: certificate, metadata: {{name: {name}}}, spec: {{certificate_url: '{inline(one.certificate)}', private_key: "
            f"{{clear_secret_info: {{url: '{inline(one.key)}'}}}}}}}}\n" for name, one in (("a", SHOP), ("b", other)))
        objects += ("- {kind: trusted_ca_list, metadata: {name: t}, spec: {trusted_ca_url: "
                    f"'{inline(authority().certificate)}'}}}}\n")
        spec = ("{certificates: [a, b], client_certificate_optional: {}, "
                "validation_params: {trusted_ca: {trusted_ca_list: [t]}}}")
        made = runtime(OBJECTS + host("h", domains="[shop.example]", proxy="HTTPS_PROXY", more=f", tls_cert_params: {spec}") + objects)
        terms = terms_of(made)
        found = terms.server
        self.assertEqual([pair.chain for pair in found.certificates], [SHOP.certificate])
        ((names, another),) = terms.others      # of one kind of key: the name chooses
        self.assertEqual((names, another.certificates[0].chain), (("www.shop.example",), other.certificate))
        self.assertEqual((found.client_auth, found.peer.ca), (ClientAuth.OPTIONAL, authority().certificate))

    def test_everything_by_reference(self) -> None:
        """What is said beside the certificates means the same in both forms."""
        digest = hashlib.sha256(b"key").hexdigest()
        judged = (f"validation_params: {{trusted_ca_url: '{inline(authority().certificate)}', skip_hostname_verification: true, "
                  f"verify_subject_alt_names: [alice], voltgw: {{spki_pins: ['{digest}'], certificate_hashes: ['{digest}'], "
                  f"verify_depth: 1, crl: '{inline(revoke(Issued(authority().certificate, authority().key), [], None, NOW))}'}}}}")
        rest = (f"minimum_protocol_version: TLSv1_2, maximum_protocol_version: TLSv1_2, "
                f"cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256], {judged}")
        certificate = ("- {kind: certificate, metadata: {name: a}, spec: {certificate_url: '" + inline(SHOP.certificate)
                       + "', private_key: {clear_secret_info: {url: '" + inline(SHOP.key) + "'}}}}\n")
        tells = "xfcc_header_elements: [XFCC_CERT], voltgw: {client_cert_header: CHAIN}"
        for auth in ("require_client_certificate: true", "client_certificate_required: {}", "client_certificate_optional: {}"):
            one = self.terms(f"{auth}, {tells}, common_params: {{{shown(SHOP)}, {rest}}}")
            spec = f"{{certificates: [a], {auth}, {tells}, {rest}}}"
            other = terms_of(runtime(
                OBJECTS + host("h", domains="[shop.example]", proxy="HTTPS_PROXY", more=f", tls_cert_params: {spec}") + certificate))
            self.assertEqual((one.server, one.admission), (other.server, other.admission))
            self.assertEqual((one.server.minimum, one.server.maximum, one.server.suites),
                             (Version.TLS_1_2, Version.TLS_1_2, ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",)))

    def test_a_ca_in_the_old_spelling(self) -> None:
        """Beside the certificates instead of in validation_params."""
        found = self.terms(f"client_certificate_required: {{}}, common_params: {{{shown(SHOP)}, "
                           f"trusted_ca_url: '{inline(authority().certificate)}'}}")
        self.assertEqual(found.server.peer.ca, authority().certificate)

    def test_the_policy_wins(self) -> None:
        """As a whole: its certificate, and its client certificates (objects.md 22.14)."""
        other = server("shop.example", "eu.shop.example")
        wins = policy("q", "address: 127.0.0.1, port: 9443, tls_parameters: {require_client_certificate: true, "
                      f"common_params: {{{shown(other)}, {CA}}}}}")
        made = runtime(OBJECTS + wins + secure("h", f"common_params: {{{shown(SHOP)}}}", policies="[p, q]"))
        first, second = made.sources["default/h"].terms
        assert first is not None and second is not None
        self.assertEqual([one.server.certificates[0].chain for one in (first, second)], [SHOP.certificate, other.certificate])
        self.assertEqual([one.server.client_auth for one in (first, second)], [ClientAuth.NONE, ClientAuth.REQUIRED])

    def test_a_revocation_list_that_is_not_there(self) -> None:
        """Lists are files; one that would have to be fetched is refused, for it would revoke nobody."""
        tls = f"client_certificate_required: {{}}, crl: [x], common_params: {{{shown(SHOP)}, {CA}}}"
        self.assertIn("not there", self.refused(
            tls, "- {kind: crl, metadata: {name: x}, spec: {server_address: crl.example}}\n"))

    def test_what_differs_in_admission(self) -> None:
        """The CA and the place of the revocation lists do, certificates and versions do not, unless coalescing is strict."""
        plain = self.terms(f"common_params: {{{shown(SHOP)}}}").admission
        newer = f"common_params: {{{shown(server('shop.example', 'a.example'))}, minimum_protocol_version: TLSv1_3}}"
        self.assertEqual(self.terms(newer).admission, plain)
        self.assertNotEqual(self.terms(newer, more=", coalescing_options: {strict_coalescing: {}}").admission, plain)
        asks = "client_certificate_required: {{}}, common_params: {{{}, validation_params: {{trusted_ca_url: '{}'}}}}"
        one = self.terms(asks.format(shown(SHOP), inline(authority().certificate))).admission
        other = self.terms(asks.format(shown(SHOP), inline(authority("other").certificate))).admission
        self.assertEqual(len({plain, one, other}), 3)

    def test_contexts_are_carried_over(self) -> None:
        """By value: a changed host keeps the others' contexts, and its own if its TLS is the same."""
        text = OBJECTS + secure("h", f"common_params: {{{shown(SHOP)}}}")
        first = runtime(text)
        second = runtime(text.replace("[shop.example]", "[shop.example, www.shop.example]"), first)
        (plan,), (following,) = first.listeners.values(), second.listeners.values()
        self.assertIsNot(first.hosts["default/h"], second.hosts["default/h"])
        self.assertEqual([id(door.context) for door in plan.doors.values()], [id(door.context) for door in following.doors.values()])
        self.assertEqual([one.names for door in plan.doors.values() for one in door.certificates], [("shop.example",)])


class ClusterTests(SynchronousTestCase):
    def tls(self, params: str, more: str = "", objects: str = "") -> ClientTls:
        """The TLS of a cluster with these ``tls_parameters``."""
        made = runtime("objects:\n- {kind: cluster, metadata: {name: c}, spec: {endpoints: [], tls_parameters: "
                       f"{{{params}}}{more}}}}}\n{objects}")
        cluster: Any = made.clusters["default/c"]
        found = made.plans["default/c"].tls
        assert found is not None
        self.assertEqual(cluster.tls.config, found)
        self.assertIs(cluster.tied, found.sni is SniSource.HOST)
        return found

    def test_nothing_said(self) -> None:
        """The system's roots, the endpoint's own name, verified."""
        found = self.tls("")
        self.assertEqual((found.verify, found.peer.ca, found.peer.skip_name, found.sni), (True, None, False, SniSource.ENDPOINT))

    def test_server_names(self) -> None:
        """The three choices."""
        for said, sni, name in (("sni: a.example", SniSource.FIXED, "a.example"), ("use_host_header_as_sni: {}", SniSource.HOST, ""),
                                ("disable_sni: {}", SniSource.NONE, "")):
            found = self.tls(said)
            self.assertEqual((found.sni, found.server_name), (sni, name))

    def test_nobody_is_verified_only_by_name(self) -> None:
        """Leaving the name out of the comparison is not it."""
        self.assertTrue(self.tls("common_params: {validation_params: {skip_hostname_verification: true}}").verify)
        self.assertFalse(self.tls("voltgw: {skip_server_verification: true}").verify)

    def test_our_certificate(self) -> None:
        """Shown to endpoints; of several none could be chosen."""
        mine = client("gateway")
        self.assertEqual(self.tls(f"common_params: {{{shown(mine)}}}").certificate, KeyPair(mine.certificate, mine.key))
        self.assertRaises(ConfigErrors, self.tls, f"common_params: {{{shown(mine, client('other'))}}}")

    def test_sessions(self) -> None:
        """One, none, or as many as are said."""
        for said, count in (("", 1), ("default_session_key_caching: {}", 1), ("disable_session_key_caching: {}", 0), ("max_session_keys: 9", 9)):
            self.assertEqual(self.tls(said).sessions, count)

    def test_versions_suites_and_judgement(self) -> None:
        """All that is said of versions, suites and the endpoint's certificate, inline and by reference."""
        digest = hashlib.sha256(b"key").digest()
        revoked, ca = revoke(Issued(authority().certificate, authority().key), [], None, NOW), authority().certificate
        judged = (f"verify_subject_alt_names: [b.example], voltgw: {{spki_pins: ['{digest.hex()}'], "
                  f"certificate_hashes: ['{digest.hex()}'], verify_depth: 1, crl: '{inline(revoked)}'}}")
        rest = ("minimum_protocol_version: TLSv1_2, maximum_protocol_version: TLSv1_2, "
                "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]")
        found = self.tls(f"common_params: {{{rest}, validation_params: {{trusted_ca_url: '{inline(ca)}', {judged}}}}}")
        self.assertEqual((found.minimum, found.maximum, found.suites),
                         (Version.TLS_1_2, Version.TLS_1_2, ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",)))
        rules = found.peer
        self.assertEqual((rules.ca, rules.names, rules.spki_pins, rules.hash_pins, rules.depth, rules.crls),
                         (ca, ("b.example",), (digest,), (digest,), 1, (revoked,)))
        self.assertEqual(self.tls(f"common_params: {{trusted_ca_url: '{inline(ca)}'}}").peer.ca, ca)
        self.assertIsNone(self.tls("common_params: {validation_params: {use_volterra_trusted_ca_url: true}}").peer.ca)
        mine = client("gateway")
        objects = (
            f"- {{kind: certificate, metadata: {{name: a}}, spec: {{certificate_url: '{inline(mine.certificate)}', private_key: "
            f"{{clear_secret_info: {{url: '{inline(mine.key)}'}}}}}}}}\n"
            f"- {{kind: trusted_ca_list, metadata: {{name: t}}, spec: {{trusted_ca_url: '{inline(ca)}'}}}}\n")
        by_reference = self.tls(
            f"cert_params: {{certificates: [a], {rest}, validation_params: {{trusted_ca: {{trusted_ca_list: [t]}}, {judged}}}}}",
            objects=objects)
        self.assertEqual(by_reference, replace(found, certificate=KeyPair(mine.certificate, mine.key)))

    def test_http_2(self) -> None:
        """What is offered to endpoints; probes speak HTTP/1.1 and leave it out."""
        self.assertEqual(self.tls("", ", http2_options: {enabled: true}").alpn, (b"h2",))
        self.assertEqual(self.tls("", ", auto_http_config: {}").alpn, (b"h2", b"http/1.1"))

    def test_an_equal_cluster_is_carried_over(self) -> None:
        """With its context and its sessions; a rotated CA makes another one."""
        text = ("objects:\n- {kind: cluster, metadata: {name: c}, spec: {endpoints: [], tls_parameters: {common_params: "
                "{validation_params: {trusted_ca_url: '%s'}}}}}\n")
        first = runtime(text % inline(authority().certificate))
        same = runtime("# again\n" + text % inline(authority().certificate), first)
        other = runtime(text % inline(authority("other").certificate), first)
        self.assertIs(same.clusters["default/c"], first.clusters["default/c"])
        self.assertIsNot(other.clusters["default/c"], first.clusters["default/c"])


class CertificateSetTests(SynchronousTestCase):
    def test_kinds_of_keys(self) -> None:
        """RSA and ECDSA for the same names stand side by side in one context; the client's abilities decide."""
        key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        made = made.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=3))
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), False)
        pem = made.sign(key, SHA256()).public_bytes(Encoding.PEM)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        other = server("other.example")
        pairs = [KeyPair(one.certificate, one.key) for one in (SHOP, Issued(pem, secret), other)]
        first, second = certificate_sets(pairs)
        self.assertEqual(first[1], (pairs[0], pairs[1]))
        self.assertEqual((second[0], second[1][-1]), (("other.example",), pairs[2]))
        terms = terms_of(runtime(OBJECTS + secure("h", f"common_params: {{{shown(SHOP, Issued(pem, secret))}}}")))
        self.assertEqual((len(terms.server.certificates), terms.others), (2, ()))
