"""Filters in the data plane: what the endpoint got, what the client was told, what the log says."""

from __future__ import annotations

import gzip

from twisted.internet.address import IPv4Address

from tests.config.making import loaded
from tests.proxy.rig import EMPTY, LISTENER, Message, ProxyCase, Wire, answer, requests
from tests.proxy.rig2 import Proxy2Case
from voltgw.app.build import ListenerKey, ListenerPlan
from voltgw.app.listening import serve_http
from voltgw.cluster.cluster import Limits
from voltgw.cluster.endpoint import Endpoint
from voltgw.cluster.snapshot import EndpointSet
from voltgw.config.objects.headers import HeaderTransformationType
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.config.values import Ref
from voltgw.interfaces import UpstreamCluster
from voltgw.proxy.factory import HttpFactory
from voltgw.routing.hosts import HostTable
from voltgw.routing.split import Destination
from voltgw.routing.table import build_host
from voltgw.values.header_case import header_case

FILES = """
    kind: virtual_host
    metadata: {{name: shop}}
    spec: {{domains: [shop.example, "*.shop.example"], routes: [r], {host}}}
    ---
    kind: route
    metadata: {{name: r}}
    spec: {{routes: [{{{rule} {action}}}]}}
    """
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 600\r\nETag: \"1\"\r\n\r\n" + b"voltgw " * 85 + b"<end>"


def get(*lines: bytes, method: bytes = b"GET", target: bytes = b"/", body: bytes = b"") -> bytes:
    """A request with these header lines."""
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: shop.example", *lines, b"", b""]) + body


class WireCase(ProxyCase):
    def serve(self, host: str = "no_challenge: {}", rule: str = "", forward: str = "", destinations: str = "{cluster: shop}",
              action: str = "") -> None:
        """Serve what such files say; clusters are found by name, and made where they are new."""
        config = loaded(FILES.format(
            host=host, rule=f"{rule}," if rule else "", action=action or
            f"route_destination: {{destinations: [{destinations}]{', ' if forward else ''}{forward}}}"))
        (spec,) = config.of("virtual_host").values()
        self.clusters = {"shop": self.cluster}

        def find(ref: Ref, namespace: str) -> UpstreamCluster:
            if ref.name not in self.clusters:
                self.clusters[ref.name] = self.make_cluster(f"default/{ref.name}")
            return self.clusters[ref.name]

        self.made = made = build_host("shop", spec.spec, list(config.of("route").values()), find, place=spec.place)
        self.http = HttpFactory(self.rig, "http", *LISTENER, HostTable([(made.domains, made)]), self.counters)

    def passed(self, request: bytes, reply: bytes = EMPTY) -> tuple[Message, Message]:
        """What the endpoint got, and what the client was told."""
        got, told = self.exchange(request, reply)
        return requests(got)[-1], answer(told, request.partition(b" ")[0])

    def refused(self, request: bytes) -> Message:
        """What the client was told, of a request that no endpoint heard of."""
        client = self.client()
        client.send(request)
        self.turn()
        self.assertEqual((self.rig.dials, [origin.got() for origin in self.rig.origins]), ([], []))
        return answer(client.got(), request.partition(b" ")[0])


