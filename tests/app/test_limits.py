"""How many connections this process can hold."""

from __future__ import annotations

import errno
import os
import resource
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from voltgw.app import limits
from voltgw.app.limits import MOST_FDS, most_clients, raise_open_files, spare_files
from voltgw.values.defaults import ADMIN_FDS


class RaiseTests(SynchronousTestCase):
    def raised(self, soft: int, hard: int) -> tuple[int, list[tuple[int, int]]]:
        """The limit that holds in the end, and what the kernel was asked for."""
        asked: list[tuple[int, int]] = []
        self.patch(limits, "resource", SimpleNamespace(
            RLIMIT_NOFILE=resource.RLIMIT_NOFILE, RLIM_INFINITY=resource.RLIM_INFINITY,
            getrlimit=lambda which: (soft, hard), setrlimit=lambda which, limit: asked.append(limit)))
        return raise_open_files(), asked

    def test_to_the_hard_limit(self) -> None:
        """The soft limit becomes the hard one, which stays, but for what is kept back for the admin interface."""
        self.assertEqual(self.raised(1024, 524_288), (524_272, [(524_272, 524_288)]))
        self.assertEqual(self.raised(1024, 40), (35, [(35, 40)]))

    def test_it_is_there_already(self) -> None:
        """The kernel is not asked for what holds."""
        self.assertEqual(self.raised(4080, 4096), (4080, []))

    def test_absurd_limits(self) -> None:
        """Container runtimes set a thousand million, or none at all: we take no more than `MOST_FDS` of it."""
        infinity = resource.RLIM_INFINITY
        most = MOST_FDS - 16
        self.assertEqual(self.raised(1024, 1 << 30), (most, [(most, 1 << 30)]))
        self.assertEqual(self.raised(1024, infinity), (most, [(most, infinity)]))
        self.assertEqual(self.raised(infinity, infinity), (most, [(most, infinity)]))


class SpareTests(SynchronousTestCase):
    def test_what_is_kept_back(self) -> None:
        """For real, with few descriptors: all others get EMFILE, and who asks for the spare ones gets them; they stay open."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        opened: list[int] = []
        self.addCleanup(lambda: list(map(os.close, opened)))
        highest = max(int(fd) for fd in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(highest + 1, 256), hard))
        with self.assertRaises(OSError) as raised:
            while True:
                opened.append(os.dup(0))
        self.assertEqual(raised.exception.errno, errno.EMFILE)
        with spare_files():
            opened += [os.dup(0) for _ in range(ADMIN_FDS)]
            self.assertRaises(OSError, os.dup, 0)
        os.fstat(opened[-1])
        self.assertRaises(OSError, os.dup, 0)


class ClientsTests(SynchronousTestCase):
    def test_half_of_what_is_not_reserved(self) -> None:
        """Each client may need a second descriptor, for its endpoint."""
        self.assertEqual([most_clients(files) for files in (4096, 65_536)], [1792, 32_512])

    def test_hardly_any_descriptors(self) -> None:
        """With few descriptors half of them are reserved, and one client is always let in."""
        self.assertEqual([most_clients(files) for files in (1024, 256, 2)], [256, 64, 1])
