"""One client address cannot take all the room there is."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support import Recorders, SteppedLoopCase
from voltgw.net.sources import Sources


class SourcesTests(SynchronousTestCase):
    def test_a_share_and_no_more(self) -> None:
        """Up to the limit it may enter; when one leaves there is room again; others have shares of their own."""
        sources = Sources(2)
        self.assertEqual([sources.enter("192.0.2.1") for _ in range(3)], [True, True, False])
        self.assertTrue(sources.enter("192.0.2.2"))
        sources.leave("192.0.2.1")
        self.assertTrue(sources.enter("192.0.2.1"))

    def test_nothing_is_kept_of_those_who_left(self) -> None:
        """Memory is that of the open connections."""
        sources = Sources(1)
        for number in range(100):
            sources.enter(f"192.0.2.{number}")
            sources.leave(f"192.0.2.{number}")
        self.assertEqual(len(sources), 0)

    def test_trusted_prefixes(self) -> None:
        """A load balancer in front holds as many as it likes; zones of IPv6 addresses do not matter."""
        sources = Sources(1, ["10.0.0.0/8", "fe80::/10"])
        self.assertTrue(all(sources.enter("10.1.2.3") for _ in range(5)))
        self.assertTrue(all(sources.enter("fe80::1%eth0") for _ in range(5)))
        self.assertEqual([sources.enter("11.0.0.1") for _ in range(2)], [True, False])
        self.assertRaises(ValueError, sources.trust, ["10.0.0.0/33"])


class ListenerTests(SteppedLoopCase):
    def test_the_next_one_is_closed_and_counted(self) -> None:
        """A connection beyond the share is closed at once; the others are served; an end makes room."""
        self.loop.sources.limit = 2
        factory = Recorders()
        listener = self.listen(factory)
        counters = listener.counters
        clients = [self.socket(listener) for _ in range(3)]
        self.spin(lambda: counters.accepted == 3)
        self.assertEqual((len(factory.built), counters.refused_source, counters.open), (2, 1, 2))
        self.assertEqual(clients[2].recv(1), b"")
        clients[0].close()
        self.spin(lambda: counters.open == 1)
        self.socket(listener)
        self.spin(lambda: counters.open == 2)
        self.assertEqual((len(factory.built), counters.refused_source), (3, 1))