class EditTests(WireCase):
    def test_variables(self) -> None:
        """The endpoint is told of the client, the client of the endpoint."""
        self.serve("request_headers_to_add: [{name: x-from, value: '%CLIENT_ADDRESS% %METHOD% %PATH% at %START_TIME%'}], "
                   "response_headers_to_add: [{name: x-by, value: '%ENDPOINT% of %CLUSTER% for %REQUEST_ID%'}]")
        got, told = self.passed(get(target=b"/a/./b?q"))
        self.assertEqual(got.get(b"x-from"), b"192.0.2.7 GET /a/b at 1994-11-06T08:49:37.000Z")
        self.assertEqual(told.get(b"x-by"), b"203.0.113.1:9001 of default/shop for " + self.records[0].request_id)

    def test_what_endpoints_are_told_of_the_client(self) -> None:
        """An edit takes the place of what the gateway says itself; with `append` it stands beside it; a removal holds."""
        self.serve("request_headers_to_add: [{name: X-Real-IP, value: 198.51.100.1}]",
                   "request_headers_to_add: [{name: X-Forwarded-Proto, value: https}, {name: x-forwarded-for, value: b, append: true}], "
                   "request_headers_to_remove: [x-request-id]")
        got, _ = self.passed(get())
        self.assertEqual([field for field in got.fields if field[0].startswith(b"x-")], [
            (b"x-forwarded-proto", b"https"), (b"x-forwarded-for", b"b"), (b"x-real-ip", b"198.51.100.1"),
            (b"x-forwarded-for", b"192.0.2.7")])

    def test_endpoints_are_told_nothing_of_the_client(self) -> None:
        """All of it is taken out, and the head is still one."""
        self.serve("request_headers_to_remove: [X-Forwarded-For, X-Forwarded-Proto, X-Real-IP, X-Request-Id]")
        got, _ = self.passed(get(b"Accept: a"))
        self.assertEqual(got.fields, [(b"host", b"shop.example"), (b"accept", b"a")])

    def test_cookies(self) -> None:
        """The route's edits before the host's, in both directions; each Set-Cookie is a field of its own."""
        self.serve("request_cookies_to_remove: [b], response_cookies_to_add: [{name: h, value: '3'}]",
                   "request_cookies_to_add: [{name: b, value: '2'}, {name: c, value: '3'}], response_cookies_to_remove: [o]")
        got, told = self.passed(get(b"Cookie: a=1; b=x"), b"HTTP/1.1 200 OK\r\nSet-Cookie: o=1\r\nSet-Cookie: p=2; Path=/\r\n"
                                b"Content-Length: 0\r\n\r\n")
        self.assertEqual(got.get(b"cookie"), b"a=1; c=3")
        self.assertEqual([value for name, value in told.fields if name == b"set-cookie"], [b"p=2; Path=/", b"h=3"])


    def test_cookies_to_modify(self) -> None:
        """Attributes of cookies that the endpoint sets, or we: only those that are asked for change, others stay as they are."""
        self.serve("cookies_to_modify: [{name: sid, samesite_strict: {}, add_secure: {}, add_httponly: {}, max_age_value: 60}, "
                   "{name: lang, samesite_lax: {}, ignore_secure: {}, ignore_httponly: {}, ignore_max_age: {}}, "
                   "{name: ours, add_secure: {}}, {name: absent, add_secure: {}}], "
                   "response_cookies_to_add: [{name: ours, value: v}]")
        _, told = self.passed(get(), b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=1; Path=/; SameSite=None; max-age=9; HttpOnly\r\n"
                              b"Set-Cookie: lang=de; Secure\r\nSet-Cookie: other=2; SameSite=None\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(sorted(value for name, value in told.fields if name == b"set-cookie"), [
            b"lang=de; Secure; SameSite=Lax", b"other=2; SameSite=None", b"ours=v; Secure",
            b"sid=1; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Strict"])
        _, told = self.passed(get())
        self.assertEqual([value for name, value in told.fields if name == b"set-cookie"], [b"ours=v; Secure"])


