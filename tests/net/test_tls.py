"""TLS on both sides: who gets in, what is agreed, what is resumed, and in which words a peer is refused."""

from __future__ import annotations

import re
import ssl
import subprocess
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.net.certificates import authority, certificate_of, leaf, revoked, stapled
from tests.net.tls import NAME, TlsCase
from tests.support import Recorder, Recorders
from voltgw.errors import TlsFailed, TlsRefused
from voltgw.net.connector import dial
from voltgw.net.sniff import Terminate
from voltgw.net.tls.context import server_context
from voltgw.net.tls.stream import TlsStream
from voltgw.net.tls.tickets import TicketKeys
from voltgw.values.tls import ClientAuth, KeyPair, PeerRules, ServerTls, Version


class AgreementTests(TlsCase):
    def test_a_client_and_a_server_of_ours_talk(self) -> None:
        """Bytes arrive both ways, and both sides know what was agreed."""
        listener, factory = self.serve()
        client = self.connect(listener)
        self.assertIsInstance(client, Recorder, str(client))
        self.spin(lambda: factory.built)
        server = factory.built[0]
        self.assertIsInstance(server.transport, TlsStream)
        agreed = server.transport.handshake
        self.assertEqual((agreed.version, agreed.sni, agreed.cipher), ("TLSv1.3", NAME, "TLS_AES_128_GCM_SHA256"))
        self.assertRegex(agreed.ja4, "^t13d[0-9]{4}00_[0-9a-f]{12}_[0-9a-f]{12}$")
        client.transport.write(b"hello")
        self.spin(lambda: server.data == b"hello")
        server.transport.write(b"world")
        self.spin(lambda: client.data == b"world")
        client.transport.loseConnection()
        self.spin(lambda: server.reason is not None and client.reason is not None)
        counters = listener.counters
        self.assertEqual((counters.tls_handshakes, counters.tls_versions, counters.open), (1, {"TLSv1.3": 1}, 0))
        self.assertGreater(counters.bytes_out, 500)         # the wire's, certificate included

    def test_rsa_and_ecdsa_certificates_stand_side_by_side(self) -> None:
        """A client that can only verify RSA signatures gets the RSA certificate, others the ECDSA one."""
        both = (leaf(NAME, kind="rsa"), leaf(NAME))
        listener, _ = self.serve(self.server_tls(certificates=both))
        old = self.client_tls(maximum=Version.TLS_1_2, suites=("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",))
        for context, pair in ((old, both[0]), (self.client_tls(), both[1])):
            client = self.connect(listener, context)
            self.assertEqual(client.transport.handshake.peer[0], certificate_of(pair).public_bytes(Encoding.DER))

    def test_the_servers_preference_decides_among_protocols(self) -> None:
        """ALPN: the first of the server's list that the client has; nothing in common ends the handshake."""
        listener, factory = self.serve(self.server_tls(alpn=(b"h2", b"http/1.1")))
        client = self.connect(listener, self.client_tls(alpn=(b"http/1.1", b"h2")))
        self.assertEqual(client.transport.handshake.alpn, b"h2")
        self.assertIsInstance(self.connect(listener, self.client_tls(alpn=(b"smtp",))), TlsFailed)
        self.spin(lambda: self.turned)
        self.assertEqual((self.turned[0].detail, self.turned[0].sni), ("tls_handshake_failed", NAME))
        self.assertIn("smtp", self.turned[0].reason)

    def test_versions_below_the_lowest_are_refused(self) -> None:
        """A client that can do TLS 1.2 alone does not reach a host of TLS 1.3."""
        listener, _ = self.serve(self.server_tls(minimum=Version.TLS_1_3))
        self.assertIsInstance(self.connect(listener, self.client_tls(maximum=Version.TLS_1_2)), TlsFailed)

    def test_a_protocol_of_its_own_for_what_was_agreed(self) -> None:
        """`Terminate.by_alpn` decides which factory builds the protocol."""
        plain, second = Recorders(), Recorders()
        context = server_context(self.server_tls(alpn=(b"h2", b"http/1.1")), None, self.engine)
        listener = self.serve_hosts({NAME: Terminate(context, plain, {b"h2": second})})
        self.connect(listener, self.client_tls(alpn=(b"h2",)))
        self.spin(lambda: second.built)
        self.assertEqual(plain.built, [])

    def test_a_stranger_is_served(self) -> None:
        """Python's own ssl module talks to us."""
        listener, factory = self.serve()
        stranger = self.stranger(listener)
        self.until_done(stranger.do_handshake)
        self.until_done(lambda: stranger.send(b"x" * 1000))
        self.spin(lambda: factory.built and len(factory.built[0].data) == 1000)


