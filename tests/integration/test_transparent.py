"""The transparent forward proxy in network namespaces: the client has a default route and nothing else."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from tests import certificates
from tests.integration.gateway import Gateway, log_lines
from tests.namespaces import Lab, NamespaceCase, curl, dns_server, http_server, until
from tests.servers import require

#: MODE is how connections are captured, POLICY the spec of the only policy, INTERCEPT how TLS is treated.
CONFIG = """
gateway: {admin: {address: 127.0.0.1, port: ADMIN}, access_log: {path: access.log}, site: lab}
objects:
- kind: site
  metadata: {name: lab, namespace: system, labels: {ves.io/fleet: edge}}
  spec: {site_type: CUSTOMER_EDGE}
- kind: fleet
  metadata: {name: edge, namespace: system}
  spec:
    fleet_label: edge
    network_connectors: [{name: inside-out}]
    network_firewall: [{name: egress}]
    inside_virtual_network: [{name: inside}]
    outside_virtual_network: [{name: outside}]
- kind: virtual_network
  metadata: {name: inside, namespace: system}
  spec: {site_local_inside_network: {}, voltgw: {netns: INSIDE, interface: eth0}}
- kind: virtual_network
  metadata: {name: outside, namespace: system}
  spec: {site_local_network: {}, voltgw: {netns: OUTSIDE, interface: eth0, dns_servers: [203.0.113.53]}}
- kind: network_connector
  metadata: {name: inside-out, namespace: system}
  spec:
    sli_to_slo_snat: {default_gw_snat: {}, interface_ip: {}}
    enable_forward_proxy: {white_listed_ports: [2525], INTERCEPT}
    voltgw: {capture: MODE}
- kind: network_firewall
  metadata: {name: egress, namespace: system}
  spec: {active_forward_proxy_policies: {forward_proxy_policies: [{name: office}]}}
- kind: forward_proxy_policy
  metadata: {name: office, namespace: system}
  spec: POLICY
