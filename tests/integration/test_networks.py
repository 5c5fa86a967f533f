"""Networks that are kept apart and joined by the gateway alone, in network namespaces; clients are real programs."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from typing import Any

from tests.integration.gateway import Gateway
from tests.namespaces import Lab, NamespaceCase, curl, dns_server, http_server, until
from tests.servers import require

#: Listens outside, connects inside. OUT and IN are what the two networks are on this host; WHERE is the endpoint's address.
CONFIG = """
gateway: {admin: {address: 127.0.0.1, port: ADMIN}, access_log: {path: access.log}, site: lab}
objects:
- kind: site
  metadata: {name: lab, namespace: system}
  spec: {SITE}
- kind: virtual_network
  metadata: {name: outside, namespace: system}
  spec: {site_local_network: {}, voltgw: {OUT}}
- kind: virtual_network
  metadata: {name: inside, namespace: system}
  spec: {site_local_inside_network: {}, voltgw: {IN}}
- kind: virtual_host
  metadata: {name: web}
  spec: {domains: ["*"], proxy: PROXY, advertise_policies: [outside], routes: [web], idle_timeout: 5s}
- kind: advertise_policy
  metadata: {name: outside}
  spec: {where: {site: {ref: [{namespace: system, name: lab}], network_type: VIRTUAL_NETWORK_SITE_LOCAL}}, POLICY}
- kind: route
  metadata: {name: web}
  spec: {routes: [{route_destination: {destinations: [{cluster: web}]}}]}
- kind: cluster
  metadata: {name: web}
  spec: {endpoints: ENDPOINTS, health_checks: CHECKS, connection_timeout: 500}
- kind: healthcheck
  metadata: {name: up}
  spec: {http_health_check: {path: /}, interval: 1, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 2}
- kind: endpoint
  metadata: {name: inside}
  spec: {where: {site: {ref: [{namespace: system, name: lab}], network_type: VIRTUAL_NETWORK_SITE_LOCAL_INSIDE}}, WHERE}
"""


def config(**values: str) -> str:
    """`CONFIG` with some of its words replaced."""
    given = {"SITE": "site_type: CUSTOMER_EDGE", "PROXY": "HTTP_PROXY", "POLICY": "port: 80", "CHECKS": "[up]",
             "ENDPOINTS": "[inside]", "WHERE": "ip: 10.0.0.2, port: 8000", **values}
    return re.sub(rf"\b({'|'.join(given)})\b", lambda found: given[found[0]], CONFIG)


class ApartCase(NamespaceCase):
    """Client and server are 10.0.0.2 both, each in a network of its own; nothing routes between them."""

    def setUp(self) -> None:
        self.lab = lab = Lab(self)
        self.out, self.into = lab.namespace("out"), lab.namespace("in")
        self.client, self.server = lab.namespace("client"), lab.namespace("server")
        lab.cable(self.out, "eth0", self.client, "eth0")
        lab.cable(self.into, "eth0", self.server, "eth0")
        for namespace, address in ((self.out, "10.0.0.1"), (self.client, "10.0.0.2"),
                                   (self.into, "10.0.0.1"), (self.server, "10.0.0.2")):
            lab.address(namespace, "eth0", f"{address}/24")
        lab.ip("-n", self.client, "route", "add", "default", "via", "10.0.0.1")
        lab.address(self.server, "lo", "192.0.2.77/32")
        lab.ip("-n", self.into, "route", "add", "192.0.2.0/24", "via", "10.0.0.2")

    def gateway(self, **values: str) -> Gateway:
        gateway = Gateway(self, config(**{"OUT": f"netns: {self.out}", "IN": f"netns: {self.into}", **values}))
        gateway.wait_ready()
        return gateway

    def get(self, url: str = "http://10.0.0.1/") -> str:
        """What curl hears in the client's network."""
        got = self.lab.run(self.client, *curl(url))
        return got.stdout + got.stderr


