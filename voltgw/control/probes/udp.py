"""UDP probe: a datagram, and an answer to it, or silence where that is good enough.

Nobody accepts a datagram, so there is less to see than by TCP: the host of an endpoint may say by ICMP that nobody listens
at its port, and then the probe fails at once; otherwise the answer decides, or that there is none within the timeout. A lost
datagram is not sent again: the thresholds of the check are there for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from zope.interface import implementer

from voltgw.control.probes.run import ProbeRun
from voltgw.interfaces import IFactory


@dataclass(frozen=True, slots=True)
class UdpOptions:
    """`expected` b"" = any answer will do; `silent_is_good`: no answer is a success."""

    payload: bytes = b""
    expected: bytes = b""
    silent_is_good: bool = False


class UdpRun(ProbeRun):
    """One UDP probe."""

    __slots__ = ("_options",)

    datagrams = True

    def __init__(self, options: UdpOptions) -> None:
        super().__init__()
        self._options = options

    def connected(self) -> None:
        """There is a socket: ask."""
        self.transport.write(self.target.first + self._options.payload)

    def dataReceived(self, data: bytes) -> None:
        """An answer; it is whole."""
        expected = self._options.expected
        if not expected:
            self.verdict(True, f"answered with {len(data)} bytes")
        elif expected in data:
            self.verdict(True, "answered as expected")
        else:
            self.verdict(False, f"the expected bytes are not in the answer of {len(data)} bytes")

    def expired(self, now: float) -> None:
        """Nobody has answered."""
        if self._options.silent_is_good:
            self.verdict(True, "no answer, and nobody says that it is unreachable")
        else:
            super().expired(now)


class UdpProbe:
    """The probe with its options."""

    def __init__(self, options: UdpOptions) -> None:
        self._options = options

    def prepare(self, hostname: str, address: str, port: int) -> Callable[[], ProbeRun]:
        """Nothing depends on the endpoint."""
        return partial(UdpRun, self._options)


@implementer(IFactory)
class Udp:
    """The factory; its options are `udp_health_check` of ``voltgw:``, or its defaults for `udp_icmp_health_check`."""

    name = "udp"

    def options(self, raw: Any, place: object) -> UdpOptions:
        """From a `UdpHealthCheck` (`Any`, because the interface takes whatever an extension reads)."""
        expected = raw.expected_response or b""
        silence = raw.silence.value
        return UdpOptions(raw.send_payload or b"", expected, silence == "success" or (silence != "failure" and not expected))

    def build(self, options: UdpOptions) -> UdpProbe:
        """The probe."""
        return UdpProbe(options)


FACTORY: Final = Udp()
