"""Spans of a connection or session that was relayed: one as its client saw it, one for the endpoint, and the way to that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.wire.otlp import CLIENT, INTERNAL, SERVER, Value, span

if TYPE_CHECKING:
    from voltgw.values.record import ConnectionRecord


def spans_of_relayed(record: ConnectionRecord, trace_id: bytes, base: int, sampled: bool, offset: float) -> list[bytes]:
    """Those of a connection that has ended; its own span has the number `base`. `offset` makes wall clock of monotonic."""
    offset_ns = int(offset * 1e9)

    def at(moment: float) -> int:
        return offset_ns + int(moment * 1e9)

    client, route, endpoint = record.client, record.route, record.endpoint
    over = record.t_end or record.t_start
    udp = route is not None and route.host.proxy == "UDP_PROXY"
    kind = "UDP" if udp else "TCP"
    flags = 1 if sampled else 0
    values: dict[str, Value] = {
        "network.transport": kind.lower(), "client.address": client.peer_address, "client.port": client.peer_port,
        "voltgw.listener": client.listener, "voltgw.bytes.received": record.bytes_in, "voltgw.bytes.sent": record.bytes_out}
    if client.sni:
        values["server.address"] = values["tls.client.server_name"] = client.sni
    if client.tls_version:
        values["tls.protocol.version"] = client.tls_version.removeprefix("TLSv")
        values["tls.cipher"] = client.tls_cipher
    name = kind
    if route is not None:
        name = f"{kind} {route.name}"
        values["voltgw.virtual_host"] = f"{route.host.namespace}/{route.host.name}"
        values["voltgw.route"] = route.name
    if record.attempts:
        values["voltgw.attempts"] = record.attempts
    if record.policy:
        values["voltgw.policy"] = record.policy
    if record.detail:
        values["voltgw.details"] = record.detail
    error = None
    if record.flag:
        values["voltgw.response_flags"] = values["error.type"] = record.flag
        error = record.detail
    own = base.to_bytes(8, "big")
    made = [span(trace_id, own, b"", name, SERVER, at(record.t_start), at(over), values, error=error, trace_flags=flags)]
    if endpoint is None:
        return made
    stood = record.t_upstream_connected
    reached: dict[str, Value] = {
        "network.transport": kind.lower(), "server.address": endpoint.address, "server.port": endpoint.port,
        "network.peer.address": endpoint.address, "network.peer.port": endpoint.port, "voltgw.cluster": endpoint.cluster}
    if record.flag and not stood:
        reached["error.type"] = record.flag
    there = (base + 1).to_bytes(8, "big")
    made.append(span(trace_id, there, own, kind, CLIENT, at(record.t_start), at(over), reached,
                     error=None if stood or not record.flag else record.detail, trace_flags=flags))
    if stood and not udp:
        made.append(span(trace_id, (base + 2).to_bytes(8, "big"), there, "connect", INTERNAL, at(record.t_start), at(stood),
                         {"network.transport": "tcp"}, trace_flags=flags))
    return made
