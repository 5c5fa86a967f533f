"""The servers behind a gateway under test: functions that answer requests, or talk bytes."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.simulation.origins import Dial
from voltgw.app.simulation.wires import Wire
from voltgw.errors import ConnectFailed, ConnectTimeout
from voltgw.testing.messages import Answer, Framer, Request

if TYPE_CHECKING:
    from voltgw.app.simulation.world import World

#: Requests that a server keeps.
MOST_REQUESTS: Final = 10_000

#: Answers a request: with an answer, a body, or None for never.
Answering = Callable[[Request], Answer | bytes | str | None]
#: Hears bytes of a connection and says what it likes; b"" when it has just been made.
Talking = Callable[["Connection", bytes], object]


class Server:
    """What stands behind one address and port.

    While `listening` is false it refuses connections and those that stand are reset; while `hearing` is false connections to
    it come to nothing, as those to a host that is gone. `requests` are those that it got, probes among them, the last
    `MOST_REQUESTS`; `connections` are those that are open.
    """

    def __init__(self, world: World, name: str, answer: Answering | None, talk: Talking | None) -> None:
        self.name = name
        self.hearing = True
        self.connect_s = 0.0                # what making a connection takes, in seconds of the gateway's time
        self.requests: deque[Request] = deque(maxlen=MOST_REQUESTS)
        self.connections: dict[Connection, None] = {}
        self.answer = answer
        self.talk = talk
        self._world = world
        self._listening = True

    @property
    def listening(self) -> bool:
        """Whether it takes connections."""
        return self._listening

    @listening.setter
    def listening(self, listening: bool) -> None:
        self._listening = listening
        if not listening:
            for connection in list(self.connections):
                connection.reset()

    def dial(self, protocol: Any, timeout_s: float, failed: Callable[[ConnectFailed], None], first: bytes = b"") -> Dial:
        """A connection of the gateway's, or none. `first` is what it says before everything else (a PROXY header)."""
        dial = Dial()
        if not self.hearing or self.connect_s > timeout_s:
            error: ConnectFailed = ConnectTimeout(f"{self.name} did not answer within {timeout_s:g} s")
            self._world.at(self._world.now + timeout_s, self._fail, dial, failed, error)
        else:
            self._world.at(self._world.now + self.connect_s, self._accept, dial, protocol, failed, first)
        return dial

    def _fail(self, dial: Dial, failed: Callable[[ConnectFailed], None], error: ConnectFailed) -> None:
        if not dial.cancelled:
            failed(error)

    def _accept(self, dial: Dial, protocol: Any, failed: Callable[[ConnectFailed], None], first: bytes) -> None:
        if dial.cancelled:
            return
        if not self._listening:
            error = ConnectFailed(f"{self.name}: {os.strerror(errno.ECONNREFUSED)}")
            error.errno = errno.ECONNREFUSED
            failed(error)
            return
        connection = Connection(self, self._world, protocol, first)
        self.connections[connection] = None
        protocol.makeConnection(connection.wire)
        if self.talk is not None:
            self.talk(connection, b"")


class Connection:
    """One connection of the gateway to a server; `announced` is the PROXY header that came first."""

    def __init__(self, server: Server, world: World, protocol: Any, announced: bytes) -> None:
        self.announced = announced
        self.received = b""
        self.closed = False
        self.wire = Wire(world, protocol, self._take, self._end)
        self._server = server
        self._world = world
        self._framer = Framer()
        self._waiting: deque[Request] = deque()         # answers leave in the order of their requests
        self._busy = False

    def send(self, data: bytes) -> None:
        """Say something to the gateway, in a turn of its own."""
        self._world.soon(lambda: self.wire.send(data))

    def close(self) -> None:
        """Close it in an orderly way, when everything was said."""
        self._world.soon(self.wire.close)

    def reset(self) -> None:
        """End it with RST."""
        self._world.soon(self.wire.reset)

    def _take(self, data: bytes) -> None:
        server = self._server
        if server.talk is not None:
            self.received += data
            server.talk(self, data)
            return
        for request in self._framer.requests(data):
            server.requests.append(request)
            self._waiting.append(request)
        self._next()

    def _next(self) -> None:
        if self._busy or not self._waiting or self._server.answer is None:
            return
        request = self._waiting.popleft()
        given = self._server.answer(request)
        self._busy = True
        if given is None:
            return                          # it never answers; the gateway's deadlines say for how long that is waited for
        answer = given if isinstance(given, Answer) else Answer(body=given)
        self._world.at(self._world.now + answer.after_s, self._say, answer, request.method)

    def _say(self, answer: Answer, method: str) -> None:
        self._busy = False
        self.wire.send(answer.wire(method))
        self._next()

    def _end(self) -> None:
        self.closed = True
        self._server.connections.pop(self, None)
