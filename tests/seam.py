"""What a unit of work costs, as counts: calls into the kernel at the sockets' seam, and calls of our own Python functions.

Streams, listeners and datagram ports keep bound methods of their sockets, and the loop those of its epoll set, so both are
counted where they are looked up: in the classes of all sockets, and in the class of epoll sets. Only what the loop does in its
turns counts; far sides are sockets of the same class. No time is measured.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, ClassVar, Final

from tests.support import SteppedLoopCase, compiled

#: Methods of sockets that are system calls.
_OF_SOCKETS: Final = (
    "_accept", "bind", "close", "connect", "connect_ex", "getpeername", "getsockname", "getsockopt", "listen", "recv", "recv_into",
    "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "send", "sendmsg", "sendto", "setblocking", "setsockopt", "shutdown",
)
#: What happens by time, a few times a second, and not for a unit of work.
_CLOCKWORK: Final = ("voltgw.net.clock.", "voltgw.net.deadlines.Deadlines.sweep", "voltgw.net.loop.Loop._tick",
                     "voltgw.net.loop.Loop._timed", "voltgw.net.loop.Loop.doRead", "voltgw.net.loop.Loop.turn", "voltgw.net.loop.Loop._woken")
#: A unit is done so often, and of these the one with the fewest calls counts: what is remembered is, and no sweep fell into it.
_TRIES: Final = 5


class SeamCase(SteppedLoopCase):
    """Counts in `turn`. Tests of a path are a subclass with `unit`, and `kernel`, `least` and `most` as they should be.

    `kernel` is exact, so that who adds a system call meets it here, and who saves one too. Calls of our own functions are bounded,
    since versions of Python inline more or less; calls within compiled modules are not seen by a profile function.
    """

    kernel: ClassVar[dict[str, int]] = {}
    least = most = 0
    _counting = False

    def setUp(self) -> None:
        """Count from now on; before the loop is made."""
        self.asked: Counter[str] = Counter()
        self.called: Counter[str] = Counter()
        self._install()
        super().setUp()

    @abstractmethod
    def unit(self) -> None:
        """One unit of work: a request, a round trip, the life of a connection."""

    def turn(self) -> None:
        """One turn of the loop, counted."""
        self._counting = True
        sys.setprofile(self._note)
        try:
            super().turn()
        finally:
            sys.setprofile(None)
            self._counting = False

    def counted(self) -> tuple[Counter[str], Counter[str]]:
        """(calls into the kernel, calls of our own functions) of the cheapest of some units."""
        found = []
        for _ in range(_TRIES):
            self.asked.clear()
            self.called.clear()
            self.unit()
            found.append((self.asked.copy(), self.called.copy()))
        return min((asked for asked, _ in found), key=Counter.total), min((called for _, called in found), key=Counter.total)

    def check_kernel(self) -> None:
        """The calls into the kernel are those that were written down."""
        asked, _ = self.counted()
        self.assertEqual(dict(asked), self.kernel)

    def check_calls(self) -> None:
        """Our own calls are within their bounds."""
        if compiled():
            self.skipTest("calls within compiled modules cannot be counted")
        _, called = self.counted()
        self.assertLessEqual(called.total(), self.most, called)
        self.assertGreaterEqual(called.total(), self.least, called)

    def count(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, which counts itself."""
        def counting(*args: Any) -> Any:
            if self._counting:
                self.asked[name] += 1
            return call(*args)

        return counting

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            module = frame.f_globals.get("__name__", "")
            if module.startswith("voltgw."):
                name = f"{module}.{frame.f_code.co_qualname}"
                # newer interpreters do not call comprehensions
                if not name.startswith(_CLOCKWORK) and not name.endswith(("<listcomp>", "<dictcomp>", "<setcomp>")):
                    self.called[name] += 1

    def _install(self) -> None:
        methods = {name: self.count(f"socket.{name}", getattr(socket.socket, name)) for name in _OF_SOCKETS}
        for name, method in methods.items():
            if name in vars(socket.socket):             # else Python's class has it from C's
                self.patch(socket.socket, name, method)
            else:
                setattr(socket.socket, name, method)
                self.addCleanup(delattr, socket.socket, name)
        # connections are sockets of C's class, which cannot be changed
        bare = {name: self.count(f"socket.{name}", getattr(socket.SocketType, name)) for name in _OF_SOCKETS}
        self.patch(socket, "SocketType", type("Counted", (socket.SocketType,), {"__slots__": (), **bare}))
        for name in ("eventfd_write", "eventfd_read"):
            self.patch(os, name, self.count(name, getattr(os, name)))
        case, real = self, select.epoll

        class Epoll:
            """A set whose changes are counted; asking it is a part of every turn, and is not."""

            def __init__(self) -> None:
                self._set = real()
                for name in ("register", "modify", "unregister"):
                    setattr(self, name, case.count(f"epoll.{name}", getattr(self._set, name)))
                self.poll, self.close, self.fileno = self._set.poll, self._set.close, self._set.fileno

            @property
            def closed(self) -> bool:
                """As of the real one."""
                return self._set.closed

        self.patch(select, "epoll", Epoll)
