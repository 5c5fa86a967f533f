"""gRPC through the gateway, with grpcio as client and as server: all kinds of calls, errors, deadlines, retries."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, free_port
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


class GrpcTests(SynchronousTestCase):
    def test_all_kinds_of_calls(self) -> None:
        """Unary and streaming calls, trailers, deadlines, the server's errors and ours, as without a gateway between."""
        python = grpc_python()
        server = subprocess.Popen([python, str(_PEER), "server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert server.stdin is not None and server.stdout is not None
        self.addCleanup(server.wait, 20)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.stdin.close)
        port, nobody = free_port(), free_port()
        gateway = Gateway(self, CONFIG.format(port=port, origin=int(server.stdout.readline()), nobody=nobody))
        gateway.wait_ready()
        done = subprocess.run([python, str(_PEER), "client", str(port)], capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        self.assertEqual(found["unary"], "hello|20")
        self.assertEqual(found["trailers"], {"x-served": "1", "x-raw-bin": "00ff"})
        self.assertEqual((found["large"], found["count"], found["sum"]), (True, 500, "500000"))
        self.assertEqual(found["echo"], [f"Q{number}" for number in range(20)])
        self.assertEqual(found["fail"], ["FAILED_PRECONDITION", "no: \u00e4 100%"])
        self.assertEqual(found["unknown"][0], "UNIMPLEMENTED")
        self.assertEqual(found["slow"][0], "DEADLINE_EXCEEDED")
        self.assertEqual((found["ours"][0], found["nowhere"][0]), ("UNIMPLEMENTED", "UNAVAILABLE"))
        self.assertEqual(found["unsteady"], "2")
        metrics = gateway.admin("/metrics").body.decode()
        # 9 from the server, 12 from it and from us, 14 from it (and tried again) and from us, for want of an endpoint.
        for status, count in (("0", 6), ("9", 1), ("12", 2), ("14", 2)):
            self.assertTrue(f'voltgw_grpc_responses_total{{grpc_status="{status}"}} {count}.0\n' in metrics, status)
