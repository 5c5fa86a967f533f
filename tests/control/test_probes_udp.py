"""Tests for `voltgw.control.probes.udp`, `.dns` and `.reach`, on the real loop against sockets of this machine."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import ip_address
from random import Random
from typing import Any

from zope.interface.verify import verifyObject

from tests.support import SteppedLoopCase, interpreted_only
from voltgw.config.objects.healthcheck_extension import DnsCode, DnsHealthCheck, DnsType, Silence, UdpHealthCheck
from voltgw.control.probes import dns, udp
from voltgw.control.probes.dns import MAX_STRAYS, DnsOptions, DnsProbe
from voltgw.control.probes.prober import Prober
from voltgw.control.probes.target import Check, Probe, Target
from voltgw.control.probes.udp import UdpOptions, UdpProbe
from voltgw.errors import NOWHERE
from voltgw.interfaces import IFactory
from voltgw.values.tls import ClientTls
from voltgw.wire.dnsmsg import AAAA, SOA, A, name_of
from voltgw.wire.proxyproto import own_header

NAME = name_of("health.example")


class DatagramCase(SteppedLoopCase):
    def setUp(self) -> None:
        """A prober, and an endpoint that the test itself plays."""
        super().setUp()
        self.prober = Prober(self.loop, Random(0))
        self.prober.startService()
        self.addCleanup(self.turn)
        self.addCleanup(self.prober.stopService)
        self.endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.endpoint.bind(("127.0.0.1", 0))
        self.endpoint.settimeout(5)
        self.addCleanup(self.endpoint.close)
        self.heard = 0

    def probed(self, target: Target, changed: bool) -> None:
        """The observer's part."""
        self.heard += 1

    def target(self, probe: Probe, timeout_s: float = 2.0, *, port: int = 0, address: str = "127.0.0.1", tls: Any = None) -> Target:
        """A target that is being probed: once, as the interval is long."""
        check = Check("default/check", probe, 600.0, timeout_s, 1, 1)
        made = Target(check, "", address, port or self.endpoint.getsockname()[1], self, None, tls)
        self.prober.add(made)
        self.addCleanup(self.prober.remove, made)
        return made

    def asked(self) -> tuple[bytes, Any]:
        """What the endpoint is asked, and by whom."""
        self.spin(lambda: self.prober.under_way == 1)
        self.turn()
        return self.endpoint.recvfrom(65536)

    def verdict(self, target: Target) -> tuple[bool, str]:
        """What came of the probe."""
        self.spin(lambda: bool(target.results))
        (result,) = target.results
        self.assertEqual((self.prober.under_way, self.heard), (0, 1))
        return result.ok, result.reason


