"""Clients of every protocol under constant load, and the origin behind them, for `storm.py`.

Each client does one thing after another and remembers what failed, when, and whether its connection was older than that. A
datagram that is not answered in `PATIENCE_S` has failed; it is not sent again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

PATIENCE_S = 5.0
#: Between two things that a client does: the load is to be constant, not all that the machine gives.
PAUSE_S = 0.004
#: The server answers 200 questions of one network in a second; one that is asked more often says so.
DNS_PAUSE_S = 0.05
#: What a connection does before its client opens another one.
PER_CONNECTION = 50
#: Type of the frame by which a connection of HTTP/2 ends (RFC 9113 6.8).
GOAWAY = 7
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass
class Failed:
    """One thing that failed; `opened` is when its connection was."""

    protocol: str
    at: float
    opened: float
    what: str


@dataclass
class Ledger:
    """What all clients did."""

    done: dict[str, int] = field(default_factory=dict)
    failed: list[Failed] = field(default_factory=list)
    slowest_s: dict[str, float] = field(default_factory=dict)

    def took(self, protocol: str, seconds: float) -> None:
        """One thing was done."""
        self.done[protocol] = self.done.get(protocol, 0) + 1
        self.slowest_s[protocol] = max(self.slowest_s.get(protocol, 0.0), seconds)


class Wrong(Exception):
    """An answer that is none."""


class Stream:
    """A connection with a beginning."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.over = reader, writer, False

    @classmethod
    async def open(cls, port: int) -> Stream:
        """To 127.0.0.1."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def close(self) -> None:
        """End it."""
        self.writer.close()


async def http1(stream: Stream, number: int) -> None:
    """One request, one answer; the connection is over where the answer says so."""
    stream.writer.write(b"GET /%d HTTP/1.1\r\nHost: storm.example\r\n\r\n" % number)
    head = await stream.reader.readuntil(b"\r\n\r\n")
    status, _, fields = head.partition(b"\r\n")
    if b" 200 " not in status:
        raise Wrong(status.decode("latin-1"))
    lower = fields.lower()
    length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0])
    await stream.reader.readexactly(length)
    stream.over = b"connection: close" in lower


async def tcp(stream: Stream, number: int) -> None:
    """Bytes there and back."""
    said = b"%08d" % number
    stream.writer.write(said)
    if await stream.reader.readexactly(len(said)) != said:
        raise Wrong("another echo")


async def websocket_open(port: int) -> Stream:
    """A WebSocket (RFC 6455) on which messages come back."""
    stream = await Stream.open(port)
    key = base64.b64encode(os.urandom(16))
    stream.writer.write(b"GET /ws HTTP/1.1\r\nHost: storm.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n")
    head = await stream.reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise Wrong(head.partition(b"\r\n")[0].decode("latin-1"))
    return stream


async def websocket(stream: Stream, number: int) -> None:
    """One message there and back; short ones, so that a frame's length is one byte."""
    said = b"%08d" % number
    mask = os.urandom(4)
    stream.writer.write(bytes((0x81, 0x80 | len(said))) + mask + bytes(one ^ mask[at % 4] for at, one in enumerate(said)))
    head = await stream.reader.readexactly(2)
    body = await stream.reader.readexactly(head[1] & 0x7F)
    if head[0] != 0x81 or body != said:
        raise Wrong("another message")


class Http2:
    """A connection of HTTP/2 with one request at a time; GOAWAY ends it after the answer."""

    def __init__(self, stream: Stream) -> None:
        from h2.connection import H2Connection

        self.stream = stream
        self.over = False
        self._buffer = b""
        self._h2 = H2Connection()
        self._h2.initiate_connection()

    @classmethod
    async def open(cls, port: int) -> Http2:
        """By prior knowledge."""
        made = cls(await Stream.open(port))
        made.stream.writer.write(made._h2.data_to_send())
        return made

    async def ask(self, number: int) -> None:
        """One request, one answer."""
        from h2 import events

        stream_id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream_id, [(":method", "GET"), (":path", f"/{number}"), (":scheme", "http"),
                                          (":authority", "storm.example")], end_stream=True)
        self.stream.writer.write(self._h2.data_to_send())
        while True:
            data = await self.stream.reader.read(65536)
            if not data:
                raise Wrong("the connection has ended")
            for event in self._h2.receive_data(self._without_goaway(data)):
                if isinstance(event, events.ResponseReceived) and dict(event.headers)[b":status"] != b"200":
                    raise Wrong(str(event.headers))
                if isinstance(event, events.StreamReset):
                    raise Wrong(f"reset {event.error_code}")
                if isinstance(event, events.DataReceived):
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if isinstance(event, events.StreamEnded):
                    self.stream.writer.write(self._h2.data_to_send())
                    return
            self.stream.writer.write(self._h2.data_to_send())

    def _without_goaway(self, data: bytes) -> bytes:
        """Whole frames of what has come, but for GOAWAY: the library would take no answer any more that was on its way."""
        self._buffer += data
        frames = b""
        while len(self._buffer) >= 9 and len(self._buffer) >= (end := 9 + int.from_bytes(self._buffer[:3], "big")):
            frame, self._buffer = self._buffer[:end], self._buffer[end:]
            if frame[3] == GOAWAY:
                self.over = True
            else:
                frames += frame
        return frames

    def close(self) -> None:
        """End it."""
        self.stream.close()


