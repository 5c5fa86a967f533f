"""Which address stands for a network of the own site."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from voltgw.app.sites import default_interface_address
from voltgw.config.objects.where import VirtualNetworkType


class InterfaceTests(SynchronousTestCase):
    """`vip` is tested with what uses it, in test_build."""

    def test_an_address_of_this_host(self) -> None:
        """What is found can be bound here; nothing is sent to find it."""
        address = default_interface_address(VirtualNetworkType.SITE_LOCAL)
        self.assertFalse(ip_address(address).is_unspecified)
        with socket.socket() as sock:
            sock.bind((address, 0))

    def test_no_route(self) -> None:
        """A host without a default route has loopback."""
        class Unreachable(socket.socket):
            def connect(self, address: Any) -> None:
                raise OSError(101, "Network is unreachable")

        self.patch(socket, "socket", Unreachable)
        self.assertEqual(default_interface_address(VirtualNetworkType.SITE_LOCAL), "127.0.0.1")
