"""What the connections of one HTTP listener go by, where compiled modules need not look it up by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.values.compiling import mypyc_attr
from voltgw.values.defaults import KEEP_ALIVE_TIMEOUT_S, MAX_REQUEST_HEAD_BYTES, REQUEST_HEAD_TIMEOUT_S
from voltgw.values.tls import Tells

if TYPE_CHECKING:
    from voltgw.proxy.client import ClientConnection
    from voltgw.proxy.http2 import Client2
    from voltgw.proxy.plane import Plane
    from voltgw.proxy.tunnel import Tunnel
    from voltgw.routing.hosts import HostTable
    from voltgw.values.counters import ListenerCounters
    from voltgw.values.tls import Handshake


@mypyc_attr(allow_interpreted_subclasses=True)
class HttpTerms:
    """The part of an `HttpFactory` that its connections read.

    `table` is swapped at a reload; a request takes it once, when its head is complete. `max_head_bytes`, `head_timeout_s`
    and `keep_alive_timeout_s` are the largest that any virtual host of the listener asks for, because they act before the
    virtual host is known. With `keeps_names` the spelling of field names in requests is remembered for clusters that preserve
    it; the first request to such a cluster sets it.

    `prior_knowledge`: a client may begin with HTTP/2 where there is no TLS, because a virtual host says so; `only_2`: it must,
    because all of them say so. With `tunnels` clients of HTTP/2 are told that they may ask for WebSocket (RFC 8441).
    """

    __slots__ = (
        "closes", "connections", "counters", "draining", "head_timeout_s", "keep_alive_timeout_s", "keeps_names", "leaving",
        "local_address", "local_port", "max_head_bytes", "name", "only_2", "plane", "prior_knowledge", "skip_xff_append",
        "table", "tells", "tunnels",
    )

    def __init__(
        self, plane: Plane, name: str, local_address: str, local_port: int, table: HostTable, counters: ListenerCounters,
    ) -> None:
        self.plane = plane
        self.name = name
        self.local_address = local_address
        self.local_port = local_port
        self.table = table                  # set it by `HttpFactory.serve_by`
        self.counters = counters
        self.max_head_bytes = MAX_REQUEST_HEAD_BYTES
        self.head_timeout_s: float = REQUEST_HEAD_TIMEOUT_S
        self.keep_alive_timeout_s: float = KEEP_ALIVE_TIMEOUT_S
        self.skip_xff_append = False
        self.keeps_names = False
        self.prior_knowledge = False
        self.only_2 = False
        self.tunnels = False
        self.draining = False
        self.leaving = False
        self.closes = False
        self.tells = Tells()                # what endpoints are told of clients' certificates
        self.connections: set[ClientConnection | Client2 | Tunnel] = set()

    def certified(self, handshake: Handshake) -> bytes:
        """The lines that tell endpoints of a client's certificate; b"" where they are not told, or it has none."""
        raise NotImplementedError
