"""Client certificates as credentials: which are wanted, and by which name their owner is known."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import client
from tests.security.making import asks
from voltgw.config.objects.matchers import MatcherTypeBasic
from voltgw.net.tls.peers import subject_names
from voltgw.security.client_certificate import ClientCertificate
from voltgw.security.proofs import Accepted, Denied
from voltgw.security.texts import fits
from voltgw.values.exchange import Exchange
from voltgw.values.tls import Handshake


def der(*names: str, subject: str = "alice") -> bytes:
    """A certificate with these alternative names."""
    return load_pem_x509_certificate(client(subject, *names).certificate).public_bytes(Encoding.DER)


def shows(leaf: bytes | None) -> Exchange:
    """A request on a connection whose client has shown this certificate."""
    exchange = asks()
    exchange.client.handshake = Handshake("TLSv1.3", "x", peer=() if leaf is None else (leaf,))
    return exchange


class ClientCertificateTests(SynchronousTestCase):
    def said(self, method: ClientCertificate, leaf: bytes | None) -> str:
        """The user's name, or why there is none; the same when it is asked again."""
        found: list[Any] = [method.check(shows(leaf)), method.check(shows(leaf)), method.rehearse(shows(leaf))[0]]
        words = [verdict.user.name if isinstance(verdict, Accepted) else f"refused: {verdict.reason}" for verdict in found]
        self.assertEqual(len(set(words)), 1)
        return str(words[0])

    def test_by_which_name_it_is_known(self) -> None:
        """The SPIFFE id, else another URI, else the first of the others."""
        method = ClientCertificate(None)
        for names, known in (
                (("alice.example", "https://x.example/a", "spiffe://lab/alice"), "spiffe://lab/alice"),
                (("alice.example", "https://x.example/a"), "https://x.example/a"), (("alice.example",), "alice")):
            self.assertEqual(self.said(method, der(*names)), known)

    def test_a_common_name_that_is_somebody_elses_id(self) -> None:
        """Authorities check alternative names; what stands in the subject makes nobody an administrator."""
        method = ClientCertificate(None)
        self.assertEqual(self.said(method, der("spiffe://lab/eve", subject="spiffe://lab/admin")), "spiffe://lab/eve")
        self.assertEqual(self.said(method, der("eve.example", subject="spiffe://lab/admin")), "eve.example")
        admins = ClientCertificate(fits(MatcherTypeBasic(exact_values=("admin", "spiffe://lab/admin"))))
        for names, subject in ((("spiffe://lab/eve",), "admin"), (("SPIFFE://lab/eve",), "admin"), (("eve.example",), "spiffe://lab/admin"),
                               ((), "spiffe://lab/admin")):
            leaf = der(*names, subject=subject)
            self.assertEqual(self.said(admins, leaf), "refused: name", (names, subject))
            self.assertNotIn("admin", "".join(subject_names(load_der_x509_certificate(leaf))))
        self.assertEqual(self.said(admins, der("eve.example", subject="admin")), "admin")
        self.assertEqual(self.said(ClientCertificate(None, ("lab",)), der("eve.example", subject="spiffe://lab/admin")), "refused: name")

    def test_without_one(self) -> None:
        """403: HTTP has no way to ask for a certificate."""
        method = ClientCertificate(None)
        for exchange in (asks(), shows(None)):
            verdict = method.check(exchange)
            assert isinstance(verdict, Denied)
            self.assertEqual((verdict.reason, verdict.status, verdict.challenge), ("missing", 403, None))

    def test_names_that_are_wanted(self) -> None:
        """One of them, exactly or by a pattern over the whole name."""
        method = ClientCertificate(fits(MatcherTypeBasic(exact_values=("bob",), regex_values=("spiffe://lab/a.*",))))
        self.assertEqual(self.said(method, der("spiffe://lab/alice")), "spiffe://lab/alice")
        self.assertEqual(self.said(method, der("x.example", subject="bob")), "bob")
        for leaf in (der("spiffe://lab2/alice"), der("alice.example"), der(subject="bobby")):
            self.assertEqual(self.said(method, leaf), "refused: name")

    def test_trust_domains(self) -> None:
        """A SPIFFE id of one of them, compared as a whole name without case; what only looks like it is refused."""
        method = ClientCertificate(None, ("lab.example", "other.example"))
        self.assertEqual(self.said(method, der("alice.example", "spiffe://lab.example/ns/a")), "spiffe://lab.example/ns/a")
        for name in ("spiffe://lab.example.evil/a", "spiffe://evil/lab.example/a", "https://lab.example/a", "lab.example",
                     "spiffe://lab.example"):
            self.assertEqual(self.said(method, der(name)), "refused: name", name)

    def test_what_is_asked_for(self) -> None:
        """In words, for explain."""
        self.assertEqual(ClientCertificate(None, ("lab",), "one of 'a', 'b'").text,
                         "asks for a client certificate with a SPIFFE id of lab that names one of 'a', 'b'")
