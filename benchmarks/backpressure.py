"""What voltgw holds of 1 GiB on its way to a slow peer: uploads to an endpoint that reads slowly, downloads to such a client.

The writer writes as fast as it is let, the reader takes a sip of 64 KiB at a time, at a rate far below, and stands still for a
second in the middle. Every byte is compared by a digest. Told are anonymous memory of the process beside what it had before,
at its highest, and how far the writer was ahead of the reader: what is in the kernel's buffers counts there, too. It ends with
an error where more than 256 KiB (and what the allocator rounds up) were held.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Final

from gateway import Voltgw
from harness import BenchmarkError, guard
from proxies import HOST, Setup

#: The bound of the promise, and how much more memory of the process may come and go beside it: pages of the allocator.
MOST_BYTES: Final = 256 * 1024
SLACK_BYTES: Final = 256 * 1024
SIP_BYTES: Final = 64 * 1024
PIECE: Final = bytes(range(256)) * 4096                 # 1 MiB
STILL_S: Final = 1.0
_HEAD_END: Final = b"\r\n\r\n"


class Pump:
    """One body from a writer to a slow reader through the gateway; `run` moves it and watches."""

    def __init__(self, writer: socket.socket, reader: socket.socket, size: int, rate: float, chunked: bool) -> None:
        self._writer = writer
        self._reader = reader
        self._size = size
        self._rate = rate
        self._chunked = chunked
        self._sent = self._read = 0
        self._failure: BaseException | None = None
        self._digest = blake2b()

    def run(self, memory_kib: Callable[[], int], base: int) -> tuple[float, float]:
        """(most KiB of memory beyond `base`, most MiB that the writer was ahead)."""
        threads = [threading.Thread(target=self._guarded, args=(call,), daemon=True) for call in (self._write, self._sip)]
        for thread in threads:
            thread.start()
        most = ahead = 0
        while any(thread.is_alive() for thread in threads):
            most = max(most, memory_kib() - base)
            ahead = max(ahead, self._sent - self._read)
            time.sleep(0.005)
        if self._failure is not None:
            raise BenchmarkError(f"the transfer failed: {self._failure!r}")
        expected = blake2b()
        for _ in range(self._size // len(PIECE)):
            expected.update(PIECE)
        if self._digest.digest() != expected.digest():
            raise BenchmarkError("what came is not what was sent")
        return float(most), ahead / (1 << 20)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            self._failure = error
            self._writer.close()
            self._reader.close()

    def _write(self) -> None:
        view = memoryview(PIECE)
        for _ in range(self._size // len(PIECE)):
            if self._chunked:
                self._writer.sendall(b"%x\r\n" % len(PIECE))
            for at in range(0, len(PIECE), SIP_BYTES):
                self._writer.sendall(view[at:at + SIP_BYTES])
                self._sent += SIP_BYTES
            if self._chunked:
                self._writer.sendall(b"\r\n")
        if self._chunked:
            self._writer.sendall(b"0" + _HEAD_END)

    def _sip(self) -> None:
        source = self._reader.makefile("rb", buffering=SIP_BYTES)
        began, stood = time.monotonic(), False
        left = 0
        while self._read < self._size:
            if self._chunked and not left:
                line = source.readline()
                if line == b"\r\n":
                    line = source.readline()
                left = int(line, 16)
            data = source.read(min(SIP_BYTES, left) if self._chunked else min(SIP_BYTES, self._size - self._read))
            if not data:
                raise BenchmarkError(f"the end came after {self._read} octets")
            left -= len(data) if self._chunked else 0
            self._digest.update(data)
            self._read += len(data)
            if not stood and self._read > self._size // 2:
                stood = True
                time.sleep(STILL_S)
                began += STILL_S
            early = self._read / self._rate - (time.monotonic() - began)
            if early > 0.001:
                time.sleep(early)


def head(sock: socket.socket) -> bytes:
    """Read a message's head, and nothing behind it."""
    data = b""
    while not data.endswith(_HEAD_END):
        octet = sock.recv(1)
        if not octet:
            raise BenchmarkError(f"the connection ended within a head: {data!r}")
        data += octet
    return data


def transfer(proxy: Voltgw, origin: socket.socket, upload: bool, size: int, rate: float, chunked: bool,
             base: int = 0) -> tuple[float, float]:
    """One of the four ways; `base` is the memory in KiB of which nothing is told."""
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    process = proxy.process
    assert process is not None
    with socket.create_connection(("127.0.0.1", proxy.port), 30) as client:
        method, own = (b"PUT", framing + b"\r\n") if upload else (b"GET", b"")
        client.sendall(b"%b / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n%b\r\n" % (method, HOST.encode(), own))
        server, _ = origin.accept()
        with server:
            server.settimeout(60)
            head(server)
            if not upload:
                server.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + framing + _HEAD_END)
                head(client)
            writer, reader = (client, server) if upload else (server, client)
            return Pump(writer, reader, size, rate, chunked).run(process.anonymous_kib, base)


def run() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="size of each body")
    parser.add_argument("--rate", type=float, default=150.0, help="MiB/s that the slow reader takes")
    parser.add_argument("--python", default=sys.executable, help="that runs voltgw")
    options = parser.parse_args()
    guard()
    size, rate = options.mib << 20, options.rate * (1 << 20)
    failed = False
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as origin:
        origin.settimeout(30)
        setup = Setup("http", True, False, (("127.0.0.1", origin.getsockname()[1]),), Path(directory), options.python)
        proxy = Voltgw(setup)
        proxy.start()
        try:
            ways = [(upload, chunked) for upload in (True, False) for chunked in (False, True)]
            for upload, chunked in ways:    # what is imported and remembered once is, then
                transfer(proxy, origin, upload, len(PIECE), rate, chunked)
            assert proxy.process is not None
            base = proxy.process.anonymous_kib()
            for upload, chunked in ways:
                kib, ahead = transfer(proxy, origin, upload, size, rate, chunked, base)
                held = kib * 1024 <= MOST_BYTES + SLACK_BYTES
                failed = failed or not held
                way = f"{'upload' if upload else 'download'} of {options.mib} MiB, {'chunked' if chunked else 'known length'}"
                print(f"{way}: {kib:.0f} KiB more memory at most, writer ahead by {ahead:.1f} MiB at most"
                      f"{'' if held else ' (too much)'}", flush=True)
        finally:
            proxy.stop()
    if failed:
        raise BenchmarkError("more than 256 KiB were held")


if __name__ == "__main__":
    try:
        run()
    except BenchmarkError as error:
        sys.exit(f"backpressure: {error}")
