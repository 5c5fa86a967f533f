"""``voltgw run``, ``voltgw proxy`` and ``voltgw demo`` as a person runs them: in the foreground, until a signal."""

from __future__ import annotations

import os
import re
import signal
import socket
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import balancer, balancers
from tests.integration.gateway import PATIENCE_S, Gateway, ask, free_port, until

RUN: Final = ["-m", "voltgw.cli.main", "run", "voltgw.yaml"]
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class ForegroundCase(SynchronousTestCase):
    """A gateway in the foreground, and an origin that the test plays itself."""

    def setUp(self) -> None:
        self.port = free_port()
        self.origin = socket.create_server(("127.0.0.1", 0))
        self.origin.settimeout(PATIENCE_S)
        self.addCleanup(self.origin.close)
        self.origin_port: int = self.origin.getsockname()[1]

    def config(self, *more: str, gateway: str = "") -> str:
        """Our port, the origin, and `more` balancers."""
        return f"gateway: {{admin: {{port: ADMIN}}{gateway}}}\n" + balancers(
            balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.origin_port}"), *more)

    def run_it(self, *more: str, gateway: str = "") -> Gateway:
        """``voltgw run``, ready."""
        made = Gateway(self, self.config(*more, gateway=gateway), command=RUN)
        made.wait_ready()
        return made

    def client(self) -> socket.socket:
        """A connection to the gateway."""
        made = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
        self.addCleanup(made.close)
        return made

    def under_way(self) -> tuple[socket.socket, socket.socket]:
        """A client whose request has come to the origin, and the origin's side."""
        client = self.client()
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        return client, self.accept()

    def accept(self) -> socket.socket:
        """The origin takes a connection and hears a request."""
        origin, _ = self.origin.accept()
        self.addCleanup(origin.close)
        origin.settimeout(PATIENCE_S)
        self.assertIn(b"\r\n\r\n", origin.recv(65536))
        return origin

    def refused(self) -> bool:
        """Whether nobody listens on our port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0

    def send(self, gateway: Gateway, number: int) -> None:
        """A signal."""
        gateway.process.send_signal(number)


class RunTests(ForegroundCase):
    def test_a_life(self) -> None:
        """A line on standard output for each request, SIGHUP reloads, Ctrl-C drains, the exit status is 0."""
        gateway = self.run_it()
        client, origin = self.under_way()
        origin.sendall(ANSWER)
        self.assertIn(b"ok", client.recv(65536))
        until("its line is written", lambda: '"GET /slow HTTP/1.1" 200' in gateway.output)

        other = free_port()
        gateway.write(self.config(balancer("more", f"127.0.0.1:{other}", "127.0.0.1:1")))
        gateway.reload()
        self.assertEqual(ask(other).status, 502)
        self.assertIn("generation 2 serves: listeners opened", gateway.output)

        client.sendall(b"GET /last HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"/last", origin.recv(65536))
        self.send(gateway, signal.SIGINT)
        until("new connections are refused", self.refused)
        self.assertEqual(gateway.admin("/ready").status, 503)
        origin.sendall(ANSWER)
        self.assertIn(b"connection: close\r\n", client.recv(65536))
        client.close()
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertIn('"GET /last HTTP/1.1" 200', gateway.output)
        self.assertNotIn("Traceback", gateway.output)

    def test_ctrl_c_twice(self) -> None:
        """The second one waits for nobody; a SIGHUP in between is refused, and said so."""
        gateway = self.run_it()
        client, _ = self.under_way()
        self.send(gateway, signal.SIGINT)
        until("new connections are refused", self.refused)
        self.send(gateway, signal.SIGHUP)
        until("the reload is refused", lambda: "reload refused: the gateway drains" in gateway.output)
        self.assertIsNone(gateway.process.poll())
        self.send(gateway, signal.SIGINT)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertRaises(ConnectionResetError, client.recv, 1)
        self.assertNotIn("Traceback", gateway.output)

    def test_quit(self) -> None:
        """SIGQUIT waits for nobody."""
        gateway = self.run_it()
        client, _ = self.under_way()
        self.send(gateway, signal.SIGQUIT)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertRaises(ConnectionResetError, client.recv, 1)
        self.assertNotIn("Traceback", gateway.output)

    def test_terminated_while_it_reloads(self) -> None:
        """SIGTERM while a reload waits for the first probes of a new cluster: it gives up, and the process ends."""
        gateway = self.run_it()
        slow = ", health_check: {path: /, interval: 60, timeout: 60, healthy_threshold: 1, unhealthy_threshold: 1}"
        gateway.write(self.config(balancer("more", f"127.0.0.1:{free_port()}", f"127.0.0.1:{self.origin_port}", more=slow)))
        self.send(gateway, signal.SIGHUP)
        self.accept()                       # the probe
        self.send(gateway, signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertIn("reload refused: the gateway drains", gateway.output)
        self.assertNotIn("Traceback", gateway.output)


class FailedStartTests(ForegroundCase):
    """Nothing is bound, the reason is said in one line, and the exit status tells what kind of reason it is."""

    def failed(self, gateway: Gateway, status: int) -> str:
        """What it says; nothing of it is left."""
        self.assertEqual(gateway.wait_exit(), status, gateway.output)
        self.assertTrue(self.refused())
        self.assertNotIn("Traceback", gateway.output)
        return gateway.output

    def test_errors_in_the_file(self) -> None:
        """All of them are shown, with their places and lines; the status is 2."""
        config = self.config().replace("origins", "orgins") + "- {name: b, listen: nowhere, origins: [1.2.3.4:5]}\n"
        output = self.failed(Gateway(self, config, command=RUN), 2)
        self.assertEqual(re.findall(r"voltgw\.yaml:(\d+):\d+: error", output), ["3", "4"])

    def test_a_port_is_taken(self) -> None:
        """The line names it; the status is 1."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            output = self.failed(Gateway(self, self.config(balancer("b", f"127.0.0.1:{port}", "127.0.0.1:1")), command=RUN), 1)
        self.assertRegex(output, rf"^voltgw: cannot listen on 127\.0\.0\.1:{port}: address already in use; .*\n$")

    def test_the_admin_port_is_taken(self) -> None:
        """So it is with the admin interface's."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            output = self.failed(Gateway(self, self.config().replace("ADMIN", str(port)), command=RUN), 1)
        self.assertRegex(output, rf"^voltgw: gateway\.admin: 127\.0\.0\.1:{port} cannot be used: .*\n$")

    def test_the_access_log_cannot_be_written(self) -> None:
        """And with a log that has no folder."""
        output = self.failed(Gateway(self, self.config(gateway=", access_log: no/such.log"), command=RUN), 1)
        self.assertRegex(output, r"^voltgw: gateway\.access_log: \S+/no/such\.log cannot be written: .*\n$")


class ProxyTests(ForegroundCase):
    def proxy(self, *options: str) -> Gateway:
        """``voltgw proxy`` with our port and the origin's."""
        return Gateway(self, "", command=["-m", "voltgw.cli.main", "proxy", f"127.0.0.1:{self.port}", str(self.origin_port),
                                          *options])

    def test_requests(self) -> None:
        """A port of 127.0.0.1 is balanced to, its health is checked, and requests are shown; SIGHUP changes nothing."""
        admin = free_port()
        gateway = self.proxy("--health-check", "/well", "--admin", str(admin))
        gateway.admin_port = admin
        self.accept().sendall(ANSWER)       # the probe
        gateway.wait_ready()
        client, origin = self.under_way()
        origin.sendall(ANSWER)
        self.assertIn(b"ok", client.recv(65536))
        until("its line is written", lambda: '"GET /slow HTTP/1.1" 200' in gateway.output)
        self.send(gateway, signal.SIGHUP)
        until("it was heard", lambda: "nothing has changed" in gateway.output)
        client.close()
        self.send(gateway, signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)

    def test_relaying(self) -> None:
        """With ``--tcp`` it does not look at what it relays; without ``--admin`` any port does, so two can run side by side."""
        gateway = self.proxy("--tcp")
        until("it listens", lambda: "TCP_PROXY listens on" in gateway.output)
        client = self.client()
        client.sendall(b"no http\n")
        origin, _ = self.origin.accept()
        self.addCleanup(origin.close)
        self.assertEqual(origin.recv(100), b"no http\n")
        origin.sendall(b"indeed\n")
        self.assertEqual(client.recv(100), b"indeed\n")
        self.send(gateway, signal.SIGQUIT)
        self.assertEqual(gateway.wait_exit(), 0)

    def test_a_mistake(self) -> None:
        """What cannot be meant is told as a mistake in a file is; the status is 2."""
        gateway = self.proxy("http://")
        self.assertEqual(gateway.wait_exit(), 2)
        self.assertIn("<command line>:1:", gateway.output)
        self.assertNotIn("Traceback", gateway.output)


