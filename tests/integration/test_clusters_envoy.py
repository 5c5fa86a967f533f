"""Clusters held against Envoy: the same origins, the same settings, the same requests."""

from __future__ import annotations

import http.client
import socket
import time
from collections import Counter
from random import Random
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import FakePool as NoPool
from tests.integration.envoy import start_envoy
from tests.integration.gateway import PATIENCE_S, Gateway, ask, free_port, until
from tests.integration.threaded import ThreadedServer
from voltgw.cluster.cluster import SchedulerFactory
from voltgw.cluster.endpoint import Endpoint
from voltgw.cluster.schedulers import maglev, ring_hash
from voltgw.cluster.snapshot import EndpointKey, EndpointState
from voltgw.cluster.xxhash64 import xxh64

ORIGINS: Final = 4
KEYS: Final = 400


class Origin(ThreadedServer):
    """Answers every request with its number; `status` may be set to another one."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.status = 200
        super().__init__()

    def serve(self, sock: socket.socket) -> None:
        """One answer for each head."""
        held = b""
        while data := sock.recv(65536):
            held += data
            while b"\r\n\r\n" in held:
                _, _, held = held.partition(b"\r\n\r\n")
                sock.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 1\r\n\r\n%d" % (self.status, self.number))


class EnvoyCase(SynchronousTestCase):
    """Some origins, and both gateways before them."""

    def setUp(self) -> None:
        """The origins."""
        self.origins = [Origin(number) for number in range(ORIGINS)]
        for origin in self.origins:
            self.addCleanup(origin.stop)

    def start(self, ours: str, theirs: dict[str, Any], *, origins: list[Origin] | None = None,
              weights: list[int] | None = None, hashed: bool = False) -> tuple[int, int]:
        """The ports of voltgw, whose cluster says `ours`, and of Envoy, whose cluster says `theirs`."""
        origins = self.origins if origins is None else origins
        weights = weights or [1] * len(origins)
        port, envoy, self.envoy_admin = free_port(), free_port(), free_port()
        policy = {"hash_policy": [{"header": {"header_name": "x-key"}}]} if hashed else {}
        self.gateway = Gateway(self, f"""
gateway: {{admin: {{port: ADMIN}}}}
objects:
- {{kind: virtual_host, metadata: {{name: shop}}, spec: {{domains: ["*"], proxy: HTTP_PROXY, routes: [shop], advertise_policies: [here]}}}}
- {{kind: advertise_policy, metadata: {{name: here}}, spec: {{address: 127.0.0.1, protocol: TCP, port: {port}}}}}
- kind: route
  metadata: {{name: shop}}
  spec: {{routes: [{{match: [{{path: {{prefix: /}}}}], route_destination: {{destinations: [{{cluster: [shop]}}]
    {', hash_policy: [{header_name: x-key}]' if hashed else ''}}}}}]}}