class ApartTests(ApartCase):
    """What crosses."""

    def test_overlapping_prefixes(self) -> None:
        """The client reaches the VIP, and by it the server, which has the client's own address; it reaches no server itself."""
        server = self.lab.serve(self.server, "0.0.0.0", 8000, http_server("inside"))
        gateway = self.gateway(WHERE="ip: 10.0.0.2, port: 8000")
        self.assertEqual(self.get(), "inside asked by 10.0.0.1\n")
        self.assertEqual(set(server.peers), {"10.0.0.1"})
        ping = require("ping")
        self.assertEqual(self.lab.run(self.client, ping, "-c1", "-W1", "10.0.0.1").returncode, 0)
        self.assertNotEqual(self.lab.run(self.client, ping, "-c1", "-W1", "192.0.2.77").returncode, 0)
        self.assertIn("curl: (", self.get("http://192.0.2.77:8000/"))
        self.assertIn("curl: (7)", self.get("http://10.0.0.1:8000/"))       # the server's port is not the VIP's
        listener = gateway.admin("/listeners").json["listeners"][0]
        self.assertEqual((listener["network"], listener["name"]), ("system/outside", f"10.0.0.1:80@{self.out}"))
        endpoint = gateway.cluster("default/web")["endpoints"][0]
        self.assertEqual((endpoint["network"], endpoint["health"]), ("system/inside", "healthy"))
        explained = gateway.admin("/explain?method=GET&url=http://10.0.0.1/").json
        self.assertIn("system/outside", str(explained))
        self.assertIn("system/inside", str(explained))

    def test_names_are_looked_up_in_their_network(self) -> None:
        """Two networks have a DNS server each at one address, with other answers: each endpoint is what its own says."""
        asked: list[str] = []
        self.lab.serve(self.server, "10.0.0.2", 53, dns_server({"app.example": "10.0.0.2"}, asked), socket.SOCK_DGRAM)
        self.lab.serve(self.client, "10.0.0.2", 53, dns_server({"app.example": "10.0.0.99"}), socket.SOCK_DGRAM)
        self.lab.serve(self.server, "0.0.0.0", 8000, http_server("inside"))
        self.gateway(WHERE="dns_name: app.example, port: 8000", SITE="inside_nameserver: 10.0.0.2, outside_nameserver: 10.0.0.2")
        self.assertEqual(self.get(), "inside asked by 10.0.0.1\n")
        self.assertEqual(set(asked), {"app.example"})
        dig = self.lab.run(self.server, require("dig"), "+short", "@10.0.0.2", "app.example")
        self.assertEqual(dig.stdout.strip(), "10.0.0.2")

    def test_the_source_address(self) -> None:
        """Connections and probes come from the address that the network names."""
        self.lab.address(self.into, "eth0", "10.0.0.55/24")
        server = self.lab.serve(self.server, "0.0.0.0", 8000, http_server("inside"))
        self.gateway(IN=f"netns: {self.into}, interface: eth0, source: 10.0.0.55")
        self.assertEqual(self.get(), "inside asked by 10.0.0.55\n")
        self.assertEqual(set(server.peers), {"10.0.0.55"})

    def test_ipv6(self) -> None:
        """The same with prefixes of IPv6 that overlap; the source is the one of that version."""
        for namespace, number in ((self.out, 1), (self.client, 2), (self.into, 1), (self.server, 2)):
            self.lab.address(namespace, "eth0", f"fd00::{number}/64")
        self.lab.address(self.into, "eth0", "fd00::55/64")
        server = self.lab.serve(self.server, "fd00::2", 8000, http_server("inside"))
        self.gateway(POLICY='address: "fd00::1", port: 80', WHERE='ip: "fd00::2", port: 8000',
                     IN=f'netns: {self.into}, source: 10.0.0.1, source_v6: "fd00::55"')
        self.assertEqual(self.get("http://[fd00::1]/"), "inside asked by fd00::55\n")
        self.assertEqual(set(server.peers), {"fd00::55"})

    def test_a_download_ends_with_its_network(self) -> None:
        """Connections of a namespace that is deleted are ended after the time for draining; nothing keeps it alive."""
        def slow(sock: socket.socket, _: Any) -> None:
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin")
            sock.recv(1)                    # until the gateway closes

        self.lab.serve(self.server, "0.0.0.0", 8000, slow)
        gateway = Gateway(self, config(OUT=f"netns: {self.out}", IN=f"netns: {self.into}", CHECKS="[]").replace(
            "site: lab}", "site: lab, drain_timeout: 1}", 1))
        gateway.wait_ready()
        download = self.lab.start(self.client, "curl", "-sN", "--max-time", "60", "http://10.0.0.1/", stdout=subprocess.PIPE)
        assert download.stdout is not None
        self.addCleanup(download.stdout.close)
        self.assertEqual(download.stdout.read(5), b"begin")
        self.lab.delete(self.out)
        until("the listener is gone", lambda: gateway.admin("/listeners").json["listeners"][0]["problem"])
        until("its connection is closed", lambda: gateway.admin("/listeners").json["listeners"][0]["counters"]["open"] == 0)
        until("the namespace has gone with its cable", lambda: "eth0" not in self.lab.ip("-n", self.client, "link"))

    def test_an_inside_network_becomes_another_one(self) -> None:
        """At a reload under load the servers' network moves to another namespace with the same addresses: no request fails."""
        second, other = self.lab.namespace("in2"), self.lab.namespace("server2")
        self.lab.cable(second, "eth0", other, "eth0")
        self.lab.address(second, "eth0", "10.0.0.1/24")
        self.lab.address(other, "eth0", "10.0.0.2/24")
        self.lab.serve(self.server, "10.0.0.2", 8000, http_server("first"))
        self.lab.serve(other, "10.0.0.2", 8000, http_server("second"))
        gateway = self.gateway()
        ask = ("import http.client, sys\n"
               "seen = []\n"
               "while seen[-20:] != ['second'] * 20 and len(seen) < 20000:\n"
               "    c = http.client.HTTPConnection('10.0.0.1', 80, timeout=5)\n"
               "    c.request('GET', '/'); r = c.getresponse()\n"
               "    seen.append(r.read().split()[0].decode() if r.status == 200 else str(r.status)); c.close()\n"
               "    if len(seen) == 20: print('under way', flush=True)\n"
               "print(sorted(set(seen)), flush=True)\n")
        asking = self.lab.start(self.client, sys.executable, "-c", ask, stdout=subprocess.PIPE)
        assert asking.stdout is not None
        self.addCleanup(asking.stdout.close)
        self.assertEqual(asking.stdout.readline(), b"under way\n")
        gateway.write(config(OUT=f"netns: {self.out}", IN=f"netns: {second}"))
        gateway.reload()
        self.assertEqual(asking.stdout.readline(), b"['first', 'second']\n")

    def test_datagrams(self) -> None:
        """UDP crosses as well, and is answered from the address that the client has asked."""
        def echo(sock: socket.socket, _: Any) -> None:
            while True:
                data, peer = sock.recvfrom(2048)
                if not data:
                    return
                sock.sendto(b"%b from %b" % (data, peer[0].encode()), peer)

        self.lab.serve(self.server, "10.0.0.2", 9000, echo, socket.SOCK_DGRAM)
        self.gateway(PROXY="UDP_PROXY", POLICY="protocol: UDP, port: 5000", CHECKS="[]",
                     WHERE="ip: 10.0.0.2, protocol: UDP, port: 9000")
        ask = ("import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); "
               "s.connect(('10.0.0.1', 5000)); s.send(b'hello'); print(s.recv(100).decode())")
        self.assertEqual(self.lab.run(self.client, sys.executable, "-c", ask).stdout, "hello from 10.0.0.1\n")

    def test_a_thousand_connections_are_split_evenly(self) -> None:
        """TCP connections of clients in one network go to the servers in the other in turn."""
        self.lab.address(self.server, "eth0", "10.0.0.3/24")
        for address in ("10.0.0.2", "10.0.0.3"):
            self.lab.serve(self.server, address, 8000, lambda sock, peer: sock.sendall(sock.getsockname()[0].encode() + b"\n"))
        more = """- kind: endpoint
  metadata: {name: second}
  spec: {where: {virtual_network: {ref: [system/inside]}}, ip: 10.0.0.3, port: 8000}
"""
        gateway = Gateway(self, config(
            OUT=f"netns: {self.out}", IN=f"netns: {self.into}", PROXY="TCP_PROXY", POLICY="port: 7000", CHECKS="[]",
            ENDPOINTS="[inside, second]") + more)
        gateway.wait_ready()
        count = ("import socket, collections; seen = collections.Counter(); "
                 "exec('for _ in range(1000):\\n s = socket.create_connection((\"10.0.0.1\", 7000), 5); "
                 "seen[s.makefile().readline().strip()] += 1; s.close()'); print(sorted(seen.items()))")
        said = self.lab.run(self.client, sys.executable, "-c", count, timeout_s=60)
        self.assertEqual(said.stdout, "[('10.0.0.2', 500), ('10.0.0.3', 500)]\n", said.stderr)


