"""gRPC through the gateway, with grpcio as client and as server: all kinds of calls, errors, deadlines, retries."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.envoy import PREFIX, start_envoy
from tests.integration.gateway import Gateway, free_port, until
from tests.servers import grpc_python

CONFIG: Final = """\
gateway: {{admin: {{port: ADMIN}}, access_log: access.log}}
objects:
- {{kind: advertise_policy, metadata: {{name: grpc}}, spec: {{address: 127.0.0.1, protocol: TCP, port: {port}}}}}
- {{kind: endpoint, metadata: {{name: origin}}, spec: {{ip: 127.0.0.1, port: {origin}}}}}
- {{kind: endpoint, metadata: {{name: nobody}}, spec: {{ip: 127.0.0.1, port: {nobody}}}}}
- {{kind: cluster, metadata: {{name: origin}}, spec: {{endpoints: [origin], http2_options: {{enabled: true}}}}}}
- {{kind: cluster, metadata: {{name: nobody}}, spec: {{endpoints: [nobody], http2_options: {{enabled: true}}}}}}
- kind: route
  metadata: {{name: grpc}}
  spec:
    routes:
    - match: [{{path: {{prefix: /nowhere.}}}}]
      route_destination: {{destinations: [{{cluster: nobody}}]}}
    - match: [{{path: {{prefix: /test.Echo/}}}}]
      route_destination:
        destinations: [{{cluster: origin}}]
        retry_policy: {{retry_condition: ["5xx"], num_retries: 2}}
      voltgw: {{retry_non_idempotent: true}}
- kind: virtual_host
  metadata: {{name: grpc}}
  spec:
    domains: ["*"]
    routes: [grpc]
    advertise_policies: [grpc]
    http_protocol_options: {{http_protocol_enable_v1_v2: {{}}}}
"""
_PEER: Final = Path(__file__).with_name("grpc_peer.py")


class GrpcCase(SynchronousTestCase):
    def server(self) -> int:
        """The port of a server by grpcio."""
        server = subprocess.Popen([grpc_python(), str(_PEER), "server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert server.stdin is not None and server.stdout is not None
        self.addCleanup(server.wait, 20)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.stdin.close)
        return int(server.stdout.readline())

    def gateway(self, origin: int, config: str = CONFIG) -> int:
        """The port of a gateway before a server."""
        port = free_port()
        self.made = Gateway(self, config.format(port=port, origin=origin, nobody=free_port()))
        self.made.wait_ready()
        return port

    def said(self, client: str, port: int) -> dict[str, Any]:
        """What a client by grpcio has seen."""
        done = subprocess.run([grpc_python(), str(_PEER), client, str(port)], capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def envoy(self, port: int, origin: int) -> None:
        """Envoy, which speaks HTTP/2 on both sides, running."""
        kind = f"{PREFIX}.upstreams.http.v3.HttpProtocolOptions"
        start_envoy(self, port, origin, {"codec_type": "HTTP2"}, {"typed_extension_protocol_options": {
            kind.removeprefix("type.googleapis.com/"): {
                "@type": kind, "explicit_http_config": {"http2_protocol_options": {}}}}})

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until("Envoy listens", listens)

    def check_calls(self, found: dict[str, Any]) -> None:
        """Every kind of call went as it does without anybody between."""
        self.assertEqual(found["unary"], "hello|20")
        self.assertEqual(found["trailers"], {"x-served": "1", "x-raw-bin": "00ff"})
        self.assertEqual((found["large"], found["count"], found["sum"]), (True, 500, "500000"))
        self.assertEqual(found["echo"], [f"Q{number}" for number in range(20)])
        self.assertEqual(found["fail"], ["FAILED_PRECONDITION", "no: \u00e4 100%"])
        self.assertEqual(found["unknown"][0], "UNIMPLEMENTED")
        self.assertEqual(found["slow"][0], "DEADLINE_EXCEEDED")
        self.assertEqual((found["ours"][0], found["nowhere"][0]), ("UNIMPLEMENTED", "UNAVAILABLE"))
        self.assertEqual(found["early"][0], "UNIMPLEMENTED")
        self.assertEqual(found["unsteady"], "2")


class GrpcTests(GrpcCase):
    def test_all_kinds_of_calls(self) -> None:
        """Unary and streaming calls, trailers, deadlines, the server's errors and ours, as without a gateway between."""
        self.check_calls(self.said("client", self.gateway(self.server())))
        metrics = self.made.admin("/metrics").body.decode()
        # 9 from the server, 12 from it and twice from us, 14 from it (and tried again) and from us, for want of an endpoint.
        for status, count in (("0", 6), ("9", 1), ("12", 3), ("14", 2)):
            self.assertTrue(f'voltgw_grpc_responses_total{{grpc_status="{status}"}} {count}.0\n' in metrics, status)
        self.made.process.send_signal(signal.SIGTERM)       # what waits is written by then
        self.made.wait_exit()
        lines = [json.loads(line) for line in (self.made.folder / "access.log").read_text().splitlines()]
        logged = Counter(each.get("grpc_status") for each in lines)
        # A call has one line: an answer that was tried again is none. The deadline may pass on the client's side first.
        self.assertEqual({status: logged[status] for status in ("0", "9", "12", "14")}, {"0": 6, "9": 1, "12": 3, "14": 1})

    def test_codes_that_are_tried_again(self) -> None:
        """Those that the route names, and no others; who gives a call up, or whose time is over, is not worked for any longer."""
        config = CONFIG.replace('retry_policy: {{retry_condition: ["5xx"], num_retries: 2}}', "timeout: 20000").replace(
            "retry_non_idempotent: true", "retry_grpc: [cancelled, deadline-exceeded, internal, resource-exhausted, unavailable]")
        found = self.said("flaky", self.gateway(self.server(), config))
        self.assertEqual((found.pop("deadline"), found.pop("told")), ("DEADLINE_EXCEEDED", "2"))
        again = {name for name, answer in found.items() if answer == "2"}
        self.assertEqual(again, {"CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
        self.assertEqual({name: answer for name, answer in found.items() if name not in again and name != answer}, {})
        self.assertEqual(len(found), 16)
        metrics = self.made.admin("/metrics").body.decode()
        self.assertIn('voltgw_cluster_retries_total{cluster="default/origin"} 5.0', metrics)
        self.assertIn('voltgw_grpc_responses_total{grpc_status="5"} 1.0', metrics)


class EnvoyTests(GrpcCase):
    """Envoy before the gateway, and behind it."""

    def test_envoy_as_client_and_as_origin(self) -> None:
        """Every kind of call passes through both, whichever comes first."""
        origin = self.server()
        port = free_port()
        gateway = self.gateway(origin)
        self.envoy(port, gateway)
        self.check_calls(self.said("client", port))
        port = free_port()
        self.envoy(port, self.server())
        self.check_calls(self.said("client", self.gateway(port)))
        self.assertIn("voltgw_internal_failures_total 0.0", self.made.admin("/metrics").body.decode())
