"""Promises of the object model as a user meets them: chains of objects in files, a gateway, real origins."""

from __future__ import annotations

import random
import re
import subprocess
from collections import Counter
from typing import Any, Final

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port, until
from tests.servers import Server, nginx, require

Document = dict[str, Any]

_GATEWAY: Final = "gateway: {admin: {port: ADMIN}, access_log: access.log}\n"


def named(kind: str, name: str, spec: Document) -> Document:
    """One object."""
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


def to_cluster(name: str, **match: str) -> Document:
    """A rule that sends what matches to a cluster."""
    rule: Document = {"route_destination": {"destinations": [{"cluster": [{"name": name}], "weight": 1}]}}
    return {"match": [{"path": match}], **rule} if match else rule


def host(name: str, domains: list[str], routes: list[str], policies: list[str], proxy: str = "HTTP_PROXY") -> Document:
    """A virtual host."""
    return named("virtual_host", name, {
        "domains": domains, "proxy": proxy, "advertise_policies": [{"name": each} for each in policies],
        "routes": [{"name": each} for each in routes]})


def policy(name: str, port: int, address: str = "127.0.0.1") -> Document:
    """Where a virtual host is reachable."""
    return named("advertise_policy", name, {"address": address, "protocol": "TCP", "port": port})


def served_by(name: str, *ports: int, check: bool = False) -> list[Document]:
    """A cluster of servers on this machine, and its endpoints."""
    endpoints = [named("endpoint", f"{name}-{port}", {"ip": "127.0.0.1", "port": port}) for port in ports]
    spec: Document = {"endpoints": [{"name": each["metadata"]["name"]} for each in endpoints],
                      "loadbalancer_algorithm": "ROUND_ROBIN"}
    if check:
        spec["health_checks"] = [{"name": "live"}]
    return [named("cluster", name, spec), *endpoints]


def file(*objects: Document | list[Document]) -> str:
    """A configuration of these objects, in this order."""
    flat = [one for each in objects for one in (each if isinstance(each, list) else [each])]
    return _GATEWAY + yaml.safe_dump({"objects": flat}, sort_keys=False)


