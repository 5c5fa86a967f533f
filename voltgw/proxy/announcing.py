"""What an endpoint is told of a client before anything else: the PROXY header at the beginning of its connection.

Where the client came through a proxy that told us of it in the same way, we say what that has said: its address, where it went,
and the TLVs that are to be passed on. What we know ourselves (TLS that ends here) stands in place of what we were told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.wire.proxyproto import TLV_ALPN, TLV_AUTHORITY, TLV_CRC32C, TLV_NOOP, TLV_SSL, header_2, line_1, ssl_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voltgw.values.exchange import ClientSide
    from voltgw.values.proxyheader import ProxyOut

#: Of these each header has its own: a checksum of another one, and padding.
_NEVER: Final = frozenset((TLV_CRC32C, TLV_NOOP))


def announcement(client: ClientSide, out: ProxyOut, *, datagram: bool = False) -> bytes:
    """The header for `client` as `out` has it; version 2 has TLVs, too. `datagram` says that the client speaks UDP."""
    source = (client.peer_address, client.peer_port)
    if out.version == 1:
        return line_1(source, client.came_to)
    return header_2(source, client.came_to, tlvs(client, out), datagram=datagram)


def tlvs(client: ClientSide, out: ProxyOut) -> list[tuple[int, bytes]]:
    """The TLVs of the header for `client`: ours, then those that were announced to us and are passed on."""
    own = [(kind, value) for kind, value in _own(client) if kind in out.tell]
    announced = client.announced
    if announced is not None and announced.tlvs:
        ours = {kind for kind, _ in own} | _NEVER
        passed = out.pass_on
        own += [(kind, value) for kind, value in announced.tlvs
                if kind not in ours and kind in passed]
    return own


def _own(client: ClientSide) -> Iterator[tuple[int, bytes]]:
    handshake = client.handshake
    if handshake is not None and handshake.alpn:
        yield TLV_ALPN, handshake.alpn
    if client.sni:
        yield TLV_AUTHORITY, client.sni.encode("ascii", "replace")
    if handshake is not None:
        yield TLV_SSL, ssl_value(handshake.version, handshake.cipher, bool(handshake.peer))
