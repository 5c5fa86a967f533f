"""``voltgw status``, ``clusters`` and ``reload`` against gateways that run, and against what is none."""

from __future__ import annotations

import json
import socket
import sys
import threading
from functools import partial
from io import StringIO
from shutil import rmtree
from tempfile import mkdtemp
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import balancer, balancers
from tests.integration.gateway import Gateway, free_port, until
from voltgw.cli.main import main
from voltgw.cli.remote import answer

CHECKED: Final = ", health_check: {path: /, interval: 10, timeout: 10, healthy_threshold: 1, unhealthy_threshold: 1}"


class CommandCase(SynchronousTestCase):
    """Runs commands in this process."""

    def command(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, and what it printed to standard output and error."""
        out, err = StringIO(), StringIO()
        saved = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = out, err
        try:
            status = main(arguments)
        finally:
            sys.stdout, sys.stderr = saved
        return status, out.getvalue(), err.getvalue()

    def shows(self, text: str, *arguments: str) -> bool:
        """Whether a command prints a text."""
        return text in self.command(*arguments)[1]


class UnixTests(CommandCase):
    """A gateway whose admin interface is a unix socket, where it may be told what to do."""

    def setUp(self) -> None:
        self.port = free_port()
        self.silent = socket.create_server(("127.0.0.1", 0))    # never accepts, never answers
        self.addCleanup(self.silent.close)
        short = mkdtemp()                   # a socket's name may have 107 bytes, and trial's folders are deep
        self.addCleanup(rmtree, short)
        self.admin = f"{short}/admin.sock"
        self.gateway = Gateway(self, self.config())
        until("it answers or has ended", lambda: (
            self.command("status", "--admin", self.admin)[0] != 3 or self.gateway.process.poll() is not None))
        self.assertIsNone(self.gateway.process.poll(), self.gateway.output)

    def config(self, *more: str) -> str:
        """One balancer whose second origin is nobody, and `more` of them."""
        shop = balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.silent.getsockname()[1]}", "127.0.0.1:1",
                        more=CHECKED)
        return "gateway: {admin: {unix: " + self.admin + "}, drain_timeout: 1s}\n" + balancers(shop, *more)

    def test_generations(self) -> None:
        """None without a folder; with one they are listed, and the first serves again although the file says something else."""
        where = ("--admin", self.admin)
        status, out, _ = self.command("generations", *where)
        self.assertEqual((status, out.partition(";")[0]), (0, "none is kept"))
        self.assertEqual(self.command("rollback", *where)[0], 2)
        text = self.config().replace("drain_timeout", f"data_dir: {mkdtemp(dir=self.admin.rpartition('/')[0])}, drain_timeout")
        more = balancer("more", f"127.0.0.1:{free_port()}", "127.0.0.1:1")
        for number, said in enumerate((text, text + more), 1):
            self.gateway.write(said)
            self.assertEqual(self.command("reload", *where)[0], 0)
            shown = f"{number:>6}  20"
            until("it is kept", partial(self.shows, shown, "generations", *where))
        status, out, err = self.command("rollback", *where)
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"^number 1 serves, as generation 4 .*\n(  .*\n)*  the file on disk says something else: /")
        first, second, differs = self.command("generations", *where)[1].splitlines()
        self.assertRegex(first, r"^     2  20\S+Z  [0-9a-f]{12}  \S+ \(1 file\)$")
        self.assertTrue(second.endswith("(1 file)  serves, rolled back to"), second)
        self.assertIn("says something else", differs)
        status, _, err = self.command("rollback", *where, "77")
        self.assertEqual((status, err.partition(" in ")[0]), (2, "voltgw rollback: there is no generation 77"))

    def test_them_all(self) -> None:
        """What each prints, and its exit status, in the life of one gateway."""
        status, out, err = self.command("status", "--admin", self.admin)
        self.assertEqual((status, err), (1, ""))
        self.assertRegex(out, r"generation 1, not ready\n  waits for cluster default/shop: . first probes? under way\n")
        self.assertIn("  listeners: 1 of 1 bound\n  clusters: ", out)
        status, out, _ = self.command("status", "--admin", self.admin, "--json")
        self.assertEqual((status, json.loads(out)["ready"]), (1, False))

        status, out, err = self.command("clusters", "--admin", self.admin)
        self.assertEqual((status, err), (0, ""))
        until("the first probe is over", lambda: "refused" in self.command("clusters", "--admin", self.admin)[1])
        head, first, second = self.command("clusters", "--admin", self.admin)[1].splitlines()
        self.assertIn("default/shop: ", head)
        self.assertRegex(first, r"^  127\.0\.0\.1:\d+ +unknown +receives ")
        self.assertRegex(second, r"^  127\.0\.0\.1:1 +(unhealthy|unknown) +receives no traffic: health check \S+ fails: .*refused")
        for name in ("shop", "default/shop"):
            status, out, _ = self.command("clusters", "--admin", self.admin, "--json", name)
            self.assertEqual((status, [each["cluster"] for each in json.loads(out)]), (0, ["default/shop"]))
        self.assertEqual(self.command("clusters", "--admin", self.admin, "shops"),
                         (1, "", "voltgw: there is no cluster 'shops'\n"))

        self.assertEqual(self.command("reload", "--admin", self.admin), (0, "generation 1 serves\n", ""))
        other = free_port()
        self.gateway.write(self.config(balancer("more", f"127.0.0.1:{other}", "127.0.0.1:1")))
        status, out, err = self.command("reload", "--admin", self.admin)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, f"generation 2 serves\n  listeners opened: 127.0.0.1:{other}\n  virtual hosts added: default/more\n"
                         "  clusters added: default/more\n")
        self.gateway.write(self.config().replace("load_balancers", "loadbalancers"))
        status, out, err = self.command("reload", "--admin", self.admin)
        self.assertEqual((status, out), (2, ""))
        self.assertRegex(err, r"^voltgw reload: \S+voltgw\.yaml:2:1: ")
        self.assertIn("the last reload was refused: ", self.command("status", "--admin", self.admin)[1])
        status, out, _ = self.command("reload", "--admin", self.admin, "--json")
        self.assertEqual((status, json.loads(out)["ok"]), (2, False))


class TcpTests(CommandCase):
    """A gateway whose admin interface is a port of loopback, where it may only be asked."""

    def test_them_all(self) -> None:
        """By address, or by the port alone."""
        gateway = Gateway(self, "gateway: {admin: {port: ADMIN}}\n" + balancers(
            balancer("shop", f"127.0.0.1:{free_port()}", "127.0.0.1:1")))
        gateway.wait_ready()
        port = str(gateway.admin_port)
        for where in (port, f"127.0.0.1:{port}", f"localhost:{port}"):
            status, out, _ = self.command("status", "--admin", where)
            self.assertEqual((status, out.splitlines()[0].partition(", ")[2]), (0, "generation 1, ready"))
        self.assertEqual(self.command("clusters", "--admin", port)[0], 0)
        status, out, err = self.command("reload", "--admin", port)
        self.assertEqual((status, out), (1, ""))
        self.assertIn("SIGHUP", err)


class NobodyTests(CommandCase):
    def test_nobody_listens(self) -> None:
        """Exit status 3, and one line that says where nobody answers, however the place is written."""
        nobody = str(free_port())
        for command in ("status", "clusters", "reload"):
            for where in (nobody, f"127.0.0.1:{nobody}", "/nonexistent/admin.sock", "127.0.0.1:port", "no.such.host.invalid:1"):
                status, out, err = self.command(command, "--admin", where)
                self.assertEqual((status, out, err.count("\n")), (3, "", 1), (command, where))
                self.assertIn(f"no gateway answers at {where}", err)

    def test_somebody_else_listens(self) -> None:
        """A server that is no gateway is told from one: one line, no traceback, status 1 or 3."""
        answers = {
            "no HTTP": (b"220 \x1b[31msmtp.example\r\n", 3),
            "no JSON": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 3),
            "other JSON": (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[{}]", 1),
            "an object": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 1),
            "a monitor": (b'HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\n\r\n{"error": "no"}', 1),
        }
        for command in ("status", "clusters", "reload"):
            for name, (said, wanted) in answers.items():
                status, out, err = self.command(command, "--admin", self.server(said))
                self.assertEqual((status, out), (wanted, ""), (command, name))
                self.assertTrue(err.endswith("\n") and err[:-1].isprintable(), (command, name, err))

    def server(self, said: bytes) -> str:
        """Somebody who answers one connection with these bytes; its port."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(5)
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join)
        return str(listening.getsockname()[1])

    def test_a_gateway_that_hangs(self) -> None:
        """It is said to hang, not to be absent; the exit status is 3 all the same."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            out = StringIO()
            self.patch(sys, "stderr", out)
            where = f"127.0.0.1:{silent.getsockname()[1]}"
            self.assertIsNone(answer(where, "GET", "/", 0.1))
        self.assertEqual(out.getvalue(), f"voltgw: the gateway at {where} gave no answer within 0.1 s\n")
