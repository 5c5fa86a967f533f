"""A gateway in a process of its own that has too few descriptors for its clients."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import _TWISTD, Gateway, ask, free_port, until
from tests.integration.threaded import ThreadedServer

FILES: Final = 120
_FEW: Final = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES})); "
#: Nothing is done ahead of time, so that the end itself is reached.
CONFIG: Final = """
gateway:
  admin: {{port: ADMIN}}
  max_connections: 1000
  overload: {{open_files: {{keep_alive: 0, accept: 0, refuse: 0}}}}
load_balancers:
- {{name: shop, listen: "127.0.0.1:{port}", origins: ["127.0.0.1:{origin}"]}}
"""


class Origin(ThreadedServer):
    """Answers every request with 200, after a moment."""

    def serve(self, sock: socket.socket) -> None:
        """Until the other side has had enough."""
        while sock.recv(65536):
            time.sleep(0.2)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def cpu_s(pid: int) -> float:
    """What a process has taken of the processors."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class DescriptorTests(SynchronousTestCase):
    def test_all_are_gone(self) -> None:
        """More clients than descriptors: who needs one is told 503, the operator is answered, and it recovers by itself."""
        origin = Origin()
        self.addCleanup(origin.stop)
        port = free_port()
        gateway = Gateway(self, CONFIG.format(port=port, origin=origin.port), command=[
            "-c", _FEW + _TWISTD, "-n", "--pidfile=", "voltgw", "--config", "voltgw.yaml"])
        gateway.wait_ready()
        self.assertEqual(ask(port).status, 200)
        clients: list[socket.socket] = []
        self.addCleanup(lambda: [each.close() for each in clients])
        for _ in range(FILES + 30):
            clients.append(socket.create_connection(("127.0.0.1", port), 5))
        paused = f'voltgw_listener_pauses_total{{listener="127.0.0.1:{port}",protocol="TCP",reason="descriptors"}}'

        def numbers() -> dict[str, float]:
            text = gateway.admin("/metrics").body.decode()
            return {name: float(value) for name, _, value in (
                line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))}

        until("accepting has paused", lambda: numbers().get(paused))

        for client in clients[:3]:
            client.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        answers = sorted(client.recv(4096).partition(b"\r\n")[0] for client in clients[:3])
        # one finds the connection in the pool that the first request has left, the others need a new one
        self.assertEqual(answers, [b"HTTP/1.1 200 OK", *[b"HTTP/1.1 503 Service Unavailable"] * 2])
        [endpoint] = gateway.cluster("default/shop")["endpoints"]
        self.assertTrue(endpoint["ready"], endpoint)
        self.assertEqual(endpoint["connect_failures"], 0)

        gateway.write(CONFIG.format(port=free_port(), origin=origin.port))
        gateway.process.send_signal(1)
        until("the reload is over", lambda: numbers()['voltgw_config_reloads_total{outcome="rejected"}'])
        self.assertIn("Too many open files", gateway.output)
        before = cpu_s(gateway.process.pid)
        time.sleep(0.5)
        spent = cpu_s(gateway.process.pid) - before
        self.assertTrue(spent < 0.2, spent)     # a listener that spins would take all of it

        for client in clients:
            client.close()
        until("new clients are served", lambda: ask(port).status == 200)
