"""Who the client is behind proxies of ours, what endpoints are told of it, and what strangers cannot make us say (promise 13)."""

from __future__ import annotations

from ipaddress import ip_network

from tests.proxy.rig import EMPTY, PEER, Message, ProxyCase, requests
from voltgw.values.exchange import Exchange
from voltgw.values.identity import Identity

NEAR = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
FORGED = (b"X-Forwarded-For: 198.51.100.7", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: shop.example", b"X-Forwarded-Port: 443",
          b"X-Real-IP: 198.51.100.8", b"Forwarded: for=198.51.100.9", b"X-Request-Id: theirs-1", b"Client-Cert: :x:",
          b"X-Forwarded-Client-Cert: By=x")


class IdentityCase(ProxyCase):
    def believe(self, identity: Identity | None) -> None:
        """The listener's one host believes so from now on."""
        self.host.identity = identity

    def forwarded(self, *lines: bytes, peer: str = PEER, host: bytes = b"shop") -> Message:
        """What the endpoint gets for a request with these fields."""
        client = self.client(peer)
        client.send(b"\r\n".join([b"GET / HTTP/1.1", b"Host: " + host, *lines, b"", b""]))
        origin = self.accept() if self.rig.dials else self.rig.origins[-1]
        message, = requests(origin.got())
        origin.send(EMPTY)
        client.fin()
        self.turn()
        return message

    @property
    def client_address(self) -> str:
        """Whom the record of the last request names."""
        return self.records[-1].client_address


