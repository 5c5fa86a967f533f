"""A gateway in a process of its own that has too few descriptors for its clients."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SkipTest, SynchronousTestCase

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


def resident_bytes(pid: int) -> int:
    """What a process has in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def cpu_s(pid: int) -> float:
    """What a process has taken of the processors."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class DiskTests(SynchronousTestCase):
    """A disk of 64 KiB that is full, a device that is, and a FIFO that nobody reads."""

    def served(self, log: str, more: str = "") -> Gateway:
        """A gateway with this access log that has answered some requests."""
        self.port = free_port()
        gateway = Gateway(self, _LOGS.format(log=log, more=more, port=self.port))
        gateway.wait_ready()
        for _ in range(5):
            self.assertEqual(ask(self.port).status, 200)
        return gateway

    def test_a_log_on_a_full_disk(self) -> None:
        """Requests are answered, and the admin interface says what is wrong with the log."""
        gateway = self.served("/dev/full")
        until("it is said", lambda: gateway.admin("/").json["access_log"]["problem"] == os.strerror(errno.ENOSPC))
        self.assertTrue(gateway.admin("/").json["ready"])
        self.assertEqual(ask(self.port).status, 200)

    def test_a_log_that_nobody_reads(self) -> None:
        """A FIFO without a reader: the same; with one it is written."""
        fifo = str(Path(self.mktemp()).absolute())
        os.mkfifo(fifo)
        gateway = self.served(fifo)
        self.assertIn("nobody reads it", str(gateway.admin("/").json["access_log"]))
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        self.assertEqual(ask(self.port).status, 200)

        def read() -> bytes:
            try:
                return os.read(reader, 1 << 16)
            except BlockingIOError:
                return b""

        self.assertIn(b'"rsp_code":"200"', until("lines come", read).replace(b" ", b""))

    def test_nothing_can_be_kept(self) -> None:
        """``data_dir`` on a full disk: the configuration serves, the log says what is not kept, and what was kept stays."""
        disk = Path(self.mktemp()).absolute()
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True, check=False)
        if mounted.returncode:
            raise SkipTest("mounting a small disk takes more rights")
        self.addCleanup(subprocess.run, ["umount", "-l", str(disk)], check=True)
        gateway = self.served("-", f", data_dir: {disk}")
        until("it is kept", lambda: gateway.admin("/generations").json["current"] == 1)
        kept = sorted((each.name, each.stat().st_size) for each in disk.rglob("*") if each.is_file())
        with (disk / "filler").open("wb", 0) as filler:
            try:
                while True:
                    filler.write(b"x" * 1024)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
        gateway.write(_LOGS.format(log="-", more=f", data_dir: {disk}, drain_timeout: 3s", port=self.port))
        gateway.process.send_signal(signal.SIGHUP)
        until("it is said", lambda: "No space left on device" in gateway.output)
        self.assertEqual(gateway.admin("/").json["generation"], 2)
        self.assertEqual(ask(self.port).status, 200)
        after = sorted((each.name, each.stat().st_size) for each in disk.rglob("*") if each.is_file() and each.name != "filler")
        self.assertEqual(after, kept)
        self.assertIn("No space left", gateway.admin("/generations").json["problem"])


_LOGS: Final = """
gateway: {{admin: {{port: ADMIN}}, access_log: {{path: {log}, format: json}}{more}}}
objects:
- kind: route
  metadata: {{name: r}}
  spec: {{routes: [{{route_direct_response: {{response_code: 200, response_body: hello}}}}]}}
- kind: advertise_policy
  metadata: {{name: p}}
  spec: {{address: 127.0.0.1, port: {port}}}
- kind: virtual_host
  metadata: {{name: shop}}
  spec: {{domains: ["*"], proxy: HTTP_PROXY, advertise_policies: [p], routes: [r]}}
"""


class MemoryTests(SynchronousTestCase):
    def test_bodies_that_are_kept(self) -> None:
        """Clients send bodies that must be read whole, and never the end of them: memory stays within its budget for real."""
        port = free_port()
        gateway = Gateway(self, _KEEPS.format(port=port, budget="8GiB"))
        gateway.wait_ready()
        self.assertEqual(ask(port).status, 200)
        before = resident_bytes(gateway.process.pid)
        budget = before + (80 << 20)
        gateway.write(_KEEPS.format(port=port, budget=budget))
        gateway.process.send_signal(signal.SIGHUP)
        until("it is reloaded", lambda: gateway.admin("/").json["generation"] == 2)
        most = 0
        for _ in range(24):                 # three times as much as there is
            client = socket.create_connection(("127.0.0.1", port), 5)
            self.addCleanup(client.close)
            client.sendall(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n")
            try:
                for _ in range(85):
                    client.sendall(b"x" * 100_000)
            except OSError:
                pass                        # it was refused, and does not read all of it
            most = max(most, resident_bytes(gateway.process.pid))
            time.sleep(0.06)
        self.assertTrue(before + (20 << 20) < most <= budget, (before, most, budget))
        answer = ask(port)
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "2"))
        self.assertIn("for want of memory", str(gateway.admin("/ready").json["overload"]))


_KEEPS: Final = """
gateway:
  admin: {{port: ADMIN}}
  overload: {{memory: {{budget: {budget}, keep_alive: 0, refuse: 0.7, accept: 0, reset: 0}}}}
objects:
- kind: endpoint
  metadata: {{name: e}}
  spec: {{ip: 127.0.0.1, port: 1}}
- kind: cluster
  metadata: {{name: c}}
  spec: {{endpoints: [e]}}
- kind: route
  metadata: {{name: r}}
  spec:
    routes:
    - match: [{{path: {{prefix: /up}}}}]
      route_destination: {{destinations: [{{cluster: c}}], buffer_policy: {{max_request_bytes: 9000000}}}}
    - route_direct_response: {{response_code: 200, response_body: hello}}
- kind: advertise_policy
  metadata: {{name: p}}
  spec: {{address: 127.0.0.1, port: {port}}}
- kind: virtual_host
  metadata: {{name: shop}}
  spec: {{domains: ["*"], proxy: HTTP_PROXY, advertise_policies: [p], routes: [r]}}
"""


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
        self.addCleanup(lambda: list(map(socket.socket.close, clients)))
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
        # one finds the connection in the pool that the first request has left, perhaps another one after it; else a new one is needed
        self.assertEqual((answers[0], answers[2]), (b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Service Unavailable"), answers)
        [endpoint] = gateway.cluster("default/shop")["endpoints"]
        self.assertTrue(endpoint["ready"], endpoint)
        self.assertEqual(endpoint["connect_failures"], 0)

        gateway.write(CONFIG.format(port=free_port(), origin=origin.port))
        gateway.process.send_signal(signal.SIGHUP)
        until("the reload is over", lambda: numbers()['voltgw_config_reloads_total{outcome="rejected"}'])
        self.assertIn("too many open files; raise the limit of open files (ulimit -n", gateway.output)
        gateway.write(CONFIG.format(port=port, origin=origin.port).replace("1000", "20"))
        gateway.process.send_signal(signal.SIGHUP)              # what needs no other socket is read, and helps
        until("the reload is over", lambda: numbers()['voltgw_config_reloads_total{outcome="ok"}'])
        self.assertEqual(numbers()["voltgw_open_streams_limit"], 20)
        before = cpu_s(gateway.process.pid)
        time.sleep(0.5)
        spent = cpu_s(gateway.process.pid) - before
        self.assertTrue(spent < 0.2, spent)     # a listener that spins would take all of it

        for client in clients:
            client.close()
        until("new clients are served", lambda: ask(port).status == 200)
