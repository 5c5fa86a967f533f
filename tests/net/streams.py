"""What the tests of streams share: a case that reads from the far side while the loop runs, and a reset."""

from __future__ import annotations

import socket
import struct

from tests.support import SteppedLoopCase

MIB = 1 << 20
#: More than any pair of kernel buffers on loopback takes.
PLENTY = 24 * MIB


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class StreamCase(SteppedLoopCase):
    def read_all(self, sock: socket.socket, wanted: int | None = None) -> bytes:
        """What the plain socket gets until the end, or until it has `wanted` bytes, while the loop runs."""
        sock.setblocking(False)
        pieces: list[bytes] = []
        total = 0

        def more() -> bool:
            nonlocal total
            try:
                while True:
                    data = sock.recv(4 * MIB)
                    pieces.append(data)
                    total += len(data)
                    if not data:
                        return True
            except BlockingIOError:
                return wanted is not None and total >= wanted

        tries = 0
        while not more():
            self.wait(0.02)
            self.turn()
            tries += 1
            self.assertLess(tries, 20_000)
        sock.settimeout(5)
        return b"".join(pieces)
