"""A virtual host with service policies, and requests that are put to it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

from tests.app.making import cluster, endpoint, objects, policy, route, runtime
from voltgw.app.build import Runtime
from voltgw.config.model import Object as Object
from voltgw.routing.route import VirtualHost
from voltgw.security.policies import Chain
from voltgw.values.exchange import ClientSide, Exchange
from voltgw.values.reply import Reply
from voltgw.wire.http1 import parse_request

REST = policy("p", "address: 127.0.0.1, port: 8080"), route("r"), cluster(), endpoint()


def service_policy(
    name: str, spec: dict[str, Any], kind: str = "service_policy", labels: dict[str, str] | None = None,
) -> str:
    """An object of a file; JSON is YAML."""
    return f"- {json.dumps({'kind': kind, 'metadata': {'name': name, 'labels': labels or {}}, 'spec': spec})}\n"


def host(name: str = "h", labels: dict[str, str] | None = None, **spec: Any) -> str:
    """A virtual host with what `spec` adds."""
    return service_policy(name, {"domains": ["*"], "advertise_policies": ["p"], "routes": ["r"], **spec}, "virtual_host", labels)


def serving(*parts: str, previous: Runtime | None = None, gateway: str = "") -> Runtime:
    """The runtime of some objects beside the usual ones."""
    return runtime(objects(*parts, *REST, gateway=gateway), previous)


def host_of(made: Runtime, name: str = "h") -> VirtualHost:
    """A virtual host of it."""
    return made.hosts[f"default/{name}"]


def chain_of(made: Runtime, name: str = "h") -> Chain:
    """What judges the requests of a virtual host."""
    chain = host_of(made, name).guard
    assert isinstance(chain, Chain)
    return chain


def asks(
    target: str = "/", method: str = "GET", *lines: str, host: str = "shop.example", address: str = "192.0.2.1", port: int = 8080,
    **client: Any,
) -> Exchange:
    """A request of a client."""
    text = "\r\n".join((f"{method} {target} HTTP/1.1", f"Host: {host}", *lines)).encode("utf-8") + b"\r\n\r\n"
    side = SimpleNamespace(peer_address=address, local_port=port, scheme=b"http", sni="", handshake=None, **client)
    return Exchange(cast(ClientSide, side), parse_request(text, len(text) - 4), b"id", 0.0, len(text))


def verdict(chain: Chain, exchange: Exchange) -> str:
    """``allow`` or ``deny``; the slow way must say the same as the quick one."""
    slow, _ = chain.rehearse(exchange)
    quick = chain.judge(exchange)
    if (slow is None) is not (quick is None) or slow is not None and quick is not None and slow.detail != quick.detail:
        raise AssertionError(f"the quick way says {shown(quick)}, the slow one {shown(slow)}")
    return "allow" if quick is None else "deny"


def shown(reply: Reply | None) -> str:
    """A verdict for a message."""
    return "nothing" if reply is None else reply.detail