class VanishingTests(ApartCase):
    """Networks that go while they are used."""

    def test_a_namespace(self) -> None:
        """Its listener says that it is gone, the gateway is not ready; made anew, it serves again, without any reload."""
        self.lab.serve(self.server, "0.0.0.0", 8000, http_server("inside"))
        gateway = self.gateway()
        self.assertEqual(self.get(), "inside asked by 10.0.0.1\n")
        self.lab.delete(self.out)

        def problem() -> str:
            return str(gateway.admin("/listeners").json["listeners"][0]["problem"] or "")

        until("the listener says so", problem)
        self.assertEqual(problem(), f"network namespace {self.out} does not exist")
        self.assertEqual(gateway.admin("/ready").status, 503)
        self.assertIn('voltgw_network_present{network="system/outside"} 0', gateway.admin("/metrics").body.decode())
        self.lab.namespace("out")
        until("the old cable is gone", lambda: "eth0" not in self.lab.ip("-n", self.client, "link"))
        self.lab.cable(self.out, "eth0", self.client, "eth0")
        self.lab.address(self.out, "eth0", "10.0.0.1/24")
        self.lab.address(self.client, "eth0", "10.0.0.2/24")
        until("the gateway is ready", lambda: gateway.admin("/ready").status == 200)
        self.assertEqual(self.get(), "inside asked by 10.0.0.1\n")
        self.assertEqual(gateway.admin("/").json["generation"], 1)

    def test_an_interface(self) -> None:
        """An interface that is made anew has another number: listeners bound to the old one would hear nothing."""
        self.lab.serve(self.server, "0.0.0.0", 8000, http_server("inside"))
        gateway = self.gateway(OUT=f"netns: {self.out}, interface: eth0", POLICY="address: 10.0.0.1, port: 80")
        self.assertEqual(self.get(), "inside asked by 10.0.0.1\n")
        self.lab.ip("-n", self.out, "link", "del", "eth0")
        until("it is noticed", lambda: gateway.admin("/ready").status == 503)
        self.assertIn("network interface eth0 does not exist", gateway.admin("/listeners").json["listeners"][0]["problem"])
        self.lab.cable(self.out, "eth0", self.client, "eth0")
        until("it is noticed", lambda: "cannot listen on 10.0.0.1:80 in network system/outside: cannot assign requested address" in
              gateway.admin("/listeners").json["listeners"][0]["problem"])
        self.lab.address(self.out, "eth0", "10.0.0.1/24")       # later than the interface
        self.lab.address(self.client, "eth0", "10.0.0.2/24")
        until("the gateway is ready", lambda: gateway.admin("/ready").status == 200)
        self.assertEqual(self.get(), "inside asked by 10.0.0.1\n")

    def test_it_comes_later(self) -> None:
        """A gateway starts without it, is not ready, serves its other networks, and takes it in when it comes."""
        self.lab.serve(self.server, "0.0.0.0", 8000, http_server("inside"))
        self.lab.delete(self.out)
        more = """- kind: virtual_host
  metadata: {name: within}
  spec: {domains: ["*"], advertise_policies: [within], routes: [web]}
- kind: advertise_policy
  metadata: {name: within}
  spec: {where: {virtual_network: {ref: [system/inside]}}, address: 10.0.0.1, port: 8080}
"""
        gateway = Gateway(self, config(OUT=f"netns: {self.out}", IN=f"netns: {self.into}", POLICY="address: 10.0.0.1, port: 80") + more)
        until("it serves within", lambda: "inside" in self.lab.run(self.server, *curl("http://10.0.0.1:8080/")).stdout)
        self.assertEqual(gateway.admin("/ready").status, 503)
        self.lab.namespace("out")
        until("the old cable is gone", lambda: "eth0" not in self.lab.ip("-n", self.client, "link"))
        self.lab.cable(self.out, "eth0", self.client, "eth0")
        self.lab.address(self.out, "eth0", "10.0.0.1/24")
        self.lab.address(self.client, "eth0", "10.0.0.2/24")
        until("the gateway is ready", lambda: gateway.admin("/ready").status == 200)
        self.assertEqual(self.get(), "inside asked by 10.0.0.1\n")

    def test_the_servers_side(self) -> None:
        """A namespace of endpoints that goes takes them out of service, and connections of its time are not used again."""
        self.lab.serve(self.server, "0.0.0.0", 8000, http_server("inside"))
        gateway = self.gateway()
        self.assertEqual(self.get(), "inside asked by 10.0.0.1\n")
        self.lab.delete(self.into)
        until("it is noticed", lambda: gateway.cluster("default/web")["endpoints"][0]["health"] == "unhealthy")
        self.assertIn("system/inside", str(gateway.cluster("default/web")["endpoints"][0]["checks"]))
        self.lab.namespace("in")
        until("the old cable is gone", lambda: "eth0" not in self.lab.ip("-n", self.server, "link"))
        self.lab.cable(self.into, "eth0", self.server, "eth0")
        self.lab.address(self.into, "eth0", "10.0.0.1/24")
        self.lab.address(self.server, "eth0", "10.0.0.2/24")
        until("it serves again", lambda: self.get() == "inside asked by 10.0.0.1\n")


