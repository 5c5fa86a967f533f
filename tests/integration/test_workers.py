"""A gateway of two workers as clients meet it: who serves, who counts, and what a death or a reload costs whom."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import server, shown
from tests.integration.gateway import PATIENCE_S, Gateway, ask, free_port, log_lines, short_socket, until
from tests.integration.workers_load import Load
from tests.servers import Server, nginx
from voltgw.cli.remote import ask as remote

#: A connection that a killed worker had accepted and not answered yet has failed by then (seconds).
_JUST_S: Final = 0.5


class WorkersCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Two nginx origins behind two workers."""
        self.origins = [self.origin(name) for name in ("a", "b")]
        self.port = free_port()
        self.gateway = self.new_gateway()
        self.gateway.wait_ready()

    def new_gateway(self) -> Gateway:
        """It runs as the tests do."""
        return Gateway(self, self.config())

    def origin(self, name: str) -> Server:
        """An nginx that says its name."""
        return nginx(self, f'location / {{ return 200 "{name}"; }}')

    def config(self, *origins: Server, gateway: str = "", more: str = "") -> str:
        """One load balancer."""
        names = ", ".join(f"127.0.0.1:{each.port}" for each in origins or self.origins)
        return f"""
gateway: {{workers: 2, admin: {{port: ADMIN}}, drain_timeout: 2s{gateway}}}
load_balancers:
- {{name: shop, listen: "127.0.0.1:{self.port}", origins: [{names}]}}
{more}"""

    def workers(self) -> list[dict[str, Any]]:
        """What the admin interface says of them."""
        found: list[dict[str, Any]] = self.gateway.admin("/workers").json["workers"]
        return found

    def metric(self, name: str, *labels: str) -> float:
        """The sum of the samples of a metric that have all these labels."""
        text = self.gateway.admin("/metrics").body.decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith((name + "{", name + " ")) and all(label in line for label in labels))


