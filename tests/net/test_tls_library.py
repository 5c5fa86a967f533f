"""The system's OpenSSL by what was compiled and without: the same library either way, or none."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import authority, leaf
from tests.net.tls import NAME, TlsCase
from tests.support import compiled
from voltgw.net.tls import libssl
from voltgw.net.tls.engine import Engine
from voltgw.net.tls.libssl import Library
from voltgw.net.tls.openssl import OpenSsl
from voltgw.values.tls import ClientAuth, PeerRules, Version


def loaded(case: SynchronousTestCase, binding: Any = None) -> Library | None:
    """What `load` finds with this in the place of what was compiled; None: nothing was."""
    name = "voltgw.net.tls.of_a_test"
    case.patch(libssl, "COMPILED", name)
    if binding is not None:
        case.patch(sys, "modules", {**sys.modules, name: binding})
    return libssl.load.__wrapped__()


class LibraryTests(SynchronousTestCase):
    def test_what_was_compiled(self) -> None:
        """It is used where it is there."""
        if not compiled():
            self.skipTest("nothing is compiled")
        library = libssl.load()
        assert library is not None
        self.assertIs(library.ssl, import_module(libssl.COMPILED).lib)
        self.assertIs(library.crypto, library.ssl)

    def test_without(self) -> None:
        """The same library is found by the declarations alone, at the same place."""
        library, other = loaded(self), libssl.load()
        assert library is not None and other is not None
        self.assertIsNot(library.ssl, library.crypto)
        self.assertEqual(library.version, other.version)
        texts = [int(each.ffi.cast("uintptr_t", each.crypto.OpenSSL_version(0))) for each in (library, other)]
        self.assertEqual(texts[0], texts[1])

    def test_one_that_finds_nothing(self) -> None:
        """A binding that misses the library, or a function, is as good as none."""
        library = loaded(self, SimpleNamespace(lib=SimpleNamespace(voltgw_open=lambda: -1), ffi=None))
        assert library is not None
        self.assertIsNot(library.ssl, library.crypto)

    def test_another_version(self) -> None:
        """OpenSSL 4 is not what was declared."""
        lib = SimpleNamespace(voltgw_open=lambda: 0, OpenSSL_version_num=lambda: 4 << 28)
        self.assertIsNone(loaded(self, SimpleNamespace(lib=lib, ffi=None)))

    def test_no_library(self) -> None:
        """Nothing is there."""
        self.patch(libssl, "LIBSSL", "libssl.so.of-a-test")
        self.assertIsNone(loaded(self))


class DeclaredTests(TlsCase):
    """Without what was compiled, in both builds: calls, and callbacks."""

    engine: Engine | None = None

    def setUp(self) -> None:
        """An engine of its own."""
        super().setUp()
        library = loaded(self)
        assert library is not None
        self.engine = OpenSsl(library)

    def test_it_serves(self) -> None:
        """Protocols are chosen, tickets written and taken, certificates judged, bytes carried."""
        listener, factory = self.serve(self.server_tls(
            alpn=(b"h2", b"http/1.1"), client_auth=ClientAuth.REQUIRED, peer=PeerRules(ca=authority().pem, names=("ann",))))
        for version in (Version.TLS_1_3, Version.TLS_1_2):
            context = self.client_tls(certificate=leaf("ann", client=True), alpn=(b"http/1.1", b"h2"), maximum=version)
            for resumed in (False, True):
                client = self.connect(listener, context)
                self.spin(partial(bool, factory.built))
                server = factory.built.pop()
                agreed = server.transport.handshake
                self.assertEqual((agreed.version, agreed.alpn, agreed.sni, agreed.resumed),
                                 ("TLSv1.3" if version is Version.TLS_1_3 else "TLSv1.2", b"h2", NAME, resumed))
                self.assertEqual(len(agreed.peer), 1)
                client.transport.write(b"x" * 100_000)
                server.transport.write(b"world")
                while len(server.data) < 100_000 or len(client.data) < 5:
                    self.turn()
                client.transport.loseConnection()
                self.spin(partial(getattr, server, "reason"))
                self.assertGreater(server.transport.carried()[0], 100_000)
