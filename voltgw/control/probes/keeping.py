"""Probes that ask on the connection of the last one (``keep_connection``), and connections that wait for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltgw.control.probes.run import ProbeRun

if TYPE_CHECKING:
    from voltgw.control.probes.run import Finished
    from voltgw.control.probes.target import Target
    from voltgw.control.seams import ControlLoop, Dialer
    from voltgw.interfaces import StreamTransport


class KeptConnection:
    """A connection between two probes. Whatever comes on it is unasked for, and ends it, unless a subclass knows better."""

    __slots__ = ("target", "transport")

    def __init__(self, target: Target, transport: StreamTransport) -> None:
        self.target = target
        self.transport = transport
        transport.protocol = self           # type: ignore[attr-defined]  # as all of ours, and Twisted's, have it

    def dataReceived(self, data: bytes) -> None:
        """Nobody asked for it."""
        if self.target.connection is self:
            self.target.let_go()

    def connectionLost(self, reason: Any) -> None:
        """The endpoint has closed, or we have."""
        if self.target.connection is self:
            self.target.connection = None

    def close(self) -> None:
        """No probe needs it."""
        self.transport.loseConnection()


class KeepingRun(ProbeRun):
    """A probe that may ask on a kept connection; one that turns out to be dead says nothing of the endpoint."""

    __slots__ = ("_dialer", "_heard")

    def __init__(self) -> None:
        super().__init__()
        self._dialer: Dialer | None = None  # for a new connection, if the kept one is dead
        self._heard = False                 # something has come since this probe began

    # -- for kinds of probes -----------------------------------------------------------------------------------------------

    def takes(self, kept: KeptConnection) -> None:
        """Go on with what the last probe has left."""

    def anew(self) -> None:
        """Forget what was asked on the connection before: another one is made."""

    def keep(self, kept: KeptConnection, reason: str) -> None:
        """It has passed, and the connection waits for the next one."""
        self._end()
        self.target.connection = kept
        del self.transport
        self._finished(self, True, reason, False, 0)

    @property
    def keeps(self) -> bool:
        """Whether there will be a next one."""
        return self.target.check.keep and not self.target.removed

    # -- what the prober and the loop call -----------------------------------------------------------------------------------

    def begin(self, target: Target, loop: ControlLoop, dial: Dialer, finished: Finished) -> None:
        """Ask on the connection of the last probe, or dial."""
        kept, target.connection = target.connection, None
        if not isinstance(kept, KeptConnection):
            super().begin(target, loop, dial, finished)
            return
        self._set_out(target, loop, finished)
        self._dialer = dial
        self.takes(kept)
        kept.transport.protocol = self      # type: ignore[attr-defined]  # see `KeptConnection`
        self.makeConnection(kept.transport)

    def connectionLost(self, reason: Any) -> None:
        """The connection is over."""
        dialer, self._dialer = self._dialer, None
        if self._over or self._heard or dialer is None:
            super().connectionLost(reason)
        else:
            self.afresh(dialer)

    def afresh(self, dialer: Dialer) -> None:
        """Ask on a new connection, in the time that is left."""
        del self.transport
        self.deadline = 0.0
        self.anew()
        self._dial(dialer)