class PromiseTests(SynchronousTestCase):
    """Each with a gateway and nginx origins of its own."""

    def origin(self, name: str) -> Server:
        """An origin that answers with its name."""
        return nginx(self, f'location = /healthz {{ return 200 "well"; }} location / {{ return 200 "{name} $uri"; }}')

    def gateway(self, config: str) -> Gateway:
        """A gateway that is ready."""
        gateway = Gateway(self, config)
        gateway.wait_ready()
        return gateway

    def check(self, config: str) -> subprocess.CompletedProcess[str]:
        """What the gateway says of a configuration that it refuses to start with."""
        gateway = Gateway(self, config)
        status = gateway.wait_exit()
        return subprocess.CompletedProcess([], status, gateway.output)

    def test_an_api_gateway_of_twenty_routes(self) -> None:
        """Twenty routes of one virtual host lead to ten clusters; each request arrives where its path says (five origins)."""
        origins = [self.origin(f"o{number}") for number in range(5)]
        port = free_port()
        rules = [to_cluster(f"c{number % 10}", prefix=f"/r{number:02}/") for number in range(20)]
        self.gateway(file(
            policy("here", port), host("api", ["api.example.com"], ["all"], ["here"]), named("route", "all", {"routes": rules}),
            *(served_by(f"c{number}", origins[number % 5].port) for number in range(10))))
        for number in range(20):
            answer = ask(port, f"/r{number:02}/x", host="api.example.com")
            self.assertEqual(answer.body.decode(), f"o{number % 5} /r{number:02}/x")
        self.assertEqual(ask(port, "/elsewhere", host="api.example.com").status, 404)

    def test_one_cluster_in_two_hosts(self) -> None:
        """Two virtual hosts share a route and its cluster: one set of probes, one pool, one count of requests."""
        origin = self.origin("o")
        port = free_port()
        gateway = self.gateway(file(
            policy("here", port), host("a", ["a.test"], ["r"], ["here"]), host("b", ["b.test"], ["r"], ["here"]),
            named("route", "r", {"routes": [to_cluster("c")]}), served_by("c", origin.port, check=True),
            named("healthcheck", "live", {"http_health_check": {"path": "/healthz"}, "interval": 1, "timeout": 1,
                                          "healthy_threshold": 1, "unhealthy_threshold": 1})))
        for name in ("a.test", "b.test", "a.test"):
            self.assertEqual(ask(port, "/", host=name).body, b"o /")
        clusters = gateway.admin("/clusters").json["clusters"]
        self.assertEqual([each["cluster"] for each in clusters], ["default/c"])
        endpoint, = clusters[0]["endpoints"]
        self.assertEqual((clusters[0]["counters"]["requests"], clusters[0]["counters"]["connects"]), (3, 1))
        self.assertEqual(endpoint["health"], "healthy")

    def test_fifty_hosts_on_one_port(self) -> None:
        """Fifty virtual hosts share an address and port; one comes and goes under load, and the others fail no request."""
        wrk = require("wrk")
        origin = self.origin("o")
        port = free_port()

        def config(count: int) -> str:
            hosts = [host(f"h{number}", [f"h{number}.test"], ["r"], ["here"]) for number in range(count)]
            return file(policy("here", port), *hosts, named("route", "r", {"routes": [to_cluster("c")]}),
                        served_by("c", origin.port))

        gateway = self.gateway(config(50))
        for number in range(50):
            self.assertEqual(ask(port, "/", host=f"h{number}.test").status, 200)
        self.assertEqual(ask(port, "/", host="h50.test").status, 404)
        load = subprocess.Popen([wrk, "-t1", "-c8", "-d3", "-H", "Host: h7.test", f"http://127.0.0.1:{port}/"],
                                stdout=subprocess.PIPE, text=True)
        self.addCleanup(load.wait)
        for count, status in ((51, 200), (50, 404), (51, 200)):
            gateway.write(config(count))
            gateway.reload()
            self.assertEqual(ask(port, "/", host="h50.test").status, status)
        report, _ = load.communicate(timeout=30)
        self.assertNotIn("Socket errors", report)
        self.assertNotIn("Non-2xx", report)
        self.assertTrue(re.search(r"[1-9]\d* requests in", report), report)

    def test_a_tcp_proxy_does_not_share(self) -> None:
        """A second virtual host on a TCP proxy's address and port is refused with both places; the first serves on."""
        origin = self.origin("o")
        port = free_port()
        first: list[Document | list[Document]] = [
            policy("here", port), host("one", ["*"], ["r"], ["here"], "TCP_PROXY"),
            named("route", "r", {"routes": [to_cluster("c")]}), served_by("c", origin.port)]
        second = host("two", ["*"], ["r"], ["here"], "TCP_PROXY")
        gateway = self.gateway(file(*first))
        gateway.write(file(*first, second))
        gateway.reload()
        facts = gateway.admin("/").json
        self.assertEqual(facts["reloads_rejected"], 1)
        self.assertRegex(facts["last_reload_error"], r'voltgw\.yaml:\d+:\d+: virtual_host "two" .* which virtual_host "one"')
        self.assertEqual(ask(port).body, b"o /")
        gateway.write(file(second, *(each for each in first if each is not first[1])))
        gateway.reload()
        self.assertEqual(gateway.admin("/").json["generation"], 2)
        self.assertEqual(ask(port).body, b"o /")

    def test_objects_in_any_order(self) -> None:
        """Twenty orders of one set of objects mean the same; without its cluster, what is missing is named."""
        origin = self.origin("o")
        port = free_port()
        objects = [policy("here", port), host("a", ["a.test"], ["r"], ["here"]),
                   named("route", "r", {"routes": [to_cluster("c", prefix="/")]}), *served_by("c", origin.port)]
        refused = self.check(file([each for each in objects if each["kind"] != "cluster"]))
        self.assertEqual(refused.returncode, 2)
        self.assertRegex(refused.stdout, r"voltgw\.yaml:\d+:\d+: error\[VG\d+\]: cluster \"c\" not found")
        gateway = self.gateway(file(objects))
        shown = gateway.admin("/virtual_hosts").json
        chance = random.Random(20)
        for count in range(20):
            chance.shuffle(objects)
            gateway.write(file(objects))
            gateway.reload()
            self.assertEqual(gateway.admin("/").json["reloads_rejected"], 0)
            self.assertEqual(ask(port, f"/{count}", host="a.test").body.decode(), f"o /{count}")
        hosts = [{key: value for key, value in each.items() if key in ("virtual_host", "domains", "listeners")}
                 for each in gateway.admin("/virtual_hosts").json["virtual_hosts"]]
        self.assertEqual(hosts, [{key: value for key, value in each.items() if key in ("virtual_host", "domains", "listeners")}
                                 for each in shown["virtual_hosts"]])

    def test_the_order_of_route_objects(self) -> None:
        """Of two route objects that both match, the one that the virtual host names first wins; swapped, the other one."""
        ports = [self.origin(name).port for name in ("one", "two")]
        port = free_port()

        def config(routes: list[str]) -> str:
            return file(policy("here", port), host("a", ["*"], routes, ["here"]),
                        *(named("route", f"to-{name}", {"routes": [to_cluster(name, prefix="/")]}) for name in ("one", "two")),
                        served_by("one", ports[0]), served_by("two", ports[1]))

        gateway = self.gateway(config(["to-one", "to-two"]))
        self.assertEqual(ask(port).body, b"one /")
        gateway.write(config(["to-two", "to-one"]))
        gateway.reload()
        self.assertEqual(ask(port).body, b"two /")

    def test_several_policies_and_explicit_addresses(self) -> None:
        """One virtual host is reachable on the address and port of each of its policies, and on no other."""
        origin = self.origin("o")
        ports = [free_port(), free_port()]
        gateway = self.gateway(file(
            policy("first", ports[0]), policy("second", ports[1], "127.0.0.2"),
            host("a", ["*"], ["r"], ["first", "second"]), named("route", "r", {"routes": [to_cluster("c")]}),
            served_by("c", origin.port)))
        self.assertEqual(ask(ports[0]).body, b"o /")
        with self.assertRaises(ConnectionRefusedError):
            ask(ports[1])                   # that port is offered on the other address
        listeners = {each["name"] for each in gateway.admin("/listeners").json["listeners"]}
        self.assertEqual(listeners, {f"127.0.0.1:{ports[0]}", f"127.0.0.2:{ports[1]}"})

    def test_endpoints_by_address_and_by_name(self) -> None:
        """A cluster of an endpoint with an address and one with a DNS name: both are found, probed and used."""
        origins = [self.origin("one"), self.origin("two")]
        port = free_port()
        cluster, first, second = served_by("c", *(each.port for each in origins), check=True)
        second["spec"] = {"dns_name": "localhost", "port": origins[1].port}
        gateway = self.gateway(file(
            policy("here", port), host("a", ["*"], ["r"], ["here"]), named("route", "r", {"routes": [to_cluster("c")]}),
            [cluster, first, second],
            named("healthcheck", "live", {"http_health_check": {"path": "/healthz"}, "interval": 1, "timeout": 1,
                                          "healthy_threshold": 1, "unhealthy_threshold": 1})))
        until("both are healthy", lambda: gateway.cluster("default/c")["ready"] >= 2)
        seen = Counter(ask(port, "/").body for _ in range(20))
        self.assertEqual(set(seen), {b"one /", b"two /"})
