"""Response rate limits: what one network gets, and that others do not pay for it."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.support import interpreted_only
from voltgw.dns import rates
from voltgw.dns.rates import ResponseRates, Verdict, packed


class RateTests(SynchronousTestCase):
    """`ResponseRates`."""

    def setUp(self) -> None:
        """A clock of ours, and a limit of ten answers a second of which every second beyond slips."""
        self.now = 100.0
        self.rates = ResponseRates(10, 2, lambda: self.now)

    def take(self, times: int, address: str = "192.0.2.1") -> Counter[Verdict]:
        """What becomes of so many answers."""
        return Counter(self.rates.take(packed(address)) for _ in range(times))

    def test_a_burst_and_then_the_rate(self) -> None:
        """A second's worth at once; then half of the rest is truncated and half dropped; then so many as time has passed."""
        self.assertEqual(self.take(30), Counter({Verdict.SEND: 10, Verdict.SLIP: 10, Verdict.DROP: 10}))
        self.now += 0.5
        self.assertEqual(self.take(6)[Verdict.SEND], 5)
        self.now += 60
        self.assertEqual(self.take(11)[Verdict.SEND], 10)

    def test_networks(self) -> None:
        """A /24 and a /56 are one each; others have their own, and IPv4 in IPv6's clothes is IPv4."""
        self.take(10)
        for address, sent in (("192.0.2.255", 0), ("::ffff:192.0.2.9", 0), ("192.0.3.1", 1)):
            self.assertEqual(self.take(1, address)[Verdict.SEND], sent, address)
        self.take(10, "2001:db8:0:ff::1")
        for address, sent in (("2001:db8:0:01::1", 0), ("2001:db8:0:100::1", 1), ("fe80::1%eth0", 1)):
            self.assertEqual(self.take(1, address)[Verdict.SEND], sent, address)

    def test_without_slip(self) -> None:
        """All of the rest is dropped."""
        self.rates = ResponseRates(1, 0, lambda: self.now)
        self.assertEqual(self.take(5), Counter({Verdict.SEND: 1, Verdict.DROP: 4}))

    @interpreted_only
    def test_memory(self) -> None:
        """The network that came first is forgotten for a new one."""
        self.patch(rates, "MAX_NETWORKS", 3)
        for number in range(10):
            self.take(1, f"10.0.{number}.1")
        self.assertEqual(len(self.rates), 3)
