"""Explaining the way in by TLS: which virtual host a server name leads to, and what it asks of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.app.build import Door
from voltgw.values.reason import Reason
from voltgw.values.tls import ClientAuth, ClientTls, ServerTls, SniSource, Version

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan
    from voltgw.routing.route import VirtualHost

_VERSIONS = {Version.TLS_1_0: "1.0", Version.TLS_1_1: "1.1", Version.TLS_1_2: "1.2", Version.TLS_1_3: "1.3"}


def entrance(plan: ListenerPlan, name: str) -> tuple[VirtualHost | None, Reason]:
    """The virtual host of a TLS listener that a hello with the server name `name` ("" = none) leads to, and why."""
    asked = f"the server name {name}" if name else "no server name"
    host: VirtualHost | None
    if plan.table is None:
        host = plan.hosts[0]
        why = "the only virtual host of this listener takes every name"
    else:
        entry = plan.table.find(name.encode("ascii", "replace"), None, plan.port)
        host = entry.host if entry is not None else None
        why = f"{asked} is taken by the domain {entry.text}" if entry is not None else ""
        if host is None and plan.default is not None:
            host, why = plan.default, f"nobody has {asked}; default_loadbalancer takes it"
    if host is None:
        return None, Reason("TLS", "refused", f"nobody has {asked}, and no virtual host is default_loadbalancer: the handshake "
                            "fails (unrecognized_name)")
    door = plan.doors[host]
    return host, Reason("TLS", f"{host.namespace}/{host.name}", why, host.place, tuple(_asks(door)))


def misdirected(plan: ListenerPlan, entered: VirtualHost, asked: VirtualHost) -> Reason | None:
    """Why a request for `asked` on a connection that `entered` has let in is answered 421; None if it is not."""
    theirs, ours = plan.doors.get(asked), plan.doors[entered]
    if theirs is not None and theirs.group == ours.group:
        return None
    what = "TLS settings"
    if theirs is not None and theirs.group.admission[:3] != ours.group.admission[:3]:
        what = "client certificates"
    return Reason("admission", "misdirected", f"{asked.namespace}/{asked.name} asks for other {what} than those by which "
                  f"{entered.namespace}/{entered.name} has let the connection in: 421", asked.place)


def _asks(door: Door) -> list[Reason]:
    """What the host asks of its clients."""
    if door.pending is not None:
        return [Reason("certificate", "pending", f"{door.pending()}; until then the handshake fails (internal_error)")]
    if door.context is None:
        return [Reason("passed through", "", "TLS is not ended here")]
    tls: ServerTls = door.context.config
    steps = [
        Reason("versions", f"{_VERSIONS[tls.minimum]} to {_VERSIONS[tls.maximum]}", ""),
        Reason("protocols", ", ".join(name.decode("ascii") for name in tls.alpn) or "none", "by ALPN"),
    ]
    steps += [Reason("certificate", ", ".join(one.names) or "without names", f"until {one.ends:%Y-%m-%d}, SHA-256 "
                     f"{one.fingerprint[:16]}...") for one in door.certificates]
    if tls.client_auth is ClientAuth.NONE:
        return steps
    rules = tls.peer
    judged = [word for word, there in (
        ("a CA", rules.ca is not None), (f"{len(rules.crls)} revocation list(s)", rules.crls),
        ("names: " + ", ".join(rules.names), rules.names and not rules.skip_name), ("pins", rules.spki_pins or rules.hash_pins),
    ) if there]
    steps.append(Reason("client certificate", tls.client_auth.value, "judged by " + ", ".join(judged)))
    tells = door.group.admission.tells
    told = [*(["x-forwarded-client-cert"] if tells.xfcc else []), *(["client-cert"] if tells.client_cert else []),
            *(["client-cert-chain"] if tells.client_cert == "CHAIN" else [])]
    steps.append(Reason("endpoints are told", ", ".join(told) or "nothing", "of the client's certificate"))
    return steps


def towards(tls: ClientTls) -> Reason:
    """How the endpoints of a cluster are reached, and how they are judged."""
    named = {
        SniSource.HOST: "the Host that is sent", SniSource.FIXED: tls.server_name, SniSource.NONE: "none",
        SniSource.ENDPOINT: "the endpoint's own name or address",
    }[tls.sni]
    if not tls.verify:
        return Reason("TLS to endpoints", "NOT VERIFIED", "any certificate is accepted: skip_server_verification")
    rules = tls.peer
    names = ", ".join(rules.names) or ("the endpoint's own name" if tls.sni is SniSource.NONE else named)
    steps = (
        Reason("server name", named, "is asked for"),
        Reason("verified", "a CA of ours" if rules.ca is not None else "the system's roots",
               "but no name is compared" if rules.skip_name else f"and the name: {names}"),
        Reason("our certificate", "shown" if tls.certificate is not None else "none", ""),
    )
    return Reason("TLS to endpoints", "verified", "", None, steps)
