"""TCP probe: the endpoint accepts a connection and, if told so, answers `send_payload` with `expected_response`.

Both are bytes (hex in configuration). Without either, being accepted is enough; without an expected response, being
able to send is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from zope.interface import implementer

from voltgw.control.probes.run import ProbeRun
from voltgw.interfaces import IFactory

#: How much of an answer is looked at.
MAX_ANSWER_BYTES: Final = 64 * 1024


class TcpRun(ProbeRun):
    """One TCP probe."""

    __slots__ = ("_answer", "_expected", "_payload")

    def __init__(self, payload: bytes, expected: bytes) -> None:
        super().__init__()
        self._payload = payload
        self._expected = expected
        self._answer = bytearray()

    def connected(self) -> None:
        """Accepted: send, or be content."""
        if self._payload:
            self.transport.write(self._payload)
        if not self._expected:
            self.verdict(True, "accepted")

    def dataReceived(self, data: bytes) -> None:
        """Part of the answer; it must hold the expected bytes, anywhere."""
        answer = self._answer
        begin = max(len(answer) - len(self._expected) + 1, 0)
        answer += data[:MAX_ANSWER_BYTES - len(answer)]
        if answer.find(self._expected, begin) >= 0:
            self.verdict(True, "answered as expected")
        elif len(answer) >= MAX_ANSWER_BYTES:
            self.verdict(False, f"the expected bytes are not in the first {MAX_ANSWER_BYTES} bytes of the answer")

    def ended(self) -> str:
        """The endpoint has closed."""
        if self._answer:
            return f"the connection was closed after {len(self._answer)} bytes without the expected ones"
        return "the connection was closed before an answer"


class TcpProbe:
    """The probe with its options."""

    def __init__(self, payload: bytes, expected: bytes) -> None:
        self._payload = payload
        self._expected = expected

    def prepare(self, hostname: str, address: str, port: int) -> Callable[[], ProbeRun]:
        """Nothing depends on the endpoint."""
        return partial(TcpRun, self._payload, self._expected)


@implementer(IFactory)
class Tcp:
    """The factory; its options are the object model's `tcp_health_check`."""

    name = "tcp"

    def options(self, raw: Any, place: object) -> tuple[bytes, bytes]:
        """From a `TcpHealthCheck` (`Any`, because the interface takes whatever an extension reads)."""
        return raw.send_payload or b"", raw.expected_response or b""

    def build(self, options: tuple[bytes, bytes]) -> TcpProbe:
        """The probe."""
        return TcpProbe(*options)


FACTORY: Final = Tcp()