class CorsTests(WireCase):
    HOST = "cors_policy: {allow_origin: [https://app.example], allow_methods: 'GET, PUT', maximum_age: 600}"

    def test_preflight(self) -> None:
        """The gateway answers; the endpoint hears nothing."""
        self.serve(self.HOST)
        told = self.refused(get(b"Origin: https://app.example", b"Access-Control-Request-Method: PUT", method=b"OPTIONS"))
        self.assertEqual((told.start, told.body, told.get(b"access-control-allow-origin"), told.get(b"access-control-max-age")),
                         (204, b"", b"https://app.example", b"600"))
        self.assertEqual((self.records[0].response_code, self.records[0].detail), (204, "cors_preflight"))

    def test_preflight_of_a_stranger(self) -> None:
        """It is refused, and counted by its flag."""
        self.serve(self.HOST)
        told = self.refused(get(b"Origin: https://evil.example", b"Access-Control-Request-Method: PUT", method=b"OPTIONS"))
        self.assertEqual((told.start, told.get(b"access-control-allow-origin")), (403, None))
        route = self.records[0].route
        assert route is not None
        self.assertEqual((self.records[0].flag, route.counters.local_replies), ("CORS", {"CORS": 1}))

    def test_answers(self) -> None:
        """The endpoint gets the request as it is; its own fields of that kind never reach the client."""
        self.serve(self.HOST)
        reply = b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n"
        for origin, wanted in ((b"https://app.example", b"https://app.example"), (b"https://evil.example", None)):
            got, told = self.passed(get(b"Origin: " + origin), reply)
            self.assertEqual((got.get(b"origin"), told.get(b"access-control-allow-origin"), told.get(b"vary")),
                             (origin, wanted, b"origin"))


    def test_errors_of_ours(self) -> None:
        """A page's script may read them like any answer: else a 503 looks like a broken network to it."""
        fault = "voltgw: {fault: {abort: {status: 503}}}"
        for host, rule, origin, wanted, vary in (
                (self.HOST, fault, b"https://app.example", b"https://app.example", b"origin"),
                (self.HOST, fault, b"https://evil.example", None, b"origin"),
                ("cors_policy: {allow_origin: ['*']}", fault, b"https://any.example", b"*", None),
                ("no_challenge: {}", fault, b"https://app.example", None, None)):
            self.serve(host, rule)
            told = self.refused(get(b"Origin: " + origin))
            self.assertEqual((told.start, told.get(b"access-control-allow-origin"), told.get(b"vary")), (503, wanted, vary))
            self.assertIn(b"503", told.body)
            self.assertIsNotNone(told.get(b"x-request-id"))

    def test_errors_about_endpoints(self) -> None:
        """The same where no endpoint could answer, and where one answered nonsense; the record says what it ever said."""
        self.serve(self.HOST)
        _, told = self.passed(get(b"Origin: https://app.example"), b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
        self.assertEqual((told.start, told.get(b"access-control-allow-origin")), (502, b"https://app.example"))
        self.cluster.install(EndpointSet(9, ()))
        client = self.client()
        client.send(get(b"Origin: https://app.example"))
        self.turn()
        told = answer(client.got())
        self.assertEqual((told.start, told.get(b"access-control-allow-origin")), (503, b"https://app.example"))
        self.assertEqual([(record.flag, record.response) for record in self.records][1:], [("UH", None)])

    def test_no_virtual_host(self) -> None:
        """Where no route took the request there is no policy to speak of."""
        self.serve(self.HOST)
        told = self.refused(get(b"Origin: https://app.example").replace(b"shop.example", b"other.example"))
        self.assertEqual((told.start, told.get(b"access-control-allow-origin"), told.get(b"vary")), (404, None, None))


class Version2Tests(WireCase, Proxy2Case):
    def test_errors_and_redirects(self) -> None:
        """A client of HTTP/2 gets the same fields of CORS with an error, and the same Location."""
        asked = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"shop.example"), (b":path", b"/")]
        self.serve(CorsTests.HOST, "voltgw: {fault: {abort: {status: 503}}}")
        self.http.prior_knowledge = self.made.prior_knowledge = True
        client = self.client2()
        stream = client.ask([*asked, (b"origin", b"https://app.example")])
        self.settle(client)
        told = client.seen[stream]
        self.assertEqual((told.status, told.get(b"access-control-allow-origin")), (503, b"https://app.example"))
        self.serve(SchemeTests.BELIEVED, action=SchemeTests.TO_HTTPS)
        self.http.prior_knowledge = self.made.prior_knowledge = True
        client = self.client2()
        stream = client.ask([*asked, (b"x-forwarded-proto", b"https")])
        self.settle(client)
        self.assertEqual(client.seen[stream].get(b"location"), b"https://shop.example/new")


