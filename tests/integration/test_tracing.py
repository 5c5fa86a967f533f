"""Traces in real processes: curl in front, nginx behind, a collector that speaks TLS and decodes with OpenTelemetry's messages."""

from __future__ import annotations

import gzip
import http.server
import signal
import ssl
import threading
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.gateway import PATIENCE_S, ask, free_port, until
from tests.integration.test_https import HttpsCase, QuietServer, host, policy, upstream
from tests.otlp import CLIENT, INTERNAL, SERVER, said
from tests.servers import nginx

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
SPAN: Final = "b7ad6b7169203331"


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes batches of whoever has the token."""

    protocol_version = "HTTP/1.1"
    spans: list[Any]
    refused = 0

    def do_POST(self) -> None:
        """One batch."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["authorization"] != "Bearer abc" or self.path != "/v1/traces":
            type(self).refused += 1
            self.send_response(401)
        else:
            request = ExportTraceServiceRequest()
            request.ParseFromString(gzip.decompress(body))
            self.spans += [span for of in request.resource_spans for scoped in of.scope_spans for span in scoped.spans]
            self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


class TracingTests(HttpsCase):
    def collector(self) -> tuple[type[Collector], int]:
        """What it gets, and its port."""
        made = type("Kept", (Collector,), {"spans": []})
        server = QuietServer(("127.0.0.1", 0), made)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pki / "collector.crt", self.pki / "collector.key")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join(PATIENCE_S)

        self.addCleanup(stop)
        return made, server.server_address[1]

    def test_one_trace_from_curl_to_nginx(self) -> None:
        """Over HTTP/2 and HTTP/1.1, TLS on both sides: nginx is called by the try's span, handshakes are spans, nothing is lost."""
        self.server("a.example")
        self.server("collector", "localhost")
        collector, port = self.collector()
        origin = nginx(self, f"ssl_certificate {self.pki}/a.example.crt; ssl_certificate_key {self.pki}/a.example.key; "
                             "location / { return 200 '$http_traceparent $http_tracestate $http_b3'; } "
                             "location /bad { return 503 '$http_traceparent'; }", ssl=True)
        gateway = self.gateway(
            policy(), host("a", "a.example", "a.example"),
            upstream(origin.port, "sni: a.example, common_params: {validation_params: {trusted_ca_url: 'file:PKI/ca.crt'}}"),
            more=f", tracing: {{endpoint: 'https://localhost:{port}/v1/traces', trusted_ca: 'file:PKI/ca.crt', "
                 "headers: {authorization: 'string:///QmVhcmVyIGFiYw=='}, sample: 0, write: [w3c, b3], delay: 60s}")
        told = []
        for version, path in (("--http2", "/"), ("--http1.1", "/bad")):
            answer = self.curl("a.example", version, "-H", f"traceparent: 00-{TRACE}-{SPAN}-0{int(path == '/')}",
                               "-H", "tracestate: a=1,b=2", path=path)
            told.append(answer.stdout.split())
        self.assertEqual(told[0][0][:36], f"00-{TRACE}-")
        self.assertEqual((told[0][0][-2:], told[0][1], told[1][0][-2:]), ("01", "a=1,b=2", "00"))
        self.curl("a.example")              # in no sample, and no error
        until("all are in the log", lambda: len(self.records(gateway, 3)) == 3)
        self.assertEqual(collector.spans, [])
        self.assertIn("voltgw_trace_spans_queued", gateway.admin("/metrics").body.decode())
        gateway.process.send_signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertEqual(collector.refused, 0)
        servers = [span for span in collector.spans if span.kind == SERVER]
        tries = [span for span in collector.spans if span.kind == CLIENT]
        self.assertEqual({(span.trace_id.hex(), span.parent_span_id.hex()) for span in servers}, {(TRACE, SPAN)})
        self.assertEqual([f"00-{TRACE}-{span.span_id.hex()}" for span in tries], [each[0][:-3] for each in told])
        self.assertEqual([said(span)["network.protocol.version"] for span in servers], ["2", "1.1"])
        self.assertEqual([(span.status.code, said(span)["http.response.status_code"]) for span in servers], [(0, 200), (2, 503)])
        inner = {(span.parent_span_id, span.name): span for span in collector.spans if span.kind == INTERNAL}
        self.assertEqual(set(inner), {
            (servers[0].span_id, "TLS handshake"), (servers[1].span_id, "TLS handshake"), (tries[0].span_id, "connect"),
            (tries[0].span_id, "TLS handshake")})
        for span in inner.values():
            self.assertTrue(0 < span.end_time_unix_nano - span.start_time_unix_nano < 10**9, span)
        (record, *_) = self.records(gateway, 3)
        self.assertEqual((record["trace_id"], record["span_id"]), (TRACE, servers[0].span_id.hex()))
        self.assertNotIn("abc", gateway.output)

    def test_two_gateways_are_one_trace(self) -> None:
        """Client, ingress, egress, server: each calls the next one by its own try, in the trace that the first one began."""
        self.server("collector", "localhost")
        collector, port = self.collector()
        origin = nginx(self, "location / { return 200 '$http_traceparent'; }")
        said_to = (f", tracing: {{endpoint: 'https://localhost:{port}/v1/traces', trusted_ca: 'file:PKI/ca.crt', sample: 1, "
                   "headers: {authorization: 'string:///QmVhcmVyIGFiYw=='}, delay: 100ms, service_name: NAME}")
        here = ("- {kind: virtual_host, metadata: {name: h}, spec: {domains: ['*'], proxy: HTTP_PROXY, advertise_policies: [p], "
                "routes: [r]}}\n")
        inner_port = self.port
        self.gateway(policy(), here, upstream(origin.port), more=said_to.replace("NAME", "egress"))
        self.port = free_port()
        self.gateway(policy(), here, upstream(inner_port), more=said_to.replace("NAME", "ingress"))
        told = ask(self.port).body.decode()
        until("the spans are there", lambda: len(collector.spans) == 6)
        first, second = sorted((span for span in collector.spans if span.kind == SERVER), key=lambda span: len(span.parent_span_id))
        by_parent = {span.parent_span_id: span for span in collector.spans if span.kind == CLIENT}
        self.assertEqual((first.parent_span_id, second.parent_span_id), (b"", by_parent[first.span_id].span_id))
        self.assertEqual(told, f"00-{first.trace_id.hex()}-{by_parent[second.span_id].span_id.hex()}-03")
        self.assertEqual({span.trace_id for span in collector.spans}, {first.trace_id})

    def test_every_worker_sends_its_own(self) -> None:
        """Two data-plane processes: all requests are in traces, and the one answer of /metrics counts all spans."""
        self.server("collector", "localhost")
        collector, port = self.collector()
        origin = nginx(self, "location / { return 200; }")
        gateway = self.gateway(
            policy(), "- {kind: virtual_host, metadata: {name: h}, spec: {domains: ['*'], proxy: HTTP_PROXY, "
            "advertise_policies: [p], routes: [r]}}\n", upstream(origin.port),
            more=f", workers: 2, tracing: {{endpoint: 'https://localhost:{port}/v1/traces', trusted_ca: 'file:PKI/ca.crt', "
                 "headers: {authorization: 'string:///QmVhcmVyIGFiYw=='}, sample: 1, delay: 100ms}")
        for _ in range(16):
            self.assertEqual(ask(self.port).status, 200)

        def servers() -> list[Any]:
            return [span for span in collector.spans if span.kind == SERVER]

        until("the spans are there", lambda: len(servers()) == 16)
        self.assertEqual(len({span.trace_id for span in servers()}), 16)
        until("they are counted", lambda: (
            f"voltgw_trace_spans_sent_total {float(len(collector.spans))}" in gateway.admin("/metrics").body.decode()))
        self.assertIn('voltgw_cluster_request_duration_seconds_count{cluster="default/c"} 16.0',
                      gateway.admin("/metrics").body.decode())
        self.assertEqual(gateway.admin("/").json["traces"]["requests"], {"sampled": 16, "error": 0, "slow": 0, "skipped": 0})
