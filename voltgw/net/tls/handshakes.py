"""Handshakes under way: each has a deadline, all together a share of every turn.

A full handshake costs a server about a millisecond, several hundred times what it costs the client that asks for it, and as
much as twenty requests. So that a flood of them does not hold up connections that are open, a turn of the loop advances
only so many (`Share`); those that find the share used up leave the epoll set and stand in line for the next turn.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from typing import TYPE_CHECKING, Final

from voltgw.net.closing import unread_bytes
from voltgw.net.deadlines import NO_SLOT
from voltgw.net.tls.engine import TlsBroken, Want

if TYPE_CHECKING:
    from voltgw.net.loop import Loop
    from voltgw.net.tls.engine import TlsConnection
    from voltgw.values.tls import Handshake

#: Steps of handshakes that one turn takes at most, and how long they may take before the rest waits (seconds).
STEPS_PER_TURN: Final = 8
SHARE_S: Final = 0.005
#: What a peer has still to say after a failed handshake is read this often, so that no RST destroys our alert.
_DRAIN_BYTES: Final = 64 * 1024


class Share:
    """How much of the loop's turns handshakes may have: `STEPS_PER_TURN`, or `SHARE_S` seconds, whichever is less."""

    __slots__ = ("_line", "_loop", "_spent_s", "_steps", "_turn", "steps")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._line: deque[Shaking] = deque()
        self._turn = -1
        self._steps = 0
        self._spent_s = 0.0
        self.steps = 0                      # all that were ever taken

    def step(self, shaking: Shaking) -> bool:
        """Take one step of a handshake now, or have it wait in line (False)."""
        if self._line:
            self._line.append(shaking)
            return False
        if self._loop.turns == self._turn and (self._steps >= STEPS_PER_TURN or self._spent_s >= SHARE_S):
            self._loop.soon(self._next)
            self._line.append(shaking)
            return False
        self._take(shaking)
        return True

    def __len__(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def _room(self) -> bool:
        return self._loop.turns != self._turn or self._steps < STEPS_PER_TURN and self._spent_s < SHARE_S

    def _take(self, shaking: Shaking) -> None:
        loop = self._loop
        if loop.turns != self._turn:
            self._turn = loop.turns
            self._steps = 0
            self._spent_s = 0.0
        self._steps += 1
        self.steps += 1
        began = loop.monotonic()
        try:
            shaking.advance()
        finally:
            self._spent_s += loop.monotonic() - began

    def _next(self) -> None:
        """Go on with those who stand in line, then come back for the rest."""
        line = self._line
        try:
            while line and self._room():
                shaking = line.popleft()
                if not shaking.over:
                    self._take(shaking)
        finally:
            if line:
                self._loop.soon(self._next)


class Shaking:
    """One handshake on the loop. It owns `connection` until it is `done`, and has ended by then or by its deadline.

    Exactly one of `done(connection, handshake)` and `failed(error)` is called, by `take_over` perhaps but not by `start`;
    neither after `cancel`. `done` finds the descriptor in the epoll set, for EPOLLIN, and takes it over. A failed handshake
    leaves its socket closed, after the peer was told by an alert.
    """

    __slots__ = ("_connection", "_done", "_failed", "_fd", "_loop", "_mask", "_share", "_wants", "began", "deadline",
                 "deadline_slot", "over")

    def __init__(
        self, loop: Loop, connection: TlsConnection, deadline: float,
        done: Callable[[TlsConnection, Handshake], None], failed: Callable[[OSError], None],
    ) -> None:
        self._loop = loop
        self._share = loop.handshakes
        self._connection = connection
        self._fd = connection.sock.fileno()
        self._done = done
        self._failed = failed
        self._mask = 0
        self._wants = EPOLLIN
        self.over = False
        self.began = loop.monotonic()
        self.deadline = deadline
        self.deadline_slot = NO_SLOT

    def __repr__(self) -> str:
        return f"<Shaking {self._fd}{' over' if self.over else ''}>"

    @property
    def waits_for_peer(self) -> bool:
        """Whether it is the peer's turn, and not ours."""
        return self._mask != 0

    def start(self, wants: int) -> None:
        """Begin when the socket is ready for `wants` (EPOLLIN: a server that waits for a hello). Raises OSError (no room)."""
        self._wants = wants
        self._watch(wants)
        self._loop.deadlines.schedule(self)

    def take_over(self) -> None:
        """Begin in this turn, if handshakes have a share of it left, with a descriptor that somebody has watched for EPOLLIN.

        The peer's first words are here already. Whoever has waited for those calls `expired` in time: there is one deadline.
        """
        self._loop.take_over(self._fd, self._ready)
        self._mask = EPOLLIN
        if not self._share.step(self):
            self._watch(0)                  # it stands in line; the set would name it every turn

    def cancel(self) -> None:
        """End it; the peer is not told why, and nobody else is."""
        if self._leave():
            self._connection.free()
            self._loop.bury(self._connection.sock)

    def shut(self) -> None:
        """The loop stops."""
        self._fail(TlsBroken("the gateway stops", errno.ECANCELED))

    def expired(self, now: float) -> None:
        """It took too long."""
        self._fail(TlsBroken("the handshake took too long", errno.ETIMEDOUT))

    def crashed(self) -> None:
        """A guard caught an exception of ours."""
        self._fail(TlsBroken("internal error"))

    def advance(self) -> None:
        """Take a step; `Share` calls it."""
        connection = self._connection
        try:
            want = connection.handshake()
            if want is Want.NOTHING:
                handshake = connection.described()
        except OSError as error:
            self._fail(error)
            return
        self._wants = wants = EPOLLOUT if want is Want.WRITE else EPOLLIN
        if wants != self._mask:
            try:
                self._watch(wants)
            except OSError as error:        # the kernel has no room in the epoll set
                self._fail(error)
                return
        if want is Want.NOTHING:
            self._mask = 0                  # it is handed on, watched as it is
            self._leave()
            self._done(connection, handshake)

    def _ready(self, events: int) -> None:
        if self.over:                       # a bug: nobody has taken the descriptor over
            self._loop.forget(self._fd)
        elif not self._share.step(self):
            self._watch(0)                  # it stands in line; the set would name it every turn

    def _watch(self, wants: int) -> None:
        if wants == self._mask:
            return
        if not self._mask:
            self._loop.watch(self._fd, wants, self._ready)
            self._loop.parked.discard(self)
        elif not wants:
            self._loop.forget(self._fd)
            self._loop.parked.add(self)
        else:
            self._loop.change(self._fd, wants)
        self._mask = wants

    def _leave(self) -> bool:
        """Leave the loop; False if it had left already."""
        if self.over:
            return False
        self.over = True
        self.deadline = 0.0
        if self.deadline_slot != NO_SLOT:
            self._loop.deadlines.forget(self)
        if self._mask:
            self._mask = 0
            self._loop.forget(self._fd)
        self._loop.parked.discard(self)
        return True

    def _fail(self, error: OSError) -> None:
        if not self._leave():
            return
        connection = self._connection
        sock = connection.sock
        connection.free()
        if unread_bytes(self._fd):          # closing with bytes unread sends RST, and the alert would be lost (RFC 9112 9.6)
            try:
                sock.recv(_DRAIN_BYTES)
            except OSError:
                pass                        # nothing to be saved
        self._loop.bury(sock)
        self._failed(error)
