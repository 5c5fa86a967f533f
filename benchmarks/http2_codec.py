"""What the HTTP/2 codec costs for one request and its answer, without sockets: ours, and the h2 library for comparison.

Ten requests arrive in one read, as from a client with ten streams; each is read to its head and answered with 128 octets.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events

from voltgw.values.head import Field, RequestHead
from voltgw.wire import h2frames as frames
from voltgw.wire.h2handler import Bystander
from voltgw.wire.h2heads import response_fields
from voltgw.wire.h2limits import Limits
from voltgw.wire.h2streams import Stream
from voltgw.wire.hpack import Encoder
from voltgw.wire.http2 import Server

_BODY = b"x" * 128
_AT_ONCE = 10
_LIKE_A_BROWSER: list[Field] = [
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    (b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8"), (b"accept-language", b"en-US,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"), (b"te", b"trailers"), (b"cookie", b"session=0123456789abcdef"),
]


def answer(number: int) -> list[Field]:
    """A small answer's head."""
    return response_fields(200, [
        (b"server", b"voltgw"), (b"date", b"Wed, 25 Nov 2026 11:11:11 GMT"), (b"content-type", b"text/plain"),
        (b"content-length", b"128"), (b"etag", b'"%x"' % number)])


class _Answers(Bystander):
    def __init__(self) -> None:
        self.server = Server(self, Limits())

    def on_request(self, stream: Stream, head: RequestHead, ended: bool) -> None:
        """Answer at once."""
        self.server.send_head(stream, answer(stream.id), False)
        self.server.send_data(stream, _BODY, True)


def reads(count: int, distinct: bool, more: list[Field]) -> list[bytes]:
    """What a client sends: the preface, then reads of ten requests each."""
    encoder = Encoder()
    found = [frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 20}) + frames.window_update(0, 1 << 30)]
    pieces = []
    for number in range(count):
        path = b"/api/v1/items/%d" % (number if distinct else 7)
        block = encoder.encode([(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"www.example.com"),
                                (b":path", path), *more])
        pieces.append(frames.headers(2 * number + 1, block, frames.END_STREAM, 1 << 14))
        if len(pieces) == _AT_ONCE:
            found.append(b"".join(pieces))
            pieces = []
    return found


def ours(pieces: list[bytes]) -> None:
    """All of it by our codec."""
    server = _Answers().server
    for piece in pieces:
        server.receive(piece, 0.0)
        while server.take():
            pass
    if server.fault is not None:
        raise server.fault


def library(pieces: list[bytes]) -> None:
    """All of it by the h2 library."""
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    server.initiate_connection()
    for piece in pieces:
        for event in server.receive_data(piece):
            if isinstance(event, h2.events.RequestReceived):
                assert event.stream_id is not None
                server.send_headers(event.stream_id, answer(event.stream_id))
                server.send_data(event.stream_id, _BODY, end_stream=True)
        server.data_to_send()


def cost_us(run: Callable[[list[bytes]], None], pieces: list[bytes], rounds: int) -> float:
    """CPU microseconds for one request, the best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.process_time()
        run(pieces)
        best = min(best, time.process_time() - begun)
    return best * 1e6 / (len(pieces) - 1) / _AT_ONCE


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    count = max(options.requests // _AT_ONCE, 1) * _AT_ONCE
    print(f"{'requests':<34}{'ours':>8}{'h2':>8}   us each, CPU")
    for name, distinct, more in (
        ("the same one", False, []), ("distinct paths", True, []), ("distinct paths, as of a browser", True, _LIKE_A_BROWSER),
    ):
        pieces = reads(count, distinct, more)
        few = pieces[:1 + min(count, 3000) // _AT_ONCE]
        print(f"{name:<34}{cost_us(ours, pieces, options.rounds):>8.2f}{cost_us(library, few, 1):>8.1f}")


if __name__ == "__main__":
    main()