class CsrfTests(WireCase):
    def test_from_elsewhere(self) -> None:
        """The endpoint hears nothing, not even when a body comes with it."""
        self.serve("csrf_policy: {all_load_balancer_domains: {}}")
        told = self.refused(get(b"Origin: https://evil.example", b"Content-Length: 2", method=b"POST", body=b"hi"))
        self.assertEqual((told.start, self.records[0].flag, self.records[0].detail), (403, "CSRF", "csrf_origin_mismatch"))

    def test_from_here(self) -> None:
        """Pages of the host and of its other names."""
        self.serve("csrf_policy: {all_load_balancer_domains: {}}")
        for origin in (b"https://shop.example", b"https://www.shop.example"):
            got, told = self.passed(get(b"Origin: " + origin, b"Content-Length: 2", method=b"POST", body=b"hi"))
            self.assertEqual((got.start, got.body, told.start), (b"POST", b"hi", 200))


class CompressionTests(WireCase):
    HOST = "compression_params: {remove_accept_encoding_header: true}"

    def test_a_page(self) -> None:
        """The endpoint is not asked to compress, the client gets gzip in chunks, and nothing in the head lies."""
        self.serve(self.HOST)
        got, told = self.passed(get(b"Accept-Encoding: gzip, br"), PAGE)
        self.assertEqual(got.get(b"accept-encoding"), None)
        self.assertEqual(gzip.decompress(told.body), PAGE.partition(b"\r\n\r\n")[2])
        self.assertEqual([told.get(name) for name in (b"content-encoding", b"vary", b"etag", b"content-length", b"transfer-encoding")],
                         [b"gzip", b"accept-encoding", None, None, b"chunked"])
        self.assertLess(self.records[0].bytes_out, 450)

    def test_a_client_that_does_not_take_it(self) -> None:
        """It gets what the endpoint sent, and caches are told."""
        self.serve(self.HOST)
        _, told = self.passed(get(b"Accept-Encoding: gzip;q=0, *"), PAGE)
        self.assertEqual((told.body[-5:], told.get(b"content-encoding"), told.get(b"etag"), told.get(b"vary")),
                         (b"<end>", None, b'"1"', b"accept-encoding"))

    def test_head(self) -> None:
        """There is no body to compress, so the head is that of the endpoint."""
        self.serve(self.HOST)
        _, told = self.passed(get(b"Accept-Encoding: gzip", method=b"HEAD"), PAGE.partition(b"<")[0].partition(b"voltgw")[0])
        self.assertEqual((told.body, told.get(b"content-length"), told.get(b"content-encoding")), (b"", b"600", None))

    def test_a_direct_response(self) -> None:
        """It is compressed like any other answer, and its length is what is sent."""
        self.serve(self.HOST, action=f"route_direct_response: {{response_body: '{'voltgw ' * 50}'}}")
        told = self.refused(get(b"Accept-Encoding: gzip"))
        self.assertEqual(gzip.decompress(told.body), b"voltgw " * 50)
        self.assertEqual((told.get(b"content-encoding"), told.get(b"content-length")), (b"gzip", b"%d" % len(told.body)))


class SchemeTests(WireCase):
    """The scheme that the client asked by, where TLS ends in front of the gateway."""

    BELIEVED = "request_headers_to_add: [{name: x-scheme, value: '%SCHEME%'}], voltgw: {trusted_prefixes: [192.0.2.0/24]}"
    TO_HTTPS = "route_redirect: {path_redirect: /new}"

    def test_a_redirect(self) -> None:
        """It keeps the scheme that a trusted proxy names; of anybody else, or without a word of it, the connection's own."""
        for host, field, location in (
                (self.BELIEVED, b"X-Forwarded-Proto: https", b"https://shop.example/new"),
                (self.BELIEVED, b"X-Forwarded-Proto: gopher", b"http://shop.example/new"),
                (self.BELIEVED, b"X-Forwarded-For: 192.0.2.99", b"http://shop.example/new"),
                ("no_challenge: {}", b"X-Forwarded-Proto: https", b"http://shop.example/new"),
                ("voltgw: {trusted_prefixes: [198.51.100.0/24]}", b"X-Forwarded-Proto: https", b"http://shop.example/new")):
            self.serve(host, action=self.TO_HTTPS)
            self.assertEqual(self.refused(get(field)).get(b"location"), location, (host, field))

    def test_the_port_of_a_redirect(self) -> None:
        """A port that the client named stays with the scheme that it used."""
        self.serve(self.BELIEVED, action="route_redirect: {proto_redirect: https}")
        asked = get(b"X-Forwarded-Proto: https").replace(b"shop.example", b"shop.example:8443")
        self.assertEqual(self.refused(asked).get(b"location"), b"https://shop.example:8443/")
        asked = get().replace(b"shop.example", b"shop.example:8080")
        self.assertEqual(self.refused(asked).get(b"location"), b"https://shop.example/")

    def test_what_endpoints_are_told(self) -> None:
        """The variable and the field say the same."""
        self.serve(self.BELIEVED)
        for field, scheme in ((b"X-Forwarded-Proto: https", b"https"), (b"X-Forwarded-Proto: ftp", b"http"), (b"X-A: b", b"http")):
            got, _ = self.passed(get(field))
            self.assertEqual((got.get(b"x-scheme"), got.get(b"x-forwarded-proto")), (scheme, scheme))


