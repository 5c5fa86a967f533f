"""TCP optimisation over a long and lossy line: the gateway's own congestion control against what the server has (P10)."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from unittest import SkipTest

from tests.integration.gateway import Gateway, until
from tests.namespaces import Lab, NamespaceCase

_LINE: Final = Path(__file__).with_name("line.py")
#: Each way, so that a round trip takes twice that.
DELAY_S: Final = 0.04
LOSS: Final = 0.01
BYTES_PER_S: Final = 20e6 / 8
#: How long each download is measured.
SECONDS: Final = 3.0

CONFIG: Final = """
gateway: {admin: {address: 127.0.0.1, port: ADMIN}}
objects:
- kind: virtual_host
  metadata: {name: files}
  spec: {domains: ["*"], proxy: TCP_PROXY, advertise_policies: [files], routes: [files]}
- kind: advertise_policy
  metadata: {name: files}
  spec: {address: 10.9.0.1, port: 7000, voltgw: {tcp: {congestion_control: bbr}}}
- kind: route
  metadata: {name: files}
  spec: {routes: [{route_destination: {destinations: [{cluster: [files]}]}}]}
- kind: cluster
  metadata: {name: files}
  spec: {endpoints: [files], voltgw: {tcp: {congestion_control: reno}}}
- kind: endpoint
  metadata: {name: files}
  spec: {ip: 10.9.0.1, port: 8000}
"""
#: Reads for so long and says how many bytes there were.
_DOWNLOAD: Final = """
import socket, sys, time
sock = socket.create_connection(("10.9.0.1", int(sys.argv[1])), 10)
sock.recv(1)
end, got = time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    got += len(sock.recv(1 << 20))
print(got)
"""


def endless(sock: socket.socket, peer: Any) -> None:
    """Serve zeros for as long as somebody reads, as most servers would."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    while True:
        sock.sendall(bytes(1 << 16))


class LossyLineTests(NamespaceCase):
    """The server and the gateway stand at one end, the client at the other."""

    def setUp(self) -> None:
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            raise SkipTest("the kernel lets us make no TUN interface (/dev/net/tun)")
        available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text(encoding="ascii").split()
        if not {"bbr", "cubic"} <= set(available):
            raise SkipTest(f"the kernel has no congestion control bbr or cubic, but {available}")
        self.lab = lab = Lab(self)
        self.edge, self.client = lab.namespace("edge"), lab.namespace("client")
        line = subprocess.Popen([sys.executable, str(_LINE), self.edge, self.client, str(DELAY_S), str(LOSS), str(BYTES_PER_S)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end, line)
        assert line.stdout is not None and line.stderr is not None
        if line.stdout.readline() != b"ready\n":
            raise SkipTest(f"the kernel lets us make no TUN interface: {line.stderr.read().decode().splitlines()[-1:]}")
        lab.address(self.edge, "line", "10.9.0.1/24")
        lab.address(self.client, "line", "10.9.0.2/24")

    @staticmethod
    def end(line: subprocess.Popen[bytes]) -> None:
        """The line goes."""
        for pipe in (line.stdin, line.stdout, line.stderr):
            if pipe is not None:
                pipe.close()
        line.terminate()
        line.wait()

    def download(self, port: int, algorithm: str) -> int:
        """Bytes that a client gets in `SECONDS`, by this congestion control, as ss(8) has it: soon, if not from the first moment."""
        process = self.lab.start(self.client, sys.executable, "-c", _DOWNLOAD, str(port), str(SECONDS), stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            until(f"it is sent by {algorithm}", lambda: self.algorithms(f"sport = :{port} dst 10.9.0.2") == {algorithm})
            self.towards = self.algorithms("dport = :8000")
            return int(process.stdout.read())

    def algorithms(self, which: str) -> set[str]:
        """By which congestion control connections at the servers' end go, as ss(8) has it."""
        return set(re.findall(r"\b(bbr|cubic|reno)\b", self.lab.run(self.edge, "ss", "-Htin", which).stdout))

    def test_a_download(self) -> None:
        """It is several times as fast as without the gateway; each side of it has the algorithm that was asked for."""
        self.lab.serve(self.edge, "10.9.0.1", 8000, endless)
        gateway = Gateway(self, CONFIG, netns=self.edge)
        until("it listens", lambda: ":7000" in self.lab.run(self.edge, "ss", "-Hltn").stdout)
        direct = self.download(8000, "cubic")
        through = self.download(7000, "bbr")
        self.assertEqual(self.towards, {"reno"})
        self.assertGreater(through, 2 * direct, f"{direct / SECONDS / 1e6:.2f} MB/s direct, {through / SECONDS / 1e6:.2f} MB/s through")
        self.assertNotIn("Traceback", gateway.output)