class ServingTests(WorkersCase):
    def test_counted_as_one(self) -> None:
        """Both take connections; metrics, endpoints and ``why`` know of all requests, whichever worker had them."""
        for _ in range(60):
            self.assertEqual(ask(self.port).status, 200)
        until("all are counted", lambda: self.metric("voltgw_requests_total", 'code_class="2xx"') == 60)
        by_worker = [each["connections_accepted"] for each in self.workers()]
        self.assertEqual(sum(by_worker), 60)
        self.assertGreater(min(by_worker), 10)      # the kernel spreads them by hash: 10 of 60 has a chance of 1 in 10 million
        self.assertEqual(self.metric("voltgw_listener_connections_total"), 60)
        self.assertEqual(self.metric("voltgw_workers"), 2)
        self.assertEqual(self.metric("voltgw_worker_up"), 2)
        self.assertEqual([self.metric("voltgw_worker_connections_total", f'worker="{n}"') for n in (1, 2)], by_worker)
        endpoints = self.gateway.cluster("default/shop")["endpoints"]
        self.assertEqual(sum(each["requests"] for each in endpoints), 60)
        self.ask_why()

    def test_a_killed_worker(self) -> None:
        """Only requests on its connections fail; it is replaced by one on the same socket; counts stay."""
        with Load(self.port) as load:
            time.sleep(2.5)                         # by now a process waits for this
            before = self.workers()
            victim = before[0]["pid"]
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()       # how long it takes is measured by benchmarks/storm.py
            until("another one serves", lambda: (now := self.workers()[0])["state"] == "ready" and now["pid"] != victim)
            time.sleep(1.0)
        self.assertLessEqual(len(load.failures), 8)         # one of each client at most
        for failure in load.failures:
            # whoever came new was served, by the other or, in its queue, by the new one; unless the victim had just taken it
            self.assertTrue(failure.held or failure.at - killed < _JUST_S, failure)
            self.assertLess(failure.at - killed, PATIENCE_S)
        self.assertGreater(load.answers, 500)
        after = self.workers()
        self.assertEqual([each["respawns"] for each in after], [1, 0])
        self.assertEqual(self.metric("voltgw_worker_respawns_total"), 1)
        until("nothing is open", lambda: self.metric("voltgw_listener_open_connections") == 0)
        counted = self.metric("voltgw_requests_total", 'code_class="2xx"')
        self.assertGreater(counted, 0.5 * load.answers)     # the last second of the victim is lost
        self.send_datagrams()

    def test_reloads(self) -> None:
        """Under load the origins change, back and forth: not one request fails, and all workers serve the last one."""
        with Load(self.port) as load:
            for number in range(4):
                time.sleep(0.3)
                self.gateway.write(self.config(self.origins[number % 2]))
                self.gateway.reload()
        self.assertEqual(load.failures, [])
        self.assertGreater(load.answers, 300)
        until("both serve the last one", lambda: [each["generation"] for each in self.workers()] == [5, 5])
        self.assertEqual({ask(self.port).body for _ in range(12)}, {b"b"})
        self.open_a_port()

    def test_the_end(self) -> None:
        """SIGTERM lets all workers finish, and leaves none."""
        pids = [each["pid"] for each in self.workers()]
        with Load(self.port, clients=2) as load:
            time.sleep(0.2)
            self.gateway.process.terminate()
            self.assertEqual(self.gateway.process.wait(10), 0, self.gateway.output)
        self.assertGreater(load.answers, 0)
        for pid in pids:
            self.assertRaises(ProcessLookupError, os.kill, pid, 0)
        self.assertNotIn("Traceback", self.gateway.output)

    def ask_why(self) -> None:
        """A request that a worker refused is explained by the control process."""
        for origin in self.origins:
            origin.stop()
        answer = ask(self.port, "/lost")
        self.assertEqual(answer.status, 502)
        request_id = answer.headers["x-request-id"]
        why = until("it has come", lambda: (found := self.gateway.admin(f"/why?id={request_id}")).status == 200 and found)
        self.assertEqual((why.json["target"], why.json["status"]), ("/lost", 502))

    def open_a_port(self) -> None:
        """A reload that opens a port gives each worker a socket of it; one that cannot changes nothing anywhere."""
        other = free_port()
        self.gateway.write(self.config(more=f'- {{name: more, listen: "127.0.0.1:{other}", origins: '
                                            f'["127.0.0.1:{self.origins[1].port}"]}}'))
        self.gateway.reload()
        for _ in range(12):
            self.assertEqual(ask(other).body, b"b")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.gateway.write(self.config(more=f'- {{name: more, listen: "127.0.0.1:{taken.getsockname()[1]}", origins: '
                                                f'["127.0.0.1:{self.origins[1].port}"]}}'))
            self.gateway.reload()
        self.assertIn("cannot listen", self.gateway.admin("/").json["last_reload_error"])
        self.assertEqual(ask(other).body, b"b")

    def send_datagrams(self) -> None:
        """Datagrams of one client stay with one worker; after its death they find the next one on the same socket."""
        port, origin = free_port(), UdpEcho()
        self.addCleanup(origin.stop)
        self.gateway.write(self.config(more=f'- {{name: echo, protocol: udp, listen: "127.0.0.1:{port}", origins: '
                                            f'["127.0.0.1:{origin.port}"]}}'))
        self.gateway.reload()
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(24)]
        for number, client in enumerate(clients):
            self.addCleanup(client.close)
            client.settimeout(5.0)
            client.connect(("127.0.0.1", port))
            for round_ in range(3):
                said = f"{number} {round_}".encode()
                client.send(said)
                self.assertEqual(client.recv(100), said)
        self.assertEqual(len(origin.peers), 24)     # one session each
        until("all are counted", lambda: self.metric("voltgw_listener_connections_total", f":{port}") == 24)
        victim = self.workers()[0]["pid"]
        os.kill(victim, signal.SIGKILL)
        until("another one serves", lambda: (now := self.workers()[0])["state"] == "ready" and now["pid"] != victim)
        for client in clients:
            client.send(b"again")
            self.assertEqual(client.recv(100), b"again")
        moved = len(origin.peers) - 24
        self.assertTrue(0 < moved < 24, moved)      # those of the victim begin anew, the others go on



