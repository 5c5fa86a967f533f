"""nginx's ``upstream`` blocks and the addresses in ``proxy_pass``, as pools of servers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from voltgw.app.importing.model import Gateway, Place, Pool, Secure, Server
from voltgw.app.importing.nginx_words import Directive
from voltgw.app.importing.words import seconds


class Asked(Protocol):
    """The level at which a pool is used: it says how servers are connected to."""

    def word(self, name: str, default: str = "") -> str:
        """The first word of the last directive of that name."""


class Pools:
    """The pools of one ``http`` or ``stream`` block."""

    def __init__(self, gateway: Gateway, upstreams: Sequence[Directive], absolute: Callable[[str], str]) -> None:
        self._gateway = gateway
        self._upstreams = {each.args[0]: each for each in upstreams if each.args}
        self._absolute = absolute

    def pool(self, authority: str, level: Asked, *, secure: bool, place: Place, http2: bool = False,
             datagrams: bool = False) -> str:
        """The name of the pool of an upstream, or of one server."""
        port = 443 if secure else 80
        upstream = self._upstreams.get(authority)
        if upstream is None:
            made = Pool(authority.removeprefix("unix:").replace(":", "-"), [server(authority, port)])
        else:
            made = self._upstream(authority, upstream, port)
        made.http2, made.datagrams = http2, datagrams
        wait = level.word("proxy_connect_timeout")
        if wait:
            try:
                made.connect_timeout_s = seconds(wait)
            except ValueError as error:
                self._gateway.notes.left_out(place, f"proxy_connect_timeout {wait}", str(error))
        if secure:
            made.tls = self._secure(level, authority)
        return self._gateway.add_pool(made)

    def _secure(self, level: Asked, authority: str) -> Secure:
        verify = level.word("proxy_ssl_verify") == "on"
        ca, certificate, key = (level.word(f"proxy_ssl_{name}") for name in (
            "trusted_certificate", "certificate", "certificate_key"))
        name = level.word("proxy_ssl_name")
        named = level.word("proxy_ssl_server_name") == "on"
        own = authority.partition(":")[0] if authority not in self._upstreams else authority
        return Secure(
            verify, self._absolute(ca) if ca else None,
            (own if name in ("", "$proxy_host") else name) if named and "$" not in name.replace("$proxy_host", "") else "",
            named and name in ("$host", "$http_host"),
            self._absolute(certificate) if certificate else None, self._absolute(key) if key else None)

    def _upstream(self, name: str, directive: Directive, port: int) -> Pool:
        made, notes = Pool(name), self._gateway.notes
        for each in directive.block or []:
            if each.name == "server" and each.args:
                self._server(made, each, port)
            elif each.name == "least_conn":
                made.algorithm = "LEAST_REQUEST"
            elif each.name == "random":
                made.algorithm = "RANDOM"
            elif each.name == "ip_hash":
                made.algorithm, made.hashed = "RING_HASH", ("source", "")
                notes.differs(each.place, "ip_hash", "clients keep to one endpoint, though not to the same one as with nginx")
            elif each.name == "hash":
                self._hash(made, each)
            elif each.name == "sticky":
                if each.args[:1] == ["cookie"] and len(each.args) > 1:
                    made.cookie = each.args[1]
                else:
                    notes.left_out(each.place, each.text(), "clients are pinned by a cookie of the gateway's own: `affinity`")
        return made

    def _hash(self, made: Pool, directive: Directive) -> None:
        key = directive.args[0].strip("${}") if directive.args else ""
        if key in ("remote_addr", "binary_remote_addr"):
            made.hashed = ("source", "")
        elif key.startswith("http_"):
            made.hashed = ("header", key[5:].replace("_", "-"))
        elif key.startswith("cookie_"):
            made.hashed = ("cookie", key[7:])
        else:
            self._gateway.notes.left_out(
                directive.place, directive.text(), "hashed is a header, a cookie or the client's address; all serve in turn")
            return
        made.algorithm = "RING_HASH"
        self._gateway.notes.differs(directive.place, directive.text(),
                                    "equal keys keep to one endpoint, though not to the same one as with nginx")

    def _server(self, made: Pool, directive: Directive, port: int) -> None:
        options = directive.args[1:]
        if "down" in options:
            return
        one = server(directive.args[0], port)
        for option in options:
            name, _, text = option.partition("=")
            if name == "weight" and text.isdigit():
                one.weight = int(text)
            elif name == "backup":
                one.backup = True
            elif name == "max_conns" and text != "0":
                self._gateway.notes.left_out(directive.place, option, "say `circuit_breaker: {max_requests: N}`")
            elif name not in ("max_fails", "fail_timeout", "resolve", "weight", "max_conns"):
                self._gateway.notes.left_out(directive.place, option, "endpoints have nothing like it")
        made.servers.append(one)


def server(text: str, port: int) -> Server:
    """One server by its address."""
    if text.startswith("unix:"):
        return Server(text.removeprefix("unix:").removesuffix(":"), unix=True)
    found = re.fullmatch(r"(\[[^\]]+\]|[^:]*)(?::(\d{1,5}))?", text)
    if found is None:
        return Server(text, port)
    return Server(found[1].strip("[]") or "localhost", int(found[2]) if found[2] else port)
