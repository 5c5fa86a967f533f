"""What an endpoint gets: the request line, Host, fields of one hop, fields about the client, framing (promises 3.1 to
3.3)."""

from __future__ import annotations

from tests.proxy.rig import EMPTY, GET, PEER, Message, ProxyCase, answer, requests
from voltgw.routing.hosts import HostTable
from voltgw.routing.split import Destination
from voltgw.routing.table import VirtualHost
from voltgw.values.head import RequestHead


class ForwardCase(ProxyCase):
    def forwarded(self, *lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: shop",
                  body: bytes = b"") -> Message:
        """The request that the endpoint gets for this one."""
        head = b"\r\n".join([start, *([host] if host else []), *lines, b"", b""])
        got, _ = self.exchange(head + body, EMPTY)
        found = requests(got)
        self.assertEqual([message.whole for message in found], [True])
        return found[0]


class RequestLineTests(ForwardCase):
    def test_a_plain_request(self) -> None:
        """Method, target, Host and end-to-end fields arrive as they were sent, in order; names are lower case."""
        message = self.forwarded(b"Accept: */*", b"X-B: 1", b"Cookie: a=b", b"X-A: 2", b"x-b:  3",
                                 start=b"DELETE /a//b;c?d=%20e HTTP/1.1",
                                 host=b"Host: Shop.example:8080")
        self.assertEqual((message.start, message.target), (b"DELETE", b"/a//b;c?d=%20e"))
        self.assertEqual(message.fields[:6], [(b"host", b"Shop.example:8080"), (b"accept", b"*/*"), (b"x-b", b"1"),
                                              (b"cookie", b"a=b"),
                                              (b"x-a", b"2"), (b"x-b", b"3")])

    def test_the_path_goes_on_in_its_normal_form(self) -> None:
        """What was routed is what the endpoint gets: no dot segment in any spelling reaches it."""
        for target, expected in ((b"/a/%2e%2e/admin", b"/admin"), (b"/./a/../../b", b"/b"),
                                 (b"/%7Eu/%2f?x=../y", b"/~u/%2F?x=../y")):
            self.assertEqual(self.forwarded(start=b"GET %b HTTP/1.1" % target).target, expected)

    def test_the_absolute_form_becomes_the_origin_form(self) -> None:
        """RFC 9112 3.2.2: its authority replaces Host; there is one Host."""
        message = self.forwarded(start=b"GET http://inner:81/x?y HTTP/1.1")
        self.assertEqual((message.target, message.get(b"host")), (b"/x?y", b"inner:81"))

    def test_an_asterisk_goes_on(self) -> None:
        """RFC 9112 3.2.4."""
        self.assertEqual(self.forwarded(start=b"OPTIONS * HTTP/1.1").target, b"*")

    def test_a_request_without_host_gets_the_endpoints(self) -> None:
        """An HTTP/1.0 client need not send Host; the endpoint gets a valid HTTP/1.1 request all the same."""
        for host in (b"", b"Host:"):
            message = self.forwarded(start=b"GET / HTTP/1.0", host=host)
            self.assertEqual(message.get(b"host"), b"203.0.113.1:9001")

    def test_a_route_may_set_the_host(self) -> None:
        """host_rewrite writes a name, auto_host_rewrite the endpoint's."""
        self.route.host_rewrite = b"inner.example"
        self.assertEqual(self.forwarded().get(b"host"), b"inner.example")
        self.route.host_rewrite = None
        self.route.auto_host_rewrite = True
        self.endpoint.authority = b"origin.example"
        self.assertEqual(self.forwarded().get(b"host"), b"origin.example")

    def test_a_route_may_set_the_target(self) -> None:
        """A rewrite gives the target; the head that filters and the log see is not changed by it."""
        self.route.rewrite = lambda head: b"/new" + head.path
        self.assertEqual(self.forwarded(start=b"GET /old HTTP/1.1").target, b"/new/old")
        self.assertEqual(self.records[0].request.path, b"/old")

    def test_a_rewrite_that_would_escape_is_refused(self) -> None:
        """Nothing reaches an endpoint; the client is told 400, and its connection, which is sound, goes on."""
        def escape(head: RequestHead) -> bytes:
            raise ValueError("climbs above its prefix")

        self.route.rewrite = escape
        client = self.client()
        client.send(GET)
        self.assertEqual(answer(client.got()).start, 400)
        self.assertEqual((self.rig.dials, self.under_way()), ([], {}))
        self.route.rewrite = None
        client.send(GET)
        self.accept().send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)