class PushedTests(WorkersCase):
    """What the control process tells its workers."""

    def config(self, *origins: Server, gateway: str = "", more: str = "") -> str:
        """TLS, an access log, an admin interface that takes orders."""
        self.tls_port = free_port()
        self.socket = short_socket(self)
        return f"""
gateway:
  workers: 2
  admin: {{unix: {self.socket}}}
  monitor: {{address: 127.0.0.1, port: ADMIN}}
  access_log: {{path: access.log, format: json}}
  drain_timeout: 2s
objects:
- {{kind: virtual_host, metadata: {{name: shop}}, spec: {{domains: ["*"], proxy: HTTP_PROXY, routes: [shop], advertise_policies: [here]}}}}
- {{kind: virtual_host, metadata: {{name: safe}}, spec: {{domains: [shop.example], proxy: HTTPS_PROXY, routes: [shop], advertise_policies: [safe],
    tls_parameters: {{common_params: {{maximum_protocol_version: TLSv1_2, {shown(server("shop.example"))}}}}}}}}}
- {{kind: advertise_policy, metadata: {{name: here}}, spec: {{address: 127.0.0.1, protocol: TCP, port: {self.port}}}}}
- {{kind: advertise_policy, metadata: {{name: safe}}, spec: {{address: 127.0.0.1, protocol: TCP, port: {self.tls_port}}}}}
- kind: route
  metadata: {{name: shop}}
  spec: {{routes: [{{match: [{{path: {{prefix: /}}}}], route_destination: {{destinations: [{{cluster: [shop]}}]}}}}]}}
- {{kind: cluster, metadata: {{name: shop}}, spec: {{endpoints: [o0, o1]}}}}
""" + "".join(f"- {{kind: endpoint, metadata: {{name: o{number}}}, spec: {{ip: 127.0.0.1, port: {each.port}}}}}\n"
              for number, each in enumerate(self.origins))

    def order(self, path: str) -> Any:
        """Over the socket of the admin interface."""
        status, answer = remote(self.socket, "POST", path)
        self.assertEqual(status, 200, answer)
        return answer

    def accepted(self) -> list[int]:
        """How many connections each worker has taken."""
        _, answer = remote(self.socket, "GET", "/workers")
        return [each["connections_accepted"] for each in answer["workers"]]

    def test_pushed(self) -> None:
        """Orders hold in all workers at once; sessions of TLS are resumed at any; each appends whole lines to one access log."""
        first = f"127.0.0.1:{self.origins[0].port}"
        self.order(f"/endpoints/drain?endpoint={first}")
        self.assertEqual({ask(self.port).body for _ in range(20)}, {b"b"})
        self.order(f"/endpoints/undrain?endpoint={first}")
        self.assertEqual({ask(self.port).body for _ in range(20)}, {b"a", b"b"})
        resumed = []
        session = None
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for _ in range(16):
            with socket.create_connection(("127.0.0.1", self.tls_port)) as plain, \
                    context.wrap_socket(plain, server_hostname="shop.example", session=session) as secure:
                secure.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
                self.assertTrue(secure.recv(1000).startswith(b"HTTP/1.1 200"))
                resumed.append(secure.session_reused)
                session = session or secure.session
        self.assertEqual(resumed, [False] + [True] * 15)
        until("both have told of theirs", lambda: (served := self.accepted()) and sum(served) == 56 and min(served) > 0)
        lines = until("all lines are written", lambda: (found := log_lines(self.gateway.folder / "access.log"))
                      and len(found) == 56 and found)
        self.assertEqual(len({line["req_id"] for line in lines}), 56)
        self.assertEqual({line["rsp_code"] for line in lines} & {200, "200"}, {line["rsp_code"] for line in lines})


class AloneTests(WorkersCase):
    def test_the_control_process_is_killed(self) -> None:
        """Its workers serve on; the next one takes their sockets over, and they end when others serve: no request fails."""
        before = [each["pid"] for each in self.workers()]
        self.addCleanup(ended, before)
        with Load(self.port) as load:
            time.sleep(0.3)
            self.gateway.process.kill()
            self.gateway.process.wait()
            answers = load.answers
            time.sleep(0.8)
            self.assertGreater(load.answers, answers + 50)      # with nobody who controls them
            self.gateway.start()
            self.gateway.wait_ready()
            after = [each["pid"] for each in self.workers()]
            until("the old ones have ended", lambda: not any(map(alive, before)))
            time.sleep(0.3)
        self.assertEqual(load.failures, [])
        self.assertEqual(set(before) & set(after), set())
        self.assertIn("is alone: its sockets are taken over", self.gateway.output)
        self.assertEqual(ask(self.port).status, 200)
        sockets = [line for line in open_tcp() if line.endswith(f":{self.port}")]
        self.assertEqual(len(sockets), 2)           # no more than there were: nothing was hashed anew

    def test_a_new_one_that_cannot_start(self) -> None:
        """It takes nothing with it: the workers serve on and wait for the next one."""
        before = [each["pid"] for each in self.workers()]
        self.addCleanup(ended, before)
        self.gateway.process.kill()
        self.gateway.process.wait()
        with socket.create_server(("127.0.0.1", self.gateway.admin_port)):
            self.gateway.start()
            self.assertEqual(self.gateway.process.wait(20), 1)
        self.assertEqual(ask(self.port).status, 200)
        self.assertTrue(all(map(alive, before)))
        os.kill(before[0], signal.SIGTERM)          # an operator may end one, too
        until("it has ended", lambda: not alive(before[0]))
        self.gateway.start()
        self.gateway.wait_ready()
        until("the other one has ended", lambda: not alive(before[1]))
        self.assertEqual(ask(self.port).status, 200)


