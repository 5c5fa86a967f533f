"""An epoll set of our own beside the stock Twisted reactor's, which keeps everything that is not traffic.

Under Twisted's epoll reactor the loop waits for both (`voltgw.net.instead`): the reactor calls it, and it dispatches batch
after batch until the reactor has something to do. Under any other it is one readable descriptor, for an epoll descriptor is
itself pollable (epoll(7)), and dispatches one batch whenever it is called. See docs/adr/0001.

What must hold, and where it is made to hold:

- `turn` never raises: Twisted would drop the loop, and with it every connection. The guard is per handler.
- Sockets closed in a batch are closed *after* it, so that their number cannot come back as another connection while
  events of the old one still stand in the batch. With that, a descriptor's number *is* its generation within a batch:
  it leaves the dict of handlers with its socket and cannot enter it again before the batch is over; and epoll_wait
  names each descriptor once. A batch is never begun inside another one.
- What is ready in software (a close to report, bytes inside a TLS engine, a budget spent) stands in a list that an
  eventfd keeps awake.
- A handler that wants no events leaves the set: a hang-up is reported whether one wants it or not, and would spin. It
  is `parked` meanwhile, so that `stop` finds it.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import classImplements

from voltgw.net.clock import MonotonicClock, TimerFd
from voltgw.net.deadlines import TICK_S, Deadlines
from voltgw.net.instead import stead_of
from voltgw.net.sources import Sources
from voltgw.net.splice import Pipes
from voltgw.net.tls.handshakes import Share
from voltgw.values.counters import LATENCY_BOUNDS_US, Histogram

if TYPE_CHECKING:
    import socket

    from voltgw.net.instead import Stead
    from voltgw.net.listener import Listener

#: Events handled in one turn of the reactor; more wait in the kernel, so that timers and Twisted's sockets have theirs.
#: The kernel hands ready sockets out in rotation, so those that wait come first in the next turn.
BATCH: Final = 256
#: A turn that takes longer than this is counted (`Loop.slow_turns`); the promise of the docs is 20 ms.
SLOW_TURN_S: Final = 0.020
_FIRST_BOUND: Final = LATENCY_BOUNDS_US[0].bit_length() - 1
_LAST_BUCKET: Final = len(LATENCY_BOUNDS_US)
#: How often `stop` goes over what is still open: telling a protocol of its end may make it open something else.
STOP_ROUNDS: Final = 16

#: So much of `Loop.backlog` is not left to a timer: what waits holds memory, and after a stall it would be a lot.
BACKLOG: Final = 512

Handler = Callable[[int], None]


class Parked(Protocol):
    """What stands in the loop: a stream, a listener, a dial."""

    def shut(self) -> None:
        """The loop stops: close at once."""


def _nothing() -> None:
    """Nobody wants to be told."""


class Loop:
    """The data plane's event loop. It belongs to a service: `start` before any socket, `stop` last; it starts once.

    `open` is how many streams there are, `accepted` how many of them listeners have accepted. Accepting stops when those
    are `open_limit`: connections that we make ourselves do not count, since each serves one that was accepted. `most` is
    what that limit is unless accepting is `paused`.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, reactor: Any, monotonic: Callable[[], float], open_limit: int = 1 << 30) -> None:
        self.monotonic = monotonic
        self.open = 0
        self.accepted = 0
        self.open_limit = self.most = open_limit
        self.paused = False
        self.turns = 0
        self.crowded = False                        # the last batch was full: there may be more than one turn can take
        self.slow_turns = 0
        self.longest_turn_s = 0.0
        self.turn_times = Histogram()
        self.failures = 0                           # exceptions that reached a guard: bugs, all of them
        self.running = False
        self.stopped = False
        self.handshakes = Share(self)               # those of TLS, and how much of a turn they may have
        self.pipes = Pipes(monotonic)               # what the kernel relays through
        self.sources = Sources()                    # who holds how many of the accepted ones
        self.backlog: Sized = ()                    # what handlers leave behind for later (records of the access log)…
        self.relieve: Callable[[], None] = _nothing     # …and who takes some of it in the same turn when it is much
        self.waiting_listeners: set[Listener] = set()
        self.parked: set[Parked] = set()            # what is open though it may stand outside the epoll set
        self._reactor = reactor
        self._stead: Stead | None = None            # we wait for the reactor, by this…
        self._its_turn = False                      # a descriptor of the reactor's is ready
        self._nested = False                        # the reactor was run from inside an event
        self._trigger: Any = None                   # by which the reactor tells us of its end
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._handlers: dict[int, Handler] = {}
        self._soon: list[Callable[[], None]] = []
        self._graves: list[socket.SocketType] = []
        self._in_turn = False
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._timer = TimerFd()
        self.clock = MonotonicClock(monotonic, self._timer.arm)
        self.deadlines = Deadlines(monotonic(), self.failed)

    def __repr__(self) -> str:
        return f"<Loop {self.open} open{'' if self.running else ', not running'}>"

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Join the reactor."""
        self.running = True
        self.watch(self._wake_fd, select.EPOLLIN, self._woken)
        self.watch(self._timer.fd, select.EPOLLIN, self._timed)
        self._tick()
        if self._soon:
            os.eventfd_write(self._wake_fd, 1)
        self._stead = stead = stead_of(self._reactor)
        if stead is None:
            self._reactor.addReader(self)
        else:
            self.watch(stead.fd, select.EPOLLIN, self._reactor_ready)
            self._trigger = self._reactor.addSystemEventTrigger("after", "shutdown", self._reactor_ends)
            self._reactor.callFromThread(self._wait_instead)

    def stop(self) -> None:
        """Leave the reactor and close every socket that is still open; protocols are told. Nothing runs afterwards."""
        if self.stopped:
            return
        self.stopped = True
        if self.running:
            self.running = False
            if self._stead is None:
                self._reactor.removeReader(self)
            else:
                self._stead.leave()
                if self._trigger is not None:
                    self._reactor.removeSystemEventTrigger(self._trigger)
                    self._trigger = None
        for _ in range(STOP_ROUNDS):
            owners = self._owners()
            if not owners and not self._soon:
                break
            for owner in owners:
                try:
                    owner.shut()
                except BaseException:
                    self.failed(owner)
            self._run_soon()
        left = self._owners()
        if left:
            self._log.error("still open after the loop has stopped: {left!r}", left=left)
        self._bury()
        self.pipes.close()
        self._handlers.clear()
        self._epoll.close()
        self._timer.close()
        os.close(self._wake_fd)

    # -- IReadDescriptor -------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The epoll descriptor; -1 once closed, as Twisted expects."""
        return -1 if self._epoll.closed else self._epoll.fileno()

    def logPrefix(self) -> str:
        """What Twisted's log calls us."""
        return "voltgw"

    def connectionLost(self, reason: Any) -> None:
        """The reactor has let go of us: it ends without having stopped its services first. End our connections, too."""
        self.stop()

    def doRead(self) -> None:
        """Dispatch one batch of events. Never raises."""
        if not self._in_turn and not self.stopped:
            self.turn(0.0)                          # else a protocol runs the reactor from inside an event: our batch stands
            if self._soon and self.running:
                os.eventfd_write(self._wake_fd, 1)

    # -- in the stead of the reactor -------------------------------------------------------------------------------

    def _wait_instead(self) -> None:
        """Turn until the reactor has something to do; it calls us again when that is done.

        As if from a thread: a timed call would come an hour late when the wall clock is set back by one.
        """
        if self._in_turn:
            self._nested = True             # a protocol runs the reactor from inside an event: our batch stands
            return
        stead = self._stead
        assert stead is not None
        self._its_turn = self._nested = False
        try:
            patience_s = stead.patience_s()
            while self.running:
                self.turn(0.0 if self._soon else patience_s)
                patience_s = stead.patience_s()
                if self._its_turn or self.crowded or patience_s == 0.0:
                    break
        finally:                            # whatever a handler of signals may raise while we wait
            if self.running:
                if self._nested:            # whose end takes away what stands in the queue of threads' calls for us
                    self._reactor.callLater(0, self._wait_instead)
                else:
                    self._reactor.callFromThread(self._wait_instead)

    def _reactor_ends(self) -> None:
        self._trigger = None
        self.stop()

    def _reactor_ready(self, events: int) -> None:
        self._its_turn = True

    def turn(self, patience_s: float) -> None:
        """Dispatch the next batch of events, after waiting for it at most so long (below 0: without end). Never raises."""
        ready = self._poll(patience_s, BATCH)
        self.crowded = len(ready) == BATCH
        began = self.monotonic()
        self._in_turn = True
        handlers = self._handlers
        for fd, events in ready:
            handler = handlers.get(fd)
            if handler is None:
                continue                            # it left the set earlier in this batch
            try:
                handler(events)
            except BaseException:                   # SystemExit, too: one protocol must not end them all
                self.failed(getattr(handler, "__self__", None))
        if len(self.backlog) >= BACKLOG:
            self._soon.append(self.relieve)
        if self._soon:
            self._run_soon()
        self._in_turn = False
        if self._graves:
            self._bury()
        self.turns += 1
        took = self.monotonic() - began
        times = self.turn_times                     # `Histogram.observe`, in line
        bucket = (int(took * 1e6) >> _FIRST_BOUND).bit_length()
        times.buckets[bucket if bucket < _LAST_BUCKET else _LAST_BUCKET] += 1
        times.sum_s += took
        if took > self.longest_turn_s:
            self.longest_turn_s = took
        if took > SLOW_TURN_S:
            self.slow_turns += 1

    # -- for streams, listeners and dials --------------------------------------------------------------------------

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call `handler(events)` whenever `fd` is ready (level-triggered). Raises OSError if the kernel has no room."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on a watched `fd`."""
        self._epoll.modify(fd, events)

    def take_over(self, fd: int, handler: Handler) -> None:
        """Call another handler from now on, for the same events: no word to the kernel."""
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Leave the set; events of this batch that still name `fd` go nowhere."""
        if self._handlers.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:                         # EBADF, ENOENT: a bug of somebody else, and not ours to die of
                self.failures += 1
                self._log.failure("descriptor {fd} was closed by somebody else", fd=fd)

    def leave(self, fd: int) -> None:
        """`forget` for a descriptor that is closed in this turn: the kernel then takes it out of the set, unasked.

        That is so where nobody else has a copy of it. A process that is forked has one until it becomes another program: an
        event may then come with a number that is another connection's by now, and who handles events must bear one too many.
        """
        self._handlers.pop(fd, None)

    def bury(self, sock: socket.SocketType) -> None:
        """Close a socket that was already forgotten, when no event of this batch can mean it any more."""
        self._graves.append(sock)
        if not self._in_turn:
            self._bury()

    def soon(self, call: Callable[[], None]) -> None:
        """Call at the end of this turn, or in the next one: never from inside the caller."""
        if not self._soon and not self._in_turn and self.running:
            os.eventfd_write(self._wake_fd, 1)
        self._soon.append(call)

    def opened(self) -> None:
        """One more stream exists."""
        self.open += 1

    def closed(self) -> None:
        """One stream less."""
        self.open -= 1

    def room_again(self) -> None:
        """An accepted stream has ended, or a limit was raised: listeners that had stopped for want of room go on."""
        for listener in list(self.waiting_listeners):
            listener.room_again()

    def allow(self, most: int) -> None:
        """Have at most `most` accepted streams from now on; those that are more stay."""
        self.most = most
        if not self.paused:
            self.open_limit = most
            self.room_again()

    def pause(self, paused: bool) -> None:
        """Accept nothing, in no listener, until it is said otherwise; what is open stays. Clients wait in the backlog."""
        self.paused = paused
        self.open_limit = 0 if paused else self.most
        if not paused:
            self.room_again()

    def failed(self, owner: object) -> None:
        """Call this while handling an exception that escaped from `owner`: a bug. Say so once; end that one alone."""
        self.failures += 1
        self._log.failure("a connection failed inside the gateway: {owner!r}", owner=owner)
        crashed = getattr(owner, "crashed", None)
        if crashed is not None:
            try:
                crashed()
            except BaseException:
                self._log.failure("and could not be closed: {owner!r}", owner=owner)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _owners(self) -> list[Parked]:
        """Everything of others that is still open."""
        owners: set[Any] = {getattr(handler, "__self__", None) for handler in self._handlers.values()}
        owners |= self.parked
        return [owner for owner in owners if owner is not self and hasattr(owner, "shut")]

    def _run_soon(self) -> None:
        calls, self._soon = self._soon, []          # what they add runs in the next turn: a turn stays bounded
        for call in calls:
            try:
                call()
            except BaseException:
                self.failed(getattr(call, "__self__", None))

    def _bury(self) -> None:
        graves, self._graves = self._graves, []
        for sock in graves:
            try:
                sock.close()
            except OSError:
                self._log.failure("a socket could not be closed: {sock!r}", sock=sock)

    def _woken(self, events: int) -> None:
        os.eventfd_read(self._wake_fd)

    def _timed(self, events: int) -> None:
        self._timer.acknowledge()
        self.clock.run()

    def _tick(self) -> None:
        now = self.monotonic()
        self.clock.callLater(TICK_S - now % TICK_S, self._tick)     # on the slots' edges, so that none is a tick late
        self.deadlines.sweep(now)


classImplements(Loop, IReadDescriptor)
