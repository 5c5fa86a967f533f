"""A gateway of two workers as clients meet it: who serves, who counts, and what a death or a reload costs whom."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port, until
from tests.integration.workers_load import Load
from tests.servers import Server, nginx


class WorkersCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Two nginx origins behind two workers."""
        self.origins = [self.origin(name) for name in ("a", "b")]
        self.port = free_port()
        self.gateway = Gateway(self, self.config())
        self.gateway.wait_ready()

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
        refused = []
        for number in range(60):
            answer = ask(self.port, "/", host="shop" if number else None)
            self.assertEqual(answer.status, 200)
            refused.append(answer.headers["x-request-id"])
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

    def test_why(self) -> None:
        """A request that a worker refused is explained by the control process."""
        for origin in self.origins:
            origin.stop()
        answer = ask(self.port, "/lost")
        self.assertEqual(answer.status, 502)
        request_id = answer.headers["x-request-id"]
        why = until("it has come", lambda: (found := self.gateway.admin(f"/why?id={request_id}")).status == 200 and found)
        self.assertEqual((why.json["target"], why.json["status"]), ("/lost", 502))

    def test_a_killed_worker(self) -> None:
        """Only requests on its connections fail; it is replaced within a second, by one on the same socket; counts stay."""
        with Load(self.port) as load:
            time.sleep(0.7)
            before = self.workers()
            victim = before[0]["pid"]
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
            until("another one serves", lambda: (now := self.workers()[0])["state"] == "ready" and now["pid"] != victim)
            took_s = time.monotonic() - killed
            time.sleep(1.0)
        self.assertLess(took_s, 2.5)                # alone on the machine it is 0.6 s
        self.assertLessEqual(len(load.failures), 8)         # one of each client at most
        for failure in load.failures:
            self.assertTrue(failure.held, failure)  # whoever came new was served, by the other or, in its queue, by the new one
            self.assertLess(failure.at - killed, 1.0)
        self.assertGreater(load.answers, 500)
        after = self.workers()
        self.assertEqual([each["respawns"] for each in after], [1, 0])
        self.assertEqual(self.metric("voltgw_worker_respawns_total"), 1)
        until("nothing is open", lambda: self.metric("voltgw_listener_open_connections") == 0)
        counted = self.metric("voltgw_requests_total", 'code_class="2xx"')
        self.assertGreater(counted, 0.5 * load.answers)     # the last second of the victim is lost

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

    def test_a_new_listener(self) -> None:
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
