"""Filters in the data plane: what the endpoint got, what the client was told, what the log says."""

from __future__ import annotations

import gzip

from tests.config.making import loaded
from tests.proxy.rig import EMPTY, LISTENER, Message, ProxyCase, answer, requests
from voltgw.config.values import Ref
from voltgw.interfaces import UpstreamCluster
from voltgw.proxy.factory import HttpFactory
from voltgw.routing.hosts import HostTable
from voltgw.routing.table import build_host

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

        made = build_host("shop", spec.spec, list(config.of("route").values()), find, place=spec.place)
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

    def test_cookies(self) -> None:
        """The route's edits before the host's, in both directions; each Set-Cookie is a field of its own."""
        self.serve("request_cookies_to_remove: [b], response_cookies_to_add: [{name: h, value: '3'}]",
                   "request_cookies_to_add: [{name: b, value: '2'}, {name: c, value: '3'}], response_cookies_to_remove: [o]")
        got, told = self.passed(get(b"Cookie: a=1; b=x"), b"HTTP/1.1 200 OK\r\nSet-Cookie: o=1\r\nSet-Cookie: p=2; Path=/\r\n"
                                b"Content-Length: 0\r\n\r\n")
        self.assertEqual(got.get(b"cookie"), b"a=1; c=3")
        self.assertEqual([value for name, value in told.fields if name == b"set-cookie"], [b"p=2; Path=/", b"h=3"])


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
