"""One gateway, three directions: from outside to a VIP, among inside hosts by a VIP, and from inside out through a connector.

Inside hosts know of no proxy: their default route leads to the gateway, which forwards no packet.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.integration.gateway import Gateway
from tests.namespaces import Lab, NamespaceCase, by_tcp, curl, dns_server, http_server, until
from tests.servers import require

_ROOT: Final = Path(__file__).resolve().parents[2]
CONFIG = """
gateway: {admin: {address: 127.0.0.1, port: ADMIN}, access_log: {path: access.log}, site: lab}
objects:
- kind: site
  metadata: {name: lab, namespace: system, labels: {ves.io/fleet: labs}}
  spec: {site_type: CUSTOMER_EDGE, voltgw: {manage_addresses: true}}
- kind: fleet
  metadata: {name: labs, namespace: system}
  spec:
    fleet_label: labs
    inside_virtual_network: [{namespace: system, name: inside}]
    outside_virtual_network: [{namespace: system, name: outside}]
    network_connectors: [{namespace: system, name: out}]
    network_firewall: [{namespace: system, name: egress}]
- kind: virtual_network
  metadata: {name: outside, namespace: system}
  spec: {site_local_network: {}, voltgw: {netns: OUT}}
- kind: virtual_network
  metadata: {name: inside, namespace: system}
  spec: {site_local_inside_network: {}, voltgw: {netns: INTO, interface: eth0}}
- kind: network_connector
  metadata: {name: out, namespace: system}
  spec:
    sli_to_slo_snat: {default_gw_snat: {}, interface_ip: {}}
    enable_forward_proxy: {no_interception: {}}
    voltgw: {capture: MODE, allowed_prefixes: [203.0.113.0/24]}
- kind: network_firewall
  metadata: {name: egress, namespace: system}
  spec: {active_forward_proxy_policies: {forward_proxy_policies: [{namespace: system, name: egress}]}}
- kind: forward_proxy_policy
  metadata: {name: egress, namespace: system}
  spec: {any_proxy: {}, RULE}
- kind: virtual_host
  metadata: {name: ingress}
  spec: {domains: ["*"], advertise_policies: [outside], routes: [web]}
- kind: virtual_host
  metadata: {name: east-west}
  spec: {domains: ["*"], advertise_policies: [inside], routes: [web]}
- kind: advertise_policy
  metadata: {name: outside}
  spec: {where: {virtual_network: {ref: [system/outside]}}, address: 192.0.2.100, port: 80}
- kind: advertise_policy
  metadata: {name: inside}
  spec: {where: {virtual_network: {ref: [system/inside]}}, address: 10.0.0.100, port: 80}
- kind: route
  metadata: {name: web}
  spec: {routes: [{route_destination: {destinations: [{cluster: web}]}}]}
- kind: cluster
  metadata: {name: web}
  spec: {endpoints: [web]}
- kind: endpoint
  metadata: {name: web}
  spec: {where: {virtual_network: {ref: [system/inside]}}, ip: 10.0.0.3, port: 8000}
"""
#: A resolver for inside hosts: what they ask at 10.0.0.100 is asked of the outside network's DNS server.
RESOLVER = """
- kind: virtual_host
  metadata: {name: resolver}
  spec: {domains: ["*"], proxy: UDP_PROXY, advertise_policies: [resolver-udp], routes: [resolver-udp]}
- kind: virtual_host
  metadata: {name: resolver-tcp}
  spec: {domains: ["*"], proxy: TCP_PROXY, advertise_policies: [resolver-tcp], routes: [resolver-tcp]}
- kind: advertise_policy
  metadata: {name: resolver-udp}
  spec: {where: {virtual_network: {ref: [system/inside]}}, address: 10.0.0.100, protocol: UDP, port: 53}
- kind: advertise_policy
  metadata: {name: resolver-tcp}
  spec: {where: {virtual_network: {ref: [system/inside]}}, address: 10.0.0.100, port: 53}
- kind: route
  metadata: {name: resolver-udp}
  spec: {routes: [{route_destination: {destinations: [{cluster: resolver-udp}]}}]}
- kind: route
  metadata: {name: resolver-tcp}
  spec: {routes: [{route_destination: {destinations: [{cluster: resolver-tcp}]}}]}
