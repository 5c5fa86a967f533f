"""Certificates that stand in for those of origins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store
from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import Authority, authority, certificate_of, leaf
from voltgw.security.minting import BACKDATED, FAULT_LIFETIME, Signer

NOW = datetime.now(UTC).replace(microsecond=0)


def key_of(one: Authority) -> bytes:
    """Its key, in PEM."""
    return one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def der(*names: str, days: tuple[int, int] = (-1, 30)) -> bytes:
    """An origin's certificate."""
    return certificate_of(leaf(*names, days=days)).public_bytes(Encoding.DER)


class MintTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ca = authority("inspection")
        self.signer = Signer(self.ca.pem, key_of(self.ca))

    def mint(self, name: str, origin: bytes | None = None) -> x509.Certificate:
        return certificate_of(self.signer.mint(name, origin, NOW))

    def test_clients_that_trust_the_ca_believe_it(self) -> None:
        """For that name, as a server; and it signs nothing."""
        made = self.mint("a.test", der("a.test"))
        verifier = PolicyBuilder().store(Store([self.ca.certificate])).time(NOW).build_server_verifier(x509.DNSName("a.test"))
        self.assertEqual(len(verifier.verify(made, [])), 2)
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["a.test"])
        self.assertFalse(made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
        self.assertEqual(list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value), [ExtendedKeyUsageOID.SERVER_AUTH])

    def test_addresses_and_long_names(self) -> None:
        """An address is an address; a name too long for a subject stands in the alternative name alone."""
        names = self.mint("2001:db8::1").extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertEqual(names.value.get_values_for_type(x509.IPAddress), [ip_address("2001:db8::1")])
        long = self.mint(".".join(["a" * 30] * 4))
        self.assertEqual(len(list(long.subject)), 0)
        self.assertTrue(long.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical)

    def test_it_is_good_while_the_origins_is(self) -> None:
        """Never longer than the CA's own; from a day ago at most; for an hour where there is none to go by."""
        made = self.mint("a.test", der("a.test", days=(-1, 7)))
        self.assertEqual(made.not_valid_after_utc, x509.load_der_x509_certificate(der("a.test", days=(-1, 7))).not_valid_after_utc)
        old = self.mint("a.test", der("a.test", days=(-300, 7)))
        self.assertGreaterEqual(old.not_valid_before_utc, NOW - timedelta(days=1))
        longer = self.mint("a.test", der("a.test", days=(-1, 9000)))
        self.assertEqual(longer.not_valid_after_utc, self.ca.certificate.not_valid_after_utc)
        fault = self.mint("a.test")
        self.assertEqual((fault.not_valid_before_utc, fault.not_valid_after_utc), (NOW - BACKDATED, NOW + FAULT_LIFETIME))
        self.assertNotEqual(made.serial_number, self.mint("a.test").serial_number)

    def test_what_stands_between_the_ca_and_its_root_is_sent(self) -> None:
        """The root is not."""
        between = authority("between", "inspection")
        pair = Signer(between.pem + self.ca.pem, key_of(between)).mint("a.test", None, NOW)
        chain = x509.load_pem_x509_certificates(pair.chain)
        self.assertEqual([each.subject for each in chain[1:]], [between.certificate.subject])
        self.assertEqual(len(x509.load_pem_x509_certificates(self.signer.mint("a.test", None, NOW).chain)), 1)


class SignerTests(SynchronousTestCase):
    def test_what_cannot_sign(self) -> None:
        """No PEM, another's key, a leaf."""
        ca, other = authority("inspection"), authority("another")
        pair = leaf("a.test")
        for certificate, key, reason in (
                (b"none", key_of(ca), "cannot be read"), (ca.pem, b"none", "cannot be read"),
                (ca.pem, key_of(other), "do not belong together"), (pair.chain, pair.key, "it is no CA")):
            with self.assertRaisesRegex(ValueError, reason):
                Signer(certificate, key)
