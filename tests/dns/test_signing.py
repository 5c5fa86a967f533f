"""Signed answers, judged by dnspython's validator."""

from __future__ import annotations

from typing import Any

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.test_zone import APEX, host, zone
from voltgw.dns.cookies import Cookies
from voltgw.dns.responder import Responder
from voltgw.dns.signing import RENEW_S, SIGNATURES_PER_SECOND, VALID_S, Signer, successor
from voltgw.routing.zone import Zones
from voltgw.wire.dnsmsg import CNAME, DS, MX, NS, SRV, TXT, A, name_of, text_of

PEER = "192.0.2.1"
ORIGIN = dns.name.from_text(APEX)


def pem(key: Any) -> bytes:
    """A private key as files have it."""
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return data


class SigningTests(SynchronousTestCase):
    """`Signer`, behind a `Responder`."""

    key: Any = ec.generate_private_key(ec.SECP256R1())

    def setUp(self) -> None:
        """A zone with one of everything."""
        self.wall = 1.9e9
        self.signer = Signer(name_of(APEX), pem(self.key), lambda: self.wall)
        ds = bytes((0, 1, 13, 2)) + bytes(32)
        self.zone = zone({
            "": [(NS, [name_of(f"ns1.{APEX}")]), *((each.kind, list(each.rdatas)) for each in self.signer.records(30))],
            "www": [(CNAME, [name_of(f"shop.{APEX}")])], "hang": [(CNAME, [name_of(f"nobody.{APEX}")])],
            "towild": [(CNAME, [name_of(f"q.wild.{APEX}")])], "*.wild": [(TXT, [b"\1w"])], "a.b": [(A, [bytes(4)])],
            "mx": [(MX, [b"\0\1" + b"\4MAIL" + name_of(APEX)])], "srv": [(SRV, [bytes(6) + b"\4MAIL" + name_of(APEX)])],
            "sub": [(NS, [name_of(f"ns.sub.{APEX}")])], "ns.sub": [(A, [bytes((192, 0, 2, 8))])],
            "safe": [(NS, [name_of("ns.example.net")]), (DS, [ds])]})
        self.zone.set_host(host("shop", "10.0.0.1", "10.0.0.2", "2001:db8::1"))
        self.responder = Responder(Zones([self.zone]), Cookies(bytes(16), lambda: self.wall))
        self.responder.signers = {self.zone.apex: self.signer}
        self.keys: dict[Any, Any] = {ORIGIN: dns.rrset.from_rdata(
            ORIGIN, 30, dns.rdata.from_wire("IN", "DNSKEY", self.signer.dnskey, 0, len(self.signer.dnskey)))}

    def ask(self, name: str, kind: str = "A", *, dnssec: bool = True, compact: bool = False, tcp: bool = True) -> dns.message.Message:
        """What a client that checks signatures gets."""
        query = dns.message.make_query(f"{name}.{APEX}" if name else APEX, kind, want_dnssec=dnssec, use_edns=0, payload=1232)
        query.ednsflags |= 0x4000 if compact else 0
        wire = self.responder.respond(query.to_wire(), PEER, tcp)
        assert wire is not None
        return dns.message.from_wire(wire)

    def checked(self, message: dns.message.Message) -> list[str]:
        """The sets of answer and authority, each of which is signed, unless it is a delegation."""
        found = []
        for section in (message.answer, message.authority):
            for rrset in section:
                if rrset.rdtype == dns.rdatatype.RRSIG:
                    continue
                found.append(f"{rrset.name.relativize(ORIGIN)} {dns.rdatatype.to_text(rrset.rdtype)}")
                if rrset.rdtype == dns.rdatatype.NS and not message.flags & dns.flags.AA:
                    continue
                signatures = message.find_rrset(section, rrset.name, RdataClass.IN, RdataType.RRSIG, rrset.rdtype)
                dns.dnssec.validate(rrset, signatures, self.keys, now=self.wall)
        return found

    def denial(self, message: dns.message.Message) -> tuple[str, str]:
        """The NSEC's owner, and which types it has."""
        nsec = next(rrset for rrset in message.authority if rrset.rdtype == dns.rdatatype.NSEC)
        self.assertEqual(nsec[0].next, dns.name.Name((b"\0", *nsec.name.labels)))
        return nsec.name.relativize(ORIGIN).to_text(), nsec[0].to_text().split(" ", 1)[1]

    def test_what_is_there(self) -> None:
        """Each set of the answer is signed, aliases and what they lead to, names from wildcards, the key itself."""
        for name, kind, expected in (
                ("shop", "A", ["shop A"]), ("shop", "AAAA", ["shop AAAA"]), ("www", "A", ["www CNAME", "shop A"]),
                ("x.y.wild", "TXT", ["x.y.wild TXT"]), ("*.wild", "TXT", ["*.wild TXT"]), ("towild", "TXT", ["towild CNAME", "q.wild TXT"]),
                ("mx", "MX", ["mx MX"]), ("srv", "SRV", ["srv SRV"]), ("", "DNSKEY", ["@ DNSKEY"]), ("", "CDS", ["@ CDS"]),
                ("", "SOA", ["@ SOA"]), ("", "NS", ["@ NS"]), ("safe", "DS", ["safe DS"]), ("shop", "ANY", ["shop HINFO"])):
            answer = self.ask(name, kind)
            self.assertEqual((answer.rcode(), self.checked(answer)), (0, expected), (name, kind))
            self.assertTrue(answer.ednsflags & dns.flags.DO)

    def test_a_reload(self) -> None:
        """Whoever follows with the same key signs nothing anew that is the same; with another key, all of it."""
        self.ask("shop")
        for key, made in ((self.key, 0), (ec.generate_private_key(ec.SECP256R1()), 1)):
            after = Signer(name_of(APEX), pem(key), lambda: self.wall)
            after.inherit(self.signer)
            self.responder.signers = {after.apex: after}
            self.ask("shop")
            self.assertEqual(after.signatures, made)

    def test_who_does_not_ask_for_it(self) -> None:
        """Nobody gets signatures who has not set DO."""
        answer = self.ask("shop", dnssec=False)
        self.assertEqual([rrset.rdtype for rrset in answer.answer], [1])
        self.assertEqual(dns.rcode.to_text(self.ask("nobody", dnssec=False).rcode()), "NXDOMAIN")
        self.assertEqual(self.signer.signatures, 0)

    def test_what_is_not_there(self) -> None:
        """One NSEC about the name itself says which types it has, or that there is no such name; the SOA is signed, too."""
        for name, kind, owner, types in (
                ("shop", "TXT", "shop", "A AAAA RRSIG NSEC"), ("b", "A", "b", "RRSIG NSEC"), ("nobody", "A", "nobody", "RRSIG NSEC NXNAME"),
                ("x.shop", "A", "x.shop", "RRSIG NSEC NXNAME"), ("q.wild", "A", "q.wild", "TXT RRSIG NSEC"),
                ("hang", "A", "nobody", "RRSIG NSEC NXNAME"), ("www", "TXT", "shop", "A AAAA RRSIG NSEC"), ("sub", "DS", "sub", "NS RRSIG NSEC"),
                ("", "A", "@", "NS SOA RRSIG NSEC DNSKEY CDS CDNSKEY")):
            answer = self.ask(name, kind)
            self.assertEqual((dns.rcode.to_text(answer.rcode()), self.denial(answer)), ("NOERROR", (owner, types)), (name, kind))
            self.assertEqual(self.checked(answer)[-2:], ["@ SOA", f"{owner} NSEC"])

    def test_compact_answers(self) -> None:
        """A client that understands them is told NXDOMAIN, besides."""
        self.assertEqual(dns.rcode.to_text(self.ask("nobody", compact=True).rcode()), "NXDOMAIN")
        self.assertEqual(dns.rcode.to_text(self.ask("nobody").rcode()), "NOERROR")
        self.assertEqual(dns.rcode.to_text(self.ask("shop", "TXT", compact=True).rcode()), "NOERROR")

    def test_the_proof_itself(self) -> None:
        """An NSEC that is asked for is the answer."""
        answer = self.ask("shop", "NSEC")
        self.assertEqual((self.checked(answer), answer.answer[0][0].to_text()), (["shop NSEC"], r"\000.shop.apps.example. A AAAA RRSIG NSEC"))

    def test_delegations(self) -> None:
        """Its servers are not signed; the DS is, or the proof that there is none; glue stays."""
        answer = self.ask("x.sub")
        self.assertEqual(self.checked(answer), ["sub NS", "sub NSEC"])
        self.assertEqual(self.denial(answer), ("sub", "NS RRSIG NSEC"))
        self.assertEqual([rrset.to_text() for rrset in answer.additional], ["ns.sub.apps.example. 30 IN A 192.0.2.8"])
        self.assertEqual(self.checked(self.ask("x.safe")), ["safe NS", "safe DS"])

    def test_the_client_s_own_spelling(self) -> None:
        """It comes back; the signature is about the name in lower case."""
        answer = self.ask("sHoP")
        self.assertEqual(answer.answer[0].name.labels[0], b"sHoP")
        self.assertEqual(len(self.checked(answer)), 1)

    def test_signatures_are_kept(self) -> None:
        """The same answer is signed once, whatever the order of its addresses; after a day it is signed anew."""
        for _ in range(4):
            self.checked(self.ask("shop"))
        self.assertEqual(self.signer.signatures, 1)
        before = self.ask("shop").answer[1][0]
        self.assertEqual((before.expiration - self.wall, self.wall - before.inception), (VALID_S, 3600))
        self.wall += RENEW_S
        after = self.ask("shop").answer[1][0]
        self.assertEqual(after.expiration - before.expiration, RENEW_S)

    def test_a_service_goes(self) -> None:
        """What was kept is not said any more."""
        self.checked(self.ask("shop"))
        self.zone.set_host(host("shop", "10.0.0.9"))
        self.zone.changed()
        answer = self.ask("shop")
        self.assertEqual((answer.answer[0][0].address, self.checked(answer)), ("10.0.0.9", ["shop A"]))
        self.assertEqual(self.denial(self.ask("shop", "AAAA")), ("shop", "A RRSIG NSEC"))

    def test_a_flood_of_names(self) -> None:
        """By UDP who asks for more signatures than there may be is asked to come by TCP; there, and after a second, all goes on."""
        answers = [self.ask(f"n{number}", tcp=False) for number in range(SIGNATURES_PER_SECOND + 100)]
        cut = [bool(answer.flags & dns.flags.TC) for answer in answers]
        self.assertFalse(any(cut[:SIGNATURES_PER_SECOND - 2]))
        self.assertTrue(all(cut[SIGNATURES_PER_SECOND + 2:]))
        self.checked(self.ask("another"))
        self.assertFalse(self.ask("n1", tcp=False).flags & dns.flags.TC)        # it is kept
        self.wall += 1
        self.assertFalse(self.ask("yet-another", tcp=False).flags & dns.flags.TC)
        self.wall -= 100000
        self.assertFalse(self.ask("clock", tcp=False).flags & dns.flags.TC)

    def test_a_clock_that_was_ahead(self) -> None:
        """What was signed then is not good yet: it is signed anew."""
        ahead = self.wall
        self.ask("shop")
        self.wall = ahead - 1e8
        for rrset in self.ask("shop").answer:
            if rrset.rdtype == dns.rdatatype.RRSIG:
                self.assertLessEqual(rrset[0].inception, self.wall)

    def test_ds(self) -> None:
        """What the parent needs is what dnspython computes."""
        ds = dns.dnssec.make_ds(ORIGIN, self.keys[ORIGIN][0], "SHA256")
        self.assertEqual(self.signer.ds_text, f"{APEX}. DS {ds.key_tag} {ds.algorithm} {ds.digest_type} {ds.digest.hex().upper()}")
        self.assertEqual(self.ask("", "CDS").answer[0][0].to_text(), ds.to_text())

    def test_keys_that_cannot_sign(self) -> None:
        """RSA, another curve, a certificate, nothing: an error in words."""
        for wrong in (pem(rsa.generate_private_key(65537, 2048)), pem(ec.generate_private_key(ec.SECP384R1())), b"x", b""):
            self.assertRaises(ValueError, Signer, self.zone.apex, wrong, lambda: 0.0)
        self.assertNotIn("PRIVATE", repr(self.signer))


class Ed25519Tests(SigningTests):
    """The same with the other kind of key."""

    key = ed25519.Ed25519PrivateKey.generate()


class SuccessorTests(SynchronousTestCase):
    """`successor`."""

    def test_names_that_are_too_long_for_another_label(self) -> None:
        """The next one of their length; where there is none, a shorter one."""
        rest = name_of(".".join(["x" * 63] * 3))
        name = bytes((61,)) + b"a" * 61 + rest
        self.assertEqual(len(name), 255)
        self.assertEqual(text_of(successor(name)).split(".")[0], "a" * 60 + "b")
        self.assertEqual(successor(bytes((61,)) + b"a" + b"\xff" * 60 + rest), b"\1b" + rest)
        self.assertEqual(successor(bytes((61,)) + b"\xff" * 61 + rest), rest)