async def http2(connection: Http2, number: int) -> None:
    """One request."""
    await connection.ask(number)


class Datagrams:
    """A connected UDP socket."""

    over = False

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    @classmethod
    async def open(cls, port: int) -> Datagrams:
        """To 127.0.0.1."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.connect(("127.0.0.1", port))
        return cls(sock)

    async def ask(self, said: bytes) -> bytes:
        """What comes back."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.sock, said)
        return await loop.sock_recv(self.sock, 4096)

    def close(self) -> None:
        """End it."""
        self.sock.close()


async def udp(datagrams: Datagrams, number: int) -> None:
    """A datagram there and back."""
    said = b"%08d" % number
    if await datagrams.ask(said) != said:
        raise Wrong("another datagram")


async def dns(datagrams: Datagrams, number: int) -> None:
    """The A record of storm.apps.example.com."""
    question = (number.to_bytes(2, "big") + b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"
                b"\x05storm\x04apps\x07example\x03com\x00\x00\x01\x00\x01")
    answer = await datagrams.ask(question)
    if answer[:2] != question[:2] or answer[3] & 0x0F or not int.from_bytes(answer[6:8], "big"):
        raise Wrong(f"DNS answer {answer[:12].hex()}")


#: By protocol: how a connection is opened, and what is done on it.
KINDS: dict[str, tuple[Callable[[int], Awaitable[Any]], Callable[[Any, int], Awaitable[None]]]] = {
    "http1": (Stream.open, http1), "http2": (Http2.open, http2), "websocket": (websocket_open, websocket),
    "tcp": (Stream.open, tcp), "udp": (Datagrams.open, udp), "dns": (Datagrams.open, dns),
}


async def client(protocol: str, port: int, ledger: Ledger, stop: asyncio.Event) -> None:
    """Do it until `stop`. A connection that says that it is over, or has done its part, is replaced by another one."""
    opens, does = KINDS[protocol]
    number = 0
    while not stop.is_set():
        opened = began = time.monotonic()
        connection = None
        try:
            connection = await asyncio.wait_for(opens(port), PATIENCE_S)
            for _ in range(PER_CONNECTION):
                number = number % 65_000 + 1
                began = time.monotonic()
                await asyncio.wait_for(does(connection, number), PATIENCE_S)
                ledger.took(protocol, time.monotonic() - began)
                if stop.is_set() or connection.over:
                    break
                await asyncio.sleep(DNS_PAUSE_S if protocol == "dns" else PAUSE_S)
        except (OSError, EOFError, Wrong, TimeoutError) as error:
            ledger.failed.append(Failed(protocol, began, opened, f"{type(error).__name__}: {error}"))
            await asyncio.sleep(PAUSE_S)
        finally:
            if connection is not None:
                connection.close()


class Origin:
    """HTTP/1.1 with WebSocket, TCP echo and UDP echo, each on a port of 127.0.0.1."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self._servers: list[Any] = []

    async def start(self) -> None:
        """Listen."""
        for name, serve in (("http", self._http), ("tcp", self._echo)):
            server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
            self._servers.append(server)
            self.ports[name] = server.sockets[0].getsockname()[1]
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(_UdpEcho, ("127.0.0.1", 0))
        self._servers.append(transport)
        self.ports["udp"] = transport.get_extra_info("sockname")[1]

    def stop(self) -> None:
        """End."""
        for each in self._servers:
            each.close()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                key = head.lower().partition(b"sec-websocket-key:")[1] and _field(head, b"sec-websocket-key")
                if key:
                    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
                    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                 b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
                    await self._websocket(reader, writer)
                    return
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstorm")
        except (OSError, EOFError):
            pass                            # the other side has ended it: that is its right
        finally:
            writer.close()

    async def _websocket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(6)
            mask = head[2:]
            body = await reader.readexactly(head[1] & 0x7F)
            writer.write(bytes((head[0], len(body))) + bytes(one ^ mask[at % 4] for at, one in enumerate(body)))

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass                            # likewise
        finally:
            writer.close()


class _UdpEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        """Keep it."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Send it back."""
        self.transport.sendto(data, addr)


def _field(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(name + b":"):
            return line.partition(b":")[2].strip()
    return b""
