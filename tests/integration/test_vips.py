"""VIPs that are there while they are served: added to an interface, announced, taken away; clients are real programs."""

from __future__ import annotations

import signal

from tests.integration.gateway import Gateway
from tests.namespaces import Lab, NamespaceCase, curl, http_server, until
from tests.servers import require

CONFIG = """
gateway: {admin: {address: 127.0.0.1, port: ADMIN}, site: lab, addresses: RULE}
objects:
- kind: site
  metadata: {name: lab, namespace: system}
  spec: {site_type: CUSTOMER_EDGE, voltgw: {manage_addresses: true}}
- kind: virtual_network
  metadata: {name: outside, namespace: system}
  spec: {site_local_network: {}, voltgw: {netns: NETNS}}
- kind: virtual_host
  metadata: {name: web}
  spec: {domains: ["*"], advertise_policies: [POLICIES], routes: [web]}
- kind: advertise_policy
  metadata: {name: four}
  spec: {address: 10.0.0.100, port: 80}
- kind: advertise_policy
  metadata: {name: six}
  spec: {address: "fd00::100", port: 80}
- kind: route
  metadata: {name: web}
  spec: {routes: [{route_destination: {destinations: [{cluster: web}]}}]}
- kind: cluster
  metadata: {name: web}
  spec: {endpoints: [server]}
- kind: endpoint
  metadata: {name: server}
  spec: {ip: 10.0.0.3, port: 8000}
"""
BOTH = "four, six"


