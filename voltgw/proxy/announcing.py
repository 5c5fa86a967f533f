"""What an endpoint is told of a relayed client: the PROXY header at the beginning of its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.wire.proxyproto import TLV_ALPN, TLV_AUTHORITY, TLV_SSL, header_2, line_1, ssl_value

if TYPE_CHECKING:
    from voltgw.values.exchange import ClientSide


def announcement(client: ClientSide, destination: tuple[str, int], version: int) -> bytes:
    """The header of this version for a client that came to `destination`; version 2 says what its TLS was, too."""
    source = (client.peer_address, client.peer_port)
    if version == 1:
        return line_1(source, destination)
    tlvs: list[tuple[int, bytes]] = []
    handshake = client.handshake
    if handshake is not None and handshake.alpn:
        tlvs.append((TLV_ALPN, handshake.alpn))
    if client.sni:
        tlvs.append((TLV_AUTHORITY, client.sni.encode("ascii", "replace")))
    if handshake is not None:
        tlvs.append((TLV_SSL, ssl_value(handshake.version, handshake.cipher, bool(handshake.peer))))
    return header_2(source, destination, tlvs)