class UdpProbeTests(DatagramCase):
    def test_an_answer(self) -> None:
        """The datagram arrives as configured; the answer must hold the expected bytes, any will do without."""
        for answer, verdict in ((b"pong!", (True, "answered as expected")),
                                (b"nothing", (False, "the expected bytes are not in the answer of 7 bytes")),
                                (b"", (False, "the expected bytes are not in the answer of 0 bytes"))):
            self.heard = 0
            target = self.target(UdpProbe(UdpOptions(b"ping", b"pong")))
            question, peer = self.asked()
            self.assertEqual(question, b"ping")
            self.endpoint.sendto(answer, peer)
            self.assertEqual(self.verdict(target), verdict)
        self.heard = 0
        target = self.target(UdpProbe(UdpOptions()))
        question, peer = self.asked()
        self.assertEqual(question, b"")
        self.endpoint.sendto(b"abc", peer)
        self.assertEqual(self.verdict(target), (True, "answered with 3 bytes"))

    def test_nobody_there(self) -> None:
        """The host says so by ICMP: a failure at once, whatever silence would mean."""
        port = self.endpoint.getsockname()[1]
        self.endpoint.close()
        for silent_is_good in (True, False):
            self.heard = 0
            target = self.target(UdpProbe(UdpOptions(b"x", silent_is_good=silent_is_good)), 60.0, port=port)
            self.assertEqual(self.verdict(target), (False, f"127.0.0.1:{port}: Connection refused"))
        self.assertEqual(self.prober.failures, 2)

    def test_silence(self) -> None:
        """Good or bad as configured, when the time is up and not before."""
        for silent_is_good, verdict in (
            (True, (True, "no answer, and nobody says that it is unreachable")), (False, (False, "no result within 0.2 s")),
        ):
            self.heard = 0
            began = self.loop.monotonic()
            target = self.target(UdpProbe(UdpOptions(b"x", silent_is_good=silent_is_good)), 0.2)
            self.assertEqual(self.verdict(target), verdict)
            self.assertGreaterEqual(self.loop.monotonic() - began, 0.2)

    def test_others_are_not_heard(self) -> None:
        """A datagram from another address is none of the endpoint's."""
        target = self.target(UdpProbe(UdpOptions(b"x", b"pong")), 0.5)
        _, peer = self.asked()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"pong", peer)
        self.assertEqual(self.verdict(target), (False, "no result within 0.5 s"))

    def test_an_endless_answer(self) -> None:
        """What comes after the first datagram is not read: the socket is closed."""
        target = self.target(UdpProbe(UdpOptions(b"x")))
        _, peer = self.asked()
        for _ in range(100):
            self.endpoint.sendto(bytes(1000), peer)
        self.assertEqual(self.verdict(target), (True, "answered with 1000 bytes"))

    def test_no_way_there(self) -> None:
        """What the kernel refuses is a failure with its words; a Unix socket has no UDP."""
        target = self.target(UdpProbe(UdpOptions(b"x")), address="/run/none.socket", port=1)
        self.assertEqual(self.verdict(target), (False, "unix:/run/none.socket: Invalid argument"))
        self.heard = 0
        target = self.target(UdpProbe(UdpOptions(b"x")), address="255.255.255.255")
        self.assertEqual(self.verdict(target)[1].partition(": ")[2], "Permission denied")

    @interpreted_only
    def test_our_own_want_of_descriptors(self) -> None:
        """That no socket could be made says nothing of the endpoint."""
        def none_left(*_: object) -> socket.socket:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(__import__("voltgw.net.correspondence", fromlist=["x"]), "connected_datagram_socket", none_left)
        target = self.target(UdpProbe(UdpOptions(b"x")))
        self.spin(lambda: self.prober.local_failures == 1)
        self.assertEqual((target.results, self.heard), ([], 0))

    def test_removed_while_under_way(self) -> None:
        """No result, no socket."""
        target = self.target(UdpProbe(UdpOptions(b"x")))
        self.asked()
        self.prober.remove(target)
        self.turn()
        self.assertEqual((self.prober.under_way, target.results, self.loop.open), (0, [], 0))

    def test_a_proxy_header_before_each_datagram(self) -> None:
        """Where endpoints want one, the probe's stands in the same datagram as its payload, or its question."""
        header = own_header(2)
        for probe, payload in ((UdpProbe(UdpOptions(b"ping")), b"ping"), (DnsProbe(DnsOptions(NAME, A)), b"\0\1\0\0")):
            self.heard = 0
            check = Check("default/check", probe, 600.0, 2.0, 1, 1)
            target = Target(check, "", "127.0.0.1", self.endpoint.getsockname()[1], self, None, first=header)
            self.prober.add(target)
            question, _ = self.asked()
            self.assertTrue(question.startswith(header))
            self.assertIn(payload, question[len(header):])
            self.prober.remove(target)

    def test_tls_of_the_cluster_is_not_for_datagrams(self) -> None:
        """A cluster of TLS endpoints may have a UDP check beside: it asks in plain."""
        class Context:
            config = ClientTls()

        target = self.target(UdpProbe(UdpOptions(b"ping")), tls=Context())
        question, peer = self.asked()
        self.endpoint.sendto(b"ok", peer)
        self.assertEqual((question, self.verdict(target)[0]), (b"ping", True))

    def test_the_factory(self) -> None:
        """Silence is judged by what is expected, unless it is said."""
        verifyObject(IFactory, udp.FACTORY)
        for expected, silence, good in ((None, Silence.BY_EXPECTATION, True), (b"x", Silence.BY_EXPECTATION, False),
                                        (None, Silence.FAILURE, False), (b"x", Silence.SUCCESS, True)):
            options = udp.FACTORY.options(UdpHealthCheck(send_payload=b"a", expected_response=expected, silence=silence), NOWHERE)
            self.assertEqual(options, UdpOptions(b"a", expected or b"", good))


def answer_to(question: bytes, *records: bytes, rcode: int = 0, flags: int = 0x8000) -> bytes:
    """An answer with these addresses."""
    end = question.index(b"\0", 12) + 5
    answers = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", A if len(each) == 4 else AAAA, 1, 60, len(each)) + each for each in records)
    return question[:2] + struct.pack("!5H", flags | rcode, 1, len(records), 0, 0) + question[12:end] + answers


