"""Traces of a running gateway: what endpoints are told, and what a collector gets, decoded by OpenTelemetry's own messages."""

from __future__ import annotations

import contextlib
import io
import json
import re
from random import Random
from types import SimpleNamespace
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import balancer, config
from tests.app.running import OK, GatewayCase
from tests.integration.gateway import free_port
from tests.observe.making import WALL, an_exchange
from tests.otlp import CLIENT, INTERNAL, SERVER, Collecting, said
from tests.support import Origin, Peer
from voltgw.app.service import GatewayService
from voltgw.app.tracing import Tracer
from voltgw.cli.main import main
from voltgw.values.exchange import Exchange
from voltgw.values.trace import Trace

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
SPAN: Final = "b7ad6b7169203331"
PARENT: Final = f"traceparent: 00-{TRACE}-{SPAN}-01"
RETRIES: Final = ", retry_policy: {retry_condition: [5xx], num_retries: 2, back_off: {base_interval: 1}}"
_SENT: Final = re.compile(rb"(?im)^traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\r$")


def told(peer: bytes) -> list[tuple[str, str, int]]:
    """Of each request that an origin got: trace, parent span, flags."""
    return [(trace.decode(), span.decode(), int(flags, 16)) for trace, span, flags in _SENT.findall(peer)]


