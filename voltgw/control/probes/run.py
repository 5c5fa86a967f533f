"""One probe under way, from dialing to its verdict: what all kinds of probes have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from voltgw.net.deadlines import NO_SLOT

if TYPE_CHECKING:
    from voltgw.control.probes.target import Target
    from voltgw.control.seams import ControlLoop, Dialer, Dialing
    from voltgw.errors import ConnectFailed
    from voltgw.interfaces import StreamTransport

#: ``finished(run, ok, reason, at_once, errno)``; `errno` is that of connecting, 0 if that is not what failed.
Finished = Callable[["ProbeRun", bool, str, bool, int], None]


class ProbeRun:
    """A protocol that a probe connects. Kinds of probes override `connected`, `dataReceived` and `ended`.

    `verdict` ends it, once; what happens afterwards on its connection is nobody's business. The whole probe, connecting
    included, has one deadline, kept by the loop's sweep (`voltgw.net.deadlines.TICK_S`).
    """

    __slots__ = ("_dialing", "_finished", "_loop", "_over", "_timeout_s", "began", "deadline", "deadline_slot",
                 "target", "transport")

    transport: StreamTransport
    target: Target

    def __init__(self) -> None:
        self.began = 0.0
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT
        self._over = False
        self._dialing: Dialing | None = None

    def begin(self, target: Target, loop: ControlLoop, dial: Dialer, finished: Finished) -> None:
        """Dial; `finished` is called later, exactly once, unless `abandon` is called before."""
        self.target = target
        self._loop = loop
        self._finished = finished
        self._timeout_s = timeout_s = target.check.timeout_s
        self.began = loop.monotonic()
        if target.tls is None:
            self._dialing = dial(loop, target.address, target.port, self, timeout_s, self._refused)
        else:
            self._dialing = dial(loop, target.address, target.port, self, timeout_s, self._refused, tls=target.tls)

    def verdict(self, ok: bool, reason: str, *, at_once: bool = False) -> None:
        """It is decided; the connection is closed."""
        if not self._over:
            self._end()
            self.transport.loseConnection()
            self._finished(self, ok, reason, at_once, 0)

    def abandon(self) -> None:
        """Nobody wants to know any more."""
        if self._over:
            return
        dialing = self._dialing
        self._end()
        if dialing is not None:
            dialing.cancel()
        else:
            self.transport.abortConnection()

    # -- for kinds of probes ---------------------------------------------------------------------------------------

    def connected(self) -> None:
        """The endpoint has accepted."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the endpoint, which may come after the verdict as well."""

    def ended(self) -> str:
        """The endpoint closed or reset the connection before the verdict; return why that is a failure.

        It may also give the verdict itself; what it returns is then ignored.
        """
        return "the connection was closed"

    # -- what the loop calls ---------------------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """Dialing succeeded."""
        self.transport = transport
        self._dialing = None
        self.deadline = self.began + self._timeout_s
        self._loop.deadlines.schedule(self)
        self.connected()

    def connectionLost(self, reason: Any) -> None:
        """The connection is over, by whoever."""
        if not self._over:
            self.verdict(False, self.ended())
        del self.transport                  # it holds us as well: thousands of such rings would be the collector's work

    def expired(self, now: float) -> None:
        """The time for the whole probe is up."""
        if not self._over:
            self._end()
            self.transport.abortConnection()
            self._finished(self, False, f"no result within {self._timeout_s:g} s", False, 0)

    def crashed(self) -> None:
        """A bug of ours in a probe: it must not keep its place for ever."""
        self.verdict(False, "the probe failed inside the gateway")

    # -- inside ----------------------------------------------------------------------------------------------------

    def _refused(self, error: ConnectFailed) -> None:
        if not self._over:
            self._end()
            self._finished(self, False, str(error), False, getattr(error, "errno", 0))

    def _end(self) -> None:
        self._over = True
        self._dialing = None
        self.deadline = 0.0