class UdpEcho:
    """Sends datagrams back; `peers` are the addresses that it has heard of."""

    def __init__(self) -> None:
        self.peers: set[tuple[str, int]] = set()
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            said, peer = self._sock.recvfrom(2048)
            if said == b"stop":
                return
            self.peers.add(peer)
            self._sock.sendto(said, peer)

    def stop(self) -> None:
        """End."""
        self._sock.sendto(b"stop", ("127.0.0.1", self.port))
        self._thread.join()
        self._sock.close()


class RightsTests(WorkersCase):
    """Started as root by ``twistd --uid``, it runs as somebody else."""

    def new_gateway(self) -> Gateway:
        """As nobody."""
        if os.getuid() != 0:
            raise SkipTest("only root can become somebody else")
        if not all(parent.stat().st_mode & 0o5 == 0o5 for path in (Path(__file__), Path(sys.executable).absolute(), Path(sys.executable).resolve(), Path.cwd())
                   for parent in path.parents):
            raise SkipTest("this checkout, or its Python, can only be read by its owner")
        made = Gateway(self, self.config(), command=[
            "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "--uid", "65534", "--gid", "65534",
            "voltgw", "--config", "voltgw.yaml"])
        made.folder.parent.chmod(0o755)     # trial makes it for ourselves alone, and reloads read a file there
        return made

    def test_rights(self) -> None:
        """No process has any right but the one that binds ports, which a reload gets a low one from; a restart finds workers."""
        before = [each["pid"] for each in self.workers()]
        self.addCleanup(ended, before)
        for pid in (self.gateway.process.pid, *before):
            self.assertEqual((facts(pid)["Uid"].split(), facts(pid)["CapEff"]), (["65534"] * 4, f"{0:016x}"))
        binder, = (pid for pid in children(self.gateway.process.pid) if "voltgw.binder" in command_line(pid))
        for name, value in (("Uid", "\t".join(["65534"] * 4)), ("CapEff", f"{1 << 10:016x}"), ("CapPrm", f"{1 << 10:016x}"),
                            ("CapBnd", f"{1 << 10:016x}"), ("NoNewPrivs", "1")):
            self.assertEqual(facts(binder)[name], value, name)
        low = next(port for port in range(600, 1000) if not any(line.endswith(f":{port}") for line in open_tcp()))
        self.gateway.write(self.config(more=f'- {{name: low, listen: "127.0.0.1:{low}", origins: '
                                            f'["127.0.0.1:{self.origins[1].port}"]}}'))
        self.gateway.reload()
        self.assertEqual(self.gateway.admin("/").json["last_reload_error"], "")
        for _ in range(6):
            self.assertEqual(ask(low).body, b"b")
        self.gateway.process.kill()
        self.gateway.process.wait()
        until("the binder has ended", lambda: not alive(binder))
        self.assertEqual(ask(low).body, b"b")
        self.gateway.start()
        self.gateway.wait_ready()
        until("the old ones have ended", lambda: not any(map(alive, before)))
        self.assertEqual(ask(low).body, b"b")


def facts(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def children(pid: int) -> list[int]:
    """Its processes."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def command_line(pid: int) -> str:
    """What it was started with."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ended(pids: list[int]) -> None:
    """Leave none of them behind."""
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def open_tcp() -> list[str]:
    """Addresses of this host that are listened on, as ``address:port``."""
    found = []
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            fields = line.split()
            if fields[3] == "0A":
                address, port = fields[1].split(":")
                found.append(f"{socket.inet_ntoa(bytes.fromhex(address)[::-1])}:{int(port, 16)}")
    return found
