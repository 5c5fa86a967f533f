"""Probes on the real loop against real sockets of this machine."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tests.cluster.making import FakePool
from tests.support import Recorder, Recorders, SteppedLoopCase
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.plan import MemberPlan
from voltgw.cluster.schedulers import round_robin
from voltgw.control.discovery.static import StaticFeed
from voltgw.control.membership import Membership
from voltgw.control.probes.asking import HttpOptions
from voltgw.control.probes.http import HttpProbe
from voltgw.control.probes.prober import Prober
from voltgw.control.probes.target import Check, Probe
from voltgw.control.probes.tcp import TcpProbe
from voltgw.net.listener import Listener


def answering(answer: bytes, *, close: bool = False) -> Callable[[], Recorder]:
    """A server's protocol that answers whatever it hears, and may close then."""
    def reaction(recorder: Recorder, data: bytes) -> None:
        recorder.transport.write(answer)
        if close:
            recorder.transport.loseConnection()

    return lambda: Recorder(reaction)


class LoopbackTests(SteppedLoopCase):
    def setUp(self) -> None:
        """A prober on the loop."""
        super().setUp()
        self.prober = Prober(self.loop, Random(0))
        self.prober.startService()
        self.members: list[MemberPlan] = []

    def server(self, protocol: Callable[[], Any]) -> Listener:
        """A listener that becomes a member."""
        listener = self.listen(Recorders(protocol))
        port = self.port_of(listener)
        self.members.append(MemberPlan(f"default/{port}", "static", "127.0.0.1", port))
        return listener

    def membership(self, probe: Probe, timeout_s: float = 2.0) -> Membership:
        """A running membership of all servers, after its first round."""
        cluster = Cluster("default/shop", round_robin.FACTORY, lambda _: FakePool(), Random(0))
        check = Check("default/check", probe, 5.0, timeout_s, 1, 1)
        made = Membership(cluster, [StaticFeed(member) for member in self.members], [check], self.prober, self.loop)
        made.startService()
        self.addCleanup(self.turn)
        self.addCleanup(self.prober.stopService)
        self.addCleanup(made.stopService)
        return made

    def reasons(self, membership: Membership) -> list[str]:
        """What each endpoint's last probe said."""
        return [endpoint["checks"][0]["results"][0]["reason"].partition(": ")[2] or
                endpoint["checks"][0]["results"][0]["reason"] for endpoint in membership.view()]

    def test_a_first_round(self) -> None:
        """Good, bad, broken and dead servers are told apart within one round, and only the good ones are picked."""
        ok = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        self.server(answering(ok))
        self.server(answering(b"HTTP/1.0 200 OK\r\n\r\nhello", close=True))
        self.server(answering(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"))
        self.server(answering(b"\x16\x03\x01"))
        self.server(answering(b"", close=True))
        dead = self.server(Recorder)
        dead.stopListening()
        membership = self.membership(HttpProbe(HttpOptions(b"/", expected=b"hell")))
        self.spin(lambda: membership.warm)
        self.assertEqual(self.reasons(membership), [
            "status 200 and the expected bytes", "status 200 and the expected bytes", "status 503",
            "the answer is not HTTP/1.x", "the connection was closed before the answer was complete",
            "Connection refused"])
        self.assertEqual([endpoint.ready for endpoint in membership.cluster.endpoints], [True] * 2 + [False] * 4)
        self.assertEqual(self.prober.under_way, 0)
        self.spin(lambda: self.loop.open == 0)

    def test_a_server_that_says_nothing(self) -> None:
        """It holds its probe for the timeout and no longer; the connection is closed."""
        self.server(Recorder)
        membership = self.membership(HttpProbe(HttpOptions(b"/")), timeout_s=1.0)
        self.spin(lambda: self.prober.under_way and self.loop.open == 2)
        self.advance(1.5)
        self.spin(lambda: membership.warm)
        self.assertEqual(self.reasons(membership), ["no result within 1 s"])
        self.spin(lambda: self.loop.open == 0)

    def test_a_server_dies_and_comes_back(self) -> None:
        """A dead server is out after its next probe, and back after the one that finds it again."""
        first = self.server(Recorder)
        self.server(Recorder)
        membership = self.membership(TcpProbe(b"", b""))
        self.spin(lambda: membership.warm)
        port = self.port_of(first)
        endpoint = membership.cluster.endpoints[0]
        self.assertTrue(endpoint.ready)
        first.stopListening()
        self.turn()
        self.advance(5.5)
        self.spin(lambda: not endpoint.ready)
        self.assertEqual(membership.cluster.endpoints[1].ready, True)
        self.assertEqual(endpoint.key.port, port)
        self.assertIn("Connection refused", endpoint.reason)
