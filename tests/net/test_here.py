"""Addresses of this host, as the kernel has them."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from voltgw.net.here import HERE


class HereTests(SynchronousTestCase):
    def test_ours(self) -> None:
        """All of loopback, and every address."""
        for address in ("127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::"):
            self.assertIn(address, HERE)

    def test_others(self) -> None:
        """Neither those of others nor what is no address."""
        for address in ("192.0.2.1", "198.51.100.7", "2001:db8::1", "fe80::1", "", "x", "1.2.3", "127.0.0.1 ", "\u2460", 7, None):
            self.assertNotIn(address, HERE, address)

    def test_what_cannot_be_told(self) -> None:
        """Without a descriptor nobody knows; then it counts as ours, since that is what is refused."""
        def none_left(*args: Any) -> socket.socket:
            raise OSError(errno.EMFILE, "too many")

        self.patch(socket, "socket", none_left)
        self.assertIn("192.0.2.1", HERE)