class DeviceTests(NamespaceCase):
    """One namespace for the gateway, with two interfaces of the same prefix: sockets are bound to the interface."""

    def test_overlapping_prefixes(self) -> None:
        """Each interface has 10.0.0.1/24, and a neighbour 10.0.0.2: the one asks, the other one answers. It takes no right."""
        lab = Lab(self)
        own, client, server = lab.namespace("gw"), lab.namespace("client"), lab.namespace("server")
        lab.cable(own, "eth0", client, "eth0")
        lab.cable(own, "eth1", server, "eth0")
        for namespace, interface, address in ((own, "eth0", "10.0.0.1"), (own, "eth1", "10.0.0.1"),
                                              (client, "eth0", "10.0.0.2"), (server, "eth0", "10.0.0.2")):
            lab.address(namespace, interface, f"{address}/24")
        served = lab.serve(server, "0.0.0.0", 8000, http_server("inside"))
        text = config(OUT="interface: eth0", IN="interface: eth1", POLICY="address: 10.0.0.1, port: 80")
        gateway = Gateway(self, text.replace("access_log: {path: access.log}, ", ""), netns=own, rights="+net_bind_service")
        until("it serves", lambda: lab.run(client, *curl("http://10.0.0.1/")).stdout == "inside asked by 10.0.0.1\n")
        self.assertEqual(set(served.peers), {"10.0.0.1"})
        self.assertNotIn("Traceback", gateway.output)
        self.assertIn("curl: (", lab.run(server, *curl("http://10.0.0.1/")).stderr)        # nobody listens on that side
