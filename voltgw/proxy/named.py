"""Which name a TLS connection to an endpoint asks for, and has verified."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from voltgw.values.tls import SniSource

if TYPE_CHECKING:
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.values.tls import ClientTls

#: Names that may stand in a hello (RFC 6066 3), and addresses, which are only verified.
_NAME: Final = re.compile(rb"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})|[0-9A-Fa-f:.]{2,45}")


def server_name(cluster: Any, endpoint: Endpoint, authority: bytes) -> str:
    """The name for a connection to `endpoint`; "" in plain text, and for a Host that cannot be one, which nothing verifies.

    `authority` is the Host that the endpoint is sent; b"" where nothing is sent to it.
    """
    tls = cluster.tls
    if tls is None:
        return ""
    config: ClientTls = tls.config
    if config.sni is SniSource.FIXED:
        return config.server_name
    if config.sni is SniSource.HOST and authority:
        host = authority[1:].partition(b"]")[0] if authority.startswith(b"[") else authority.partition(b":")[0]
        return host.lower().decode("ascii") if _NAME.fullmatch(host) else ""
    return endpoint.hostname or ("" if endpoint.address.startswith("/") else endpoint.address)
