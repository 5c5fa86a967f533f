"""The engine for systems without libssl.so.3: it serves, verifies alike, and says what it cannot do."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding

from tests.net.certificates import authority, certificate_of, leaf, revoked
from tests.net.tls import NAME, TlsCase
from tests.support import Recorders
from voltgw.errors import TlsFailed, TlsRefused
from voltgw.net.sniff import Terminate
from voltgw.net.tls import stdlib
from voltgw.net.tls.context import client_context, server_context
from voltgw.net.tls.engine import Engine
from voltgw.values.tls import ClientAuth, ClientTls, KeyPair, PeerRules, ServerTls, Version


class StdlibTests(TlsCase):
    engine: Engine | None = stdlib.Stdlib()

    def test_it_serves(self) -> None:
        """Bytes both ways, names by IANA, ALPN by the server's preference."""
        listener, factory = self.serve(self.server_tls(alpn=(b"h2", b"http/1.1")))
        for version, suite in ((Version.TLS_1_3, "TLS_AES_256_GCM_SHA384"), (Version.TLS_1_2, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")):
            client = self.connect(listener, self.client_tls(alpn=(b"http/1.1", b"h2"), maximum=version))
            self.spin(lambda: factory.built)
            server = factory.built.pop()
            self.assertEqual((server.transport.handshake.cipher, server.transport.handshake.alpn), (suite, b"h2"))
            client.transport.write(b"hello")
            server.transport.write(b"world")
            while not (server.data and client.data):
                self.turn()

    def test_it_verifies(self) -> None:
        """The same words as the other engine's."""
        for pair, words in (
            (leaf(NAME, days=(-9, -2)), "certificate has expired"), (leaf("b.example"), "not for 'a.example'"),
            (leaf(NAME, ca="Other CA"), "unable to get local issuer certificate"),
        ):
            listener, _ = self.serve(self.server_tls(certificates=(pair,)))
            outcome = self.connect(listener)
            self.assertIsInstance(outcome, TlsFailed)
            self.assertIn(words, str(outcome))

    def test_a_strict_host_beside_a_lax_one(self) -> None:
        """Without a certificate nobody reaches the strict one; with one, its peer is known."""
        strict_factory, lax_factory = Recorders(), Recorders()
        pair = (leaf(NAME, "lax.example"),)
        rules = PeerRules(ca=authority().pem, names=("spiffe://a/b",))
        strict = server_context(ServerTls(pair, client_auth=ClientAuth.REQUIRED, peer=rules), None, self.engine)
        lax = server_context(ServerTls(pair), None, self.engine)
        listener = self.serve_hosts({NAME: Terminate(strict, strict_factory), "lax.example": Terminate(lax, lax_factory)})
        mine, other = leaf("spiffe://a/b", client=True), leaf("spiffe://a/c", client=True)
        for certificate in (None, other):
            self.connect(listener, self.client_tls(certificate=certificate), NAME)
            self.spin(lambda: self.turned)
            self.turned.clear()
        self.assertEqual(strict_factory.built, [])
        self.connect(listener, self.client_tls(certificate=mine), NAME)
        self.spin(lambda: strict_factory.built)
        self.assertEqual(strict_factory.built[0].transport.handshake.peer, (certificate_of(mine).public_bytes(Encoding.DER),))

    def test_what_it_cannot_do(self) -> None:
        """Whoever needs more is refused, in words; nothing is left out silently."""
        pair = leaf(NAME)
        asks = PeerRules(ca=authority().pem)
        for config, words in (
            (ServerTls((pair,), suites=("TLS_AES_128_GCM_SHA256",)), "cipher suites"),
            (ServerTls((KeyPair(pair.chain, pair.key, b"staple"),)), "OCSP"),
            (ServerTls((pair,), client_auth=ClientAuth.REQUIRED, peer=PeerRules(asks.ca, (revoked(),))), "revocation"),
            (ServerTls((pair,), client_auth=ClientAuth.REQUIRED, peer=PeerRules(asks.ca, depth=1)), "depth"),
            (ServerTls(()), "needs a certificate"), (ServerTls((KeyPair(pair.chain, b"rubbish"),)), "certificate"),
        ):
            with self.assertRaises(TlsRefused) as caught:
                server_context(config, None, self.engine)
            self.assertIn(words, str(caught.exception))
        with self.assertRaises(TlsRefused):
            client_context(ClientTls(peer=PeerRules(b"rubbish")), self.engine)
