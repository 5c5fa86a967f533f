"""What endpoints are told of a client in a PROXY header."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.observe.making import Client
from voltgw.proxy.announcing import announcement, tlvs
from voltgw.values.proxyheader import ALL_TLVS, OWN_TLVS, ProxyHeader, ProxyOut, tlv_name, tlv_types
from voltgw.values.tls import Handshake
from voltgw.wire.proxyproto import (
    SSL_CERTIFICATE,
    SSL_SPOKEN,
    TLV_ALPN,
    TLV_AUTHORITY,
    TLV_CRC32C,
    TLV_NOOP,
    TLV_SSL,
    TLV_UNIQUE_ID,
    read_header,
)

SECURE = Handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256", alpn=b"h2", peer=(b"certificate",))


class AnnouncementTests(SynchronousTestCase):
    def told(self, client: Client, **how: Any) -> dict[int, bytes]:
        """The TLVs of a client."""
        found = read_header(announcement(client, ProxyOut(2, **how)))
        assert isinstance(found, ProxyHeader)
        self.assertEqual((found.source, found.destination), ((client.peer_address, client.peer_port), client.came_to))
        return dict(found.tlvs)

    def test_what_is_told(self) -> None:
        """What we know ourselves: name, protocol, TLS and that a certificate was verified; all of it, or as configured."""
        client = Client(sni="shop.example", handshake=SECURE)
        found = self.told(client)
        self.assertEqual((found[TLV_ALPN], found[TLV_AUTHORITY]), (b"h2", b"shop.example"))
        self.assertEqual(found[TLV_SSL][:5], bytes((SSL_SPOKEN | SSL_CERTIFICATE, 0, 0, 0, 0)))
        self.assertIn(b"TLSv1.3", found[TLV_SSL])
        self.assertEqual(self.told(client, tell=tlv_types(["AUTHORITY"])), {TLV_AUTHORITY: b"shop.example"})
        self.assertEqual(self.told(client, tell=frozenset()), {})
        self.assertEqual(self.told(Client()), {})

    def test_what_was_announced(self) -> None:
        """It goes on as it came, but for what we know ourselves, and for what belongs to the other header alone."""
        client = Client(sni="ours.example", announced=ProxyHeader(0, None, None, (
            (TLV_AUTHORITY, b"theirs.example"), (TLV_UNIQUE_ID, b"7"), (TLV_CRC32C, b"1234"), (TLV_NOOP, b"000"), (0xEA, b"\1x"))))
        self.assertEqual(self.told(client), {TLV_AUTHORITY: b"ours.example", TLV_UNIQUE_ID: b"7", 0xEA: b"\1x"})
        self.assertEqual(self.told(client, tell=frozenset(), pass_on=tlv_types(["AUTHORITY"])), {TLV_AUTHORITY: b"theirs.example"})
        self.assertEqual(self.told(client, tell=frozenset(), pass_on=frozenset()), {})

    def test_an_order_that_is_kept(self) -> None:
        """TLVs of one type may come more than once (those of a vendor)."""
        several = ((0xE0, b"a"), (0xE1, b"b"), (0xE0, b"c"))
        self.assertEqual(tuple(tlvs(Client(announced=ProxyHeader(0, tlvs=several)), ProxyOut(2))), several)

    def test_version_1(self) -> None:
        """Addresses alone."""
        client = Client(sni="shop.example", came_to=("198.51.100.1", 443))
        self.assertEqual(announcement(client, ProxyOut(1)), b"PROXY TCP4 203.0.113.10 198.51.100.1 63826 443\r\n")

    def test_names_of_types(self) -> None:
        """As in the configuration, both ways."""
        self.assertEqual((tlv_types(["ALL"]), tlv_types(["NONE"]), tlv_types(["ALPN", "AUTHORITY", "SSL"])),
                         (ALL_TLVS, frozenset(), OWN_TLVS))
        self.assertEqual(tlv_types(["0xea", "UNIQUE_ID"]), frozenset((0xEA, 5)))
        self.assertEqual((tlv_name(0xEA), tlv_name(0xE4)), ("AWS", "0xe4"))