class DnsProbeTests(DatagramCase):
    def ask(self, options: DnsOptions, timeout_s: float = 2.0) -> tuple[Target, bytes, Any]:
        """A probe that has asked."""
        self.heard = 0
        target = self.target(DnsProbe(options), timeout_s)
        return target, *self.asked()

    def test_answers(self) -> None:
        """The code must be the expected one, the address among the answers."""
        one, other = (ip_address(text) for text in ("192.0.2.1", "192.0.2.2"))
        six = ip_address("2001:db8::1")
        for options, records, rcode, verdict in (
            (DnsOptions(NAME, A), (), 0, (True, "answered NOERROR")),
            (DnsOptions(NAME, A), (), 2, (False, "answered SERVFAIL, not NOERROR")),
            (DnsOptions(NAME, A), (), 15, (False, "answered RCODE 15, not NOERROR")),
            (DnsOptions(NAME, A, 3), (), 3, (True, "answered NXDOMAIN")),
            (DnsOptions(NAME, A, 3), (one,), 0, (False, "answered NOERROR, not NXDOMAIN")),
            (DnsOptions(NAME, SOA), (), 0, (True, "answered NOERROR")),
            (DnsOptions(NAME, A, 0, one), (other, one), 0, (True, "answered NOERROR with 192.0.2.1")),
            (DnsOptions(NAME, A, 0, one), (other,), 0, (False, "answered 192.0.2.2, not 192.0.2.1")),
            (DnsOptions(NAME, A, 0, one), (), 0, (False, "answered no address, not 192.0.2.1")),
            (DnsOptions(NAME, AAAA, 0, six), (six,), 0, (True, "answered NOERROR with 2001:db8::1")),
        ):
            target, question, peer = self.ask(options)
            self.endpoint.sendto(answer_to(question, *(each.packed for each in records), rcode=rcode), peer)
            self.assertEqual(self.verdict(target), verdict)

    def test_what_is_no_answer(self) -> None:
        """Garbage, another number, another question: passed over a few times, then a failure; a good answer between counts."""
        target, question, peer = self.ask(DnsOptions(NAME, A))
        for wrong in (b"", b"\0", bytes(12), bytes((question[0] ^ 1,)) + answer_to(question)[1:],
                      answer_to(question.replace(b"health", b"wealth"))):
            self.endpoint.sendto(wrong, peer)
        self.endpoint.sendto(answer_to(question), peer)
        self.assertEqual(self.verdict(target), (True, "answered NOERROR"))
        target, question, peer = self.ask(DnsOptions(NAME, A))
        for _ in range(MAX_STRAYS + 1):
            self.endpoint.sendto(b"garbage of a sort", peer)
        ok, reason = self.verdict(target)
        self.assertEqual((ok, reason.partition(": ")[0]), (False, "no answer to the question"))

    def test_each_question_has_its_number(self) -> None:
        """So that nobody can forge the answer without seeing the question."""
        numbers = set()
        for _ in range(4):
            target, question, peer = self.ask(DnsOptions(NAME, A))
            numbers.add(question[:2])
            self.endpoint.sendto(answer_to(question), peer)
            self.verdict(target)
        self.assertGreater(len(numbers), 1)

    def test_silence_is_a_failure(self) -> None:
        """At the end of its time."""
        target, _, _ = self.ask(DnsOptions(NAME, A), 0.2)
        self.assertEqual(self.verdict(target), (False, "no result within 0.2 s"))

    def test_over_tcp(self) -> None:
        """With its length before each message, in however many pieces; a closed connection and garbage are failures."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(5)
            for pieces, verdict in ((True, (True, "answered NOERROR")),
                                    (False, (False, "the connection was closed before the answer was complete")),
                                    (None, (False, "no answer to the question: it is too short"))):
                self.heard = 0
                target = self.target(DnsProbe(DnsOptions(NAME, A, over_tcp=True)), port=server.getsockname()[1])
                self.spin(lambda: self.prober.under_way == 1)
                peer, _ = server.accept()
                with peer:
                    peer.settimeout(0.01)
                    question = b""
                    while len(question) < 2 or len(question) < 2 + int.from_bytes(question[:2], "big"):
                        self.turn()
                        try:
                            question += peer.recv(65536)
                        except TimeoutError:
                            continue
                    answer = answer_to(question[2:])
                    wire = len(answer).to_bytes(2, "big") + answer
                    if pieces:
                        for octet in wire:
                            peer.sendall(bytes((octet,)))
                            self.turn()
                    else:
                        peer.sendall(wire[:5] if pieces is False else b"\0\0more")
                    if pieces is False:
                        peer.shutdown(socket.SHUT_WR)
                    self.assertEqual(self.verdict(target), verdict)

    def test_the_factory(self) -> None:
        """It reads the configuration's message."""
        verifyObject(IFactory, dns.FACTORY)
        raw = DnsHealthCheck(query_name="Health.example", query_type=DnsType.AAAA, expected_rcode=DnsCode.NOERROR,
                             expected_address="2001:db8::1", over_tcp=True)
        self.assertEqual(dns.FACTORY.options(raw, NOWHERE), DnsOptions(NAME, AAAA, 0, ip_address("2001:db8::1"), True))
