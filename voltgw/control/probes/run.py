"""One probe under way, from dialing to its verdict: what all kinds of probes have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from voltgw.net.deadlines import NO_SLOT
from voltgw.net.sockets import where
from voltgw.values.network import HOST

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
    #: Whether it asks by UDP; then `refused` is called where the endpoint's host says that nobody is there.
    datagrams: ClassVar[bool] = False

    def __init__(self) -> None:
        self.began = 0.0
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT
        self._over = False
        self._dialing: Dialing | None = None

    def begin(self, target: Target, loop: ControlLoop, dial: Dialer, finished: Finished) -> None:
        """Dial; `finished` is called later, exactly once, unless `abandon` is called before."""
        self._set_out(target, loop, finished)
        self._dial(dial)

    def _set_out(self, target: Target, loop: ControlLoop, finished: Finished) -> None:
        self.target = target
        self._loop = loop
        self._finished = finished
        self._timeout_s = target.check.timeout_s
        self.began = loop.monotonic()

    def _dial(self, dial: Dialer) -> None:
        target, loop = self.target, self._loop
        timeout_s = max(self.began + self._timeout_s - loop.monotonic(), 0.0)
        more: dict[str, Any] = {}
        if self.datagrams:
            more["datagrams"] = True
        elif target.tls is not None:
            more["tls"] = target.tls
            self.deadline = self.began + self._timeout_s    # dialing gives a handshake more time
            loop.deadlines.schedule(self)
        if target.first and not self.datagrams:
            more["first"] = target.first
        if target.network is not HOST:
            more["network"] = target.network
        self._dialing = dial(loop, target.address, target.port, self, timeout_s, self._refused, **more)

    def verdict(self, ok: bool, reason: str, *, at_once: bool = False, failure: int = 0) -> None:
        """It is decided; the connection is closed. `failure` is the errno if it is the kernel's."""
        if not self._over:
            self._end()
            self.transport.loseConnection()
            self._finished(self, ok, reason, at_once, failure)

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

    def refused(self, error: OSError) -> None:
        """ICMP says that a datagram has not come to anybody, or it could not be sent."""
        target = self.target
        self.verdict(False, f"{where(target.address, target.port)}: {error.strerror or error}", failure=error.errno or 0)

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
            dialing = self._dialing
            self._end()
            if dialing is not None:
                dialing.cancel()
            else:
                self.transport.abortConnection()
            self._finished(self, False, f"no result within {self._timeout_s:g} s", False, 0)

    def crashed(self) -> None:
        """A bug of ours in a probe: it must not keep its place for ever."""
        self.verdict(False, "the probe failed inside the gateway")

    # -- inside ----------------------------------------------------------------------------------------------------

    def _refused(self, error: ConnectFailed) -> None:
        if not self._over:
            self._end()
            self._finished(self, False, str(error), False, error.errno)

    def _end(self) -> None:
        self._over = True
        self._dialing = None
        self.deadline = 0.0
