"""Where sockets are made."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.values.network import HOST, Network


class NetworkTests(SynchronousTestCase):
    def test_the_host_as_it_is(self) -> None:
        """It is not apart: sockets are made as ever."""
        self.assertEqual((HOST.apart, str(HOST)), (False, "host"))
        self.assertFalse(Network("outside", dns_servers=("192.0.2.53",)).apart)

    def test_what_is_apart(self) -> None:
        """A namespace, a device or a source makes it so."""
        for network in (Network("n", netns="red"), Network("n", device="eth1"), Network("n", sources=("10.0.0.5",))):
            self.assertTrue(network.apart, network)

    def test_the_source_of_a_version(self) -> None:
        """Each version of IP has its own, or the kernel's choice."""
        network = Network("n", sources=("10.0.0.5", "2001:db8::5"))
        self.assertEqual((network.source("192.0.2.1"), network.source("2001:db8::1")), ("10.0.0.5", "2001:db8::5"))
        self.assertEqual(Network("n", sources=("10.0.0.5",)).source("2001:db8::1"), "")
