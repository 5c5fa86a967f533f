"""Tests for `voltgw.values.identity`."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from voltgw.values.identity import Identity

TEN = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


class IdentityTests(SynchronousTestCase):
    def test_whom_it_believes(self) -> None:
        """Nobody by default; with hops anybody; with prefixes those who stand in them, and nobody else."""
        table = {
            Identity(): (False, False, False, False), Identity(hops=1): (True, True, True, True),
            Identity(prefixes=TEN): (True, False, True, True), Identity(1, TEN): (True, False, True, True),
        }
        for identity, expected in table.items():
            self.assertEqual(
                tuple(identity.believes(peer) for peer in ("10.1.2.3", "192.0.2.1", "fd00::1", "::ffff:10.1.2.3")), expected)

    def test_counted_hops(self) -> None:
        """The hops-th from the right; a chain that is too short, or names no address there, names nobody."""
        for hops, chain, client in (
            (1, ["192.0.2.1"], "192.0.2.1"), (1, ["evil", "192.0.2.1"], "192.0.2.1"), (2, ["192.0.2.1", "10.0.0.1"], "192.0.2.1"),
            (2, ["192.0.2.1"], "10.9.9.9"), (1, [], "10.9.9.9"), (1, ["unknown"], "10.9.9.9"), (1, ["192.0.2.1", "_hidden"], "10.9.9.9"),
            (2, ["192.0.2.1", "unknown"], "10.9.9.9"), (3, ["192.0.2.1", "192.0.2.2", "2001:db8::1"], "192.0.2.1"),
        ):
            self.assertEqual(Identity(hops).client("10.9.9.9", chain), client, (hops, chain))

    def test_known_prefixes(self) -> None:
        """The nearest address that is not one of ours; what it claims itself is not believed."""
        for chain, client in (
            (["192.0.2.1"], "192.0.2.1"), (["198.51.100.1", "192.0.2.1", "10.0.0.1"], "192.0.2.1"), (["10.0.0.2", "10.0.0.1"], "10.0.0.2"),
            (["192.0.2.1", "unknown", "10.0.0.1"], "10.0.0.1"), ([], "10.9.9.9"), (["2001:db8::1", "fd00::2"], "2001:db8::1"),
        ):
            self.assertEqual(Identity(prefixes=TEN).client("10.9.9.9", chain), client, chain)