- {{kind: cluster, metadata: {{name: shop}}, spec: {{endpoints: {[f"o{each.number}" for each in origins]}, {ours}}}}}
""" + "".join(f"- {{kind: endpoint, metadata: {{name: o{each.number}}}, spec: {{ip: 127.0.0.1, port: {each.port}, "
              f"voltgw: {{weight: {weight}}}}}}}\n" for each, weight in zip(origins, weights, strict=True)))
        self.gateway.wait_ready()
        endpoints = [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": each.port}}},
                      "load_balancing_weight": weight} for each, weight in zip(origins, weights, strict=True)]
        manager = {"route_config": {"virtual_hosts": [{"name": "x", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "x", **policy}}]}]}}
        start_envoy(self, envoy, 0, manager, {
            "load_assignment": {"cluster_name": "x", "endpoints": [{"lb_endpoints": endpoints}]},
            # Without this Envoy holds an ejection back that comes less than a second after another change.
            "common_lb_config": {"update_merge_window": "0s"}, **theirs}, self.envoy_admin)
        until("Envoy is live", lambda: _live(self.envoy_admin))
        return port, envoy

    def envoy_stat(self, name: str) -> int:
        """One of Envoy's counters of the cluster."""
        text = ask(self.envoy_admin, f"/stats?filter=^cluster.x.{name}$").body.decode()
        return int(text.rpartition(":")[2])

    def send(self, port: int, count: int, pause_s: float = 0.0) -> Counter[int]:
        """So many requests on one connection; how many had each status."""
        seen: Counter[int] = Counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        for _ in range(count):
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
            seen[response.status] += 1
            if pause_s:
                time.sleep(pause_s)         # real time is what ejections are about
        connection.close()
        return seen

    def owners(self, port: int) -> list[bytes]:
        """Which origin each key goes to."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        found = []
        for number in range(KEYS):
            connection.request("GET", "/", headers={"X-Key": f"user-{number}"})
            found.append(connection.getresponse().read())
        connection.close()
        return found


class OutlierTests(EnvoyCase):
    def test_an_origin_that_answers_5xx(self) -> None:
        """Both send it five requests, then none while it is out; after the time it gets five more, and is out for longer."""
        self.origins[0].status = 500
        port, envoy = self.start(
            "outlier_detection: {consecutive_5xx: 5, interval: 100, base_ejection_time: 2000, max_ejection_percent: 50}",
            {"outlier_detection": {"consecutive_5xx": 5, "interval": "0.1s", "base_ejection_time": "2s",
                                   "max_ejection_percent": 50}})
        for _ in range(2):
            # Envoy ejects in another thread, a moment later; so requests come one at a time.
            self.assertEqual([self.send(each, 60, 0.005)[500] for each in (port, envoy)], [5, 5])
            until("both have let it back", lambda: not self.envoy_stat("outlier_detection.ejections_active")
                  and not self.gateway.cluster("default/shop")["outlier_detection"]["ejected"])
        ours = self.gateway.cluster("default/shop")
        theirs = {name: self.envoy_stat(f"outlier_detection.{name}")
                  for name in ("ejections_enforced_consecutive_5xx", "ejections_enforced_total", "ejections_overflow")}
        counted = ours["outlier_detection"]
        self.assertEqual(theirs, {"ejections_enforced_consecutive_5xx": counted["ejections"]["consecutive_5xx"],
                                  "ejections_enforced_total": sum(counted["ejections"].values()),
                                  "ejections_overflow": counted["overflow"]})
        self.assertEqual(counted["ejections"], {"consecutive_5xx": 2})

    def test_an_origin_that_is_not_there(self) -> None:
        """Refused connections count as gateway failures; both eject after five of them and nobody else gets them."""
        self.origins[0].stop()
        self._cleanups = [each for each in self._cleanups if each[0] != self.origins[0].stop]   # it is stopped
        port, envoy = self.start("outlier_detection: {consecutive_5xx: 5, interval: 100, base_ejection_time: 60000}",
                                 {"outlier_detection": {"consecutive_5xx": 5, "interval": "0.1s", "base_ejection_time": "60s",
                                                        "always_eject_one_host": True}})
        ours, theirs = self.send(port, 100), self.send(envoy, 100)
        self.assertEqual(theirs, {200: 95, 503: 5})
        self.assertEqual(ours, {200: 100})  # each refused connection was tried at another one, which Envoy does not by itself
        self.assertEqual(self.envoy_stat("outlier_detection.ejections_active"), 1)
        self.assertEqual(self.gateway.cluster("default/shop")["outlier_detection"]["ejected"], 1)

    def test_how_many_may_be_out(self) -> None:
        """Three of four fail and half may be out: two are ejected by both, and the third is counted as left in."""
        for origin in self.origins[:3]:
            origin.status = 503
        port, envoy = self.start(
            "outlier_detection: {consecutive_5xx: 5, interval: 100, base_ejection_time: 60000, max_ejection_percent: 50}",
            {"outlier_detection": {"consecutive_5xx": 5, "interval": "0.1s", "base_ejection_time": "60s",
                                   "max_ejection_percent": 50}, "common_lb_config": {
                                       "healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"}})
        self.send(port, 100)
        self.send(envoy, 100)
        ours = self.gateway.cluster("default/shop")["outlier_detection"]
        self.assertEqual((ours["ejected"], self.envoy_stat("outlier_detection.ejections_active")), (2, 2))
        self.assertGreater(ours["overflow"], 0)
        self.assertGreater(self.envoy_stat("outlier_detection.ejections_overflow"), 0)


class SharesTests(EnvoyCase):
    def test_weighted_round_robin(self) -> None:
        """With weights 5, 3, 1 and 1 both give the same shares, to one request in a cycle."""
        port, envoy = self.start("loadbalancer_algorithm: ROUND_ROBIN", {"lb_policy": "ROUND_ROBIN"}, weights=[5, 3, 1, 1])
        for each in (port, envoy):
            seen = Counter(self.owners(each))
            for number, weight in enumerate((5, 3, 1, 1)):
                self.assertLessEqual(abs(seen[b"%d" % number] - KEYS * weight / 10), 2)


class DisruptionTests(EnvoyCase):
    def owners_of_all(self, ours: str, theirs: dict[str, Any], origins: list[Origin]) -> list[list[bytes]]:
        """Which origin each key goes to, by both gateways."""
        ports = self.start(ours, theirs, hashed=True, origins=origins)
        found = [self.owners(port) for port in ports]
        self.gateway.stop()
        return found

    def expected(self, factory: SchedulerFactory, origins: list[Origin]) -> list[bytes]:
        """Where our own table sends each key, hashed as Envoy hashes the values of headers."""
        members = [Endpoint(EndpointState(EndpointKey("x", "TCP", "", "127.0.0.1", each.port)), NoPool()) for each in origins]
        scheduler = factory.build(members, Random(0))
        numbers = dict(zip(members, (b"%d" % each.number for each in origins), strict=True))
        picks = [scheduler.pick(xxh64(b"user-%d" % number)) for number in range(KEYS)]
        return [b"" if each is None else numbers[each] for each in picks]

    def check(self, ours: str, theirs: str, factory: SchedulerFactory, most: float) -> None:
        """Envoy's table is ours to the last key; and few keys of the origins that stay move when one leaves."""
        moved = []
        both = [(origins, self.owners_of_all(ours, {"lb_policy": theirs}, origins))
                for origins in (self.origins, self.origins[1:])]
        for origins, (_, owners) in both:
            self.assertEqual(owners, self.expected(factory, origins))
        for before, after in zip(both[0][1], both[1][1], strict=True):
            stay = [old != new for old, new in zip(before, after, strict=True) if old != b"0"]
            moved.append(sum(stay) / len(stay))
        self.assertLess(abs(moved[0] - moved[1]), 0.08)
        self.assertLess(max(moved), most)

    def test_ring_hash(self) -> None:
        """The ring is Envoy's."""
        self.check("loadbalancer_algorithm: RING_HASH", "RING_HASH", ring_hash.FACTORY, 0.25)

    def test_maglev(self) -> None:
        """So is the table of Maglev."""
        self.check("voltgw: {scheduler: maglev}", "MAGLEV", maglev.FACTORY, 0.2)


def _live(admin: int) -> bool:
    try:
        return ask(admin, "/ready").status == 200
    except OSError:
        return False
