"""A warm request passes through few calls of ours: the hot path is flat and stays so."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, Final

from tests.config.making import loaded
from tests.proxy.sockets import SocketCase
from voltgw.cluster.ewma import PeakEwma
from voltgw.cluster.outlier import ALL_ANSWERS, OutlierDetector, OutlierRules
from voltgw.routing.hosts import HostTable
from voltgw.routing.table import VirtualHost, build_host
from voltgw.values.exchange import Exchange
from voltgw.values.retry import MirrorPlan, RetryPlan

#: Calls into our own code for one warm GET with a filter each way. Fewer than the lower bound would mean that nothing was
#: counted; the upper one is the promise of the architecture (about thirteen) with room for a filter's own calls.
MOST: Final = 20
LEAST: Final = 5

REQUEST: Final = (b"GET /index.html?x=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test/1.0\r\nAccept: */*\r\n"
                  b"Accept-Encoding: gzip\r\nCookie: session=1\r\n\r\n")
ANSWER: Final = (b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
                 b"Content-Length: 5\r\n\r\nhello")


def request_filter(exchange: Exchange) -> None:
    """Adds a field, as a header edit does."""
    exchange.request.fields.append((b"x-added", b"1"))


def response_filter(exchange: Exchange) -> None:
    """Adds a field, as a header edit does."""
    assert exchange.response is not None
    exchange.response.fields.append((b"x-added", b"1"))


#: Features -> what the virtual host, the rule and its destinations say of them, and our own calls that they add to a request.
FEATURES: Final[dict[str, tuple[str, str, str, list[str]]]] = {
    "nothing": ("", "", "", []),
    "header edits both ways": (
        "request_headers_to_add: [{name: X-A, value: a}, {name: X-B, value: b}], response_headers_to_remove: [x-c]", "", "",
        ["headers._RequestEdits.replace", "headers._ResponseEdits.replace"]),
    "cookie edits both ways": (
        "request_cookies_to_add: [{name: a, value: b}], response_cookies_to_add: [{name: c, value: d}]", "", "",
        ["cookies.request_cookies.edit", "cookies.response_cookies.edit"]),
    "attributes of cookies": ("cookies_to_modify: [{name: sid, add_secure: {}}]", "", "", ["cookies._changing.edit"]),
    "CSRF": ("csrf_policy: {all_load_balancer_domains: {}}", "", "", ["csrf.csrf.refuse"]),
    "a route's times and retries": ("", "", "timeout: 5000, retry_policy: {retry_condition: [5xx], num_retries: 2}", []),
    "upgrades": ("", "", "web_socket_config: {use_websocket: true, idle_timeout: 1000, max_connect_attempts: 2}", []),
    "CORS, without Origin": ("cors_policy: {allow_origin: ['https://a.example']}", "", "", ["cors.Cors.request", "cors.Cors.response", "fields._Field.sent"]),
    "compression, of another type": ("compression_params: {content_type: [a/b]}", "", "", ["compression.compression.compress"]),
    "a fault that hits nobody": ("", "voltgw: {fault: {abort: {status: 503, percent: 0}}}", "", ["fault._abort.refuse", "voltgw.routing.hashing.fraction"]),
    "a hash of the address": ("", "", "hash_policy: [{source_ip: true}]", ["voltgw.routing.hashing._Key.of_one", "voltgw.routing.hashing._client_address"]),
    "a mirror of none": ("", "", "mirror_policy: {cluster: [{name: shop}], percent: {numerator: 0}}", []),
    "a buffer policy": ("buffer_policy: {max_request_bytes: 1000}", "", "", []),
    "high priority": ("", "", "priority: HIGH", []),
}
FILES: Final = """
    kind: virtual_host
    metadata: {{name: shop}}
    spec: {{domains: [shop.example], routes: [r], {host}}}
    ---
    kind: route
    metadata: {{name: r}}
    spec: {{routes: [{{{rule}route_destination: {{destinations: [{{cluster: shop}}], {forward}}}}}]}}
    """


#: What happens by time, a few times a second, and not for a request.
CLOCKWORK: Final = ("voltgw.net.clock.", "voltgw.net.deadlines.Deadlines.sweep", "voltgw.net.loop.Loop._tick",
                    "voltgw.net.loop.Loop._timed")


class CountCase(SocketCase):
    def setUp(self) -> None:
        """A listener and a client."""
        super().setUp()
        self.http_factory = self.http()
        self.client = self.connect(self.http_factory)

    def calls_of_a_request(self) -> list[str]:
        """Our own calls for one request on warm connections."""
        self.client.sendall(REQUEST)
        calls = self.calls_of_a_turn()
        self.assertTrue(self.origin.recv(65536).startswith(b"GET /index.html?x=1 HTTP/1.1\r\n"))
        self.origin.sendall(ANSWER)
        calls += self.calls_of_a_turn()
        self.assertTrue(self.client.recv(65536).endswith(b"\r\n\r\nhello"))
        return [call for call in calls if not call.startswith(CLOCKWORK)]


class CallCountTests(CountCase):
    def setUp(self) -> None:
        """A filter for each direction."""
        super().setUp()
        self.route.request_filters = (request_filter,)
        self.route.response_filters = (response_filter,)

    def serve(self) -> None:
        """One request through the gateway."""
        self.client.sendall(REQUEST)
        if not hasattr(self, "origin"):
            self.accept()
        self.assertIn(b"x-added: 1\r\n", self.heard(self.origin))
        self.origin.sendall(ANSWER)
        self.assertIn(b"x-added: 1\r\n", self.heard(self.client))

    def test_a_warm_get_stays_within_its_calls(self) -> None:
        """From the readable socket to the answer's write: at most `MOST` calls of ours, and at least `LEAST`."""
        for _ in range(3):                  # the connection is pooled, and everything that is remembered is
            self.serve()
        calls = self.calls_of_a_request()
        self.assertEqual(len(self.records.exchanges), 4)
        self.assertLessEqual(len(calls), MOST, calls)
        self.assertGreaterEqual(len(calls), LEAST, calls)

    def test_outlier_detection_adds_none(self) -> None:
        """An endpoint that is watched and answers well costs no call; one that is picked by latency costs three."""
        for _ in range(3):
            self.serve()
        plain = len(self.calls_of_a_request())
        (endpoint,) = self.cluster.endpoints
        OutlierDetector(OutlierRules(), Random(0)).watch(endpoint)
        self.assertEqual(len(self.calls_of_a_request()), plain)
        endpoint.latency = PeakEwma()
        endpoint.heed(ALL_ANSWERS)
        self.assertEqual(Counter(name.rpartition(".")[2] for name in self.calls_of_a_request())["observe"], 1)
        self.assertLessEqual(len(self.calls_of_a_request()), plain + 4)     # and outlier detection's `answered`

    def test_what_configured_features_add(self) -> None:
        """Where nothing comes of it in this request, hardly a call: no pause, no timer, no copy of anything."""
        for _ in range(3):
            self.serve()
        plain = len(self.calls_of_a_request())
        route, host = self.route, self.host
        policy = frozenset(("5xx", "reset"))
        table: list[tuple[str, int, Any, str, Any]] = [
            ("a retry policy", 0, route, "retry", RetryPlan(policy, 3, statuses=frozenset((429,)))),
            ("a time for each try", 1, route, "retry", RetryPlan(policy, 3, per_try_timeout_s=5.0)),
            ("a short time for each try", 4, route, "retry", RetryPlan(policy, 3, per_try_timeout_s=0.1, hedge=True)),
            ("upgrades", 0, route, "upgrades", frozenset((b"websocket",))),
            ("a buffer policy", 0, route, "buffer_bytes", 1 << 20),
            ("a hash key", 0, route, "hash_key", lambda exchange: 1),
            ("a mirror that takes none", 2, route, "mirror", MirrorPlan(self.cluster, 0, 100)),
            ("a timeout", 0, route, "timeout_s", 30.0),
            ("another Host", 0, route, "host_rewrite", b"inner.example"),
            ("Via", 0, host, "via", True),
            ("Proxy-Status", 0, host, "proxy_status", True),
        ]
        for name, most, owner, attribute, value in table:
            before = getattr(owner, attribute)
            setattr(owner, attribute, value)
            self.calls_of_a_request()       # what is made once is made
            calls = self.calls_of_a_request()
            setattr(owner, attribute, before)
            self.assertLessEqual(len(calls), plain + most, (name, calls))
        self.assertEqual(len(self.calls_of_a_request()), plain)


