"""What a DNS answer costs, as counts: calls into the kernel, and calls of our own functions."""

from __future__ import annotations

import select
import socket
from collections import Counter
from typing import ClassVar

import dns.message

from tests.dns.test_server import responder
from tests.routing.test_zone import APEX
from tests.seam import SeamCase
from voltgw.dns.desk import Desk
from voltgw.net.batches import BatchPort, available
from voltgw.net.datagrams import datagram_socket


class AnswerTests(SeamCase):
    """Four questions that wait together, of a client that was heard before; three are for a name that is there."""

    kernel: ClassVar = {"recvmmsg": 1, "sendmmsg": 1}
    least, most = 2, 8

    def setUp(self) -> None:
        """A server on a socket."""
        super().setUp()
        if not available():
            self.skipTest("the system cannot read many datagrams in one call")
        server = responder()
        self.port = BatchPort(self.loop, datagram_socket("127.0.0.1", 0), server.counters.dropped)
        self.port._read = self.count("recvmmsg", self.port._read)
        self.port._write = self.count("sendmmsg", self.port._write)
        self.port.serve = Desk(server, self.port.slots, self.port.post).serve
        self.port.startListening()
        self.addCleanup(self.port.stopListening)
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.client.close)
        self.client.settimeout(5)
        self.client.connect(self.port.address)
        self.questions = [dns.message.make_query(f"{name}.{APEX}", "A", id=number + 1).to_wire()
                          for number, name in enumerate(("shop", "SHOP", "gone", "shop"))]
        self.unit()

    def unit(self) -> None:
        """All of them asked, and answered."""
        for question in self.questions:
            self.client.send(question)
        heard: list[bytes] = []

        def answered() -> bool:
            while select.select([self.client], [], [], 0)[0]:
                heard.append(self.client.recv(1000))
            return len(heard) == len(self.questions)

        self.spin(answered)
        codes = Counter(dns.message.from_wire(answer).rcode().name for answer in heard)
        self.assertEqual(codes, {"NOERROR": 3, "NXDOMAIN": 1})

    def test_kernel(self) -> None:
        """One call reads all of them, and one sends all answers."""
        self.check_kernel()

    def test_calls(self) -> None:
        """What is known of a question is looked up, not parsed again."""
        self.check_calls()
