"""Hot restarts as clients meet them: under load, again and again, and when the new process comes to nothing."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port, until
from tests.integration.workers_load import Load
from tests.servers import nginx


class UdpLoad(threading.Thread):
    """Asks the same question again and again from new ports; counts what is not answered."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.answered = self.lost = 0
        self.over = threading.Event()
        self._port = port

    def run(self) -> None:
        """Called by the thread."""
        while not self.over.is_set():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(2.0)
                client.sendto(b"ping", ("127.0.0.1", self._port))
                try:
                    self.answered += client.recv(100) == b"ping"
                except TimeoutError:
                    self.lost += 1
            time.sleep(0.005)


class Echo(threading.Thread):
    """A UDP endpoint that sends back what comes, a moment later."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]

    def run(self) -> None:
        """Called by the thread."""
        while True:
            data, client = self.sock.recvfrom(2000)
            if data == b"end":
                self.sock.close()
                return
            time.sleep(0.001)
            self.sock.sendto(data, client)

    def end(self) -> None:
        """End it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"end", ("127.0.0.1", self.port))
        self.join()


class RestartCase(SynchronousTestCase):
    workers = 0

    def setUp(self) -> None:
        """An nginx and a UDP echo behind a gateway."""
        self.origin = nginx(self, 'location / { return 200 "a"; }')
        self.echo = Echo()
        self.echo.start()
        self.addCleanup(self.echo.end)
        self.port, self.udp, self.named = free_port(), free_port(), free_port()
        self.addCleanup(self.stop_all)
        self.gateway = Gateway(self, self.config())
        self.gateway.wait_ready()
        self.pids = [self.gateway.process.pid]

    def config(self, more: str = "") -> str:
        """One HTTP and one UDP load balancer."""
        return f"""
gateway: {{workers: {self.workers}, admin: {{port: ADMIN}}, drain_timeout: 2s, restart_socket: {self.socket_path()}}}
load_balancers:
- {{name: shop, listen: "127.0.0.1:{self.port}", origins: ["127.0.0.1:{self.origin.port}"]}}
- {{name: echo, protocol: udp, listen: "127.0.0.1:{self.udp}", origins: ["127.0.0.1:{self.echo.port}"]}}
{more}"""

    def socket_path(self) -> str:
        """Where it is found: short, whatever the folder of the test is."""
        if not hasattr(self, "_path"):
            self._path = f"/tmp/vg-{os.getpid()}-{free_port()}.sock"
            self.addCleanup(Path(self._path).unlink, missing_ok=True)
        return self._path

    def stop_all(self) -> None:
        """End every process that has served."""
        for pid in pids_of(str(self.gateway.file.parent)):
            os.kill(pid, signal.SIGKILL)
        until("all have ended", lambda: not pids_of(str(self.gateway.file.parent)))

    def serving(self) -> int:
        """The process at the restart socket."""
        return int(self.gateway.admin("/").json["process"]["pid"])

    def restart(self) -> int:
        """SIGUSR2 to the one that serves; the pid of the one that serves then."""
        before = self.pids[-1]
        os.kill(before, signal.SIGUSR2)
        now: int = until("another one serves", lambda: self._other(before))
        self.pids.append(now)
        return now

    def _other(self, before: int) -> int:
        try:
            now = self.serving()
            return now if now != before and self.gateway.admin("/ready").status == 200 else 0
        except OSError:
            return 0


def pids_of(folder: str) -> list[int]:
    """Processes whose working folder it is."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and os.readlink(entry / "cwd") == folder and (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


class HotRestartTests(RestartCase):
    def test_under_load(self) -> None:
        """Two restarts, the second while the first process may still drain: no request, no datagram is lost."""
        udp = UdpLoad(self.udp)
        udp.start()
        try:
            with Load(self.port) as load:
                time.sleep(0.3)
                self.restart()
                self.restart()
                time.sleep(0.5)
        finally:
            udp.over.set()
            udp.join()
        self.assertEqual(load.failures, [])
        self.assertGreater(load.answers, 300)
        self.assertEqual(udp.lost, 0)
        self.assertGreater(udp.answered, 100)
        self.assertEqual(len(set(self.pids)), 3)
        until("those of before have ended", lambda: not set(self.pids[:2]) & set(pids_of(str(self.gateway.folder))))
        self.assertEqual(self.gateway.wait_exit(), 0)
        text = self.gateway.admin("/metrics").body.decode()
        self.assertIn("voltgw_inherited_sockets 3.0", text)       # HTTP, UDP, admin

    def test_one_that_fails_loses_nothing(self) -> None:
        """A configuration with an error, and one that cannot be had: the process that serves goes on, and says what happened."""
        self.gateway.write(self.config("nonsense: 1"))
        os.kill(self.gateway.process.pid, signal.SIGUSR2)
        until("it says so", lambda: "which was to take over, has ended" in self.gateway.output)
        self.assertEqual((self.serving(), ask(self.port).status), (self.gateway.process.pid, 200))
        text = self.gateway.admin("/metrics").body.decode()
        self.assertIn("voltgw_hot_restarts_failed_total 1.0", text)
        self.gateway.write(self.config())
        with Load(self.port) as load:
            self.restart()
        self.assertEqual(load.failures, [])

    def test_a_port_that_is_taken(self) -> None:
        """The new process needs a port that somebody else has: it ends, and everything is as it was."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.gateway.write(self.config(
                f'- {{name: more, listen: "127.0.0.1:{port}", origins: ["127.0.0.1:{self.origin.port}"]}}'))
            with Load(self.port) as load:
                os.kill(self.gateway.process.pid, signal.SIGUSR2)
                until("it says so", lambda: "which was to take over, has ended" in self.gateway.output)
        self.assertIn(f"cannot listen on 127.0.0.1:{port}", self.gateway.output)
        self.assertEqual(load.failures, [])
        self.assertEqual(self.serving(), self.gateway.process.pid)

    def test_with_workers_from_now_on(self) -> None:
        """The new process has two workers where the old one had none: they share the port that was its own."""
        self.workers = 2
        self.gateway.write(self.config())
        with Load(self.port) as load:
            self.restart()
            time.sleep(0.5)
        self.assertEqual(load.failures, [])
        until("both have had connections",
              lambda: ask(self.port) and min(each["connections_accepted"] for each in self.gateway.admin("/workers").json["workers"]))

    def test_nobody_to_take_over_from(self) -> None:
        """``--takeover`` where nobody serves ends with status 1 and says so."""
        other = Gateway(self, self.config().replace(self.socket_path(), self.socket_path() + "x"), command=[
            "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "voltgw", "--config", "voltgw.yaml",
            "--takeover"])
        self.assertEqual(other.wait_exit(), 1)
        self.assertIn("can be taken over from", other.output)


class HotRestartWorkersTests(RestartCase):
    workers = 2

    def test_under_load(self) -> None:
        """The same with workers: the new ones have the sockets of the old ones."""
        with Load(self.port) as load:
            time.sleep(0.3)
            self.restart()
            time.sleep(0.5)
        self.assertEqual(load.failures, [])
        self.assertGreater(load.answers, 100)
