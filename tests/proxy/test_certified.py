"""What endpoints are told of a client's certificate."""

from __future__ import annotations

import base64
import ssl
from hashlib import sha256
from urllib.parse import unquote

from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import authority, client
from voltgw.proxy.certified import certificate_lines
from voltgw.values.tls import Tells

ALICE = ssl.PEM_cert_to_DER_cert(client('al"ice', "spiffe://lab/alice", "alice.example", "a@b.example").certificate.decode())
CA = ssl.PEM_cert_to_DER_cert(authority().certificate.decode())


class CertifiedTests(SynchronousTestCase):
    def line(self, name: str, tells: Tells, chain: tuple[bytes, ...] = (ALICE, CA)) -> str:
        """The value of one of the lines."""
        found = dict(line.split(b": ", 1) for line in certificate_lines(chain, tells).split(b"\r\n"))
        return found[name.encode()].decode()

    def test_nothing_shown(self) -> None:
        """Nothing is said."""
        self.assertEqual(certificate_lines((), Tells(("XFCC_CERT",), "CHAIN")), b"")

    def test_elements(self) -> None:
        """The hash, and what is asked for, in Envoy's order; what could end a value is quoted."""
        self.assertEqual(
            self.line("x-forwarded-client-cert", Tells(("XFCC_DNS", "XFCC_URI", "XFCC_SUBJECT"))),
            f'Hash={sha256(ALICE).hexdigest()};Subject="CN=al\\\\\\"ice";URI=spiffe://lab/alice;DNS=alice.example')

    def test_certificates(self) -> None:
        """As percent-encoded PEM: the leaf, or the whole chain."""
        value = self.line("x-forwarded-client-cert", Tells(("XFCC_CERT", "XFCC_CHAIN")))
        leaf, chain = (part.partition("=")[2].strip('"') for part in value.split(";")[1:])
        self.assertEqual(ssl.PEM_cert_to_DER_cert(unquote(leaf)), ALICE)
        self.assertEqual(unquote(chain).count("BEGIN CERTIFICATE"), 2)

    def test_rfc_9440(self) -> None:
        """Byte sequences; the chain is without the leaf."""
        self.assertEqual(self.line("client-cert", Tells((), "LEAF")), f":{base64.b64encode(ALICE).decode()}:")
        self.assertNotIn(b"client-cert-chain", certificate_lines((ALICE, CA), Tells((), "LEAF")))
        self.assertEqual(self.line("client-cert-chain", Tells((), "CHAIN")), f":{base64.b64encode(CA).decode()}:")

    def test_a_very_long_chain(self) -> None:
        """The line is left out rather than cut."""
        lines = certificate_lines((ALICE, *[CA] * 100), Tells((), "CHAIN"))
        self.assertIn(b"client-cert: ", lines)
        self.assertNotIn(b"client-cert-chain", lines)