class TracingCase(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.collector = Collecting()
        self.url = self.collector.listen(self.addCleanup)
        self.heads = b""
        self.held = False                   # origins do not answer

    def origin_of(self, *answers: bytes) -> Origin:
        """An origin that keeps the heads it gets and gives these answers, the last one for ever."""
        left = list(answers)

        def answer(peer: Peer, data: bytes) -> None:
            while b"\r\n\r\n" in peer.received:
                head, _, peer.received = peer.received.partition(b"\r\n\r\n")
                self.heads += head + b"\r\n\r\n"
                if not self.held:
                    peer.send(left.pop(0) if len(left) > 1 else left[0])

        return self.origin(answer)

    async def traced(
        self, tracing: str, hosts: dict[str, int], *, host: str = "{}", destination: str = "", rules: str = "",
    ) -> GatewayService:
        """A gateway with these terms that sends its spans to the collector soon, with virtual hosts of one endpoint each.

        `host` is their ``voltgw``, `destination` more of their last rule's, `rules` what stands before that one.
        """
        text = [f"""\
gateway: {{admin: {{port: 0}}, tracing: {{endpoint: {self.url!r}, delay: 100ms, {tracing}}}}}
objects:
- {{kind: advertise_policy, metadata: {{name: p}}, spec: {{address: 127.0.0.1, port: {self.port}, protocol: TCP}}}}
"""]
        for name, port in hosts.items():
            text.append(f"""\
- kind: virtual_host
  metadata: {{name: {name}}}
  spec: {{domains: [{name}.example], proxy: HTTP_PROXY, advertise_policies: [p], routes: [{name}], voltgw: {host}}}
- kind: route
  metadata: {{name: {name}}}
  spec:
    routes:
{rules.replace("CLUSTER", name)}    - {{route_destination: {{destinations: [{{cluster: [{{name: {name}}}]}}]{destination}}}}}
- {{kind: cluster, metadata: {{name: {name}}}, spec: {{endpoints: [{{name: {name}}}]}}}}
- {{kind: endpoint, metadata: {{name: {name}}}, spec: {{ip: 127.0.0.1, port: {port}}}}}
""")
        self.file.write_text("".join(text), encoding="utf-8")
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        return gateway

    async def get(self, *fields: str, target: str = "/", host: str = "shop.example") -> bytes:
        """The status line of an answer to a GET on a connection of its own."""
        peer = await self.client(self.port)
        peer.send("\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode())
        head = await peer.heard(b"\r\n\r\n")
        return head.partition(b"\r\n")[0]

    async def spans(self, count: int) -> list[Any]:
        """So many spans at the collector."""
        await self.until(lambda: len(self.collector.spans) >= count)
        return self.collector.spans


class ExportTests(TracingCase):
    async def test_a_request_in_its_callers_trace(self) -> None:
        """The endpoint is called by a new span of the caller's trace, which the collector gets below the request's own."""
        origin = self.origin_of(OK)
        gateway = await self.traced("headers: {x-token: 'string:///c2VjcmV0'}", {"shop": origin.port})
        self.assertEqual(await self.get(PARENT, "tracestate: vendor=1", "user-agent: t", target="/cart?token=abc"),
                         b"HTTP/1.1 200 OK")
        server, client, connect = await self.spans(3)
        self.assertEqual((server.trace_id.hex(), server.parent_span_id.hex(), server.kind), (TRACE, SPAN, SERVER))
        self.assertEqual((client.trace_id.hex(), client.parent_span_id, client.kind), (TRACE, server.span_id, CLIENT))
        self.assertEqual((connect.parent_span_id, connect.name, connect.kind), (client.span_id, "connect", INTERNAL))
        self.assertEqual(told(self.heads), [(TRACE, client.span_id.hex(), 1)])
        self.assertIn(b"tracestate: vendor=1\r\n", self.heads)
        self.assertEqual(server.name, "GET shop/0")
        self.assertEqual(server.trace_state, "vendor=1")
        values = said(server)
        expected = {"http.request.method": "GET", "url.path": "/cart", "url.query": "token=***", "server.address": "shop.example",
                    "http.response.status_code": 200, "network.protocol.version": "1.1", "user_agent.original": "t",
                    "client.address": "127.0.0.1", "voltgw.virtual_host": "default/shop", "voltgw.route": "shop/0",
                    "url.scheme": "http", "voltgw.attempts": 1}
        self.assertEqual({key: values[key] for key in expected}, expected)
        self.assertEqual(said(client)["server.port"], origin.port)
        self.assertEqual(said(client)["http.response.status_code"], 200)
        self.assertEqual([server.status.code, client.status.code], [0, 0])
        self.assertLessEqual(server.start_time_unix_nano, client.start_time_unix_nano)
        self.assertLessEqual(client.end_time_unix_nano, server.end_time_unix_nano)
        self.assertTrue(0 < connect.end_time_unix_nano - connect.start_time_unix_nano < 1e9)
        self.assertEqual(server.flags & 0x300, 0x300)       # the parent is remote
        resource = {each.key: each.value.string_value for each in self.collector.requests[0].resource_spans[0].resource.attributes}
        self.assertEqual((resource["service.name"], resource["service.namespace"]), ("voltgw", "local"))
        self.assertEqual(self.collector.fields[0]["x-token"], "secret")
        self.assertEqual(self.collector.fields[0]["content-type"], "application/x-protobuf")
        self.assertEqual(self.collector.paths[0], b"/v1/traces")
        await self.until(lambda: gateway.tracer.exporter is not None and gateway.tracer.exporter.sent == 3)

    async def test_each_try_has_a_span(self) -> None:
        """Two answers 503, then 200: three client spans, the endpoint was called by each of them, retries say why."""
        bad = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
        origin = self.origin_of(bad, bad, OK)
        await self.traced("sample: 1, write: [w3c, b3, b3_multi]", {"shop": origin.port}, destination=RETRIES)
        self.assertEqual(await self.get(), b"HTTP/1.1 200 OK")
        spans = await self.spans(5)
        server, *rest = spans
        tries = [span for span in rest if span.kind == CLIENT]
        self.assertEqual([span.span_id.hex() for span in tries], [span for _, span, _ in told(self.heads)])
        self.assertEqual(re.findall(rb"(?i)\r\nx-b3-spanid: ([0-9a-f]+)", self.heads),
                         [span.span_id.hex().encode() for span in tries])
        self.assertEqual(re.findall(rb"(?i)\r\nb3: [0-9a-f]+-([0-9a-f]+)-1", self.heads),
                         [span.span_id.hex().encode() for span in tries])
        self.assertEqual({trace for trace, _, _ in told(self.heads)}, {server.trace_id.hex()})
        self.assertEqual([said(span)["http.response.status_code"] for span in tries], [503, 503, 200])
        self.assertEqual([said(span).get("http.request.resend_count") for span in tries], [None, 1, 2])
        self.assertEqual([said(span).get("voltgw.retry.reason") for span in tries], [None, "503", "503"])
        self.assertEqual([span.status.code for span in tries], [2, 2, 0])
        times = [moment for span in tries for moment in (span.start_time_unix_nano, span.end_time_unix_nano)]
        self.assertEqual(times, sorted(times))
        self.assertEqual(said(server)["voltgw.attempts"], 3)

    async def test_names_that_are_looked_up(self) -> None:
        """Of a host whose endpoints are what names lead to: the look-up is a span, once, since the answer is remembered."""
        origin = self.origin_of(OK)
        self.file.write_text(f"""\
gateway: {{admin: {{port: 0}}, tracing: {{endpoint: {self.url!r}, delay: 100ms, sample: 1}}}}
objects:
- {{kind: advertise_policy, metadata: {{name: p}}, spec: {{address: 127.0.0.1, port: {self.port}, protocol: TCP}}}}
- kind: virtual_host
  metadata: {{name: any}}
  spec:
    domains: [localhost]
    proxy: HTTP_PROXY
    advertise_policies: [p]
    dynamic_reverse_proxy: {{resolve_endpoint_dynamically: true}}
    voltgw: {{allowed_prefixes: [127.0.0.0/8]}}
""", encoding="utf-8")
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        host = f"localhost:{origin.port}"
        self.assertEqual(await self.get(host=host), b"HTTP/1.1 200 OK")
        server, lookup, client, _ = await self.spans(4)
        self.assertEqual((lookup.name, lookup.kind, lookup.parent_span_id), ("DNS lookup", INTERNAL, server.span_id))
        self.assertEqual(said(lookup)["dns.question.name"], "localhost")
        self.assertLessEqual(server.start_time_unix_nano, lookup.start_time_unix_nano)
        self.assertLessEqual(lookup.end_time_unix_nano, client.start_time_unix_nano)
        self.assertEqual(await self.get(host=host), b"HTTP/1.1 200 OK")
        spans = await self.spans(6)
        self.assertEqual([span.kind for span in spans[4:]], [SERVER, CLIENT])

    async def test_errors_are_recorded_whatever_the_sample_says(self) -> None:
        """Nothing is sampled: a good request leaves no span, one that fails does, and so does one that is slow."""
        origin = self.origin_of(OK)
        await self.traced("sample: 0, slower_than: 2s", {"shop": origin.port, "other": free_port()})
        self.assertEqual(await self.get(), b"HTTP/1.1 200 OK")
        self.assertTrue((await self.get(host="other.example")).startswith(b"HTTP/1.1 50"))
        server, *_ = await self.spans(2)
        self.assertEqual(said(server)["voltgw.virtual_host"], "default/other")
        self.assertEqual((server.status.code, said(server)["voltgw.response_flags"]), (2, "UF"))
        self.assertEqual(said(server)["error.type"], "UF")
        self.assertEqual(server.flags & 1, 0)               # endpoints were told that it is not recorded
        self.assertEqual([flags for _, _, flags in told(self.heads)], [2])
        self.assertEqual(self.gateway.tracer.requests, {"sampled": 0, "error": 1, "slow": 0, "skipped": 0})
        self.held = True
        peer = await self.client(self.port)
        peer.send(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        await self.until(lambda: self.gateway.runtime.clusters["default/shop"].active)
        self.advance(3.0)
        origin.peers[-1].send(OK)
        await peer.heard(b"ok")
        await self.until(lambda: self.gateway.tracer.requests["slow"] == 1)

    async def test_relayed_connections(self) -> None:
        """Each is a trace of its own: as its client saw it, the endpoint, the connection to that; by the host's share."""
        origin = self.origin(lambda peer, data: peer.send(data))
        other = free_port()
        self.file.write_text(f"""\
gateway: {{admin: {{port: 0}}, tracing: {{endpoint: {self.url!r}, delay: 100ms, sample: 0}}}}
objects:
- {{kind: advertise_policy, metadata: {{name: p}}, spec: {{address: 127.0.0.1, port: {self.port}, protocol: TCP}}}}
- {{kind: advertise_policy, metadata: {{name: q}}, spec: {{address: 127.0.0.1, port: {other}, protocol: TCP}}}}
- kind: virtual_host
  metadata: {{name: echo}}
  spec: {{domains: [a], proxy: TCP_PROXY, advertise_policies: [p], routes: [echo], voltgw: {{tracing: {{sample: 1}}}}}}
- {{kind: virtual_host, metadata: {{name: gone}}, spec: {{domains: [a], proxy: TCP_PROXY, advertise_policies: [q], routes: [gone]}}}}
- kind: route
  metadata: {{name: echo}}
  spec: {{routes: [{{route_destination: {{destinations: [{{cluster: [{{name: echo}}]}}]}}}}]}}
- kind: route
  metadata: {{name: gone}}
  spec: {{routes: [{{route_destination: {{destinations: [{{cluster: [{{name: gone}}]}}]}}}}]}}
- {{kind: cluster, metadata: {{name: echo}}, spec: {{endpoints: [{{name: echo}}]}}}}
- {{kind: cluster, metadata: {{name: gone}}, spec: {{endpoints: [{{name: gone}}]}}}}
- {{kind: endpoint, metadata: {{name: echo}}, spec: {{ip: 127.0.0.1, port: {origin.port}}}}}
- {{kind: endpoint, metadata: {{name: gone}}, spec: {{ip: 127.0.0.1, port: {free_port()}}}}}
""", encoding="utf-8")
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        peer = await self.client(self.port)
        peer.send(b"hello")
        await peer.heard(b"hello")
        self.assertEqual(self.collector.spans, [])
        transport: Any = peer.transport
        transport.loseConnection()
        server, client, connect = await self.spans(3)
        self.assertEqual([each.name for each in (server, client, connect)], ["TCP echo/0", "TCP", "connect"])
        self.assertEqual([each.kind for each in (server, client, connect)], [SERVER, CLIENT, INTERNAL])
        self.assertEqual((client.parent_span_id, connect.parent_span_id), (server.span_id, client.span_id))
        self.assertEqual({each.trace_id for each in (server, client, connect)}, {server.trace_id})
        values = said(server)
        self.assertEqual((values["voltgw.bytes.received"], values["voltgw.bytes.sent"], values["network.transport"]), (5, 5, "tcp"))
        self.assertEqual((said(client)["server.port"], said(client)["voltgw.cluster"]), (origin.port, "default/echo"))
        self.assertGreater(server.end_time_unix_nano - server.start_time_unix_nano,
                           connect.end_time_unix_nano - connect.start_time_unix_nano)
        await self.client(other)
        server, client = (await self.spans(5))[3:]      # an error: recorded, though the sample has it not
        self.assertEqual((said(server)["voltgw.response_flags"], server.status.code, client.status.code), ("UF", 2, 2))
        self.assertEqual(gateway.tracer.requests, {"sampled": 1, "error": 1, "slow": 0, "skipped": 0})

    async def test_a_collector_that_asks_for_patience(self) -> None:
        """503 with Retry-After: the same batch comes again then; a part that is refused is counted."""
        origin = self.origin_of(OK)
        partial = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=1, error_message="too old"))
        self.collector.answers = [(503, {"retry-after": "20"}, b""), (200, {}, partial.SerializeToString())]
        gateway = await self.traced("sample: 1, uncompressed: true", {"shop": origin.port})
        await self.get()
        await self.until(lambda: gateway.tracer.exporter is not None and gateway.tracer.exporter.requests["retried"] == 1)
        exporter = gateway.tracer.exporter
        assert exporter is not None
        self.assertIn("503", exporter.problem)
        self.assertEqual(self.collector.spans, [])
        self.advance(21.0)
        await self.spans(3)
        await self.until(lambda: not exporter.queued)
        self.assertEqual((exporter.sent, exporter.dropped["rejected"], exporter.problem), (2, 1, ""))
        self.assertNotIn("content-encoding", self.collector.fields[-1])

    async def test_the_rest_is_sent_when_the_gateway_stops(self) -> None:
        """Records that nobody has looked at yet become spans, and these are with the collector when the stop is over."""
        origin = self.origin_of(OK)
        gateway = self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}"),
                             gateway=f"tracing: {{endpoint: {self.url!r}, sample: 1, delay: 60s}}, drain_timeout: 1s")
        await self.warm()
        await self.get("Connection: close")
        await gateway.stopService()
        self.assertEqual(len(self.collector.spans), 3)

    async def test_a_reload_changes_it(self) -> None:
        """Off, on, other terms, off again: the next request is treated so, and nothing of before is lost."""
        origin = self.origin_of(OK)
        entry = balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}")
        gateway = self.start(entry)
        await self.warm()
        await self.get(PARENT)
        self.assertEqual(told(self.heads), [(TRACE, SPAN, 1)])          # as it came
        for terms, expected in (("sample: 1", True), ("sample: 0", False)):
            self.heads = b""
            self.write(entry, gateway=f"tracing: {{endpoint: {self.url!r}, delay: 60s, {terms}}}")
            self.assertTrue((await gateway.reload())["ok"])
            await self.get()
            (_, _, flags), = told(self.heads)
            self.assertEqual(bool(flags & 1), expected)
        await self.spans(2)                 # of the first terms: their exporter was told to finish
        self.heads = b""
        self.write(entry)
        self.assertTrue((await gateway.reload())["ok"])
        await self.get()
        self.assertEqual(told(self.heads), [])
        self.assertIsNone(gateway.tracer.numbers())


