"""Health checks by UDP in a network of their own: who answers, who does not listen, and a host that is not there."""

from __future__ import annotations

import socket
from typing import Any

from tests.integration.gateway import Gateway
from tests.integration.test_networks import ApartCase, config
from tests.namespaces import until

_WHERE = "site: {ref: [{namespace: system, name: lab}], network_type: VIRTUAL_NETWORK_SITE_LOCAL_INSIDE}"
_HTTP = "http_health_check: {path: /}, interval: 1, timeout: 1"


class DatagramTests(ApartCase):
    def test_a_host_that_is_not_there(self) -> None:
        """Silence is good here, but a neighbour that does not answer (ARP) is not silence: the kernel says so after 3 s."""
        def echo(sock: socket.socket, _: Any) -> None:
            while True:
                data, peer = sock.recvfrom(2048)
                if peer is None:
                    return                  # the test is over
                sock.sendto(data, peer)

        self.lab.serve(self.server, "10.0.0.2", 9000, echo, socket.SOCK_DGRAM)
        text = config(PROXY="UDP_PROXY", POLICY="protocol: UDP, port: 5000", ENDPOINTS="[inside, deaf, gone]",
                      WHERE="ip: 10.0.0.2, protocol: UDP, port: 9000", OUT=f"netns: {self.out}", IN=f"netns: {self.into}")
        text = text.replace(_HTTP, "udp_icmp_health_check: {}, interval: 6, timeout: 5").replace(
            "unhealthy_threshold: 2", "unhealthy_threshold: 1")
        for name, address in (("deaf", "10.0.0.2, port: 9001"), ("gone", "10.0.0.9, port: 9000")):
            text += f"- {{kind: endpoint, metadata: {{name: {name}}}, spec: {{where: {{{_WHERE}}}, ip: {address}, protocol: UDP}}}}\n"
        gateway = Gateway(self, text)
        gateway.wait_ready()

        def reasons() -> dict[str, str] | None:
            endpoints = gateway.cluster("default/web")["endpoints"]
            if not all(endpoint["checks"][0]["results"] for endpoint in endpoints):
                return None
            return {f"{endpoint['address']}:{endpoint['port']}": endpoint["checks"][0]["results"][0]["reason"] for endpoint in endpoints}

        self.assertEqual(until("each is probed", reasons), {
            "10.0.0.2:9000": "answered with 0 bytes", "10.0.0.2:9001": "10.0.0.2:9001: Connection refused",
            "10.0.0.9:9000": "10.0.0.9:9000: No route to host",
        })
