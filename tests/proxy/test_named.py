"""Which name a TLS connection to an endpoint asks for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support import interpreted_only
from voltgw.proxy.named import server_name
from voltgw.values.tls import ClientTls, SniSource


@interpreted_only
class NamedTests(SynchronousTestCase):
    def name(self, config: ClientTls | None, authority: bytes, hostname: str = "") -> str:
        """The name for an endpoint at 192.0.2.1."""
        cluster: Any = SimpleNamespace(tls=None if config is None else SimpleNamespace(config=config))
        endpoint: Any = SimpleNamespace(hostname=hostname, address="192.0.2.1")
        return server_name(cluster, endpoint, authority)

    def test_choices(self) -> None:
        """Fixed, the Host, or the endpoint's own; none in plain text."""
        self.assertEqual(self.name(None, b"a.example"), "")
        self.assertEqual(self.name(ClientTls(sni=SniSource.FIXED, server_name="f.example"), b"a.example"), "f.example")
        self.assertEqual(self.name(ClientTls(sni=SniSource.HOST), b"A.example:8443"), "a.example")
        self.assertEqual(self.name(ClientTls(sni=SniSource.HOST), b"[2001:db8::1]:443"), "2001:db8::1")
        self.assertEqual(self.name(ClientTls(sni=SniSource.HOST), b"", "own.example"), "own.example")
        for sni in (SniSource.ENDPOINT, SniSource.NONE):
            self.assertEqual(self.name(ClientTls(sni=sni), b"a.example", "own.example"), "own.example")
            self.assertEqual(self.name(ClientTls(sni=sni), b"a.example"), "192.0.2.1")

    def test_a_host_that_is_no_name(self) -> None:
        """It is nothing that a certificate could hold, so verification fails rather than the gateway."""
        for authority in (b"a b", b"\xff\xfe", b"-", b"a/b", b"x" * 300):
            self.assertEqual(self.name(ClientTls(sni=SniSource.HOST), authority), "", authority)
