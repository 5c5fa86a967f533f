"""The clients of a gateway under test."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from voltgw.app.simulation.wires import Wire
from voltgw.testing.messages import Answer, Framer

if TYPE_CHECKING:
    from voltgw.app.simulation.world import World
    from voltgw.values.tls import Handshake


class NoAnswer(AssertionError):
    """Nothing came, however long it was waited; the message says what did come."""


class Client:
    """One connection to a listener of the gateway, on which a test says what it likes.

    `received` has all bytes that came; `closed` tells that the gateway has ended it.
    """

    def __init__(
        self, world: World, protocol: Any, handshake: Handshake | None, settle: Callable[[Callable[[], bool], float], None],
    ) -> None:
        self.received = b""
        self.closed = False
        self._settle = settle
        self._wire = Wire(world, protocol, self._take, self._end)
        if handshake is not None:
            self._wire.handshake = handshake
        self._framer = Framer()
        self._answers: list[Answer] = []
        self._methods: list[str] = []
        protocol.makeConnection(self._wire)

    def send(self, data: bytes) -> None:
        """Say something; what becomes of it at once has happened when this returns."""
        line = data.split(b" ", 1)[0]
        if line.isalpha() and line.isupper():
            self._methods.append(line.decode())
        self._wire.send(data)
        self._settle(lambda: False, 0.0)

    def close(self) -> None:
        """Close it in an orderly way."""
        self._wire.close()
        self._settle(lambda: False, 0.0)

    def reset(self) -> None:
        """End it with RST."""
        self._wire.reset()
        self._settle(lambda: False, 0.0)

    def answer(self, within_s: float = 600.0) -> Answer:
        """The next whole answer in HTTP/1.1, for which at most `within_s` seconds of the gateway's time pass.

        Raises `NoAnswer`.
        """
        self._settle(lambda: bool(self._answers) or self.closed, within_s)
        if not self._answers:
            how = "the gateway closed the connection" if self.closed else f"{within_s:g} s have passed"
            raise NoAnswer(f"no answer: {how}; what came: {self.received[-400:]!r}")
        return self._answers.pop(0)

    def heard(self, wanted: bytes, within_s: float = 600.0) -> bytes:
        """All that has come, once `wanted` is part of it. Raises `NoAnswer`."""
        self._settle(lambda: wanted in self.received or self.closed, within_s)
        if wanted not in self.received:
            raise NoAnswer(f"{wanted!r} did not come within {within_s:g} s; what came: {self.received[-400:]!r}")
        return self.received

    def _take(self, data: bytes) -> None:
        self.received += data
        if self._methods:
            self._answers += self._framer.answers(data, self._methods)

    def _end(self) -> None:
        self.closed = True
        if self._methods:
            self._answers += self._framer.answers(b"", self._methods, closed=True)
