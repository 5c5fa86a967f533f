"""A drain as peers see it, in its order: /ready fails, then nothing new is taken, answers are the last, what is idle ends."""

from __future__ import annotations

import http.client
import signal
import socket
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port, until
from tests.servers import nginx


class DrainTests(SynchronousTestCase):
    def test_the_order(self) -> None:
        """With a lead time load balancers notice first; then connections close, and one that is busy has its time."""
        origin = nginx(self, 'location / { return 200 "a"; }')
        port, relayed = free_port(), free_port()
        gateway = Gateway(self, f"""
gateway: {{admin: {{port: ADMIN}}, drain_lead: 800ms, drain_timeout: 1s}}
load_balancers:
- {{name: shop, listen: "127.0.0.1:{port}", origins: ["127.0.0.1:{origin.port}"]}}
- {{name: bytes, protocol: tcp, listen: "127.0.0.1:{relayed}", origins: ["127.0.0.1:{origin.port}"]}}
""")
        gateway.wait_ready()
        idle = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.addCleanup(idle.close)
        idle.request("GET", "/")
        self.assertEqual(idle.getresponse().read(), b"a")
        tunnel = socket.create_connection(("127.0.0.1", relayed), timeout=10)
        self.addCleanup(tunnel.close)
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        until("/ready says no", lambda: gateway.admin("/ready").status == 503)
        noticed = time.monotonic() - began
        answer = ask(port)                  # new connections are served as always…
        self.assertEqual((answer.status, answer.headers.get("connection")), (200, None))
        idle.request("GET", "/")            # …and so are those that there are
        self.assertEqual(idle.getresponse().read(), b"a")
        assert idle.sock is not None
        self.assertEqual(idle.sock.recv(1), b"")                # what is idle ends when the lead time is over
        closed = time.monotonic() - began
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port))
        tunnel.sendall(b"GET / HTTP/1.0\r\n\r\n")               # what is relayed goes on
        self.assertTrue(tunnel.recv(9).startswith(b"HTTP/1.1"))
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertLess(noticed, 0.7)
        self.assertGreater(closed, 0.75)
        self.assertIn("draining:", gateway.output)
