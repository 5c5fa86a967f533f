"""Traefik's file provider: routers by priority, middlewares, services; TCP and UDP; certificates.

Routers of one entry point become the rules of one virtual host, the highest priority first. The static configuration may be
among the files: it says where entry points listen. Without it, ``web`` is port 80 and ``websecure`` port 443.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from voltgw.app.importing.model import (
    Certificates,
    Forward,
    Gateway,
    Host,
    Listen,
    Match,
    Place,
    Redirect,
    Reply,
    Rule,
    UnreadableError,
    Verdict,
)
from voltgw.app.importing.traefik_middlewares import Made, Middlewares
from voltgw.app.importing.traefik_rules import matches, names
from voltgw.app.importing.traefik_services import Services
from voltgw.app.importing.traefik_words import Term, Tree, read, rule
from voltgw.app.importing.words import Files

_PORTS: Final = {"web": 80, "http": 80, "websecure": 443, "https": 443, "traefik": 8080}
_VERSIONS: Final = {"VersionTLS10": "TLSv1_0", "VersionTLS11": "TLSv1_1", "VersionTLS12": "TLSv1_2", "VersionTLS13": "TLSv1_3"}


def translate(names: list[str]) -> Gateway:
    """The configuration in some files of the file provider. Raises UnreadableError."""
    trees, files = read(names)
    if not any(tree.get(part).there for tree in trees for part in ("http", "tcp", "udp", "entryPoints", "tls")):
        raise UnreadableError(Place(names[0], 1, 1), "neither http, tcp, udp, tls nor entryPoints stand here")
    return _Traefik(trees, files).translate()


@dataclass(slots=True)
class _Entry:
    """An entry point."""

    name: str
    listen: Listen
    tree: Tree


class _Traefik:
    """All files of one import."""

    def __init__(self, trees: list[Tree], files: Files) -> None:
        self.gateway = Gateway()
        self.notes = self.gateway.notes
        self.files = files
        self.trees = trees
        self.entries = self._entries()
        self.options = self._merged("tls", "options")
        self.pairs = list(self._pairs())
        self.resolvers = self._merged("certificatesResolvers")
        for resolver in self.resolvers.values():
            self.gateway.acme_email = resolver.get("acme", "email").text() or self.gateway.acme_email

    def translate(self) -> Gateway:
        """Every router."""
        self._http()
        self._tcp()
        self._udp()
        return self.gateway

    def _merged(self, *way: str) -> dict[str, Tree]:
        return {name: tree for each in self.trees for name, tree in each.get(*way).items()}

    def _entries(self) -> dict[str, _Entry]:
        found: dict[str, _Entry] = {}
        for name, tree in self._merged("entryPoints").items():
            address = re.fullmatch(r"(\[[^\]]*\]|[^:]*):(\d+)(/udp|/tcp)?", tree.get("address").text())
            if address is None:
                self.notes.left_out(tree.place, f"entryPoint {name}", "its address is [host]:port")
                continue
            proxied = tuple(each.text() for each in tree.get("proxyProtocol", "trustedIPs").list())
            host = address[1].strip("[]")
            found[name] = _Entry(name, Listen(int(address[2]), host if host not in ("", "0.0.0.0", "::") else None, proxied,
                                              datagrams=address[3] == "/udp"), tree)
        return found

    def _entry(self, name: str, place: Place) -> _Entry | None:
        if name not in self.entries:
            if self._merged("entryPoints") or name not in _PORTS:
                self.notes.left_out(place, f"entryPoint {name}", "give the static configuration as a file, too")
                return None
            self.entries[name] = _Entry(name, Listen(_PORTS[name]), Tree(None, place))
        return self.entries[name]

    def _named(self, router: Tree, default: list[str]) -> Iterator[_Entry]:
        """The entry points of a router."""
        written = router.get("entryPoints").list()
        for name in [each.text() for each in written] or default:
            entry = self._entry(name, router.place)
            if entry is not None:
                yield entry

    def _default(self, datagrams: bool) -> list[str]:
        static = [name for name, entry in self.entries.items() if entry.listen.datagrams is datagrams and name != "traefik"]
        return static if self._merged("entryPoints") else ["web", "websecure"]

    # -- certificates -------------------------------------------------------------------------------------------------

    def _pairs(self) -> Iterator[tuple[str, str]]:
        default = self._merged("tls", "stores").get("default")
        written = [default.get("defaultCertificate")] if default is not None else []
        written += [each for tree in self.trees for each in tree.get("tls", "certificates").list()]
        for each in written:
            certificate, key = each.get("certFile").text(), each.get("keyFile").text()
            if certificate and key and "BEGIN" not in certificate:
                yield self.files.absolute(certificate), self.files.absolute(key)

    def _tls(self, router: Tree) -> Certificates:
        made = Certificates([] if router.get("tls", "certResolver").text() and not self.pairs else list(self.pairs))
        options = self.options.get(router.get("tls", "options").text().removesuffix("@file") or "default")
        if options is not None:
            made.least = _VERSIONS.get(options.get("minVersion").text())
            made.most = _VERSIONS.get(options.get("maxVersion").text())
            authorities = options.get("clientAuth", "caFiles").list()
            if authorities:
                made.client_ca = self.files.absolute(authorities[0].text())
                made.client_optional = options.get("clientAuth", "clientAuthType").text() == "VerifyClientCertIfGiven"
        if not made.pairs and not router.get("tls", "certResolver").text():
            self.notes.left_out(router.get("tls").place, "a router with TLS",
                                "name a certificate in `tls: {certificates: ...}`")
        return made

    # -- http ---------------------------------------------------------------------------------------------------------

    def _http(self) -> None:
        services = Services(self.gateway, self._merged("http", "services"), self._merged("http", "serversTransports"),
                            self.files.absolute, "http")
        middlewares = Middlewares(self.gateway, self._merged("http", "middlewares"), self.files.absolute)
        chosen: dict[tuple[str, bool], list[tuple[int, str, Tree, Term, list[Match]]]] = {}
        for name, router in self._merged("http", "routers").items():
            text = router.get("rule").text()
            try:
                term = rule(text)
                entries = matches(term)
            except (ValueError, IndexError) as error:
                self.notes.left_out(router.get("rule").place, f"router {name}: {text[:80]}", str(error))
                continue
            priority = router.get("priority").number() or len(text)
            for entry in self._named(router, self._default(False)):
                secure = router.get("tls").there or entry.tree.get("http", "tls").there
                chosen.setdefault((entry.name, secure), []).append((priority, name, router, term, entries))
        for (entry_name, secure), routers in chosen.items():
            self._host(self.entries[entry_name], secure, routers, services, middlewares, (entry_name, not secure) in chosen)
        for entry in list(self.entries.values()):
            target = entry.tree.get("http", "redirections", "entryPoint")
            if target.get("to").there and not any(name == entry.name for name, _ in chosen):
                self.gateway.hosts.append(Host(self.gateway.free_name(entry.name), ["*"], [entry.listen],
                                               self._redirection(target)))

    def _redirection(self, target: Tree) -> list[Rule]:
        permanent = target.get("permanent").flag(True)
        action = Redirect(301 if permanent else 302, target.get("scheme").text() or "https")
        return [Rule([Match(methods=("GET",))], action), Rule([], replace(action, status=308 if permanent else 307))]

    def _host(self, entry: _Entry, secure: bool, routers: list[tuple[int, str, Tree, Term, list[Match]]], services: Services,
              middlewares: Middlewares, mixed: bool) -> None:
        if mixed and not secure:
            for _, name, router, _, _ in routers:
                self.notes.left_out(router.place, f"router {name} without TLS on {entry.name}",
                                    "a port speaks HTTP or HTTPS: give it an entry point of its own")
            return
        host = Host(self.gateway.free_name(entry.name), ["*"], [entry.listen], remark=f"entry point {entry.name}")
        if secure:
            host.tls = self._tls(routers[0][2])
            host.default = True
            asked = list(dict.fromkeys(name.lower() for _, _, _, term, _ in routers for name in names(term)))
            if not host.tls.pairs and asked:
                host.domains, host.default = asked[:33], False      # those for which certificates are fetched
        trusted = entry.tree.get("forwardedHeaders", "trustedIPs").list()
        host.trusted = tuple(each.text() for each in trusted)
        target = entry.tree.get("http", "redirections", "entryPoint")
        if target.get("to").there:
            host.rules += self._redirection(target)
        compressed = []
        for _, name, router, _, entries in sorted(routers, key=lambda each: (-each[0], each[1])):
            made = self._router(name, router, entries, entry, secure, services, middlewares)
            host.rules += made.rules
            compressed.append(made.compress)
            for match in entries:
                if made.prefixes:
                    host.verdicts.append(Verdict(match, made.prefixes, False, True))
                host.verdicts.append(Verdict(match, (), True))
        if any(compressed):
            host.compress = ("gzip",)
            if not all(compressed):
                self.notes.differs(routers[0][2].place, f"compress on {entry.name}",
                                   "answers of all its routers are compressed")
        self.gateway.hosts.append(host)

    def _router(self, name: str, router: Tree, entries: list[Match], entry: _Entry, secure: bool, services: Services,
                middlewares: Middlewares) -> Made:
        service = router.get("service").text()
        action: Forward | Reply = Reply(503)
        if service.endswith("@internal"):
            if service != "noop@internal":
                self.notes.left_out(router.get("service").place, f"service {service} of router {name}",
                                    "see the admin interface; answered 404 until then")
            action = Reply(418 if service == "noop@internal" else 404)
        else:
            try:
                found = services.forward(service)
                action = found if found is not None else action
            except ValueError as error:
                self.notes.left_out(router.get("service").place, f"service {service} of router {name}",
                                    f"{error}; answered 503 until then")
        if isinstance(action, Forward):
            self._host_header(action, service)
        used = [*entry.tree.get("http", "middlewares").list(), *router.get("middlewares").list()]
        return middlewares.apply(Rule([] if Match() in entries else list(entries), action), used, secure)

    def _host_header(self, action: Forward, service: str) -> None:
        found = self._merged("http", "services").get(service.removesuffix("@file"))
        if found is not None and not found.get("loadBalancer", "passHostHeader").flag(True):
            pool = self.gateway.pools[action.pools[0][0]]
            server = pool.servers[0]
            default = 443 if pool.tls is not None else 80
            if len(pool.servers) == 1:
                action.host = server.host if server.port == default else f"{server.host}:{server.port}"
            else:
                action.server_host = True

    # -- relays -------------------------------------------------------------------------------------------------------

    def _tcp(self) -> None:
        services = Services(self.gateway, self._merged("tcp", "services"), self._merged("tcp", "serversTransports"),
                            self.files.absolute, "tcp")
        middlewares = self._merged("tcp", "middlewares")
        for name, router in self._merged("tcp", "routers").items():
            text = router.get("rule").text()
            try:
                term = rule(text)
                if any(each.name.lower() != "hostsni" for each in (term, *term.below) if each.name not in ("or",)):
                    raise ValueError("relays are chosen by server name")
                asked = [each.lower() for each in names(term)]
                forward = services.forward(router.get("service").text())
                if forward is None:
                    raise ValueError("it has no server")
                prefixes = self._allowed(router, middlewares)
            except ValueError as error:
                self.notes.left_out(router.place, f"tcp router {name}: {text[:80]}", str(error))
                continue
            secure, passed = router.get("tls").there, router.get("tls", "passthrough").flag()
            everybody = "*" in asked
            for entry in self._named(router, self._default(False)):
                host = Host(self.gateway.free_name(name), [] if everybody and not secure else [
                    each for each in asked if each != "*"] or ["default.invalid"], [entry.listen], [Rule([], replace(forward))],
                    "sni" if secure else "tcp", remark=f"{router.place}")
                host.default = everybody and secure
                if secure and not passed:
                    host.tls = self._tls(router)
                if prefixes:
                    host.verdicts = [Verdict(None, prefixes, False, True), Verdict(None, (), True)]
                if not secure and not everybody:
                    self.notes.left_out(router.place, f"tcp router {name}: {text[:80]}", "without TLS there is no server name")
                    continue
                self.gateway.hosts.append(host)

    def _allowed(self, router: Tree, middlewares: dict[str, Tree]) -> tuple[str, ...]:
        made: tuple[str, ...] = ()
        for each in router.get("middlewares").list():
            found = middlewares.get(each.text().removesuffix("@file"))
            listed = [] if found is None else [
                one.text() for kind in ("ipAllowList", "ipWhiteList") for one in found.get(kind, "sourceRange").list()]
            if not listed:
                raise ValueError(f"the middleware {each.text()}: of those for TCP, ipAllowList is read")
            made += tuple(listed)
        return made

    def _udp(self) -> None:
        services = Services(self.gateway, self._merged("udp", "services"), {}, self.files.absolute, "udp")
        for name, router in self._merged("udp", "routers").items():
            try:
                forward = services.forward(router.get("service").text())
            except ValueError as error:
                self.notes.left_out(router.place, f"udp router {name}", str(error))
                continue
            if forward is None:
                self.notes.left_out(router.place, f"udp router {name}", "it has no server")
                continue
            listens = [replace(entry.listen, datagrams=True) for entry in self._named(router, self._default(True))]
            if listens:
                self.gateway.hosts.append(Host(self.gateway.free_name(name), [], listens, [Rule([], forward)], "udp",
                                               remark=f"{router.place}"))
