"""PROXY headers of version 2 in datagrams, in and out."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from typing import Any

from tests.proxy.test_udp import UdpCase
from voltgw.proxy.announced_udp import Announcements
from voltgw.values.proxyheader import OWN_TLVS, ProxyOut
from voltgw.wire.proxyproto import TLV_UNIQUE_ID, header_2, line_1, read_header

CLIENT, VIP = ("192.0.2.9", 5353), ("198.51.100.1", 53)
HEADER = header_2(CLIENT, VIP, datagram=True)


class HeardTests(UdpCase):
    def setUp(self) -> None:
        super().setUp()
        self.announced()

    def announced(self, first_only: bool = False, trusted: str = "127.0.0.1/32") -> None:
        """Have the listener require headers."""
        self.factory.announcements = Announcements((ip_network(trusted),), first_only)

    def test_each_datagram(self) -> None:
        """Endpoints get what the client said, the proxy their answers; two clients of one proxy have a session each."""
        client = self.client()
        other = header_2(("2001:db8::9", 1), ("2001:db8::1", 53), datagram=True)
        for header, data, server in ((HEADER, b"one", 0), (other, b"two", 1), (HEADER, b"three", 0)):
            self.say(client, header + data)
            self.assertEqual(self.answer(self.endpoints[server], b"to " + data)[0], data)
            self.assertEqual(client.recv(100), b"to " + data)
        self.assertEqual(self.sessions(), 2)
        self.factory.close()
        self.assertEqual([(each.client.peer_address, each.client.peer_port, each.client.came_to) for each in self.records],
                         [(*CLIENT, VIP), ("2001:db8::9", 1, ("2001:db8::1", 53))])

    def test_tlvs_do_not_tell_sessions_apart(self) -> None:
        """A proxy may number its datagrams."""
        client = self.client()
        for number in range(3):
            self.say(client, header_2(CLIENT, VIP, ((TLV_UNIQUE_ID, b"%d" % number),), datagram=True) + b"x")
        self.assertEqual(self.sessions(), 1)
        (session,) = self.factory.connections.values()
        assert session.announced is not None
        self.assertEqual(session.announced.tlvs, ((TLV_UNIQUE_ID, b"0"),))

    def test_what_is_no_header(self) -> None:
        """Nothing, half of one, version 1, a length that lies, a wrong checksum, garbage at every length: counted, and no session."""
        client = self.client()
        bad = [b"", b"?", HEADER[:20], line_1(CLIENT, VIP) + b"x", HEADER[:14] + b"\xff\xff" + b"x" * 100, HEADER[:12] + b"\x11" + HEADER[13:],
               header_2(CLIENT, VIP, ((3, b"\0\0\0\0"),)) + b"x", HEADER[:14] + b"\0\2" + HEADER[16:]]
        bad += [HEADER[:size] + b"\0" * (20 - size) for size in range(12)]
        for number, data in enumerate(bad, 1):
            self.say(client, data)
            self.assertEqual(self.dropped(), {"proxy_header": number}, data)
        self.assertEqual(self.sessions(), 0)

    def test_from_somebody_else(self) -> None:
        """Who is no trusted proxy may not say whose datagrams he brings, nor come without saying."""
        stranger = self.client("127.0.0.5")
        self.say(stranger, HEADER + b"x")
        self.say(stranger, b"x")
        self.assertEqual((self.sessions(), self.dropped()), (0, {"proxy_header": 2}))

    def test_the_proxy_speaks_for_itself(self) -> None:
        """LOCAL: its own address is the client's."""
        client = self.client()
        self.say(client, HEADER[:12] + b"\x20\0\0\0" + b"ping")
        self.assertEqual(self.endpoints[0].recv(100), b"ping")
        (session,) = self.factory.connections.values()
        self.assertEqual((session.peer_address, session.peer_port), client.getsockname())

    def test_the_first_datagram_alone(self) -> None:
        """Where that is said, what follows from the same port of the proxy has no header; a new port must begin with one."""
        self.announced(first_only=True)
        client, other = self.client(), self.client()
        self.say(client, HEADER + b"one")
        self.say(client, b"two")
        self.say(client, HEADER)                # a payload that looks like a header is one
        self.say(other, b"three")
        self.assertEqual([self.endpoints[0].recv(100) for _ in range(3)], [b"one", b"two", HEADER])
        self.assertEqual((self.sessions(), self.dropped()), (1, {"proxy_header": 1}))

    def test_a_bound_for_each_client(self) -> None:
        """The bounds of one source are those of the client that is announced, not of the proxy."""
        self.loop.sources.trust([])
        client = self.client()
        for number in range(250):
            self.say(client, header_2((f"192.0.{number}.1", 1), VIP, datagram=True) + b"x")
        self.assertEqual((self.sessions(), self.dropped()), (250, {}))


class ToldTests(UdpCase):
    def out(self, **how: Any) -> None:
        """Have the cluster's endpoints told."""
        self.cluster.proxy_protocol = ProxyOut(2, **how)

    def test_each_datagram(self) -> None:
        """Each begins with a header for UDP, with the addresses of the client and of the listener."""
        self.out()
        client = self.client()
        for data in (b"one", b"two"):
            self.say(client, data)
            heard, _ = self.answer(self.endpoints[0], data)
            found: Any = read_header(heard)
            self.assertEqual((found.source, found.destination, found.datagram, heard[found.size:]),
                             (client.getsockname(), ("127.0.0.1", 53), True, data))
            self.assertEqual(client.recv(100), data)

    def test_the_first_datagram_alone(self) -> None:
        """As configured; the next session begins with one again."""
        self.out(first_datagram_only=True)
        client = self.client()
        for data, size in ((b"one", 28), (b"two", 0)):
            self.say(client, data)
            self.assertEqual(len(self.endpoints[0].recv(100)), size + 3)

    def test_version_1_knows_no_datagrams(self) -> None:
        """Nothing is said."""
        self.cluster.proxy_protocol = ProxyOut(1)
        client = self.client()
        self.say(client, b"one")
        self.assertEqual(self.endpoints[0].recv(100), b"one")

    def test_from_proxy_to_proxy(self) -> None:
        """What the proxy before us said of the client, its TLVs included, the endpoint hears from us."""
        self.out(tell=OWN_TLVS, pass_on=frozenset((TLV_UNIQUE_ID,)))
        self.factory.announcements = Announcements((ip_network("127.0.0.1/32"),), False)
        client = self.client()
        self.say(client, header_2(CLIENT, VIP, ((TLV_UNIQUE_ID, b"7"), (0xE0, b"x")), datagram=True) + b"one")
        heard = self.endpoints[0].recv(200)
        self.assertEqual(heard, header_2(CLIENT, VIP, ((TLV_UNIQUE_ID, b"7"),), datagram=True) + b"one")

    def test_a_datagram_that_has_no_room_for_it(self) -> None:
        """With the header it is longer than UDP allows: dropped and counted, the session goes on."""
        self.out()
        client = self.client()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.say(client, b"x" * 65500)
        self.assertEqual((self.dropped(), self.sessions()), ({"too_long": 1}, 1))
        self.say(client, b"short")
        self.assertTrue(self.endpoints[0].recv(100).endswith(b"short"))
