"""What endpoints are told of the client, and what of that is believed when the client's side says it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voltgw.values.exchange import ClientSide, Exchange
    from voltgw.values.head import Field
    from voltgw.values.identity import Identity

#: Fields that a believed peer may have set; of others they are overwritten (DECISIONS, HTTP).
_BELIEVED: Final = (b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port")
_SCHEMES: Final = frozenset((b"http", b"https"))
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:+/=-]{1,128}")
#: One element of Forwarded, and one pair of it (RFC 7239 4); what is quoted is one piece, whatever it looks like.
_ELEMENT: Final = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PAIR: Final = re.compile(rb'([^=;," \t]+)=("(?:[^"\\]|\\.)*"|[^;,"]*)')
#: An address as X-Forwarded-For and Forwarded write it, with or without brackets and port.
_NODE: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?|([0-9.]+)(?::[0-9]+)?|([0-9A-Fa-f:.]+)")


def identify(exchange: Exchange, identity: Identity) -> bool:
    """Take over whom a believed peer speaks for, before any filter looks at the exchange; False if it is not believed."""
    peer = exchange.client.peer_address
    theirs = exchange.request.forwarding
    if theirs is None or not identity.believes(peer):
        return False
    exchange.client_address = identity.client(peer, [_address(node) for node in _chain(theirs)])
    for name, value in theirs:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            exchange.request_id = value
        elif name == b"x-forwarded-proto" and value in _SCHEMES:
            exchange.believed_scheme = value
    return True


def about_client(exchange: Exchange, identity: Identity | None, append: bool) -> bytes:
    """The lines that tell an endpoint who asks, joined; never empty.

    Of the fields by which the client speaks of itself only X-Forwarded-For survives, unless its peer is believed; the address
    from which its bytes come stands behind it, unless `append` is False (``skip_xff_append``).
    """
    client = exchange.client
    theirs = exchange.request.forwarding or ()
    peer = client.peer_address.encode("ascii")
    believed = identity is not None and bool(theirs) and identity.believes(client.peer_address)
    chain = [value for name, value in theirs if name == b"x-forwarded-for" and value]
    if append:
        chain.append(peer)
    lines = [b"x-forwarded-for: " + b", ".join(chain)] if chain else []
    said = {name: value for name, value in theirs if name in _BELIEVED and value} if believed else {}
    said[b"x-forwarded-proto"] = exchange.scheme
    lines += [b"%b: %b" % field for field in said.items()]
    lines.append(b"x-real-ip: " + (exchange.client_address.encode("ascii") if believed else peer))
    elements = [value for name, value in theirs if name == b"forwarded" and value] if believed else []
    if identity is not None and identity.forwarded:
        elements.append(_element(client.peer_address, exchange.request.authority, client.scheme))
    if elements:
        lines.append(b"forwarded: " + b", ".join(elements))
    if client.certified:
        lines.append(client.certified)
    return b"\r\n".join(lines)


def introduced(client: ClientSide, append: bool) -> bytes:
    """What `about_client` says of a client that says nothing of itself, made once for all its requests."""
    peer = client.peer_address.encode("ascii")
    lines = b"x-forwarded-proto: %b\r\nx-real-ip: %b" % (client.scheme, peer)
    if append:
        lines = b"x-forwarded-for: %b\r\n%b" % (peer, lines)
    return b"%b\r\n%b" % (lines, client.certified) if client.certified else lines


def about_less(lines: bytes, names: frozenset[bytes]) -> bytes:
    """Such lines without those of `names`, which the configuration itself sets or takes out; empty where none is left."""
    return b"\r\n".join([line for line in lines.split(b"\r\n") if line.partition(b": ")[0] not in names])


def _element(peer: str, authority: bytes, scheme: bytes) -> bytes:
    """One element of Forwarded (RFC 7239 4): who has asked us for what, and how."""
    node = f'"[{peer}]"' if ":" in peer else peer
    host = b"" if not authority else b';host="%b"' % authority if b":" in authority else b";host=" + authority
    return b"for=%b%b;proto=%b" % (node.encode("ascii"), host, scheme)


def _chain(theirs: Iterable[Field]) -> list[bytes]:
    """The addresses that the client's side names, the nearest one last: X-Forwarded-For, or else Forwarded."""
    listed = [node.strip(b" \t") for name, value in theirs if name == b"x-forwarded-for" for node in value.split(b",")]
    if any(listed):
        return [node for node in listed if node]
    found = []
    for name, value in theirs:
        if name == b"forwarded":
            for element in _ELEMENT.findall(value):
                pairs = {key.lower(): said for key, said in _PAIR.findall(element)}
                found.append(pairs.get(b"for", b"unknown").strip(b'" \t'))
    return found


def _address(node: bytes) -> str:
    """The address of a node without brackets and port; what has another form, as it is."""
    text = node.decode("ascii", "replace")
    match = _NODE.fullmatch(text)
    return match[1] or match[2] or match[3] if match is not None else text