class FaultTests(WireCase):
    def test_abort(self) -> None:
        """The endpoint hears nothing; the flag is in the log and in the counters."""
        self.serve(rule="voltgw: {fault: {abort: {status: 418}}}")
        told = self.refused(get())
        self.assertEqual((told.start, self.records[0].flag), (418, "FI"))

    def test_delay(self) -> None:
        """The endpoint hears of the request when the time is over, and not before."""
        self.serve(rule="voltgw: {fault: {delay: {duration: 500ms}}}")
        client = self.client()
        client.send(get())
        self.advance(0.4)
        self.assertEqual(self.rig.dials, [])
        self.advance(0.2)
        origin = self.accept()
        origin.send(EMPTY)
        self.turn()
        self.assertEqual((answer(client.got()).start, self.records[0].flag), (200, "DI"))
        route = self.records[0].route
        assert route is not None
        self.assertEqual(route.counters.local_replies, {"DI": 1})

    def test_both(self) -> None:
        """It waits, then it is refused."""
        self.serve(rule="voltgw: {fault: {delay: {duration: 500ms}, abort: {status: 503}}}")
        client = self.client()
        client.send(get())
        self.assertEqual(client.got(), b"")
        self.advance(0.6)
        self.assertEqual(answer(client.got()).start, 503)
        self.assertEqual(self.rig.dials, [])

    def test_a_header(self) -> None:
        """Requests without it pass at once."""
        self.serve("voltgw: {fault: {abort: {status: 503}, header: {name: x-fault, presence: true}}}")
        got, told = self.passed(get())
        self.assertEqual((got.start, told.start), (b"GET", 200))