class OneArmTests(NamespaceCase):
    """Client, gateway and server are on one wire, in one subnet; the VIPs 10.0.0.100 and fd00::100 are nobody's at first."""

    def setUp(self) -> None:
        self.lab = lab = Lab(self)
        self.own, self.client, self.server = lab.namespace("gw"), lab.namespace("client"), lab.namespace("server")
        lab.wire(self.own, self.client, self.server)
        for number, namespace in enumerate((self.own, self.client, self.server), 1):
            lab.address(namespace, "eth0", f"10.0.0.{number}/24", f"fd00::{number}/64")
        self.served = lab.serve(self.server, "10.0.0.3", 8000, http_server("server"))

    def text(self, policies: str = BOTH, rule: str = "by_site") -> str:
        return CONFIG.replace("NETNS", self.own).replace("POLICIES", policies).replace("RULE", rule)

    def gateway(self, policies: str = BOTH, rule: str = "by_site", command: list[str] | None = None) -> Gateway:
        gateway = Gateway(self, self.text(policies, rule), command=command)
        gateway.wait_ready()
        return gateway

    def get(self, url: str) -> str:
        got = self.lab.run(self.client, *curl(url))
        return got.stdout + got.stderr

    def here(self) -> set[str]:
        """Which of the VIPs stand on the gateway's interface."""
        return {"10.0.0.100", "fd00::100"} & self.lab.addresses(self.own, "eth0").keys()

    def hardware(self, namespace: str) -> str:
        """The MAC address of an interface."""
        return self.lab.run(namespace, "cat", "/sys/class/net/eth0/address").stdout.strip()

    def test_a_vip_is_there_while_it_is_served(self) -> None:
        """ARP and curl reach it, the server sees the gateway; other ports refuse; it goes with its policy, and at the end."""
        self.assertEqual(self.get("http://10.0.0.100/")[:6], "curl: ")
        gateway = self.gateway()
        arping = self.lab.run(self.client, require("arping"), "-c", "1", "-w", "3", "-I", "eth0", "10.0.0.100")
        self.assertIn(f"reply from 10.0.0.100 [{self.hardware(self.own).upper()}]", arping.stdout)
        self.assertEqual(self.get("http://10.0.0.100/"), "server asked by 10.0.0.1\n")
        self.assertEqual(self.get("http://[fd00::100]/"), "server asked by 10.0.0.1\n")
        self.assertIn("curl: (7)", self.get("http://10.0.0.100:8000/"))
        self.assertEqual(set(self.served.peers), {"10.0.0.1"})
        address = self.lab.addresses(self.own, "eth0")["10.0.0.100"]
        self.assertEqual(address["prefixlen"], 32)
        self.assertTrue(0 < address["valid_life_time"] <= 30)
        self.assertIn('voltgw_vip_present{address="10.0.0.100",interface="eth0",network="system/outside"} 1',
                      gateway.admin("/metrics").body.decode())
        self.assertEqual([(vip["address"], vip["ours"]) for vip in gateway.admin("/networks").json["vips"]],
                         [("10.0.0.100", True), ("fd00::100", True)])
        gateway.write(self.text("six"))
        gateway.reload()
        until("the policy's address goes", lambda: self.here() == {"fd00::100"})
        self.assertEqual(self.get("http://[fd00::100]/"), "server asked by 10.0.0.1\n")
        gateway.process.send_signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertEqual(self.here(), set())
        self.assertNotIn("Traceback", gateway.output)

    def test_neighbours_are_told(self) -> None:
        """Who knew another owner of the address until now learns at once that it is here; nobody has to ask."""
        old = "02:00:00:00:00:99"
        for address in ("10.0.0.100", "fd00::100"):
            self.lab.ip("-n", self.client, "neighbour", "replace", address, "lladdr", old, "dev", "eth0", "nud", "stale")
        self.gateway()
        mine = self.hardware(self.own)

        def known() -> list[str]:
            found = self.lab.ip("-n", self.client, "neighbour", "show", "dev", "eth0").splitlines()
            return sorted(line.split()[0] for line in found if mine in line)

        until("both are known to be here", lambda: known() == ["10.0.0.100", "fd00::100"])

    def test_an_address_that_was_there(self) -> None:
        """It is used as it is, and stays when its policy and the gateway go."""
        self.lab.address(self.own, "eth0", "10.0.0.100/24")
        gateway = self.gateway()
        self.assertEqual(self.get("http://10.0.0.100/"), "server asked by 10.0.0.1\n")
        vip = gateway.admin("/networks").json["vips"][0]
        self.assertEqual((vip["present"], vip["ours"]), (True, False))
        gateway.write(self.text("six"))
        gateway.reload()
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_exit()
        address = self.lab.addresses(self.own, "eth0")["10.0.0.100"]
        self.assertEqual((address["prefixlen"], address["valid_life_time"]), (24, 2 ** 32 - 1))

    def test_a_crash(self) -> None:
        """Whoever starts after a crash takes over the address that the dead one has left, and takes it away at its end."""
        gateway = self.gateway()
        gateway.process.kill()
        gateway.wait_exit()
        self.assertEqual(self.here(), {"10.0.0.100", "fd00::100"})     # for half a minute at most
        second = self.gateway()
        self.assertTrue(all(vip["ours"] for vip in second.admin("/networks").json["vips"]))
        self.assertEqual(self.get("http://10.0.0.100/"), "server asked by 10.0.0.1\n")
        second.process.send_signal(signal.SIGTERM)
        second.wait_exit()
        self.assertEqual(self.here(), set())

    def test_addresses_that_may_not_be_touched(self) -> None:
        """The VIP is bound whether the host has it or not; it serves as soon as somebody else has added it."""
        gateway = self.gateway(rule="untouched")
        self.assertEqual(self.here(), set())
        self.assertIn("curl: (", self.get("http://10.0.0.100/"))
        self.lab.address(self.own, "eth0", "10.0.0.100/32")
        until("the client finds it", lambda: self.get("http://10.0.0.100/") == "server asked by 10.0.0.1\n")
        self.assertEqual(gateway.admin("/networks").json["vips"], [])

    def test_forbidden_on_the_command_line(self) -> None:
        """``--no-touch-addresses`` goes before what the site says, for either command."""
        twistd = ["-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "voltgw", "--no-touch-addresses",
                  "--config", "voltgw.yaml"]
        for command in (twistd, ["-m", "voltgw.cli.main", "run", "--no-touch-addresses", "voltgw.yaml"]):
            gateway = self.gateway(command=command)
            self.assertEqual((self.here(), gateway.admin("/networks").json["vips"]), (set(), []))
            gateway.stop()
