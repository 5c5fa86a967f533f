"""A QUIC server that says its name, and a client that changes its port, by aioquic: run by the Python that has it.

``server PORT NAME CERTIFICATE KEY``, ``client PORT CA MOVES``: the client asks on a stream of its own, again after each change of its
port, and prints what it hears, a line for each.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

# only in the interpreter that runs this file
from aioquic.asyncio import connect, serve  # type: ignore[import-not-found,import-untyped,unused-ignore]
from aioquic.quic.configuration import QuicConfiguration  # type: ignore[import-not-found,import-untyped,unused-ignore]

ALPN = ["voltgw-test"]
#: Longest wait of the client for one answer, in seconds.
PATIENCE_S = 3.0


def say(text: str) -> None:
    """A line for whoever started us."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def server(port: int, name: str, certificate: str, key: str) -> None:
    """Answer each stream with our name and what it said."""
    configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN)
    configuration.load_cert_chain(certificate, key)

    def answer(reader: Any, writer: Any) -> None:
        async def work() -> None:
            writer.write(name.encode() + b" " + await reader.read())
            writer.write_eof()

        tasks.add(asyncio.ensure_future(work()))

    tasks: set[Any] = set()
    await serve("127.0.0.1", port, configuration=configuration, stream_handler=answer)
    say("ready")
    await asyncio.Future()


async def client(port: int, ca: str, moves: int) -> None:
    """Ask, change the port, ask again."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=ALPN, server_name="shop.example")
    configuration.load_verify_locations(ca)
    async with connect("127.0.0.1", port, configuration=configuration) as connection:
        for number in range(moves + 1):
            if number:
                if number % 2 == 0:
                    connection.change_connection_id()       # to one that the server has offered in an encrypted frame
                    await asyncio.wait_for(connection.ping(), PATIENCE_S)
                former = connection._transport
                sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                sock.bind(("::", 0, 0, 0))
                await asyncio.get_event_loop().create_datagram_endpoint(lambda: connection, sock=sock)
                former.close()
            reader, writer = await connection.create_stream()
            writer.write(b"%d" % number)
            writer.write_eof()
            say((await asyncio.wait_for(reader.read(), PATIENCE_S)).decode())


if __name__ == "__main__":
    role, *rest = sys.argv[1:]
    asyncio.run(server(int(rest[0]), *rest[1:]) if role == "server" else client(int(rest[0]), rest[1], int(rest[2])))
