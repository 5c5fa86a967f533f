"""iperf3 through the gateway: its control connection over TCP and its datagrams over UDP, on one port number."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from twisted.internet.threads import deferToThread

from tests.app.making import balancer
from tests.app.running import GatewayCase
from tests.integration.gateway import free_port
from tests.servers import require


class IperfTests(GatewayCase):
    def measure(self, *options: str) -> dict[str, Any]:
        """What a client reports."""
        done = subprocess.run([require("iperf3"), "-c", "127.0.0.1", "-p", str(self.port), "-t", "1", "--json", *options],
                              capture_output=True, timeout=20, check=False)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    async def served(self) -> Any:
        """A gateway in front of an iperf3 server; both transports."""
        port = free_port()
        server = subprocess.Popen([require("iperf3"), "-s", "-B", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)

        def stop() -> None:
            server.terminate()
            server.wait(5)

        self.addCleanup(stop)
        gateway = self.start(*(balancer(name, f"127.0.0.1:{self.port}", f"127.0.0.1:{port}", more=f", protocol: {name}")
                               for name in ("tcp", "udp")))
        await self.warm()
        return gateway

    async def test_datagrams(self) -> None:
        """20 Mbit/s in datagrams of 1,400 bytes arrive, with next to none lost; so they do the other way."""
        gateway = await self.served()
        for options in ((), ("-R",)):
            found = await deferToThread(self.measure, "-u", "-b", "20M", "-l", "1400", *options)
            self.assertNotIn("error", found)
            end = found["end"]["sum"]
            self.assertGreater(end["packets"], 1500)
            self.assertLess(end["lost_percent"], 5)
        udp = next(each for each in gateway.listeners() if each.protocol == "UDP")
        self.assertGreater(udp.counters.datagrams_in, 1500)
        self.assertGreater(udp.counters.datagrams_out, 1500)

    async def test_streams(self) -> None:
        """Two connections at once, each way."""
        await self.served()
        for options in ((), ("-R",)):
            found = await deferToThread(self.measure, "-P", "2", "-b", "100M", *options)
            self.assertNotIn("error", found)
            self.assertGreater(found["end"]["sum_received"]["bytes"], 15_000_000)
