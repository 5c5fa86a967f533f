"""The main job with real parts: nginx origins behind a gateway that runs as an operator runs it, real clients before it."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import threading
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port, until
from tests.servers import Server, nginx, require

#: An origin that says who it is, and what it got.
_ORIGIN: Final = """
location /files/ { dav_methods PUT; create_full_put_path on; client_max_body_size 0; root ROOT; }
location = /healthz { return 200 "well"; }
location / { add_header X-Seen-Host $http_host; add_header X-Seen-Xff $http_x_forwarded_for;
             add_header X-Seen-Id $http_x_request_id; return 200 "NAME $request_method $request_uri\\n"; }
"""


def origin(test: SynchronousTestCase, name: str, folder: str, port: int = 0) -> Server:
    """An nginx that answers with its name, and keeps what is PUT below /files/ in `folder`."""
    return nginx(test, _ORIGIN.replace("NAME", name).replace("ROOT", folder), port=port,
                 top="user root;" if os.getuid() == 0 else "")


def ten_lines(port: int, origins: list[int]) -> str:
    """The ten-line file of the tutorial."""
    return f"""\
gateway: {{admin: {{port: ADMIN}}, access_log: access.log}}
load_balancers:
- name: shop
  listen: 127.0.0.1:{port}
  origins: [{", ".join(f"127.0.0.1:{each}" for each in origins)}]
  health_check: {{path: /healthz, interval: 1, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 1}}