"""
_POLICY = ("{deny_list: {tls_list: [{suffix_value: bad.test}], http_list: [{exact_value: good.test, path_prefix_value: /secret}, "
           "{suffix_value: bad.test}], dest_list: [{prefixes: [203.0.113.99/32]}], default_action_allow: {}}}")
_ZONE = {"good.test": "203.0.113.10", "bad.test": "203.0.113.10", "www.bad.test": "203.0.113.10", "other.test": "203.0.113.11",
         "mail.test": "203.0.113.10"}


def greet(sock: socket.socket, peer: object) -> None:
    """A server that speaks first."""
    sock.sendall(b"220 hi\r\n")
    sock.recv(64)


class TransparentCase(NamespaceCase):
    """Client 10.0.0.2, gateway 10.0.0.1 inside and 203.0.113.1 outside, servers 203.0.113.10, .11, .53, .99; no forwarding."""

    mode = "redirect"

    def setUp(self) -> None:
        require("nft")
        self.lab = lab = Lab(self)
        self.client, self.inside, self.outside = lab.namespace("client"), lab.namespace("gwin"), lab.namespace("gwout")
        self.servers = lab.namespace("servers")
        lab.cable(self.client, "eth0", self.inside, "eth0")
        lab.cable(self.outside, "eth0", self.servers, "eth0")
        lab.address(self.client, "eth0", "10.0.0.2/24")
        lab.address(self.inside, "eth0", "10.0.0.1/24")
        lab.address(self.outside, "eth0", "203.0.113.1/24")
        lab.address(self.servers, "eth0", *(f"203.0.113.{last}/24" for last in (10, 11, 53, 99)))
        lab.ip("-n", self.client, "route", "add", "default", "via", "10.0.0.1")
        self.web = lab.serve(self.servers, "203.0.113.10", 80, http_server("good"))
        self.other = lab.serve(self.servers, "203.0.113.11", 80, http_server("other"))
        self.denied = lab.serve(self.servers, "203.0.113.99", 80, http_server("denied"))
        lab.serve(self.servers, "203.0.113.10", 2525, greet)
        lab.serve(self.servers, "203.0.113.53", 53, dns_server(_ZONE), socket.SOCK_DGRAM)
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        one = certificates.server("good.test", "bad.test", "www.bad.test", ca="origins")
        (self.folder / "cert.pem").write_bytes(one.certificate)
        (self.folder / "key.pem").write_bytes(one.key)
        (self.folder / "ca.pem").write_bytes(certificates.authority("origins").certificate)
        lab.start(self.servers, require("openssl"), "s_server", "-accept", "203.0.113.10:443", "-cert",
                  str(self.folder / "cert.pem"), "-key", str(self.folder / "key.pem"), "-www", "-quiet",
                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self, policy: str = _POLICY, intercept: str = "no_interception: {}") -> Gateway:
        text = CONFIG.replace("MODE", self.mode).replace("POLICY", policy).replace("INTERCEPT", intercept)
        gateway = Gateway(self, text.replace("INSIDE", self.inside).replace("OUTSIDE", self.outside))
        gateway.wait_ready()
        self.gateway = gateway
        return gateway

    def get(self, url: str, *arguments: str) -> str:
        got = self.lab.run(self.client, *curl(*arguments, url))
        return got.stdout + got.stderr

    def named(self, name: str, path: str = "/", address: str = "203.0.113.10", scheme: str = "http") -> str:
        """Ask `address` for a name, as a client does that has resolved it so."""
        port = 443 if scheme == "https" else 80
        return self.get(f"{scheme}://{name}{path}", "--resolve", f"{name}:{port}:{address}", "--cacert",
                        str(self.folder / "ca.pem"), "-w", " %{http_code} %{remote_ip}", "-o", "-")

    def records(self) -> list[dict[str, str]]:
        log = self.gateway.folder / "access.log"
        return log_lines(log)


class RedirectTests(TransparentCase):
    def test_only_through_the_gateway(self) -> None:
        """Nothing gets out before and after; with the connector any address is reached, and stays what it is on both sides."""
        self.assertIn("curl: (", self.get("http://203.0.113.10/"))
        self.start()
        until("the rules are there", lambda: "good asked by" in self.get("http://203.0.113.10/"))
        self.assertIn("good asked by 203.0.113.1\n 200 203.0.113.10", self.named("good.test"))
        self.assertIn("other asked by 203.0.113.1", self.get("http://203.0.113.11/"))
        self.assertEqual(set(self.web.peers), {"203.0.113.1"})
        self.gateway.stop()
        self.assertIn("curl: (", self.get("http://203.0.113.10/"))

    def test_urls_and_names(self) -> None:
        """Paths on keep-alive connections, names in Host and in TLS on one address, addresses."""
        self.start()
        until("the rules are there", lambda: "good asked by" in self.get("http://203.0.113.10/"))
        self.assertIn(" 403 ", self.named("good.test", "/secret/x"))
        self.assertIn(" 403 ", self.named("www.bad.test"))
        self.assertIn(" 200 ", self.named("good.test", scheme="https"))
        self.assertIn("alert", self.named("bad.test", scheme="https"))
        self.assertIn("curl: (", self.get("http://203.0.113.99/"))
        self.assertEqual(self.denied.peers, [])
        until("all are written down", lambda: len([each for each in self.records() if each["response_flags"] == "FP"]) == 4)
        denied = [each for each in self.records() if each["response_flags"] == "FP"]
        self.assertEqual({each["policy"] for each in denied}, {
            "system/office/deny_list.http_list", "system/office/deny_list.tls_list", "system/office/deny_list.dest_list"})

    def test_a_forged_name(self) -> None:
        """A Host or server name of an allowed host with another address does not lead there: it is looked up outside."""
        self.start()
        until("the rules are there", lambda: "good asked by" in self.get("http://203.0.113.10/"))
        seen = len(self.other.peers)
        self.assertIn(" 403 ", self.named("good.test", address="203.0.113.11"))
        self.assertIn(" 403 ", self.named("nowhere.test", address="203.0.113.11"))
        self.assertEqual(len(self.other.peers), seen)
        self.assertIn(" 200 ", self.named("other.test", address="203.0.113.11"))
        lied = self.lab.run(self.client, require("openssl"), "s_client", "-connect", "203.0.113.10:443", "-servername",
                            "other.test", given="")
        self.assertIn("unrecognized name", lied.stdout + lied.stderr)

    def test_what_is_not_parsed(self) -> None:
        """A white-listed port is passed on unheard, to servers that speak first; the client sees the server's own address."""
        self.start()
        until("the rules are there", lambda: "good asked by" in self.get("http://203.0.113.10/"))
        said = self.lab.run(self.client, "python3", "-c", (
            "import socket; s = socket.create_connection(('203.0.113.10', 2525), 5); print(s.recv(64), s.getpeername())"))
        self.assertIn("220 hi", said.stdout)
        self.assertIn("('203.0.113.10', 2525)", said.stdout)
        until("it is written down", lambda: any(each["dst_port"] == "2525" for each in self.records()))

    def test_the_capturing_port_itself(self) -> None:
        """Whoever connects to our own port gets nowhere."""
        self.start()
        until("the rules are there", lambda: "good asked by" in self.get("http://203.0.113.10/"))
        self.assertIn("curl: (", self.get("http://10.0.0.1:15001/"))


class TproxyTests(RedirectTests):
    """The same by TPROXY."""

    mode = "tproxy"


class InspectionTests(TransparentCase):
    def test_captured_tls_is_opened(self) -> None:
        """A client that trusts our CA is filtered by URL and knows nothing of a proxy."""
        signer = certificates.authority("inspection")
        (self.folder / "signer.pem").write_bytes(signer.certificate)
        self.start(intercept=(
            f"tls_intercept: {{enable_for_all_domains: {{}}, custom_certificate: {{certificate_url: "
            f"'{certificates.inline(signer.certificate)}', private_key: {{clear_secret_info: {{url: "
            f"'{certificates.inline(signer.key)}'}}}}}}, trusted_ca_url: 'file:{self.folder}/ca.pem'}}"))
        until("the rules are there", lambda: "good asked by" in self.get("http://203.0.113.10/"))

        def ask(path: str) -> str:
            return self.get(f"https://good.test{path}", "--resolve", "good.test:443:203.0.113.10", "--cacert",
                            str(self.folder / "signer.pem"), "-w", " %{http_code}", "-o", "/dev/null")

        self.assertEqual(ask("/"), " 200")
        self.assertEqual(ask("/secret"), " 403")
