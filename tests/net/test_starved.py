"""What looks at the host, and sets up sockets, when no descriptor is left: it says nothing that is not so."""

from __future__ import annotations

import os
import resource
import socket

from twisted.trial.unittest import SynchronousTestCase

from voltgw.app.sites import NO_ROUTE, default_interface_address
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.net.datagrams import is_own_address
from voltgw.net.here import Here
from voltgw.net.namespaces import identity
from voltgw.net.tuning import refused_by_host, tune
from voltgw.values.network import Network

NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


class StarvedTests(SynchronousTestCase):
    """For real: the limit of open files is the number of those that are open."""

    def setUp(self) -> None:
        self.network = Network("here", device="lo")
        self.known = identity(self.network)
        self.sock = socket.socket()
        self.addCleanup(self.sock.close)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        fd = os.dup(0)                      # the lowest number that is free
        os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (fd, hard))
        self.assertRaises(OSError, os.dup, 0)

    def test_a_network_is_not_gone(self) -> None:
        """Its interface may well be there: that is not known."""
        self.assertEqual(self.known.problem, "")
        now = identity(self.network)
        self.assertTrue(now.unknown)
        self.assertEqual(now.problem, "Too many open files")

    def test_whose_an_address_is(self) -> None:
        """It counts as ours, as long as nobody can say: what would be sent to ourselves goes round for ever."""
        self.assertTrue(is_own_address("192.0.2.1"))
        self.assertTrue("192.0.2.1" in Here())

    def test_which_address_we_have(self) -> None:
        """None that is known; whoever follows addresses does not follow that one."""
        self.assertEqual(default_interface_address(VirtualNetworkType.SITE_LOCAL), NO_ROUTE)

    def test_options_of_a_socket_that_is_open(self) -> None:
        """They are set without another descriptor, so that a reload does not fail in the middle of its swap."""
        self.assertEqual(tune(self.sock.fileno(), NO_DELAY), [])
        self.assertEqual(self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1)
        self.assertEqual(refused_by_host(NO_DELAY), [])
