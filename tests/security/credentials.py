"""A virtual host that asks for credentials, built from a configuration, and requests that are put to its gates."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred

from tests.app.making import config, makings, objects
from tests.security.making import REST, host
from tests.security.tokens import NOW, jwks, rsa
from voltgw.app.build import Runtime, build
from voltgw.routing.route import Route
from voltgw.security.authentication import Authentication
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Reply


def inline(data: bytes) -> str:
    """The bytes as ``string:///``."""
    return "string:///" + b64encode(data).decode()


def tokens(**more: Any) -> dict[str, Any]:
    """What a virtual host says of tokens."""
    return {"jwks_config": {"cleartext": inline(jwks(rsa()))}, **more}


def basic(*users: str, **more: Any) -> dict[str, Any]:
    """Users by ``name:hash``."""
    return {"users": inline("\n".join(users).encode()), **more}


#: ``ada`` with the password ``secret``, as Apache's ``htpasswd -s`` writes it.
ADA = "ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="


def credential(user: str, password: str) -> str:
    """The header line of Basic."""
    return f"Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def gated(authentication: dict[str, Any] | None = None, *parts: str, previous: Runtime | None = None, **spec: Any) -> Runtime:
    """What serves a host with `voltgw: {authentication: …}` beside the usual objects; it is always `NOW`."""
    extension: dict[str, Any] = {} if authentication is None else {"voltgw": {"authentication": authentication}}
    rest = REST if not any('"kind": "route"' in part for part in parts) else (REST[0], *REST[2:])
    text = objects(host(**extension, **spec), *parts, *rest)
    return build(config(text), previous, replace(makings(), wall=lambda: NOW))


def gate_of(runtime: Runtime) -> Authentication:
    """The gate of its host."""
    (gate,) = (gate for gate in runtime.hosts["default/h"].gates if isinstance(gate, Authentication))
    return gate


def chosen(runtime: Runtime, exchange: Exchange) -> Route:
    """The route of a request, which its exchange knows from then on."""
    route = runtime.hosts["default/h"].choose(exchange.request, 8080)
    assert route is not None
    exchange.route = route
    return route


def judged(runtime: Runtime, exchange: Exchange) -> Reply | None:
    """What the gates of its route say of a request, at once; None = it may pass."""
    for request_filter in chosen(runtime, exchange).request_filters:
        reply = request_filter(exchange)
        if isinstance(reply, Deferred):
            raise AssertionError("it takes a while")
        if isinstance(reply, Reply):
            return reply
    return None
