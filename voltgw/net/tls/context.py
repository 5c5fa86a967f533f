"""Contexts from values, by the best TLS library that this system has.

A context is expensive (it parses certificates) and shared: whoever builds keeps them by value and hands them on from one
configuration to the next.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from voltgw.errors import TlsRefused
from voltgw.net.tls import openssl, stdlib
from voltgw.net.tls.engine import Capability
from voltgw.values.tls import ClientTls, ServerTls

if TYPE_CHECKING:
    from voltgw.net.tls.engine import ClientContext, Engine, ServerContext
    from voltgw.net.tls.tickets import TicketKeys


@cache
def best_engine() -> Engine:
    """The system's OpenSSL if it is there, else Python's own ssl module; the choice holds for the life of the process."""
    return openssl.engine() or stdlib.Stdlib()


def server_context(config: ServerTls, keys: TicketKeys | None = None, engine: Engine | None = None) -> ServerContext:
    """A context for the clients of a virtual host. `keys` encrypt its session tickets; None = keys of its own.

    Raises `TlsRefused`, also for what the engine at hand cannot do.
    """
    engine = engine or best_engine()
    _able(engine, needs(config))
    return engine.server(config, keys)


def client_context(config: ClientTls, engine: Engine | None = None) -> ClientContext:
    """A context for connections to the endpoints of a cluster. Raises `TlsRefused`."""
    engine = engine or best_engine()
    _able(engine, needs(config))
    return engine.client(config)


def needs(config: ServerTls | ClientTls) -> frozenset[Capability]:
    """What a library must be able to do for this. Shared ticket keys are not among it: without, tickets only reach less far."""
    needed = set()
    if config.suites:
        needed.add(Capability.SUITES)
    if config.peer.crls:
        needed.add(Capability.CRL)
    if config.peer.depth is not None:
        needed.add(Capability.DEPTH)
    if isinstance(config, ServerTls) and any(pair.ocsp is not None for pair in config.certificates):
        needed.add(Capability.OCSP)
    return frozenset(needed)


def _able(engine: Engine, needed: frozenset[Capability]) -> None:
    missing = needed - engine.capabilities
    if missing:
        raise TlsRefused(f"{', '.join(sorted(each.value for each in missing))}: {engine.name} cannot do that; "
                         "libssl.so.3 of OpenSSL 3 can, and was not found")
