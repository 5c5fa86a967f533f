"""Certificates as they stand in the configuration."""

from __future__ import annotations

from datetime import timedelta

from twisted.trial.unittest import SynchronousTestCase

from tests.config.pem import TODAY, certificate_pem, key_pem, new_key
from voltgw.config.certificates import Certificate, covers, examine, uncovered
from voltgw.errors import Severity

KEY = new_key()


def codes(certificate: Certificate) -> list[str]:
    """The codes of what is wrong."""
    return [finding.code for finding in certificate.findings]


class NameTests(SynchronousTestCase):
    def test_names_that_cover_a_domain(self) -> None:
        """A star stands for one whole label; case and ports do not matter."""
        names = frozenset(("shop.example", "*.shop.example", "192.0.2.1", "2001:db8::1"))
        for domain, expected in (
            ("shop.example", True), ("SHOP.example", True), ("www.shop.example", True), ("www.shop.example:8443", True),
            ("*.shop.example", True), ("*-eu.shop.example", True), ("a.b.shop.example", False), ("*.b.shop.example", False),
            ("example", False), ("other.example", False), ("192.0.2.1", True), ("192.0.2.1:443", True), ("192.0.2.2", False),
            ("[2001:db8::1]:443", True), ("2001:db8::1", True),
        ):
            self.assertEqual(covers(names, domain), expected, domain)
        self.assertFalse(covers(frozenset(("*.0.2.1",)), "192.0.2.1"))
        self.assertFalse(covers(frozenset(("www.shop.example",)), "*.shop.example"))

    def test_several_certificates_share_the_work(self) -> None:
        """A domain that any of them holds is covered; a lone star asks for nothing."""
        certificates = [Certificate(frozenset((name,)), ()) for name in ("a.example", "b.example")]
        self.assertEqual(uncovered(("a.example", "*", "c.example", "b.example"), certificates), ["c.example"])

    def test_where_names_stand(self) -> None:
        """Under subject alternative name; the common name counts no more."""
        found = examine(certificate_pem(["A.example", "192.0.2.1"], KEY, common_name="b.example"), None, TODAY)
        self.assertEqual(found.names, {"a.example", "192.0.2.1"})
        self.assertEqual(examine(certificate_pem([], KEY, common_name="b.example"), None, TODAY).names, frozenset())


class DateTests(SynchronousTestCase):
    def test_dates(self) -> None:
        """Over, not yet begun, within 30 days of its end, well before it."""
        for begins, ends, expected, words in (
            (-90, -3, ["VG0402"], "expired on 2026-05-29, 3 days ago"), (1, 90, ["VG0402"], "not valid before 2026-06-02, 1 day from now"),
            (-90, 29, ["VG0403"], "expires on 2026-06-30, in 29 days"), (-90, 30, ["VG0403"], "in 30 days"), (-90, 31, [], ""),
        ):
            found = examine(certificate_pem(["a.example"], KEY, begins=begins, ends=ends), None, TODAY)
            self.assertEqual(codes(found), expected, (begins, ends))
            self.assertTrue(all(words in finding.message and "a.example" in finding.message for finding in found.findings), words)
            self.assertTrue(all(finding.severity is Severity.WARNING for finding in found.findings))

    def test_the_moment_counts(self) -> None:
        """A certificate is over at the second that it names."""
        chain = certificate_pem(["a.example"], KEY, ends=0)
        self.assertEqual(codes(examine(chain, None, TODAY)), ["VG0402"])
        self.assertEqual(codes(examine(chain, None, TODAY - timedelta(seconds=1))), ["VG0403"])


class KeyTests(SynchronousTestCase):
    def test_the_key_of_a_certificate(self) -> None:
        """It is the one that it was made with."""
        chain = certificate_pem(["a.example"], KEY)
        self.assertEqual(codes(examine(chain, key_pem(KEY), TODAY)), [])
        (finding,) = examine(chain, key_pem(new_key()), TODAY).findings
        self.assertEqual((finding.code, finding.key, finding.severity), ("VG0404", True, Severity.ERROR))

    def test_a_chain_in_the_wrong_order(self) -> None:
        """The message says where the leaf is."""
        other = new_key()
        chain = certificate_pem(["ca.example"], other) + certificate_pem(["a.example"], KEY)
        (finding,) = examine(chain, key_pem(KEY), TODAY).findings
        self.assertEqual((finding.code, finding.hint), ("VG0404", "it belongs to certificate 2 of the chain; the leaf must stand first"))
        self.assertEqual(codes(examine(chain, key_pem(other), TODAY)), [])

    def test_what_cannot_be_read(self) -> None:
        """No PEM, no key, an encrypted key; never an exception."""
        chain = certificate_pem(["a.example"], KEY)
        for bad, key, at_key in (
            (b"nonsense", None, False), (b"", None, False), (key_pem(KEY), None, False),
            (chain[:200] + b"\n-----END CERTIFICATE-----\n", None, False), (chain, b"nonsense", True), (chain, chain, True),
            (chain, key_pem(KEY, "secret"), True),
        ):
            (finding,) = examine(bad, key, TODAY).findings
            self.assertEqual((finding.code, finding.key, finding.severity), ("VG0405", at_key, Severity.ERROR))
        self.assertIn("encrypted", examine(chain, key_pem(KEY, "secret"), TODAY).findings[0].message)