class ConfiguredTests(CountCase):
    """What files ask for, on the way from the listener to the endpoint and back."""

    def built(self, host: str, rule: str, forward: str) -> VirtualHost:
        """The virtual host that such files make."""
        config = loaded(FILES.format(host=host or "no_challenge: {}", rule=f"{rule}, " if rule else "", forward=forward or "timeout: 0"))
        (spec,) = config.of("virtual_host").values()
        return build_host("shop", spec.spec, list(config.of("route").values()), lambda ref, namespace: self.cluster, place=spec.place)

    def calls_with(self, host: VirtualHost) -> Counter[str]:
        """Our own calls for one request to this host on warm connections."""
        self.http_factory.table = HostTable([(host.domains, host)])
        for number in range(3):
            self.client.sendall(REQUEST)
            if not number and not host.routes[0].cluster.endpoints[0].pool.idle:       # type: ignore[union-attr]  # ours
                self.accept()
            self.heard(self.origin)
            self.origin.sendall(ANSWER)
            self.heard(self.client)
        return Counter(name.replace(".<locals>", "") for name in self.calls_of_a_request()
                       if not name.endswith("<listcomp>"))          # which newer interpreters do not call

    def test_each_feature_adds_exactly_its_own(self) -> None:
        """A feature that is not configured adds no call, one that is adds those of its filters, and nothing elsewhere."""
        plain = self.calls_with(self.built("", "", ""))
        for name, (host, rule, forward, wanted) in FEATURES.items():
            calls = self.calls_with(self.built(host, rule, forward))
            added = [call.removeprefix("voltgw.routing.filters.") for call in (calls - plain).elements()]
            self.assertEqual((sorted(added), plain - calls), (wanted, Counter()), name)