class BoundTests(SynchronousTestCase):
    def test_so_many_in_a_second(self) -> None:
        """Of the sample, and a tenth of that of the others; the rest is counted, and the next second is another one."""
        now = 5.5
        noted: list[Exchange] = []
        deps: Any = SimpleNamespace(monotonic=lambda: now, wall=lambda: WALL, random=Random(0))
        journal: Any = SimpleNamespace(note=noted.append)
        tracer = Tracer(deps, journal)
        tracer.start(Clock(), config("gateway: {tracing: {max_per_second: 20}}\n"), lambda: None)      # type: ignore[arg-type,return-value]
        expected = {"sampled": 0, "error": 0, "slow": 0, "skipped": 0}
        for second in (1, 2):
            for number in range(30):
                for sampled in (True, False):
                    exchange = an_exchange()
                    exchange.trace = Trace(b"%032x" % (number + 1), 5, b"", sampled)
                    exchange.response_code = 200 if sampled else 503
                    tracer.note(exchange)
            expected = {"sampled": 20 * second, "error": 2 * second, "slow": 0, "skipped": 38 * second}
            self.assertEqual(tracer.requests, expected)
            now += 0.75
        self.assertEqual((len(noted), tracer.failures), (120, 0))


class PropagationTests(TracingCase):
    async def test_who_is_believed(self) -> None:
        """With `trusted`, only peers that the virtual host believes; with `restart`, nobody; else everybody."""
        origin = self.origin_of(OK)
        for terms, more, goes_on in (
            ("callers: trusted", "{}", False), ("callers: trusted", "{trusted_prefixes: [127.0.0.0/8]}", True),
            ("callers: restart", "{}", False), ("callers: continue", "{}", True),
        ):
            self.heads = b""
            await self.traced(terms, {"shop": origin.port}, host=more)
            await self.get(PARENT, "tracestate: vendor=1", "X-B3-TraceId: 5")
            (trace, span, _), = told(self.heads)
            self.assertEqual((trace == TRACE, b"vendor" in self.heads), (goes_on, goes_on), terms)
            self.assertNotEqual(span, SPAN)
            self.assertNotIn(b"x-b3-traceid", self.heads.lower())
            await self.stop()

    async def test_hosts_and_rules_have_their_own_terms(self) -> None:
        """A rule's word wins over its virtual host's, that over the gateway's; who takes no part passes fields on."""
        origin = self.origin_of(OK)
        await self.traced("sample: 0", {"shop": origin.port}, host="{tracing: {sample: 1}}", rules="".join(
            f"    - {{match: [{{path: {{prefix: {path}}}}}], route_destination: {{destinations: [{{cluster: [{{name: CLUSTER}}]}}]}}, "
            f"voltgw: {{tracing: {{{said}}}}}}}\n" for path, said in (("/never", "sample: 0"), ("/apart", "disabled: true"))))
        for target in ("/", "/never", "/apart"):
            await self.get(target=target)
        await self.get(PARENT, target="/apart")
        self.assertEqual([flags & 1 for _, _, flags in told(self.heads)], [1, 0, 1])
        self.assertEqual(told(self.heads)[2], (TRACE, SPAN, 1))

    async def test_logs_and_why_name_the_trace(self) -> None:
        """The access log has trace, span and decision; `why` the trace of a request that failed."""
        origin = self.origin_of(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        log = self.folder / "access.log"
        gateway = await self.traced(f"sample: 0}}, access_log: {{path: {str(log)!r}, format: json", {"shop": origin.port})
        await self.get(PARENT)
        await self.until(lambda: log.exists() and log.read_text().endswith("\n"))
        line = json.loads(log.read_text())
        (trace, span, _), = told(self.heads)
        self.assertEqual((line["trace_id"], line["sampled"]), (TRACE, "1"))
        self.assertEqual((trace, int(span, 16)), (TRACE, int(line["span_id"], 16) + 1))     # a child of it
        known = gateway.why(line["req_id"])
        assert known is not None
        self.assertEqual(known["trace_id"], TRACE)
        told_by = io.StringIO()
        with contextlib.redirect_stdout(told_by):
            status = await deferToThread(main, ["why", "--admin", gateway.admin.addresses[0], line["req_id"]])
        self.assertEqual(status, 0)
        self.assertIn(f"\ntrace {TRACE}\n", told_by.getvalue())

    async def test_explain_says_what_sampling_would_decide(self) -> None:
        """By the caller's word, or by chance."""
        origin = self.origin_of(OK)
        gateway = await self.traced("sample: 0.25", {"shop": origin.port})
        url = f"http://shop.example:{self.port}/"

        def decision(*headers: str) -> tuple[str, str]:
            step = next(each for each in gateway.explain("GET", url, headers)["decisions"] if each["about"] == "tracing")
            return step["outcome"], step["why"]

        self.assertEqual(decision(), ("recorded with probability 0.25", "a trace begins here"))
        self.assertEqual(decision(PARENT), ("recorded", f"the caller's trace {TRACE} goes on; the caller has decided so"))
        self.assertEqual(decision(PARENT[:-1] + "0")[0], "not recorded")
        self.assertEqual(decision("b3: d"), ("recorded", "a trace begins here; the caller asks to debug it"))
        outcome, why = decision(f"b3: {TRACE}-{SPAN}")
        self.assertIn(outcome, ("recorded", "not recorded"))
        self.assertIn("by the trace's id, 0.25 of all", why)