class HashTests(WireCase):
    def test_a_cookie_is_made_once(self) -> None:
        """The client is told to keep it, beside what the endpoint sets; with it nothing is made again."""
        self.serve(forward="hash_policy: [{cookie: {name: lb, ttl: 1h, path: /}}]")
        _, told = self.passed(get(), b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
        own, made = [value for name, value in told.fields if name == b"set-cookie"]
        self.assertEqual(own, b"a=b")
        self.assertRegex(made, rb"^lb=[0-9a-f]{16}; Max-Age=3600; Path=/; HttpOnly$")
        got, told = self.passed(get(b"Cookie: " + made.partition(b";")[0]))
        self.assertEqual((got.get(b"cookie"), told.get(b"set-cookie")), (made.partition(b";")[0], None))
        self.assertEqual(self.records[0].hash_key, self.records[1].hash_key)


class StickyTests(WireCase):
    def reached(self, user: int) -> str:
        """The cluster whose endpoint got a request of this user."""
        client = self.client()
        client.send(get(b"Cookie: user=%d" % user))
        if self.rig.dials:
            self.accept()
        (origin,) = [origin for origin in self.rig.origins if origin.got()]
        origin.clear()
        origin.send(EMPTY)
        self.turn()
        self.assertEqual(answer(client.got()).start, 200)
        endpoint = self.records[-1].endpoint
        assert endpoint is not None
        return endpoint.cluster

    def places(self, stable: int, canary: int) -> dict[int, str]:
        """Where users go, twice asked."""
        self.serve(destinations=f"{{cluster: shop, weight: {stable}}}, {{cluster: canary, weight: {canary}}}",
                   forward="voltgw: {sticky: {cookie: user}}")
        found = {user: self.reached(user) for user in range(60)}
        self.assertEqual({user: self.reached(user) for user in range(60)}, found)
        return found

    def test_users_stay(self) -> None:
        """Whoever was sent to the canary at 5 % is sent there at 20 %; each user always to the same."""
        before, after = self.places(95, 5), self.places(80, 20)
        canary = {user for user, cluster in before.items() if cluster == "default/canary"}
        self.assertTrue(canary)
        self.assertLess(canary, {user for user, cluster in after.items() if cluster == "default/canary"})


class PriorityTests(WireCase):
    def check_nothing_left(self) -> None:
        """Nor in what serves routes of high priority."""
        high = self.clusters["shop"].high
        super().check_nothing_left()
        if high is not None:
            self.assertEqual((high.active, high.pending, high.connections), (0, 0, 0))
            self.assertEqual(sum(len(endpoint.pool) for endpoint in high.endpoints), 0)

    def test_limits_of_its_own(self) -> None:
        """Routes of the two priorities share endpoints, but neither connections nor limits: one that is full does not hold up the other."""
        self.cluster = self.make_cluster(limits=Limits(requests=1), high_limits=Limits(requests=2))
        self.serve(forward="priority: HIGH")
        high = self.cluster.high
        assert high is not None
        clients = [self.client() for _ in range(3)]
        for client in clients:
            client.send(get())
        origins = [dial.accept() for dial in list(self.rig.dials)]
        self.assertEqual((len(origins), answer(clients[2].got()).start, self.records[0].flag), (2, 503, "UO"))
        self.assertEqual((high.active, high.connections, high.counters.overflow), (2, 2, 1))
        self.assertEqual((self.cluster.active, self.cluster.connections, self.cluster.counters.overflow), (0, 0, 0))
        self.assertEqual({dial.port for dial in high.endpoints}, {9001})
        usual = HttpFactory(self.rig, "usual", *LISTENER, HostTable([(["*"], self.host)]), self.counters)
        self.route.forward_to([Destination(self.cluster, self.cluster.name)])
        protocol = usual.buildProtocol(None)
        wire = Wire(self.hand, IPv4Address("TCP", "192.0.2.8", 1), protocol)
        self.rig.clients.append(wire)
        protocol.makeConnection(wire)
        wire.send(get())
        origins.append(self.accept())
        for origin in origins:
            self.assertEqual(len(requests(origin.got())), 1)
            origin.send(EMPTY)
        self.turn()
        self.assertEqual([answer(client.got()).start for client in (*clients[:2], wire)], [200] * 3)
        self.assertEqual((len(high.endpoints[0].pool), len(self.endpoint.pool)), (2, 1))

    def test_it_follows_the_cluster(self) -> None:
        """Members that come, go or fail are the same for both; a failed connection counts for the one that is judged."""
        self.serve(forward="priority: HIGH")
        high = self.cluster.high
        assert high is not None
        told: list[Endpoint] = []
        self.cluster.on_connect_failed = told.append
        client = self.client()
        client.send(get())
        self.dialled.fail()
        self.turn()
        self.assertEqual((answer(client.got()).start, told, told[0].failed_in_a_row), (502, [self.endpoint], 1))
        self.cluster.mark_unready(self.endpoint.key, "a test")
        self.assertFalse(high.any_ready)
        self.assertEqual(self.refused(get()).start, 503)
        self.cluster.install(EndpointSet(2, ()))
        self.assertEqual(high.endpoints, ())


class WebSocketTests(WireCase):
    HANDSHAKE = get(b"Connection: upgrade", b"Upgrade: websocket")

    def test_silence(self) -> None:
        """web_socket_config.idle_timeout closes what has switched and says nothing; requests have their own times."""
        self.serve(forward="web_socket_config: {use_websocket: true, idle_timeout: 20000}")
        client, origin = self.asked(self.HANDSHAKE)
        origin.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.turn()
        self.advance(15)
        client.send(b"x")
        self.assertTrue(origin.got().endswith(b"x"))
        self.advance(19)
        self.assertFalse(client.gone)
        self.advance(25)
        self.assertEqual((client.gone, origin.gone, self.records[0].flag), (True, True, "SI"))

    def test_tries(self) -> None:
        """web_socket_config.max_connect_attempts: so many tries in all for who asks to switch, the usual number for others."""
        self.endpoint_count = 3
        for attempts, tries in ((1, 1), (3, 3), (0, 2)):
            self.cluster = self.make_cluster()
            self.serve(forward=f"web_socket_config: {{use_websocket: true, max_connect_attempts: {attempts}}}")
            for request, wanted in ((self.HANDSHAKE, tries), (get(), 2)):
                client = self.client()
                client.send(request)
                for _ in range(wanted):
                    self.dialled.fail()
                    self.advance(0.1)
                self.assertEqual((answer(client.got()).start, self.records[-1].attempts, self.rig.dials), (502, wanted, []), attempts)


class CaseTests(WireCase):
    """header_transformation_type, both ways: what either peer has received."""

    REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-CamelCase: 1\r\nx-lower: 2\r\nDNT: 1\r\n\r\n"
    ANSWER = b"HTTP/1.1 200 OK\r\nETag: 1\r\nx-lower: 2\r\nWWW-Thing: 3\r\nContent-Length: 0\r\n\r\n"

    def names(self, data: bytes, *wanted: bytes) -> list[bytes]:
        """How these names, given in lower case, are written in a head."""
        found = [line.partition(b":")[0] for line in data.split(b"\r\n")]
        return [name for each in wanted for name in found if name.lower() == each]

    def test_every_transformation(self) -> None:
        """Default and legacy write lower case, proper case capitals, preserve what the other peer wrote, from the first message on."""
        table = {"default_header_transformation": ([b"x-camelcase", b"x-lower", b"dnt"], [b"etag", b"x-lower", b"www-thing"]),
                 "legacy_header_transformation": ([b"x-camelcase", b"x-lower", b"dnt"], [b"etag", b"x-lower", b"www-thing"]),
                 "proper_case_header_transformation": ([b"X-Camelcase", b"X-Lower", b"Dnt"], [b"Etag", b"X-Lower", b"Www-Thing"]),
                 "preserve_case_header_transformation": ([b"X-CamelCase", b"x-lower", b"DNT"], [b"ETag", b"x-lower", b"WWW-Thing"])}
        for choice, (sent, told) in table.items():
            wanted = HeaderTransformationType(**{choice: True})
            self.cluster = self.make_cluster(header_case=header_case(wanted))
            self.serve(f"header_transformation_type: {{{choice}: {{}}}}")
            plan = ListenerPlan(ListenerKey(None, 80), ProxyType.HTTP_PROXY, 80)
            plan.add(self.made)
            serve_http(self.http, plan, self.http.table)
            got, answered = self.exchange(self.REQUEST, self.ANSWER)
            self.assertEqual(self.names(got, b"x-camelcase", b"x-lower", b"dnt"), sent, choice)
            self.assertEqual(self.names(answered, b"etag", b"x-lower", b"www-thing"), told, choice)
            requests(got)
            answer(answered)


class LargestBodyTests(WireCase):
    def test_the_nearest_level_wins(self) -> None:
        """``voltgw: {max_request_body: …}`` of the rule, else of the virtual host; the endpoint hears of no larger one."""
        small, large = "voltgw: {max_request_body: 4}", "voltgw: {max_request_body: 9}"
        for host, rule, most in ((small, "", 4), (small, large, 9)):
            self.serve(host, rule)
            got, told = self.passed(get(b"Content-Length: %d" % most, method=b"POST", body=b"x" * most))
            self.assertEqual((got.body, told.start), (b"x" * most, 200))
            client = self.client()
            client.send(get(b"Content-Length: %d" % (most + 1), method=b"POST", body=b"x" * (most + 1)))
            self.assertEqual((answer(client.got()).start, self.rig.dials, self.rig.origins[-1].got()), (413, [], b""))
