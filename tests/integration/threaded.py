"""A server for tests that block: a thread accepts, another one serves each connection."""

from __future__ import annotations

import socket
import threading
from typing import Any


class ThreadedServer:
    """Listens on 127.0.0.1:`port`; a subclass says in `serve` what becomes of a connection."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def serve(self, sock: socket.socket) -> None:
        """Serve one connection to its end; `stop` shuts the socket and closes it."""
        raise NotImplementedError

    def _start(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return                              # `stop` shut the socket
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(sock)
            self._start(self.serve, sock)

    def stop(self) -> None:
        """End all threads."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._threads[0].join()
        for sock in self._connections:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass                                # the other side has closed it, or it is down already
        for thread in self._threads[1:]:
            thread.join()
        for sock in self._connections:
            sock.close()
