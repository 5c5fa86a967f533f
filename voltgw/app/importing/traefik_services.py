"""Traefik's services: load balancers, weighted ones, mirrors, fallbacks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from voltgw.app.importing.model import MIXED, Check, Forward, Gateway, Pool, Secure, Server
from voltgw.app.importing.traefik_words import Tree
from voltgw.app.importing.words import seconds

#: Services that may refer to each other in a row.
_MOST_DEEP: Final = 8


class Services:
    """The services of one part of the configuration: http, tcp or udp."""

    def __init__(self, gateway: Gateway, services: dict[str, Tree], transports: dict[str, Tree],
                 absolute: Callable[[str], str], kind: str) -> None:
        self._gateway = gateway
        self._services = services
        self._transports = transports
        self._absolute = absolute
        self._kind = kind
        self._pools: dict[str, str | None] = {}

    def forward(self, name: str, depth: int = 0) -> Forward | None:
        """The action that a service is; None where it has no server. Raises ValueError."""
        found = self._services.get(name.removesuffix("@file"))
        if found is None:
            raise ValueError(f"there is no service {name!r} in these files")
        if depth > _MOST_DEEP:
            raise ValueError(f"service {name!r} refers to too many others, or to itself")
        weighted, mirroring, failover = found.get("weighted"), found.get("mirroring"), found.get("failover")
        if weighted.there:
            return self._weighted(weighted, depth)
        if mirroring.there:
            made = self.forward(mirroring.get("service").text(), depth + 1)
            mirrors = mirroring.get("mirrors").list()
            if made is not None and mirrors:
                other = self.forward(mirrors[0].get("name").text(), depth + 1)
                if other is not None and len(other.pools) == 1:
                    made.mirror = (other.pools[0][0], float(mirrors[0].get("percent").number()))
                for each in mirrors[1:]:
                    self._gateway.notes.left_out(each.place, f"mirror {each.get('name').text()}", "a rule has one mirror")
            return made
        if failover.there:
            return self._failover(name, failover, depth)
        pool = self._balanced(name, found)
        return Forward([(pool, None)]) if pool is not None else None

    def _weighted(self, weighted: Tree, depth: int) -> Forward | None:
        made = Forward([])
        for each in weighted.get("services").list():
            inner = self.forward(each.get("name").text(), depth + 1)
            if inner is None or len(inner.pools) != 1:
                raise ValueError("a weighted service shares out among load balancers")
            made.pools.append((inner.pools[0][0], each.get("weight").number(1)))
        if weighted.get("sticky").there:
            self._gateway.notes.left_out(weighted.get("sticky").place, "sticky of a weighted service",
                                         "say `voltgw: {sticky: {cookie: NAME}}` of the destinations")
        return made if made.pools else None

    def _failover(self, name: str, failover: Tree, depth: int) -> Forward | None:
        main, other = (self.forward(failover.get(key).text(), depth + 1) for key in ("service", "fallback"))
        if main is None or other is None or len(main.pools) != 1 or len(other.pools) != 1:
            raise ValueError("a failover is from one load balancer to another")
        first, second = self._gateway.pools[main.pools[0][0]], self._gateway.pools[other.pools[0][0]]
        made = Pool(name, [*(Server(each.host, each.port, each.weight) for each in first.servers),
                           *(Server(each.host, each.port, each.weight, True) for each in second.servers)],
                    first.algorithm, first.check, first.tls, first.http2)
        return Forward([(self._gateway.add_pool(made), None)])

    def _balanced(self, name: str, service: Tree) -> str | None:
        if name not in self._pools:
            self._pools[name] = self._pool(name, service.get("loadBalancer"))
        return self._pools[name]

    def _pool(self, name: str, balancer: Tree) -> str | None:
        notes = self._gateway.notes
        made = Pool(name.removesuffix("@file"), datagrams=self._kind == "udp")
        for each in balancer.get("servers").list():
            try:
                made.servers.append(self._server(made, each))
            except ValueError as error:
                notes.left_out(each.place, f"a server of service {name}", str(error))
        if not made.servers:
            return None
        if balancer.get("strategy").text() == "p2c":
            made.algorithm = "LEAST_REQUEST"
        cookie = balancer.get("sticky", "cookie")
        if cookie.there or balancer.get("sticky").there:
            made.cookie = cookie.get("name").text() or "voltgw-endpoint"
            notes.differs(cookie.place, f"sticky of service {name}", "the cookie is signed: clients are given one anew")
        check = balancer.get("healthCheck")
        if check.there:
            made.check = self._check(check)
        transport = balancer.get("serversTransport").text().removesuffix("@file")
        if transport:
            self._transport(made, transport, balancer)
        version = balancer.get("proxyProtocol", "version")
        if balancer.get("proxyProtocol").there:
            made.proxy_protocol = version.number(2)
        return self._gateway.add_pool(made)

    def _server(self, made: Pool, server: Tree) -> Server:
        text = (server.get("url") if self._kind == "http" else server.get("address")).text()
        scheme, slashes, rest = text.rpartition("://")
        if self._kind == "http" and not slashes:
            raise ValueError("it has no URL")
        if scheme not in ("http", "https", "h2c", ""):
            raise ValueError(f"origins are reached by http or https, not by {scheme}")
        found = re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[^:/\[\]]+)(?::(\d{1,5}))?(/.*)?", rest)
        if found is None:
            raise ValueError("its address is not host:port")
        if found[3] not in (None, "/"):
            self._gateway.notes.left_out(server.place, f"the path {found[3]}", "Traefik leaves it out, too: say addPrefix")
        if made.servers and scheme and (scheme == "https") is not (made.tls is not None):
            raise ValueError(MIXED)
        if scheme == "https" and made.tls is None:
            made.tls = Secure()
        if scheme == "h2c":
            made.http2 = True
        if server.get("tls").flag():
            made.tls = made.tls or Secure()
        weight = server.get("weight")
        return Server(found[1].strip("[]"), int(found[2]) if found[2] else 443 if scheme == "https" else 80,
                      weight.number(1) if weight.there else None)

    def _check(self, check: Tree) -> Check:
        made = Check(check.get("path").text() or "/", _time(check.get("interval").text(), 30.0),
                     _time(check.get("timeout").text(), 5.0), statuses=("200-399",), host=check.get("hostname").text() or None)
        if check.get("status").there:
            made.statuses = (check.get("status").text(),)
        for key in ("port", "scheme", "mode", "method", "headers"):
            if check.get(key).there and check.get(key).text() not in ("http", "GET"):
                self._gateway.notes.left_out(check.get(key).place, f"{key} of a healthCheck", "write it into the health check")
        return made

    def _transport(self, made: Pool, name: str, balancer: Tree) -> None:
        transport = self._transports.get(name)
        if transport is None:
            self._gateway.notes.left_out(balancer.get("serversTransport").place, f"serversTransport {name}",
                                         "it is not in these files")
            return
        if made.tls is None:
            return
        made.tls.verify = not transport.get("insecureSkipVerify").flag()
        made.tls.sni = transport.get("serverName").text() or None
        authorities = transport.get("rootCAs").list()
        if authorities:
            made.tls.ca = self._absolute(authorities[0].text())
        pair = transport.get("certificates").list()
        if pair:
            made.tls.certificate = self._absolute(pair[0].get("certFile").text())
            made.tls.key = self._absolute(pair[0].get("keyFile").text())
        wait = transport.get("forwardingTimeouts", "dialTimeout").text()
        if wait:
            made.connect_timeout_s = _time(wait, 30.0)


def _time(text: str, default_s: float) -> float:
    try:
        return seconds(text) if text else default_s
    except ValueError:
        return default_s
