"""Explanations held against what the data plane does, for requests by the thousand."""

from __future__ import annotations

from random import Random

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, host, objects, policy
from tests.proxy.rig import EMPTY, Rig, Wire
from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.listening import serve_http
from voltgw.app.question import read_question
from voltgw.app.rehearsal import Head
from voltgw.proxy.factory import HttpFactory
from voltgw.values.counters import ListenerCounters

REQUESTS = 1500
CLIENT = "203.0.113.9"

TEXT = objects(
    host("a", domains='[a.example, "*.a.example"]', routes="[r, rest]",
         more=", response_headers_to_add: [{name: x-host, value: a}], request_headers_to_remove: [x-gone]"),
    host("b", domains='["*.example", "b.example:81"]', routes="[r]", more=", append_server_name: us"),
    host("raw", domains="[raw.example]", routes="[r, rest]", more=", disable_path_normalize: true"),
    policy("p", "address: 127.0.0.1, port: 8080"), """\
- kind: route
  metadata: {name: r}
  spec:
    routes:
    - match: [{path: {path: /old}}, {path: {prefix: /older}}]
      route_redirect: {prefix_rewrite: /new, response_code: 308, proto_redirect: https}
    - match: [{path: {prefix: /api}, http_method: POST}, {path: {prefix: /api/v1/}, query_params: [{key: debug}]}]
      route_destination: {destinations: [{cluster: [c1], weight: 2}, {cluster: [c2], weight: 1}], prefix_rewrite: /in/}
      request_headers_to_add: [{name: x-seen, value: "1"}, {name: accept, value: "*/*", append: false}]
    - match: [{path: {regex: "/users/[0-9]+(/.*)?"}, headers: [{name: x-a, exact: "1", invert_match: true}]}]
      route_destination: {destinations: [{cluster: [c2]}], host_rewrite: inner.example}
    - match: [{headers: [{name: cookie, presence: true}]}]
      route_destination: {destinations: [{cluster: [c1]}], auto_host_rewrite: true}
    - match: [{path: {path: /none}}]
      route_direct_response: {response_code: 200, response_body: "fine"}
    - match: [{path: {prefix: /empty}}]
      route_destination: {destinations: [{cluster: [c3]}]}
- kind: route
  metadata: {name: rest}
  spec:
    routes:
    - match: [{path: {prefix: /}, http_method: GET}]
      route_destination: {destinations: [{cluster: [c1]}]}
- {kind: cluster, metadata: {name: c1}, spec: {endpoints: [e1, e2]}}
- {kind: cluster, metadata: {name: c2}, spec: {endpoints: [e3]}}
- {kind: cluster, metadata: {name: c3}, spec: {endpoints: []}}
- {kind: endpoint, metadata: {name: e1}, spec: {ip: 10.0.0.1, port: 80}}
- {kind: endpoint, metadata: {name: e2}, spec: {ip: 10.0.0.1, port: 80, voltgw: {weight: 0}}}
- {kind: endpoint, metadata: {name: e3}, spec: {ip: 10.0.0.3, port: 8000}}
""")

HOSTS = ("a.example", "x.a.example", "A.EXAMPLE.", "b.example", "b.example:81", "c.example:8080", "raw.example", "example", "bad host")
PATHS = ("/", "/old", "/older/x", "/api", "/api/v1/x", "/apix", "/api/../old", "/users/12", "/users/12/%2e%2e/x", "/users/a", "/none",
         "/empty", "//x", "/%zz", "/a%2Fb", "/./api/v1/", "/*", "/x y")
QUERIES = ("", "?", "?debug", "?debug=1&x", "?x=%64ebug")
FIELDS = ("X-A: 1", "X-A: 2", "Cookie: a=b", "X-Gone: 1", "Accept: text/html", "Connection: close", "Connection: x-a", "Content-Length: 3",
          "X_Under: 1", "X-Forwarded-For: 198.51.100.1", "Transfer-Encoding: chunked", "Expect: 100-continue", "Upgrade: websocket")


class AgreementTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.runtime = dry_runtime(config(TEXT))
        self.plan, = self.runtime.listeners.values()
        self.rig = Rig()
        assert self.plan.table is not None
        self.factory = HttpFactory(self.rig, "l", "127.0.0.1", 8080, self.plan.table, ListenerCounters())
        serve_http(self.factory, self.plan, self.plan.table)

    def done(self, head: bytes, body: bytes) -> tuple[str, list[str], list[str], str]:
        """What the data plane does: who is asked, the head there, the head of the answer, the route."""
        protocol = self.factory.buildProtocol(IPv4Address("TCP", CLIENT, 50000))
        client = Wire(self.rig.hand, IPv4Address("TCP", CLIENT, 50000), protocol)
        protocol.makeConnection(client)
        client.send(head + body)
        asked, sent = "", b""
        if self.rig.dials:
            dial = self.rig.dials[0]
            asked = dial.endpoint.cluster
            origin = dial.accept()
            sent = origin.got()
            origin.send(EMPTY)
            origin.fin()
        told = client.got()
        if not client.gone:
            client.fin()
        while self.rig.hand.turn():
            pass
        exchange = self.rig.records.exchanges[-1]
        route = "" if exchange.route is None else exchange.route.name
        return asked, _lines(sent), _lines(told), route

    def test_generated_requests(self) -> None:
        """Route, cluster, the origin's head and the answer's head: for each request as it was explained."""
        chance = Random(4)
        explainer = Explainer(self.runtime)
        seen: dict[str, int] = {}
        for _ in range(REQUESTS):
            method = chance.choice(("GET", "GET", "POST", "OPTIONS", "DELETE"))
            fields = sorted({chance.choice(FIELDS) for _ in range(chance.randrange(4))})
            path = chance.choice(PATHS) + chance.choice(QUERIES)
            question = read_question(method, path, [f"Host: {chance.choice(HOSTS)}", *fields], CLIENT, "127.0.0.1:8080")
            explained = explainer.explain(question)
            chunked = b"chunked" in question.head
            body = b"0\r\n\r\n" if chunked else b"abc" if b"Content-Length: 3" in question.head else b""
            asked, sent, told, route = self.done(question.head, body)
            where = question.head.decode()
            self.assertEqual(explained.route, route, where)
            self.assertEqual(_head(explained.sent), sent, where)
            self.assertEqual(_head(explained.told), told, where)
            if asked:
                self.assertGreater(explained.shares[asked], 0, where)
            key = f"{route} {explained.status}"
            seen[key] = seen.get(key, 0) + 1
        for key in ("r/0 308", "r/1 None", "r/2 None", "r/3 None", "r/4 200", "r/5 503", "rest/0 None", " 400", " 404"):
            self.assertIn(key, seen)


def _head(head: Head | None) -> list[str]:
    """A head of an explanation as lines, without what differs every time."""
    if head is None:
        return []
    return _without_times([head.start, *(f"{name}: {value}" for name, value in head.fields)])


def _lines(data: bytes) -> list[str]:
    return _without_times(data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")) if data else []


def _without_times(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith(("x-request-id:", "date:"))]
