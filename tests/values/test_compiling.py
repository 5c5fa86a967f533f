"""What is different about classes that are compiled."""

from __future__ import annotations

from copy import copy

from twisted.trial.unittest import SynchronousTestCase

from tests.support import compiled
from voltgw.routing.route import Route, VirtualHost
from voltgw.values.compiling import build, resemble, slots_of
from voltgw.values.head import RequestHead, ResponseHead


class _Base:
    __slots__ = ("__weakref__", "a")


class _Derived(_Base):
    __slots__ = "b"


class CompilingTests(SynchronousTestCase):
    def test_slots(self) -> None:
        """Those of the bases with them, whatever was compiled."""
        self.assertEqual(slots_of(_Derived), ("b", "a"))
        self.assertLessEqual({"status", "reason", "fields", "length", "declared"}, set(slots_of(ResponseHead)))

    def test_resemble(self) -> None:
        """All of them."""
        one, other = _Derived(), _Derived()
        one.a, one.b = 1, 2                 # type: ignore[attr-defined]
        resemble(other, one)
        self.assertEqual((other.a, other.b), (1, 2))    # type: ignore[attr-defined]

    def test_copies(self) -> None:
        """A head, a host and a route can be copied, compiled or not; parts are shared."""
        head = RequestHead(b"GET", b"/a?b", b"/a", b"b", 1, b"h:1", b"h", 1, [(b"x", b"y")], 0, True)
        head.underscored = 3
        host = VirtualHost("one")
        route = Route(host, "r/0")
        route.timeout_s = 7.0
        for one in (head, host, route):
            other = copy(one)
            self.assertIsNot(other, one)
            for name in slots_of(type(one)):
                self.assertEqual(getattr(other, name), getattr(one, name), name)    # a compiled number is no object

    def test_build(self) -> None:
        """As `voltgw --version` says."""
        self.assertEqual(build(), "compiled" if compiled() else "interpreted")