class ClientCertificateTests(TlsCase):
    def _strict(self, **rules: Any) -> tuple[Any, Any]:
        peer = PeerRules(**{"ca": authority().pem, **rules})
        return self.serve(self.server_tls(client_auth=ClientAuth.REQUIRED, peer=peer))

    def _said(self, listener: Any, factory: Any, **fields: Any) -> str:
        """The reason by which a client was turned away, "" if it got in. With TLS 1.3 it learns of it only afterwards."""
        before = len(factory.built)
        client = self.connect(listener, self.client_tls(**fields))
        if not isinstance(client, TlsFailed):
            self.spin(lambda: self.turned or len(factory.built) > before)
            if not self.turned:
                return ""
        self.spin(lambda: self.turned)
        return self.turned.pop().reason

    def test_who_has_none_is_turned_away(self) -> None:
        """Required means required."""
        listener, factory = self._strict()
        self.assertIn("certificate", self._said(listener, factory))
        self.assertEqual((factory.built, listener.counters.tls_failures), ([], 1))

    def test_who_has_one_is_known(self) -> None:
        """The verified chain is in the handshake."""
        listener, factory = self._strict()
        mine = leaf("client.example", client=True)
        self.assertEqual(self._said(listener, factory, certificate=mine), "")
        self.assertEqual(factory.built[0].transport.handshake.peer[0], certificate_of(mine).public_bytes(Encoding.DER))

    def test_of_another_ca_expired_or_of_the_wrong_use(self) -> None:
        """Each is refused, and the reason says which it was."""
        listener, factory = self._strict()
        for pair, words in (
            (leaf(client=True, ca="Other CA"), "issuer"), (leaf(client=True, days=(-9, -2)), "expired"),
            (leaf(client=True, days=(2, 9)), "not yet valid"), (leaf(client=False), "purpose"),
        ):
            self.assertIn(words, self._said(listener, factory, certificate=pair))
        self.assertEqual(factory.built, [])

    def test_a_revoked_one(self) -> None:
        """The CRL is heeded; who is not on it gets in."""
        bad, good = leaf("bad", client=True), leaf("good", client=True)
        listener, factory = self._strict(crls=(revoked(bad),))
        self.assertIn("revoked", self._said(listener, factory, certificate=bad))
        self.assertEqual(self._said(listener, factory, certificate=good), "")

    def test_names_and_pins(self) -> None:
        """Beyond the chain: a subject alternative name, the digest of the certificate, the digest of its key."""
        mine, other = leaf("spiffe://a/b", client=True), leaf("spiffe://a/c", client=True)
        found = certificate_of(mine)
        spki = sha256(found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        whole = sha256(found.public_bytes(Encoding.DER)).digest()
        for rules in ({"names": ("spiffe://a/b",)}, {"spki_pins": (spki,)}, {"hash_pins": (whole,)}):
            listener, factory = self._strict(**rules)
            self.assertEqual(self._said(listener, factory, certificate=mine), "")
            self.assertNotEqual(self._said(listener, factory, certificate=other), "")
            self.assertEqual(len(factory.built), 1)

    def test_a_strict_host_beside_a_lax_one(self) -> None:
        """On one port, nobody without a certificate reaches the strict host: not by name, not by a session of the lax one."""
        keys = TicketKeys(self.loop.monotonic)
        pair = (leaf(NAME, "lax.example"),)
        strict_factory, lax_factory = Recorders(), Recorders()
        strict = server_context(ServerTls(pair, client_auth=ClientAuth.REQUIRED, peer=PeerRules(ca=authority().pem)), keys,
                                self.engine)
        lax = server_context(ServerTls(pair), keys, self.engine)
        listener = self.serve_hosts({NAME: Terminate(strict, strict_factory), "lax.example": Terminate(lax, lax_factory)})
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.stranger_context()
            context.maximum_version = version
            first = self.stranger(listener, "lax.example", context)
            self.until_done(first.do_handshake)
            self.spin(lambda: lax_factory.built)
            lax_factory.built.pop().transport.write(b"x")
            self.until_done(partial(first.recv, 1))              # and with it, its tickets
            session = first.session
            assert session is not None and session.has_ticket
            again = self.stranger(listener, "lax.example", context)
            again.session = session
            self.until_done(again.do_handshake)
            self.assertTrue(again.session_reused)               # at the lax host itself it is resumed…
            thief = self.stranger(listener, NAME, context)
            thief.session = session
            try:
                self.until_done(thief.do_handshake)
            except ssl.SSLError:
                pass                                            # TLS 1.2 says so at once
            else:
                self.assertFalse(thief.session_reused)          # …but not at the strict one
            self.spin(lambda: self.turned)
            self.turned.clear()
            lax_factory.built.clear()
        self.assertEqual(strict_factory.built, [])


class EndpointTests(TlsCase):
    """What our own client accepts."""

    def _reason(self, pair: Any, name: str = NAME, **fields: Any) -> str:
        listener, _ = self.serve(self.server_tls(certificates=(pair,)))
        listener.sniffer.table[name] = listener.sniffer.table[NAME]
        outcome = self.connect(listener, self.client_tls(**fields), name)
        listener.stopListening()
        return str(outcome) if isinstance(outcome, TlsFailed) else ""

    def test_reasons_in_words(self) -> None:
        """Every way to be refused has its own words."""
        for pair, words in (
            (leaf(NAME, days=(-9, -2)), "certificate has expired"), (leaf(NAME, days=(2, 9)), "certificate is not yet valid"),
            (leaf(NAME, ca="Other CA"), "unable to get local issuer certificate"), (leaf("b.example"), "not for 'a.example'"),
            (leaf(common_name=NAME), "not for 'a.example'"), (leaf(NAME, client=True), "purpose"),
        ):
            self.assertIn(words, self._reason(pair))

    def test_names_and_wildcards(self) -> None:
        """RFC 9525: a wildcard stands for one label; an address is compared with addresses."""
        self.assertEqual(self._reason(leaf("*.b.example"), "a.b.example"), "")
        self.assertIn("not for", self._reason(leaf("*.b.example"), "c.a.b.example"))
        self.assertEqual(self._reason(leaf("127.0.0.1"), "127.0.0.1"), "")
        self.assertIn("not for", self._reason(leaf("127.0.0.1"), "127.0.0.2"))
        self.assertIn("no name", self._reason(leaf(NAME), ""))
        rules = PeerRules(ca=authority().pem, names=("c.example", "a.example"))
        self.assertEqual(self._reason(leaf(NAME), "else.example", peer=rules), "")

    def test_unverified_only_by_name(self) -> None:
        """`verify=False` accepts anything; a pin still counts; no CA means the system's, which does not know ours."""
        self.assertEqual(self._reason(leaf("b.example", ca="Other CA"), verify=False, peer=PeerRules()), "")
        self.assertIn("pin", self._reason(leaf(NAME, ca="Other CA"), verify=False, peer=PeerRules(hash_pins=(b"x" * 32,))))
        self.assertIn("issuer", self._reason(leaf(NAME), peer=PeerRules()))

    def test_an_intermediate_is_sent_along(self) -> None:
        """The chain goes with the leaf."""
        self.assertEqual(self._reason(leaf(NAME, ca="Below", under="Test CA")), "")

    def test_sessions_are_resumed(self) -> None:
        """The second connection of one context to one endpoint by one name resumes; another name does not."""
        for version in (Version.TLS_1_2, Version.TLS_1_3):
            listener, factory = self.serve(self.server_tls(NAME, "b.example"))
            listener.sniffer.table["b.example"] = listener.sniffer.table[NAME]
            context = self.client_tls(maximum=version)
            seen = []
            for name in (NAME, NAME, "b.example", NAME):
                client = self.connect(listener, context, name)
                self.spin(partial(getattr, factory, "built"))
                factory.built.pop().transport.write(b"x")       # tickets of TLS 1.3 come before it
                self.spin(partial(getattr, client, "data"))
                seen.append(client.transport.handshake.resumed)
            self.assertEqual(seen, [False, True, False, True])
            self.assertEqual(listener.counters.tls_resumed, 2)

    def test_plain_text_instead_of_tls(self) -> None:
        """An endpoint that speaks something else is a failure in words, not an exception."""
        factory = Recorders()
        listener = self.listen(factory)
        outcome: list[Any] = []
        client = Recorder(lambda recorder, data: None)
        context = self.client_tls()
        dial(self.loop, "127.0.0.1", self.port_of(listener), client, 5.0, outcome.append, tls=(context, NAME))
        self.spin(lambda: factory.built and factory.built[0].data)
        factory.built[0].transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.spin(lambda: outcome)
        self.assertIsInstance(outcome[0], TlsFailed)


class ConfigurationTests(TlsCase):
    def test_faults_in_words(self) -> None:
        """What cannot be a context is refused with the reason."""
        good = leaf(NAME)
        for config, words in (
            (ServerTls(()), "needs a certificate"), (ServerTls((good, leaf("b.example"))), "two certificates"),
            (ServerTls((KeyPair(good.chain, leaf("b.example").key),)), "key"),
            (ServerTls((KeyPair(b"rubbish", good.key),)), "certificate"), (ServerTls((KeyPair(good.chain, b"rubbish"),)), "key"),
            (ServerTls((good,), suites=("TLS_AES_128_GCM_SHA265",)), "did you mean TLS_AES_128_GCM_SHA256"),
            (ServerTls((good,), client_auth=ClientAuth.REQUIRED), "trusted CA"),
            (ServerTls((good,), minimum=Version.TLS_1_3, maximum=Version.TLS_1_2), "above"),
        ):
            with self.assertRaises(TlsRefused) as caught:
                server_context(config)
            self.assertIn(words, str(caught.exception))


class TicketTests(TlsCase):
    def test_keys_rotate(self) -> None:
        """A ticket of the key before the present one is taken, one older than that is not; both contexts share the keys."""
        keys = TicketKeys(self.loop.monotonic, 3600.0)
        listener, factory = self.serve(keys=keys)
        context = self.client_tls()

        def resumed() -> bool:
            client = self.connect(listener, context)
            self.spin(lambda: factory.built)
            factory.built.pop().transport.write(b"x")
            self.spin(lambda: client.data)
            return bool(client.transport.handshake.resumed)

        self.assertEqual([resumed(), resumed()], [False, True])
        first = keys.export()
        self._ahead_s += 3700
        self.assertTrue(resumed())
        self.assertEqual(keys.export()[1], first[0])
        for _ in range(2):
            self._ahead_s += 3700
            keys.rotate_if_due()
        self.assertFalse(resumed())

    def test_another_worker_takes_the_ticket(self) -> None:
        """Workers share keys by value: what one has encrypted, the other resumes."""
        mine = TicketKeys(self.loop.monotonic)
        theirs = TicketKeys(self.loop.monotonic)
        theirs.install(mine.export())
        context = self.client_tls()
        config = self.server_tls()
        first, second = server_context(config, mine), server_context(config, theirs)
        factory = Recorders()
        listener = self.serve_hosts({NAME: Terminate(first, factory)})
        seen = []
        for server in (first, second):
            listener.sniffer.table[NAME] = Terminate(server, factory)
            client = self.connect(listener, context)
            self.spin(lambda: factory.built)
            factory.built.pop().transport.write(b"x")
            self.spin(partial(getattr, client, "data"))
            seen.append(client.transport.handshake.resumed)
        self.assertEqual(seen, [False, True])


class OtherProgramsTests(TlsCase):
    """What is not ours reads the same of us."""

    def _program(self, *command: str, words: bytes = b"") -> str:
        """What a program says, the loop running meanwhile."""
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(process.wait)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(words)
        process.stdin.close()
        output = process.stdout
        self.addCleanup(output.close)
        self.spin(lambda: process.poll() is not None)
        return output.read().decode("utf-8", "replace")

    def _trust(self) -> str:
        path: str = self.mktemp()
        with open(path, "wb") as file:
            file.write(authority().pem)
        return path

    def test_curl(self) -> None:
        """curl verifies our certificate, and reads an answer that ends with the connection."""
        def answer(recorder: Any, data: bytes) -> None:
            recorder.transport.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello curl")
            recorder.transport.loseConnection()

        listener, _ = self.serve(factory=Recorders(lambda: Recorder(answer)))
        port = self.port_of(listener)
        said = self._program("curl", "-sS", "--cacert", self._trust(), "--resolve", f"{NAME}:{port}:127.0.0.1", f"https://{NAME}:{port}/")
        self.assertEqual(said, "hello curl")

    def test_the_staple_belongs_to_the_certificate(self) -> None:
        """A client that asks for the certificate's status gets the one of the certificate that it was shown (RFC 6066 8)."""
        pairs = (replace(leaf(NAME), ocsp=stapled(NAME)), leaf(NAME, kind="rsa"))
        listener, _ = self.serve(self.server_tls(certificates=pairs))
        command = ("openssl", "s_client", "-connect", f"127.0.0.1:{self.port_of(listener)}", "-servername", NAME, "-status", "-tls1_2",
                   "-CAfile", self._trust(), "-cipher")
        self.assertIn("Cert Status: good", self._program(*command, "ECDHE-ECDSA-AES128-GCM-SHA256"))
        self.assertIn("OCSP response: no response sent", self._program(*command, "ECDHE-RSA-AES128-GCM-SHA256"))

    def test_a_second_hello(self) -> None:
        """A client whose first key share is of no group of ours is asked for another (HelloRetryRequest) and gets in."""
        listener, factory = self.serve()
        self._program("openssl", "s_client", "-connect", f"127.0.0.1:{self.port_of(listener)}", "-servername", NAME,
                      "-curves", "P-521:P-256", words=b"made it\n")
        self.spin(lambda: factory.built and factory.built[0].data)
        self.assertEqual((factory.built[0].data, factory.built[0].transport.handshake.version), (b"made it\n", "TLSv1.3"))

    def test_no_early_data(self) -> None:
        """Tickets allow none (0-RTT), so that nothing can be sent twice by who has recorded it (RFC 8446 8)."""
        def answer(recorder: Any, data: bytes) -> None:
            recorder.transport.write(b"bye")
            recorder.transport.loseConnection()

        listener, _ = self.serve(factory=Recorders(lambda: Recorder(answer)))
        said = self._program("openssl", "s_client", "-connect", f"127.0.0.1:{self.port_of(listener)}", "-servername", NAME,
                             "-ign_eof", words=b"hello\n")
        self.assertIn("Post-Handshake New Session Ticket arrived", said)
        self.assertEqual(set(re.findall(r"Max Early Data: (\d+)", said)), {"0"})

    def test_what_is_off(self) -> None:
        """No compression, no renegotiation without its extension, no TLS 1.1."""
        listener, _ = self.serve()
        command = ("openssl", "s_client", "-connect", f"127.0.0.1:{self.port_of(listener)}", "-servername", NAME)
        said = self._program(*command, "-tls1_2", "-cipher", "ALL@SECLEVEL=0")
        self.assertIn("Compression: NONE", said)
        self.assertIn("Secure Renegotiation IS supported", said)
        self.assertIn("ECDHE-ECDSA-AES128-GCM-SHA256", said)
        self.assertIn("alert protocol version", self._program(*command, "-tls1_1", "-cipher", "ALL@SECLEVEL=0"))