"""


class MainJobTests(SynchronousTestCase):
    """Three origins, ten lines of YAML."""

    def setUp(self) -> None:
        self.port = free_port()
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        self.origins = [origin(self, name, self.folder) for name in ("one", "two", "three")]
        self.gateway = Gateway(self, ten_lines(self.port, [each.port for each in self.origins]))
        self.gateway.wait_ready()

    def test_requests_are_spread_evenly(self) -> None:
        """Thirty requests reach the three origins ten times each (round robin)."""
        answers = [ask(self.port, "/x?y=1").body.decode() for _ in range(30)]
        self.assertEqual(sorted(set(answers)), ["one GET /x?y=1\n", "three GET /x?y=1\n", "two GET /x?y=1\n"])
        for answer in set(answers):
            self.assertEqual(answers.count(answer), 10)

    def test_curl_gets_its_answer(self) -> None:
        """curl, with a body and with HTTP/1.0, gets what the origin says."""
        curl = require("curl")
        done = subprocess.run([curl, "-sS", "-d", "a=b", f"http://127.0.0.1:{self.port}/post"], capture_output=True, text=True,
                              timeout=20, check=True)
        self.assertRegex(done.stdout, r"^(one|two|three) POST /post\n$")
        old = subprocess.run([curl, "-sS", "-0", "-i", f"http://127.0.0.1:{self.port}/old"], capture_output=True, timeout=20,
                             check=True)
        self.assertRegex(old.stdout, rb"(?s)^HTTP/1.1 200 OK\r\n.*\r\n\r\n(one|two|three) GET /old\n$")

    def test_what_the_origin_sees(self) -> None:
        """The origin gets the client's Host, its address and a request id that stands in the access log."""
        answer = ask(self.port, "/seen", host="shop.example.com", headers={"X-Forwarded-For": "192.0.2.7"})
        self.assertEqual(answer.headers["X-Seen-Host"], "shop.example.com")
        self.assertEqual(answer.headers["X-Seen-Xff"], "192.0.2.7, 127.0.0.1")
        request_id = answer.headers["X-Seen-Id"]
        self.assertRegex(request_id, r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$")
        log = self.gateway.folder / "access.log"
        line = until("the line is written", lambda: [each for each in log.read_text().splitlines() if request_id in each])
        self.assertIn('"rsp_code":"200"', line[0])

    def test_an_origin_dies_under_load_and_comes_back(self) -> None:
        """wrk sees no error while an origin is killed and started again."""
        wrk = require("wrk")
        load = subprocess.Popen([wrk, "-t1", "-c16", "-d4", f"http://127.0.0.1:{self.port}/"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(load.wait)
        dead = self.origins[1]
        until("traffic flows", lambda: self.served("default/shop") > 100)
        dead.kill()
        until("the dead one is out", lambda: self.ready_count() == 2)
        origin(self, "two", self.folder, dead.port)
        until("it is back", lambda: self.ready_count() == 3)
        report, _ = load.communicate(timeout=30)
        self.assertNotIn("Socket errors", report)
        self.assertNotIn("Non-2xx", report)
        self.assertTrue(re.search(r"[1-9]\d* requests in", report), report)

    def ready_count(self) -> int:
        """Endpoints that receive traffic."""
        return int(self.gateway.cluster("default/shop")["ready"])

    def served(self, cluster: str) -> int:
        """Requests of a cluster so far."""
        return int(self.gateway.cluster(cluster)["counters"]["requests"])

    def test_all_origins_down(self) -> None:
        """When nobody is left the client gets 503 as problem+json, at once, and /clusters says why."""
        for each in self.origins:
            each.kill()
        until("all are out", lambda: self.ready_count() == 0)
        answer = ask(self.port, "/x")
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (503, "application/problem+json"))
        self.assertEqual(answer.json["flag"], "UH")
        reasons = [each["why"] for each in self.gateway.cluster("default/shop")["endpoints"]]
        self.assertTrue(all("no traffic" in reason for reason in reasons), reasons)

    def test_reload_adds_and_keeps(self) -> None:
        """SIGHUP serves the new file: another listener, the old one untouched, an unchanged cluster with its counts."""
        ask(self.port)
        before = self.served("default/shop")
        other = free_port()
        self.gateway.write(ten_lines(self.port, [each.port for each in self.origins]) + f"""\
- name: more
  listen: 127.0.0.1:{other}
  origins: [127.0.0.1:{self.origins[0].port}]
""")
        self.gateway.reload()
        self.assertEqual(ask(other, "/n").body, b"one GET /n\n")
        self.assertEqual(ask(self.port).status, 200)
        self.assertEqual(self.served("default/shop"), before + 1)
        self.assertEqual(self.gateway.admin("/").json["generation"], 2)

    def test_reload_under_load_fails_no_request(self) -> None:
        """Ten reloads that change clusters and routes, under load: no error, no connection lost."""
        wrk = require("wrk")
        load = subprocess.Popen([wrk, "-t1", "-c16", "-d4", f"http://127.0.0.1:{self.port}/"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(load.wait)
        ports = [each.port for each in self.origins]
        for round_ in range(10):
            self.gateway.write(ten_lines(self.port, ports[(round_ + 1) % 2:]))
            self.gateway.reload()
        report, _ = load.communicate(timeout=30)
        self.assertNotIn("Socket errors", report)
        self.assertNotIn("Non-2xx", report)
        facts = self.gateway.admin("/").json
        self.assertEqual((facts["generation"], facts["reloads_rejected"]), (11, 0))

    def test_reload_of_a_broken_file(self) -> None:
        """A file with an error changes nothing; the log and the admin page name the place."""
        self.gateway.write(ten_lines(self.port, [1]).replace("health_check", "healht_check"))
        self.gateway.reload()
        facts = self.gateway.admin("/").json
        self.assertEqual((facts["generation"], facts["reloads_rejected"]), (1, 1))
        self.assertIn("voltgw.yaml:6:3", facts["last_reload_error"])
        self.assertEqual(ask(self.port).status, 200)

    def test_reload_that_cannot_bind(self) -> None:
        """A new port that is taken refuses the reload; what served goes on."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.gateway.write(ten_lines(self.port, [each.port for each in self.origins]) + f"""\
- name: more
  listen: 127.0.0.1:{taken.getsockname()[1]}
  origins: [127.0.0.1:{self.origins[0].port}]
""")
            self.gateway.reload()
        facts = self.gateway.admin("/").json
        self.assertEqual((facts["generation"], facts["reloads_rejected"]), (1, 1))
        self.assertEqual(ask(self.port).status, 200)

    def test_sigterm_drains(self) -> None:
        """SIGTERM: a request under way is answered, new connections are refused, the exit status is 0."""
        slow = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.addCleanup(slow.close)
        # an origin that keeps the body answers once it has all of it
        slow.sendall(b"PUT /files/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        until("the request is under way", lambda: self.gateway.cluster("default/shop")["active"] == 1)
        self.gateway.process.terminate()
        until("new connections are refused", self.refused)
        slow.sendall(b"cd")
        answer = b"".join(iter(lambda: slow.recv(65536), b""))
        self.assertIn(b"HTTP/1.1 201 Created\r\n", answer)
        self.assertIn(b"connection: close\r\n", answer)
        slow.close()
        self.assertEqual(self.gateway.wait_exit(), 0)

    def refused(self) -> bool:
        """Whether the listener is gone."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        return False

    def test_large_bodies_both_ways(self) -> None:
        """Eight MiB up to an origin that stores them, and down again, four at a time: every byte is the same."""
        digests: dict[str, str] = {}

        def up_and_down(name: str) -> None:
            body = os.urandom(8 << 20)
            stored = ask(self.port, f"/files/{name}", "PUT", body=body)
            self.assertIn(stored.status, (201, 204))
            digests[name] = hashlib.sha256(body).hexdigest()

        threads = [threading.Thread(target=up_and_down, args=(f"{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        for number in range(4):
            down = ask(self.port, f"/files/{number}")
            self.assertEqual(hashlib.sha256(down.body).hexdigest(), digests[f"{number}"])


class StartTests(SynchronousTestCase):
    """What an operator sees when the gateway cannot start."""

    def test_configuration_errors(self) -> None:
        """Nothing is bound, every error is shown with its place, the exit status is 2."""
        gateway = Gateway(self, "gateway: {admin: {port: ADMIN}}\nload_balancers:\n- name: x\n  lissten: 8080\n  origins: [127.0.0.1:99999]\n")
        self.assertEqual(gateway.wait_exit(), 2)
        self.assertIn("voltgw.yaml:4:3: error[", gateway.output)
        self.assertIn("voltgw.yaml:5:", gateway.output)
        self.assertNotIn("Traceback", gateway.output)

    def test_a_port_that_is_taken(self) -> None:
        """The message says which one; the exit status is 1; no traceback."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            gateway = Gateway(self, ten_lines(port, [1]))
            self.assertEqual(gateway.wait_exit(), 1)
        self.assertIn(f"127.0.0.1:{port}", gateway.output)
        self.assertNotIn("Traceback", gateway.output)