class BelievedTests(IdentityCase):
    def test_strangers_are_not(self) -> None:
        """Nobody, or not this peer: everything is overwritten, the address is the peer's, the id is ours."""
        for identity in (None, Identity(), Identity(prefixes=(ip_network("10.0.0.0/8"),)), Identity(1, (ip_network("10.0.0.0/8"),))):
            self.believe(identity)
            message = self.forwarded(*FORGED)
            self.assertEqual(message.names(), [b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip", b"x-request-id"])
            self.assertEqual(message.get(b"x-forwarded-for"), b"198.51.100.7, " + PEER.encode())
            self.assertEqual((message.get(b"x-forwarded-proto"), message.get(b"x-real-ip")), (b"http", PEER.encode()))
            self.assertNotEqual(message.get(b"x-request-id"), b"theirs-1")
            self.assertEqual(self.client_address, PEER)

    def test_one_of_ours_is(self) -> None:
        """Its client is the client, for filters and the record, too; proto, host, port and id go on; certificates never do."""
        for identity in (Identity(1), Identity(prefixes=NEAR), Identity(1, NEAR)):
            self.believe(identity)
            seen: list[tuple[str, bytes]] = []
            self.route.request_filters = (lambda exchange, seen=seen: seen.append((exchange.client_address, exchange.request_id)),)    # type: ignore[misc]
            message = self.forwarded(*FORGED)
            self.assertEqual(message.fields[1:], [
                (b"x-forwarded-for", b"198.51.100.7, " + PEER.encode()), (b"x-forwarded-proto", b"https"),
                (b"x-forwarded-host", b"shop.example"), (b"x-forwarded-port", b"443"), (b"x-real-ip", b"198.51.100.7"),
                (b"forwarded", b"for=198.51.100.9"), (b"x-request-id", b"theirs-1")])
            self.assertEqual((seen, self.client_address, self.records[-1].request_id), ([("198.51.100.7", b"theirs-1")], "198.51.100.7", b"theirs-1"))

    def test_nothing_is_said(self) -> None:
        """A believed peer that names nobody is the client."""
        self.believe(Identity(1))
        message = self.forwarded()
        self.assertEqual((message.get(b"x-forwarded-for"), self.client_address), (PEER.encode(), PEER))

    def test_a_forged_beginning(self) -> None:
        """What a client writes before our proxy's own entry is passed on, but believed only as far as hops say."""
        self.believe(Identity(1))
        message = self.forwarded(b"X-Forwarded-For: 10.0.0.1, 127.0.0.1", b"X-Forwarded-For: 198.51.100.7")
        self.assertEqual((message.get(b"x-forwarded-for"), self.client_address),
                         (b"10.0.0.1, 127.0.0.1, 198.51.100.7, " + PEER.encode(), "198.51.100.7"))
        self.believe(Identity(3))
        self.forwarded(b"X-Forwarded-For: 198.51.100.7")
        self.assertEqual(self.client_address, PEER)

    def test_every_form_of_an_address(self) -> None:
        """With port, in brackets, from Forwarded when there is no X-Forwarded-For; nonsense names nobody."""
        table = {
            b"X-Forwarded-For: 198.51.100.7:1234": "198.51.100.7", b"X-Forwarded-For: 2001:DB9::7": "2001:DB9::7",
            b"X-Forwarded-For: [2001:db9::7]:80": "2001:db9::7", b"X-Forwarded-For: [2001:db9::7]": "2001:db9::7",
            b"Forwarded: for=198.51.100.7;proto=https, for=198.51.100.8": "198.51.100.8",
            b'Forwarded: proto=http; For="[2001:db9::7]:80";host="a,b"': "2001:db9::7",
            b'Forwarded: host="x;for=127.0.0.1";for=198.51.100.7': "198.51.100.7", b"Forwarded: proto=http": PEER,
            b"Forwarded: for=unknown": PEER, b"Forwarded: for=_hidden": PEER, b"X-Forwarded-For: localhost": PEER,
            b"X-Forwarded-For: 1.2.3.4.5": PEER, b"X-Forwarded-For: \xff": PEER, b"X-Forwarded-For: ,": PEER, b"X-Forwarded-For:": PEER,
            b"X-Forwarded-For: [::1": PEER,
        }
        self.believe(Identity(1))
        for line, address in table.items():
            self.forwarded(line)
            self.assertEqual(self.client_address, address, line)

    def test_what_a_believed_peer_may_not_say(self) -> None:
        """A scheme that is none, an id that is none: ours instead."""
        self.believe(Identity(1))
        for proto, request_id in ((b"gopher", b"a b"), (b"", b""), (b"https, http", b"x" * 129), (b"HTTPS", b'"><script>')):
            message = self.forwarded(b"X-Forwarded-Proto: " + proto, b"X-Request-Id: " + request_id)
            self.assertEqual(message.get(b"x-forwarded-proto"), b"http")
            self.assertEqual(len(message.get(b"x-request-id") or b""), 36)

    def test_appending_may_be_switched_off(self) -> None:
        """skip_xff_append holds for believed peers, too."""
        self.http.skip_xff_append = True
        self.believe(Identity(1))
        self.assertEqual(self.forwarded(*FORGED).get(b"x-forwarded-for"), b"198.51.100.7")

    def test_connection_takes_away_what_it_names(self) -> None:
        """Also from a believed peer: what is hop-by-hop was not meant for us to pass on."""
        self.believe(Identity(1))
        message = self.forwarded(b"Connection: X-Forwarded-For, X-Forwarded-Proto", *FORGED)
        self.assertEqual((message.get(b"x-forwarded-for"), message.get(b"x-forwarded-proto"), self.client_address),
                         (PEER.encode(), b"http", "198.51.100.9"))

    def test_ids_of_a_retry(self) -> None:
        """One request, one id, whoever gave it."""
        self.believe(Identity(1))
        first = self.forwarded(b"X-Request-Id: abc").get(b"x-request-id")
        second = self.forwarded().get(b"x-request-id")
        self.assertEqual((first, second == first), (b"abc", False))


class ForwardedTests(IdentityCase):
    def test_the_field(self) -> None:
        """RFC 7239 4: who asked, for which host, how; quoted where it must be; only where the host asks for it."""
        self.assertIsNone(self.forwarded().get(b"forwarded"))
        self.believe(Identity(forwarded=True))
        for peer, host, expected in (
            (PEER, b"shop", b"for=192.0.2.7;host=shop;proto=http"), (PEER, b"shop:8080", b'for=192.0.2.7;host="shop:8080";proto=http'),
            ("2001:db8::7", b"[::1]:80", b'for="[2001:db8::7]";host="[::1]:80";proto=http'),
        ):
            self.assertEqual(self.forwarded(peer=peer, host=host).get(b"forwarded"), expected)

    def test_what_others_wrote(self) -> None:
        """A stranger's is overwritten, a believed peer's is continued."""
        self.believe(Identity(forwarded=True))
        self.assertEqual(self.forwarded(b"Forwarded: for=evil").get(b"forwarded"), b"for=192.0.2.7;host=shop;proto=http")
        self.believe(Identity(1, forwarded=True))
        self.assertEqual(self.forwarded(b"Forwarded: for=198.51.100.7").get(b"forwarded"),
                         b"for=198.51.100.7, for=192.0.2.7;host=shop;proto=http")

    def test_the_host_that_was_asked_for(self) -> None:
        """A rewritten Host is told as it was: in Forwarded, and in X-Forwarded-Host."""
        self.believe(Identity(forwarded=True))
        self.route.host_rewrite = b"inner.example"
        message = self.forwarded()
        self.assertEqual((message.get(b"host"), message.get(b"forwarded"), message.get(b"x-forwarded-host")),
                         (b"inner.example", b"for=192.0.2.7;host=shop;proto=http", b"shop"))


class ForwardedHostTests(IdentityCase):
    def test_only_where_host_is_rewritten(self) -> None:
        """X-Forwarded-Host is the Host that the client sent, if the endpoint gets another one."""
        self.assertIsNone(self.forwarded().get(b"x-forwarded-host"))
        self.route.auto_host_rewrite = True
        self.endpoint.authority = b"origin.example"
        message = self.forwarded(b"X-Forwarded-Host: evil", host=b"Shop:8080")
        self.assertEqual((message.get(b"host"), message.get(b"x-forwarded-host")), (b"origin.example", b"Shop:8080"))

    def test_a_believed_peer_knows_better(self) -> None:
        """Its client asked for that host, not for ours."""
        self.believe(Identity(1))
        self.route.host_rewrite = b"inner.example"
        self.assertEqual(self.forwarded(b"X-Forwarded-Host: shop.example").get(b"x-forwarded-host"), b"shop.example")

    def test_no_host_at_all(self) -> None:
        """An HTTP/1.0 client that named none: there is nothing to tell."""
        client = self.client()
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertIsNone(requests(self.accept().got())[0].get(b"x-forwarded-host"))


class FilterTests(IdentityCase):
    def test_the_answer_of_a_filter_goes_to_the_same_client(self) -> None:
        """Believing changes what is logged and hashed, not whose connection it is."""
        self.believe(Identity(1))
        seen: list[Exchange] = []
        self.route.request_filters = (seen.append,)
        self.forwarded(*FORGED)
        self.assertEqual((seen[0].client.peer_address, seen[0].client_address), (PEER, "198.51.100.7"))
