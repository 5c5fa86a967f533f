"""Kinds of challenges, and how they are found."""

from __future__ import annotations

import hashlib
import subprocess
from typing import Any

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.servers import require
from voltgw.control.acme.challenges.tls_alpn_01 import ACME_IDENTIFIER, challenge_certificate
from voltgw.errors import ConfigErrors, Place
from voltgw.interfaces import IChallengeFactory
from voltgw.registry import CHALLENGES, Registry


class KindTests(SynchronousTestCase):
    def test_the_registry(self) -> None:
        """Each kind is a factory of its own name, and takes no options."""
        registry = Registry(declared=lambda group: ())
        self.assertEqual(registry.names(CHALLENGES), ["http-01", "tls-alpn-01"])
        for name in registry.names(CHALLENGES):
            factory = registry.find(CHALLENGES, name)
            verifyObject(IChallengeFactory, factory)
            self.assertEqual(factory.build(factory.options(None, Place("x"))).name, name)
            with self.assertRaises(ConfigErrors):
                factory.options({"token": "x"}, Place("x"))

    def test_the_certificate_of_tls_alpn_01(self) -> None:
        """One name, the digest in a critical extension (RFC 8737 3); openssl reads it, too."""
        pair = challenge_certificate("shop.example", "token.thumbprint")
        leaf = x509.load_pem_x509_certificate(pair.chain)
        found = {one.oid: one for one in leaf.extensions}[ACME_IDENTIFIER]
        value: Any = found.value
        self.assertTrue(found.critical)
        self.assertEqual(value.value, b"\x04\x20" + hashlib.sha256(b"token.thumbprint").digest())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(list(names), [x509.DNSName("shop.example")])
        said = subprocess.run([require("openssl"), "x509", "-noout", "-text"], input=pair.chain, capture_output=True, check=True)
        self.assertIn(b"1.3.6.1.5.5.7.1.31: critical", said.stdout)