class HopByHopTests(ForwardCase):
    def test_fields_of_one_hop_never_arrive(self) -> None:
        """RFC 9110 7.6.1: Proxy-Connection, Keep-Alive, TE, Trailer, Upgrade and HTTP2-Settings, h2c included."""
        message = self.forwarded(b"Connection: Upgrade, HTTP2-Settings, TE, keep-alive", b"Upgrade: h2c",
                                 b"HTTP2-Settings: AAMA", b"TE: trailers",
                                 b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Trailer: X",
                                 b"X-Own: stays")
        self.assertEqual(message.names(), [b"host", b"x-own", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip",
                                           b"x-request-id"])

    def test_connection_takes_away_what_it_names_but_not_ours(self) -> None:
        """Named fields go *before* ours are added; Host and framing never go."""
        message = self.forwarded(
            b"Connection: X-Forwarded-For, X-Real-IP, X-Request-Id, X-Forwarded-Proto, Authorization, Host, Content-Length, close",
            b"X-Forwarded-For: 10.0.0.1", b"Authorization: Basic x", b"Content-Length: 2", b"X-Other: y",
            start=b"POST / HTTP/1.1", body=b"ok")
        self.assertEqual((message.get(b"host"), message.get(b"content-length"), message.body), (b"shop", b"2", b"ok"))
        self.assertEqual((message.get(b"x-forwarded-for"), message.get(b"x-real-ip"),
                          message.get(b"x-forwarded-proto")),
                         (PEER.encode(), PEER.encode(), b"http"))
        self.assertEqual((message.get(b"authorization"), message.get(b"x-other")), (None, b"y"))
        self.assertEqual(message.get(b"x-request-id"), self.records[0].request_id)

    def test_connection_itself_never_arrives(self) -> None:
        """Each hop has its own; the pool decides about ours."""
        self.assertNotIn(b"connection", self.forwarded(b"Connection: close").names())

    def test_upgrade_to_h2c_is_just_a_request(self) -> None:
        """Never forwarded, never answered 101 (promise 14); what follows stays HTTP/1.1."""
        client, origin = self.asked(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        origin.send(EMPTY)
        self.turn()
        origin.send(EMPTY)
        self.assertEqual([message.target for message in requests(origin.got())], [b"/", b"/2"])

    def test_names_with_underscores_do_not_arrive(self) -> None:
        """X_Forwarded_For is X-Forwarded-For to some origins."""
        self.assertNotIn(b"x_forwarded_for", self.forwarded(b"X_Forwarded_For: 10.0.0.1").names())


class AboutTheClientTests(ForwardCase):
    def test_the_client_is_the_peer(self) -> None:
        """X-Forwarded-For, -Proto and X-Real-IP say what we see; the record has the same address."""
        message = self.forwarded()
        self.assertEqual((message.get(b"x-forwarded-for"), message.get(b"x-forwarded-proto"),
                          message.get(b"x-real-ip")),
                         (PEER.encode(), b"http", PEER.encode()))
        self.assertEqual(self.records[0].client_address, PEER)

    def test_what_the_client_says_of_itself_is_overwritten(self) -> None:
        """X-Forwarded-For is appended; Proto, Host, Port, X-Real-IP, Forwarded and certificates do not pass."""
        message = self.forwarded(
            b"X-Forwarded-For: 10.0.0.1, 10.0.0.2", b"X-Forwarded-For: 10.0.0.3", b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: evil",
            b"X-Forwarded-Port: 1", b"X-Real-IP: 10.0.0.4", b"Forwarded: for=10.0.0.5",
            b"X-Forwarded-Client-Cert: By=x", b"Client-Cert: :x:",
            b"Client-Cert-Chain: :x:", b"X-Request-Id: theirs")
        self.assertEqual(message.get(b"x-forwarded-for"), b"10.0.0.1, 10.0.0.2, 10.0.0.3, " + PEER.encode())
        self.assertEqual((message.get(b"x-forwarded-proto"), message.get(b"x-real-ip")), (b"http", PEER.encode()))
        self.assertNotIn(b"evil", [value for _, value in message.fields])
        self.assertEqual([name for name in message.names() if b"cert" in name or name in (b"forwarded",
                                                                                          b"x-forwarded-port")], [])
        self.assertEqual(message.get(b"x-request-id"), self.records[0].request_id)
        self.assertEqual(self.records[0].client_address, PEER)

    def test_an_empty_list_is_not_continued(self) -> None:
        """An empty X-Forwarded-For leaves no stray comma."""
        self.assertEqual(self.forwarded(b"X-Forwarded-For:").get(b"x-forwarded-for"), PEER.encode())

    def test_appending_may_be_switched_off(self) -> None:
        """skip_xff_append: what the client sent stays as it is, and without any there is none; X-Real-IP is still
        ours."""
        self.http.skip_xff_append = True
        message = self.forwarded(b"X-Forwarded-For: 10.0.0.1", b"X-Real-IP: 10.0.0.2")
        self.assertEqual((message.get(b"x-forwarded-for"), message.get(b"x-real-ip")), (b"10.0.0.1", PEER.encode()))
        message = self.forwarded()
        self.assertEqual((message.get(b"x-forwarded-for"), message.get(b"x-real-ip")), (None, PEER.encode()))

    def test_an_ipv6_client(self) -> None:
        """Its address stands there without brackets."""
        client = self.client("2001:db8::7")
        client.send(GET)
        message = requests(self.accept().got())[0]
        self.assertEqual(message.get(b"x-forwarded-for"), b"2001:db8::7")

    def test_request_ids_differ(self) -> None:
        """Every request has its own, in the form of a UUID, also on one connection; the record has it too."""
        client, origin = self.asked()
        for _ in range(3):
            origin.send(EMPTY)
            client.send(GET)
        ids = [message.get(b"x-request-id") for message in requests(origin.got())]
        self.assertEqual(len(set(ids)), 4)
        for request_id in ids:
            self.assertRegex(request_id or b"",
                             rb"\A[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
        self.assertEqual([record.request_id for record in self.records], ids[:3])


class FramingTests(ForwardCase):
    def test_a_body_with_a_length(self) -> None:
        """One Content-Length, as a plain number, and the body behind the head."""
        message = self.forwarded(b"Content-Length: 005", start=b"POST / HTTP/1.1", body=b"hello")
        self.assertEqual((message.get(b"content-length"), message.get(b"transfer-encoding"), message.body),
                         (b"5", None, b"hello"))

    def test_a_chunked_body(self) -> None:
        """One Transfer-Encoding; extensions and trailers do not arrive (`requests` refuses trailers)."""
        message = self.forwarded(b"Transfer-Encoding: Chunked", start=b"POST / HTTP/1.1",
                                 body=b"5;x=y\r\nhello\r\n0\r\nContent-Length: 3\r\nHost: evil\r\n\r\n")
        self.assertEqual((message.get(b"content-length"), message.get(b"transfer-encoding"), message.body),
                         (None, b"chunked", b"hello"))
        self.assertEqual(message.get(b"host"), b"shop")

    def test_a_get_with_a_body(self) -> None:
        """The body is forwarded as a body, never read as a request (0.CL)."""
        message = self.forwarded(b"Content-Length: 22", body=b"GET /x HTTP/1.1\r\na:b\r\n")
        self.assertEqual((message.start, message.body), (b"GET", b"GET /x HTTP/1.1\r\na:b\r\n"))

    def test_methods_that_expect_a_body_say_that_they_have_none(self) -> None:
        """RFC 9110 8.6: Content-Length: 0 for POST, PUT, PATCH; nothing for the others."""
        for method, expected in ((b"POST", b"0"), (b"PUT", b"0"), (b"PATCH", b"0"), (b"GET", None), (b"DELETE", None)):
            self.assertEqual(self.forwarded(start=method + b" / HTTP/1.1").get(b"content-length"), expected)

    def test_one_write_for_head_and_body(self) -> None:
        """A small request leaves in one piece."""
        client = self.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        dial = self.dialled
        writes: list[bytes] = []
        origin = dial.accept()
        self.assertTrue(origin.got().endswith(b"\r\n\r\nhi"))
        origin.send(EMPTY)
        origin.write = writes.append        # type: ignore[method-assign,assignment]
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        self.assertEqual(len(writes), 1)


class ChoiceTests(ProxyCase):
    def test_a_name_that_nobody_serves(self) -> None:
        """404 by nobody's host; the first virtual host is not a fallback. The connection goes on."""
        self.http.table = HostTable([(["shop.example"], self.host)])
        client = self.client()
        client.send(b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n")
        message = answer(client.got())
        self.assertEqual((message.start, message.get(b"connection")), (404, None))
        self.assertEqual((self.records[0].flag, self.records[0].response_code), ("NR", 404))
        self.assertEqual(self.rig.unrouted.status[4], 1)
        client.send(b"GET / HTTP/1.1\r\nHost: SHOP.example.:8080\r\n\r\n")
        self.accept().send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_a_path_that_no_route_takes(self) -> None:
        """404 by the host that was found."""
        self.host.only = None
        client = self.client()
        client.send(GET)
        self.assertEqual((answer(client.got()).start, self.records[0].flag), (404, "NR"))

    def test_the_table_is_taken_once_per_request(self) -> None:
        """A reload between two requests of a connection acts on the second one, not on the first that is under way."""
        client, origin = self.asked()
        other = VirtualHost("other", domains=["*"])
        self.http.table = HostTable([(["*"], other)])
        origin.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)
        client.send(GET)
        self.assertEqual(answer(client.got()).start, 404)

    def test_a_split_route_uses_the_plane_s_number(self) -> None:
        """Weights decide by one random number per request."""
        other = self.make_cluster("default/other")
        self.route.forward_to([Destination(self.cluster, "default/shop", 1), Destination(other, "default/other", 1)])
        client = self.client()
        self.rig.number = 0.4
        client.send(GET)
        self.assertEqual(self.dialled.endpoint.cluster, "default/shop")
        self.accept().send(EMPTY)
        self.rig.number = 0.6
        client.send(GET)
        self.assertEqual(self.dialled.endpoint.cluster, "default/other")
        self.accept().send(EMPTY)
        self.assertEqual((other.active, other.connections, self.cluster.active), (0, 1, 0))

    def test_a_cluster_that_does_not_exist(self) -> None:
        """gateway.on_dangling: serve_503."""
        self.route.forward_to([Destination(None, "default/gone")])
        client = self.client()
        client.send(GET)
        self.assertEqual((answer(client.got()).start, self.records[0].flag), (503, "NC"))

    def test_a_cluster_without_a_ready_endpoint(self) -> None:
        """503 at once; it is counted."""
        self.endpoint.ready = False
        client = self.client()
        client.send(GET)
        self.assertEqual((answer(client.got()).start, self.records[0].flag), (503, "UH"))
        self.assertEqual(self.cluster.counters.no_endpoint, 1)