- kind: cluster
  metadata: {name: resolver-udp}
  spec: {endpoints: [resolver-udp]}
- kind: cluster
  metadata: {name: resolver-tcp}
  spec: {endpoints: [resolver-tcp]}
- kind: endpoint
  metadata: {name: resolver-udp}
  spec: {where: {virtual_network: {ref: [system/outside]}}, ip: 203.0.113.80, protocol: UDP, port: 53}
- kind: endpoint
  metadata: {name: resolver-tcp}
  spec: {where: {virtual_network: {ref: [system/outside]}}, ip: 203.0.113.80, port: 53}
"""
ALLOW = "allow_all: {}"
DENY = "rule_list: {rules: [{metadata: {name: none}, action: DENY, all_sources: {}, all_destinations: {}}]}"


class ThreeDirectionsTests(NamespaceCase):
    def setUp(self) -> None:
        require("nft")
        self.lab = lab = Lab(self)
        self.out, self.into = lab.namespace("out"), lab.namespace("in")
        self.stranger, self.world = lab.namespace("stranger"), lab.namespace("world")
        self.inside, self.server = lab.namespace("inside"), lab.namespace("server")
        lab.wire(self.into, self.inside, self.server)
        lab.cable(self.out, "eth0", self.stranger, "eth0")
        lab.cable(self.out, "eth1", self.world, "eth0")
        for namespace, interface, address in (
            (self.out, "eth0", "192.0.2.1/24"), (self.stranger, "eth0", "192.0.2.7/24"),
            (self.out, "eth1", "203.0.113.1/24"), (self.world, "eth0", "203.0.113.80/24"),
            (self.into, "eth0", "10.0.0.1/24"), (self.inside, "eth0", "10.0.0.2/24"), (self.server, "eth0", "10.0.0.3/24"),
        ):
            lab.address(namespace, interface, address)
        lab.ip("-n", self.inside, "route", "add", "default", "via", "10.0.0.1")
        lab.serve(self.server, "10.0.0.3", 8000, http_server("web"))
        self.far = lab.serve(self.world, "203.0.113.80", 80, http_server("far"))

    def text(self, rule: str, mode: str) -> str:
        return CONFIG.replace("OUT", self.out).replace("INTO", self.into).replace("RULE", rule).replace("MODE", mode)

    def get(self, namespace: str, url: str) -> str:
        got = self.lab.run(namespace, *curl("-w", "%{http_code}", url))
        return got.stdout + got.stderr

    def directions(self) -> tuple[str, str, str]:
        """What is heard from outside, among the inside hosts, and from inside out."""
        return (self.get(self.stranger, "http://192.0.2.100/"), self.get(self.inside, "http://10.0.0.100/"),
                self.get(self.inside, "http://203.0.113.80/"))

    def rules(self) -> str:
        """The packet rules on the inside."""
        return self.lab.run(self.into, "nft", "list", "ruleset").stdout

    def go_on(self, mode: str) -> None:
        gateway = Gateway(self, self.text(ALLOW, mode))
        gateway.wait_ready()
        ingress, among, egress = self.directions()
        self.assertEqual((ingress, among), ("web asked by 10.0.0.1\n200", "web asked by 10.0.0.1\n200"))
        self.assertEqual(egress, "far asked by 203.0.113.1\n200", gateway.output)
        self.assertEqual(set(self.far.peers), {"203.0.113.1"})
        rules = gateway.admin("/networks").json["rules"]
        self.assertEqual([(one["mode"], one["installed"]) for one in rules], [(mode, True)])
        gateway.write(self.text(DENY, mode))
        gateway.reload()
        ingress, among, egress = self.directions()
        self.assertEqual((ingress, among), ("web asked by 10.0.0.1\n200", "web asked by 10.0.0.1\n200"))
        self.assertNotIn("far", egress)
        self.assertEqual(len(self.far.peers), 1)
        self.assertIn("table inet voltgw", self.rules())
        gateway.write(self.text(DENY, mode).replace("network_connectors: [{namespace: system, name: out}]", "network_connectors: []"))
        gateway.reload()
        self.assertNotIn("voltgw", self.rules())
        gateway.write(self.text(ALLOW, mode))
        gateway.reload()
        self.assertEqual(self.directions()[2], "far asked by 203.0.113.1\n200")
        gateway.stop()
        self.assertNotIn("voltgw", self.rules())

    def test_rules_that_somebody_else_installs(self) -> None:
        """What ``voltgw rules`` prints is a script that does it; the gateway leaves all of it alone."""
        for mode in ("redirect", "tproxy"):
            text = self.text(ALLOW, mode).replace("site: lab}", "site: lab, packet_rules: untouched}", 1)
            gateway = Gateway(self, text)
            gateway.wait_ready()
            self.assertEqual(self.rules(), "")
            self.assertIn("curl: (", self.directions()[2])
            script = subprocess.run([sys.executable, "-m", "voltgw.cli.main", "rules", str(gateway.file)], text=True, check=True,
                                    capture_output=True, env={**os.environ, "PYTHONPATH": str(_ROOT)}).stdout
            subprocess.run(["sh", "-e"], input=script, text=True, check=True)
            self.assertEqual(self.directions()[2], "far asked by 203.0.113.1\n200", mode)
            self.assertEqual(gateway.admin("/networks").json["rules"], [])
            gateway.stop()
            self.assertIn("table inet voltgw", self.rules())
            self.lab.run(self.into, "nft", "flush", "ruleset")

    def test_no_other_right_than_those_that_are_told(self) -> None:
        """The capabilities of the how-to are enough for networks, VIPs and packet rules."""
        text = (_ROOT / "docs/howto/isolated-networks.rst").read_text(encoding="utf-8")
        told = re.search("AmbientCapabilities=(.*)", text)
        assert told is not None
        rights = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in told[1].split())
        gateway = Gateway(self, self.text(ALLOW, "tproxy").replace(", access_log: {path: access.log}", ""), rights=rights)
        gateway.wait_ready()
        self.assertEqual(self.directions(), (
            "web asked by 10.0.0.1\n200", "web asked by 10.0.0.1\n200", "far asked by 203.0.113.1\n200"))

    def test_a_right_is_missing(self) -> None:
        """It is said which: for namespaces at the start, for VIPs as what keeps the gateway from being ready."""
        text = self.text(ALLOW, "none").replace(", access_log: {path: access.log}", "")
        gateway = Gateway(self, text, rights="+net_bind_service,+net_admin,+net_raw")
        self.assertNotEqual(gateway.wait_exit(), 0)
        self.assertIn("needs CAP_SYS_ADMIN", gateway.output)
        gateway = Gateway(self, text, rights="+net_bind_service,+sys_admin")
        until("it says so", lambda: "VIP 192.0.2.100: it cannot be added: operation not permitted (it takes CAP_NET_ADMIN and "
              "CAP_NET_RAW)" in gateway.output)
        self.assertEqual(gateway.admin("/ready").status, 503)

    def test_a_resolver_for_inside_hosts(self) -> None:
        """They ask the gateway, by UDP and by TCP, and hear what the outside network's server says; a name then leads out."""
        asked: list[str] = []
        serve = dns_server({"far.example": "203.0.113.80"}, asked)
        self.lab.serve(self.world, "203.0.113.80", 53, serve, socket.SOCK_DGRAM)
        self.lab.serve(self.world, "203.0.113.80", 53, by_tcp(serve))
        gateway = Gateway(self, self.text(ALLOW, "redirect") + RESOLVER)
        gateway.wait_ready()
        for option in ("+notcp", "+tcp"):
            dig = self.lab.run(self.inside, require("dig"), "+short", "+tries=1", option, "@10.0.0.100", "far.example")
            self.assertEqual(dig.stdout, "203.0.113.80\n", option)
        self.assertEqual(asked, ["far.example"] * 2)
        self.assertEqual(self.get(self.inside, f"http://{dig.stdout.strip()}/"), "far asked by 203.0.113.1\n200")

    def test_by_redirect(self) -> None:
        """All three go on at once; when the forward proxy's policy denies everything, only that direction stops.

        The rules go with the connector, come back with it, and go with the gateway.
        """
        self.go_on("redirect")

    def test_by_tproxy(self) -> None:
        """The same, with packets that come as they are."""
        self.go_on("tproxy")