class DemoTests(ForegroundCase):
    def test_a_tour(self) -> None:
        """What it prints can be done: the origins take turns, one falls ill and is avoided; Ctrl-C ends it all."""
        admin = free_port()
        gateway = Gateway(self, "", command=["-m", "voltgw.cli.main", "demo", "--port", str(self.port), "--admin", str(admin)])
        gateway.admin_port = admin
        gateway.wait_ready()
        until("it welcomes", lambda: "Ctrl-C ends it" in gateway.output)
        self.assertIn(f"curl -i http://127.0.0.1:{self.port}/\n", gateway.output)
        self.assertEqual({ask(self.port).json["origin"] for _ in range(6)}, {"red", "green", "blue"})
        [ill] = re.findall(r"curl http://127\.0\.0\.1:(\d+)/ill", gateway.output)
        self.assertEqual(ask(int(ill), "/ill").json, {"origin": "red", "ill": True})
        until("it is avoided", lambda: gateway.cluster("default/demo")["ready"] == 2)
        self.assertEqual({ask(self.port).json["origin"] for _ in range(6)}, {"green", "blue"})
        self.send(gateway, signal.SIGINT)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertNotIn("Traceback", gateway.output)
        self.assertEqual(os.listdir(gateway.folder).count("twistd.pid"), 0)
