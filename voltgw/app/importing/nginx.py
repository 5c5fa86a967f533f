"""nginx's configuration: servers of ``http``, relays of ``stream``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from voltgw.app.importing.model import Certificates, Gateway, Host, Limit, Listen, Place, UnreadableError, object_name
from voltgw.app.importing.nginx_level import Level, everywhere, unknown
from voltgw.app.importing.nginx_pools import Pools
from voltgw.app.importing.nginx_rules import MAX_BODY_BYTES, Rules
from voltgw.app.importing.nginx_stream import translate_stream
from voltgw.app.importing.nginx_values import Address, listen, variables
from voltgw.app.importing.nginx_words import Directive, read
from voltgw.app.importing.words import seconds

_PROTOCOLS: Final = {"TLSv1": "TLSv1_0", "TLSv1.1": "TLSv1_1", "TLSv1.2": "TLSv1_2", "TLSv1.3": "TLSv1_3"}


def translate(names: list[str]) -> Gateway:
    """The configuration in one file and what it includes. Raises UnreadableError."""
    name = names[0]
    if len(names) > 1:
        raise UnreadableError(Place(names[1], 1, 1), "give the main file alone; it includes the others")
    top, files = read(name)
    gateway = Gateway()
    root = Directive("", [], Place(name, 1, 1), top)
    http = root.all("http")
    blocks = [each.block or [] for each in http]
    if not http and any(each.name in ("server", "upstream") for each in top):
        blocks = [top]                              # a file of conf.d, by itself
    for block in blocks:
        _Http(gateway, Directive("http", [], root.place, block), files.absolute).translate()
    for each in root.all("stream"):
        unknown(each.block or [], gateway)
        translate_stream(gateway, each, files.absolute)
    if blocks != [top]:
        unknown(top, gateway)
    if not gateway.hosts and not len(gateway.notes):
        raise UnreadableError(root.place, "no server stands here")
    return gateway


class _Http:
    """One ``http`` block."""

    def __init__(self, gateway: Gateway, block: Directive, absolute: Callable[[str], str]) -> None:
        self.gateway = gateway
        self.notes = gateway.notes
        self.block = block
        self.absolute = absolute
        self.level = Level((block,), {})
        self.rules = Rules(gateway, Pools(gateway, block.all("upstream"), absolute), absolute)

    def translate(self) -> None:
        """Every server of it."""
        unknown(self.block.block or [], self.gateway)
        for each in self.block.all("limit_req_zone"):
            self._zone(each)
        for each in self.block.all("map"):
            self._map(each)
        for each in self.block.all("upstream"):
            unknown([one for one in each.block or [] if one.name != "server"], self.gateway)
        defaults: dict[tuple[str | None, int, str | None], Directive] = {}
        addresses: list[tuple[Directive, list[Address]]] = []
        for server in self.block.all("server"):
            unknown(server.block or [], self.gateway)
            own = list(self._addresses(server))
            addresses.append((server, own))
            for address in own:
                key = (address.listen.address, address.listen.port, address.listen.unix)
                if address.default or key not in defaults:
                    defaults[key] = server
        for server, own in addresses:
            self._server(server, own, defaults)

    def _addresses(self, server: Directive) -> Iterator[Address]:
        seen: set[Listen] = set()
        tls = Level((server, self.block), {}).word("ssl") == "on"
        for each in server.all("listen") or [Directive("listen", ["80"], server.place)]:
            try:
                address = listen(each)
            except (ValueError, IndexError) as error:
                self.notes.left_out(each.place, each.text(), str(error))
                continue
            if address.quic:
                self.notes.left_out(each.place, each.text(), "HTTP/3 is not spoken; HTTP/1.1 and HTTP/2 are, on the same port")
                continue
            if address.listen not in seen:
                seen.add(address.listen)
                yield address._replace(tls=address.tls or tls)

    def _map(self, directive: Directive) -> None:
        if "connection_upgrade" not in " ".join(directive.args):
            self.notes.left_out(directive.place, directive.text(),
                                "there are no maps: write a rule with a condition for each line of it")

    def _zone(self, directive: Directive) -> None:
        facts = dict(arg.split("=", 1) for arg in directive.args if "=" in arg)
        name = facts.get("zone", "").partition(":")[0]
        found = re.fullmatch(r"(\d+)r/([sm])", facts.get("rate", ""))
        if not name or found is None or directive.args[0] not in ("$binary_remote_addr", "$remote_addr"):
            self.notes.left_out(directive.place, directive.text(),
                                "limits count by client address here; give a `rate_limiter` its own `user_identification`")
            self.rules.zones[name] = None
        else:
            self.rules.zones[name] = Limit(name, int(found[1]), {"s": "SECOND", "m": "MINUTE"}[found[2]])

    # -- servers ------------------------------------------------------------------------------------------------------

    def _server(self, server: Directive, addresses: list[Address],
                defaults: dict[tuple[str | None, int, str | None], Directive]) -> None:
        names, regexes = [], []
        for each in server.all("server_name"):
            for name in each.args:
                if name.startswith("~") or name.endswith(".*"):
                    regexes.append((each, name))
                elif name.startswith("."):
                    names += [name[1:], f"*{name}"]
                elif name not in ("_", "", "localhost.localdomain") and name.strip("-_!@#") and "$" not in name:
                    names.append(name)
        for each, name in regexes:
            self.notes.left_out(each.place, f"server_name {name}", "list the names, or a `*.suffix`")
        names = list(dict.fromkeys(names))
        level = self.level.inside(server)
        groups: dict[tuple[bool, bool], list[Address]] = {}
        for address in addresses:
            listening = address.listen
            is_default = defaults.get((listening.address, listening.port, listening.unix)) is server
            groups.setdefault((address.tls, is_default), []).append(address)
        for (tls, is_default), own in groups.items():
            if not names and not is_default:
                continue                            # nginx never takes it either
            self._host(server, level, names, own, tls, is_default)

    def _host(self, server: Directive, level: Level, names: list[str], own: list[Address], tls: bool, is_default: bool) -> None:
        scheme = "https" if tls else "http"
        wanted = names[0].replace("*.", "") if names else f"server-{own[0].listen.port or 'unix'}"
        if self.gateway.free_name(wanted) != object_name(wanted):
            wanted = f"{wanted}-{scheme}"
        host = Host(self.gateway.free_name(wanted), [*(["*"] if is_default else []), *names][:33], [
            replace(address.listen, proxied=self._proxied(level, address)) for address in own])
        host.remark = f"{server.place}"
        if len(names) > 32:
            self.notes.left_out(server.place, f"names beyond the first 32 of {len(names)}", "give the rest to another one")
        if tls:
            host.tls = self._certificates(level, server)
            host.default = is_default
        if any(address.http2 for address in own) and not tls:
            host.http2_only = True
        self._settings(host, level)
        self.rules.make(host, level, server, scheme, names)
        self.gateway.hosts.append(host)

    def _proxied(self, level: Level, address: Address) -> tuple[str, ...]:
        if not address.proxied:
            return ()
        return tuple(each.args[0] for each in level.all("set_real_ip_from")) or ("0.0.0.0/0", "::/0")

    def _certificates(self, level: Level, server: Directive) -> Certificates:
        made = Certificates()
        keys = level.all("ssl_certificate_key")
        for certificate, key in zip(level.all("ssl_certificate"), keys, strict=False):
            if variables(certificate.args[0]) or certificate.args[0].startswith(("data:", "engine:")):
                self.notes.left_out(certificate.place, certificate.text(), "name the file of each host's certificate")
            else:
                made.pairs.append((self.absolute(certificate.args[0]), self.absolute(key.args[0])))
        if not made.pairs:
            self.notes.left_out(server.place, "a server with TLS and without a certificate", "give it one")
        verify = level.word("ssl_verify_client", "off")
        if verify != "off":
            ca = level.word("ssl_client_certificate") or level.word("ssl_trusted_certificate")
            if ca:
                made.client_ca, made.client_optional = self.absolute(ca), verify.startswith("optional")
        asked = level.last("ssl_protocols")
        versions = [_PROTOCOLS[one] for one in (asked.args if asked else ()) if one in _PROTOCOLS]
        if versions:
            ordered = [one for one in _PROTOCOLS.values() if one in versions]
            made.least = ordered[0] if ordered[0] != "TLSv1_2" else None
            made.most = ordered[-1] if ordered[-1] != "TLSv1_3" else None
        return made

    def _settings(self, host: Host, level: Level) -> None:
        host.most_body_bytes = self.rules.size(level, "client_max_body_size", MAX_BODY_BYTES)
        if level.word("brotli") == "on":
            host.compress = ("br", "gzip") if level.word("gzip") == "on" else ("br",)
        elif level.word("gzip") == "on":
            host.compress = ("gzip",)
        if host.compress:
            types = level.last("gzip_types") or level.last("brotli_types")
            listed = ["text/html", *(types.args if types else ())]
            host.compress_types = () if "*" in listed else tuple(dict.fromkeys(listed))
        header = level.word("real_ip_header", "X-Real-IP").lower()
        sources = level.all("set_real_ip_from")
        if sources and header == "x-forwarded-for":
            host.trusted = tuple(each.args[0] for each in sources if not each.args[0].startswith("unix:"))
        elif sources and header != "proxy_protocol":
            self.notes.left_out(sources[0].place, f"the client's address in {header}",
                                "only X-Forwarded-For and Forwarded are read")
        keep = level.last("keepalive_timeout")
        if keep is not None and keep.args:
            host.keep_alive_s = self._time(keep, 600.0)
        waits = [self._time(each, 3600.0) for each in everywhere(level.blocks[0], "proxy_read_timeout", "grpc_read_timeout")]
        outer = level.last("proxy_read_timeout")
        if outer is not None and outer not in level.blocks[0].all("proxy_read_timeout"):
            waits.append(self._time(outer, 3600.0))
        if waits:
            host.idle_timeout_s = max(waits)
        elif any(each for each in everywhere(level.blocks[0], "proxy_pass", "grpc_pass")):
            host.idle_timeout_s = 60.0              # nginx's own

    def _time(self, directive: Directive, most_s: float) -> float:
        try:
            return min(most_s, seconds(directive.args[0]))
        except (ValueError, IndexError):
            self.notes.left_out(directive.place, directive.text(), "this is no time")
            return 60.0
