"""Messages on their way to a daemon that keeps logs: bounded, never waiting, tried again, dropped and counted.

A socket is written when messages come and when `flush` is called, which whoever owns the log does again and again as long as
something is `blocked`; there is no timer here, and nothing is watched. What waits is at most `WAITING_BYTES`: beyond it the
newest are dropped.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from voltgw.values.address import where
from voltgw.values.exchange import Exchange

if TYPE_CHECKING:
    from voltgw.values.record import ConnectionRecord

#: What may wait for a daemon that is slow, or away for a moment.
WAITING_BYTES: Final = 1024 * 1024
#: A connection that failed is made again after this; it doubles up to the second.
AGAIN_S: Final = 1.0
AGAIN_MOST_S: Final = 30.0
#: How long `close` tries to get rid of what waits.
_CLOSE_S: Final = 0.5

#: Severities (RFC 5424 6.2.1), of syslog and of journald.
CRITICAL, ERROR, WARNING, INFO, DEBUG = 2, 3, 4, 6, 7
SEVERITIES: Final = {"critical": CRITICAL, "error": ERROR, "warn": WARNING, "info": INFO, "debug": DEBUG}

#: What a full socket of a daemon says…
_FULL: Final = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.EINTR))
#: …and what one says that is away: it may come back.
_AWAY: Final = frozenset((errno.ECONNREFUSED, errno.ENOENT, errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE, errno.EACCES))


class Message(NamedTuple):
    """One line for a daemon: `text` without a line feed at its end; `wall` in seconds since the epoch."""

    text: str
    severity: int
    wall: float
    fields: Mapping[str, str]


class Framing(Protocol):
    """Makes bytes of a message, as a daemon reads them."""

    def __call__(self, message: Message, /) -> bytes:
        """The bytes."""


class _Waiting:
    """What both kinds of sockets have: the queue and its numbers. It satisfies `voltgw.observe.outputs.Taker`."""

    wants_records = True

    def __init__(self, framing: Framing, wall: Callable[[], float]) -> None:
        self.lines = 0
        self.bytes = 0
        self.failures = 0
        self.dropped_blocked = 0
        self.dropped_failed = 0
        self.problem = ""
        self._framing = framing
        self._wall = wall
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._closed = False

    @property
    def blocked(self) -> bool:
        """Whether something waits."""
        return bool(self._queue)

    def put(self, lines: Sequence[str], records: Sequence[Exchange | ConnectionRecord], /) -> None:
        """Take lines of an access log."""
        wall = self._wall()
        self.send(Message(line.rstrip("\n"), severity_of(record), wall, fields_of(record))
                  for line, record in zip(lines, records, strict=True))

    def send(self, messages: Iterable[Message]) -> None:
        """Take messages, and get rid of as many as goes."""
        for message in messages:
            self.lines += 1
            data = self._framing(message)
            if self._closed or self._queued_bytes + len(data) > WAITING_BYTES:
                self._drop()
                continue
            self._queue.append(data)
            self._queued_bytes += len(data)
        self.flush()

    def flush(self) -> None:
        """Get rid of what waits, as far as that goes."""
        raise NotImplementedError

    def _sent(self, size: int) -> None:
        self._queued_bytes -= len(self._queue.popleft())
        self.bytes += size

    def _drop(self, count: int = 1) -> None:
        if self.problem and self.problem != _SLOW:
            self.dropped_failed += count
        else:
            self.dropped_blocked += count

    def _give_up(self) -> None:
        self._closed = True
        self._drop(len(self._queue))
        self._queue.clear()
        self._queued_bytes = 0


_SLOW: Final = "it does not take messages as fast as they come"


class DatagramSink(_Waiting):
    """A datagram for each message, to an address (UDP) or the path of a Unix socket. Raises nothing, the constructor neither.

    `large` sends what is too long for a datagram another way; without it such a message is dropped.
    """

    def __init__(self, to: str | tuple[str, int], framing: Framing, wall: Callable[[], float],
                 large: Callable[[socket.socket, bytes], None] | None = None) -> None:
        super().__init__(framing, wall)
        self._to = to
        self._large = large
        self._sock: socket.socket | None = None

    def flush(self) -> None:
        """Send what waits, until the socket is full or nobody is there."""
        while self._queue:
            data = self._queue[0]
            try:
                self._connected().send(data, socket.MSG_DONTWAIT)
            except OSError as error:
                if error.errno == errno.EMSGSIZE and self._sent_otherwise(data):
                    continue
                if error.errno in _FULL:
                    self.problem = self.problem or _SLOW
                    return
                self.failures += 1
                self.problem = error.strerror or str(error)
                if isinstance(self._to, str):
                    self._disconnect()      # the daemon has another socket when it comes back
                    if error.errno in _AWAY:
                        return
                elif error.errno == errno.ECONNREFUSED:
                    return                  # the answer to what was sent before; this one is tried again
                self._sent(0)
                self.dropped_failed += 1
                continue
            self._sent(len(data))
            self.problem = ""

    def reopen(self) -> str:
        """Nothing is a file here."""
        return ""

    def close(self) -> None:
        """Send what goes, and stop."""
        self.flush()
        self._give_up()
        self._disconnect()

    def _connected(self) -> socket.socket:
        if self._sock is None:
            if isinstance(self._to, str):
                family = socket.AF_UNIX
            else:
                family = socket.AF_INET6 if ":" in self._to[0] else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_DGRAM)
            try:
                sock.connect(self._to)
            except OSError:
                sock.close()
                raise
            self._sock = sock
        return self._sock

    def _sent_otherwise(self, data: bytes) -> bool:
        if self._large is None:
            return False
        try:
            self._large(self._connected(), data)
        except OSError as error:
            self.failures += 1
            self.problem = error.strerror or str(error)
            self._sent(0)
            self.dropped_failed += 1
            return True
        self._sent(len(data))
        return True

    def _disconnect(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()


class StreamSink(_Waiting):
    """One message behind another on a TCP connection, which is made when there is something to say, and again when it was lost.

    A message of which only a part was sent when the connection was lost is sent again whole: it may come twice, never broken.
    """

    def __init__(
        self, to: tuple[str, int], framing: Framing, wall: Callable[[], float], monotonic: Callable[[], float],
    ) -> None:
        super().__init__(framing, wall)
        self._to = to
        self._monotonic = monotonic
        self._sock: socket.socket | None = None
        self._offset = 0                    # how much of the first message was sent
        self._again = 0.0                   # when to connect, if not connected
        self._pause_s = AGAIN_S

    def flush(self) -> None:
        """Write what waits, until the kernel takes no more."""
        if not self._queue:
            return
        try:
            sock = self._connected()
            while sock is not None and self._queue:
                # Several messages with one call, but never a copy of all that waits.
                data = self._queue[0][self._offset:] if self._offset or len(self._queue) == 1 else self._some()
                sent = sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                self.problem = ""
                self._pause_s = AGAIN_S
                self._took(sent)
        except BlockingIOError:
            self.problem = self.problem or _SLOW
        except OSError as error:
            self._lost(error)

    def reopen(self) -> str:
        """Nothing is a file here."""
        return ""

    def close(self) -> None:
        """Write what goes within a moment, and stop."""
        end = self._monotonic() + _CLOSE_S
        self.flush()
        if self._queue and self._sock is not None:
            self._sock.settimeout(max(end - self._monotonic(), 0.01))
            try:
                self._sock.sendall(self._queue[0][self._offset:] + b"".join(list(self._queue)[1:]))
                while self._queue:
                    self._sent(len(self._queue[0]))
            except OSError as error:
                self._lost(error)
        self._give_up()
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _some(self) -> bytes:
        some, size = [], 0
        for data in self._queue:
            some.append(data)
            size += len(data)
            if size > 65536:
                break
        return b"".join(some)

    def _took(self, sent: int) -> None:
        self._offset += sent
        while self._queue and self._offset >= len(self._queue[0]):
            size = len(self._queue[0])
            self._offset -= size
            self._sent(size)

    def _connected(self) -> socket.socket | None:
        """The connection, if there is one; while it is being made, `send` says EAGAIN."""
        if self._sock is None:
            now = self._monotonic()
            if now < self._again:
                return None
            sock = socket.socket(socket.AF_INET6 if ":" in self._to[0] else socket.AF_INET, socket.SOCK_STREAM)
            sock.setblocking(False)
            self._sock = sock
            code = sock.connect_ex(self._to)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        return self._sock

    def _lost(self, error: OSError) -> None:
        self.failures += 1
        self.problem = error.strerror or str(error)
        self._offset = 0
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._again = self._monotonic() + self._pause_s
        self._pause_s = min(self._pause_s * 2, AGAIN_MOST_S)


def severity_of(record: Any) -> int:
    """A warning for what went wrong on our side or the endpoint's."""
    if type(record) is Exchange:
        return WARNING if record.response_code >= 500 or not record.response_code else INFO
    return WARNING if record.flag else INFO


def fields_of(record: Any) -> dict[str, str]:
    """What one may want to select lines of an access log by."""
    route, endpoint = record.route, record.endpoint
    fields = {"FLAGS": record.flag}
    if type(record) is Exchange:
        fields["STATUS"] = str(record.response_code)
        fields["REQUEST_ID"] = record.request_id.decode("utf-8", "backslashreplace")
    if route is not None:
        fields["VIRTUAL_HOST"] = f"{route.host.namespace}/{route.host.name}"
        fields["ROUTE"] = route.name
    if endpoint is not None:
        fields["CLUSTER"] = endpoint.cluster
        fields["ENDPOINT"] = where(endpoint.address, endpoint.port)
    return {name: value for name, value in fields.items() if value}
