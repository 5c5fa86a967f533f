"""Origins that say what they were asked: over HTTP, over TLS, as plain TCP and as UDP."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import threading
from pathlib import Path

from tests.integration.threaded import ThreadedServer


class HttpOrigin(ThreadedServer):
    """Answers each request with a JSON object of it; ``?status=503`` asks for another status. It takes WebSockets."""

    def __init__(self, name: str, context: ssl.SSLContext | None = None) -> None:
        self.name = name
        self._context = context
        super().__init__()

    def serve(self, sock: socket.socket) -> None:
        """Requests one after another."""
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            with sock.makefile("rb") as reading:
                while self._one(sock, reading):     # type: ignore[arg-type]    # a BufferedReader
                    pass
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass                                # the proxy went; `stop` closes what is left

    def _one(self, sock: socket.socket, reading: socket.SocketIO) -> bool:
        first = reading.readline().decode("latin-1").split()
        if len(first) != 3:
            return False
        fields: dict[str, list[str]] = {}
        while (line := reading.readline().decode("latin-1").rstrip("\r\n")):
            name, _, value = line.partition(":")
            fields.setdefault(name.lower(), []).append(value.strip())
        body = reading.read(int(fields.get("content-length", ["0"])[0])) or b""
        if "websocket" in fields.get("upgrade", [""])[0].lower():
            key = fields.get("sec-websocket-key", [""])[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"       # RFC 6455 4.2.2
            accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest())
            sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                         b"Sec-WebSocket-Accept: %b\r\nX-Origin: %b\r\n\r\n" % (accept, self.name.encode()))
            return False
        status = first[1].partition("status=")[2][:3] or "200"
        said = json.dumps({"origin": self.name, "method": first[0], "target": first[1], "headers": fields, "body": len(body)}).encode()
        head = (f"HTTP/1.1 {status} As Asked\r\nContent-Type: application/json\r\nServer: origin\r\nX-Origin: {self.name}\r\n"
                f"X-Auth-User: ann of {self.name}\r\nX-Powered-By: tests\r\nContent-Length: {len(said)}\r\n\r\n")
        sock.sendall(head.encode() + (b"" if first[0] == "HEAD" else said))
        return first[2] == "HTTP/1.1" and "close" not in fields.get("connection", [""])[0].lower()


class TcpOrigin(ThreadedServer):
    """Says its name behind what it was sent."""

    def __init__(self, name: str, context: ssl.SSLContext | None = None) -> None:
        self.name = name
        self._context = context
        super().__init__()

    def serve(self, sock: socket.socket) -> None:
        """One message, one answer."""
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            data = sock.recv(65536)
            if data:
                sock.sendall(data + b" " + self.name.encode())
                if isinstance(sock, ssl.SSLSocket):
                    sock.unwrap()               # its end is told, and not only TCP's
                else:
                    sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass                                # a probe that only connects, or a client without our CA


class UdpOrigin:
    """Says its name behind each datagram."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, where = self._socket.recvfrom(65536)
            if data == b"stop" and where[0] == "127.0.0.1":
                return
            self._socket.sendto(data + b" " + self.name.encode(), where)

    def stop(self) -> None:
        """End its thread."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"stop", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's context with one certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
