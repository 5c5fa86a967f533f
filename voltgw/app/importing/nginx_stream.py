"""nginx's ``stream``: relays of TCP and UDP, and of TLS by the name that the client asks for."""

from __future__ import annotations

from collections.abc import Callable

from voltgw.app.importing.model import Certificates, Forward, Gateway, Host, Listen, Rule
from voltgw.app.importing.nginx_pools import Pools
from voltgw.app.importing.nginx_values import Address, listen
from voltgw.app.importing.nginx_words import Directive
from voltgw.app.importing.words import seconds


class _Words:
    """The directives of a server and of what stands around it."""

    def __init__(self, *blocks: Directive) -> None:
        self._blocks = blocks

    def word(self, name: str, default: str = "") -> str:
        """The first word of the last directive of that name."""
        for block in self._blocks:
            found = block.last(name)
            if found is not None and found.args:
                return found.args[0]
        return default


def translate_stream(gateway: Gateway, stream: Directive, absolute: Callable[[str], str]) -> None:
    """Every server of a ``stream`` block."""
    pools = Pools(gateway, stream.all("upstream"), absolute)
    maps = {each.args[1]: each for each in stream.all("map") if len(each.args) == 2}
    used: set[str] = set()
    for server in stream.all("server"):
        target = server.last("proxy_pass")
        if target is None or not target.args:
            gateway.notes.left_out(server.place, "a server of stream without proxy_pass", "a relay needs a cluster")
            continue
        addresses = []
        for each in server.all("listen"):
            try:
                addresses.append(listen(each))
            except (ValueError, IndexError) as error:
                gateway.notes.left_out(each.place, each.text(), str(error))
        name = target.args[0]
        if name.startswith("$"):
            chosen = maps.get(name)
            if chosen is None or chosen.args[0] != "$ssl_preread_server_name":
                gateway.notes.left_out(target.place, target.text(), "only maps of $ssl_preread_server_name choose a cluster")
                continue
            used.add(name)
            _by_name(gateway, pools, chosen, _Words(server, stream), addresses)
            continue
        _relay(gateway, pools, server, _Words(server, stream), addresses, name, absolute)
    for name, each in maps.items():
        if name not in used:
            gateway.notes.left_out(each.place, each.text(), "of maps only those of $ssl_preread_server_name are read")


def _relay(gateway: Gateway, pools: Pools, server: Directive, words: _Words, addresses: list[Address], name: str,
           absolute: Callable[[str], str]) -> None:
    for datagrams in (False, True):
        listens = list(dict.fromkeys(each.listen for each in addresses if each.listen.datagrams is datagrams))
        if not listens:
            continue
        pool = pools.pool(name, words, secure=words.word("proxy_ssl") == "on", place=server.place, datagrams=datagrams)
        if words.word("proxy_protocol") == "on":
            gateway.pools[pool].proxy_protocol = 1
        host = Host(gateway.free_name(f"{gateway.pools[pool].name}{'-udp' * datagrams}"), [], listens, [
            Rule([], Forward([(pool, None)]))], "udp" if datagrams else "tcp")
        if any(each.tls for each in addresses) and not datagrams:
            certificate, key = words.word("ssl_certificate"), words.word("ssl_certificate_key")
            host.tls = Certificates([(absolute(certificate), absolute(key))] if certificate and key else [])
        wait = words.word("proxy_timeout")
        if wait:
            try:
                host.idle_timeout_s = seconds(wait)
            except ValueError as error:
                gateway.notes.left_out(server.place, f"proxy_timeout {wait}", str(error))
        host.remark = f"{server.place}"
        gateway.hosts.append(host)


def _by_name(gateway: Gateway, pools: Pools, chosen: Directive, words: _Words, addresses: list[Address]) -> None:
    by_target: dict[str, tuple[list[str], Directive]] = {}
    default: Directive | None = None
    for each in chosen.block or []:
        if each.name == "default":
            default = each
        elif each.name == "hostnames":
            continue
        elif each.name.startswith("~") or each.name.endswith(".*") or not each.args:
            gateway.notes.left_out(each.place, each.text(), "list the names, or a `*.suffix`")
        else:
            names = [each.name[1:], f"*{each.name}"] if each.name.startswith(".") else [each.name]
            by_target.setdefault(each.args[0], ([], each))[0].extend(names)
    listens: list[Listen] = list(dict.fromkeys(each.listen for each in addresses))
    for target, (names, place) in by_target.items():
        pool = pools.pool(target, words, secure=False, place=place.place)
        gateway.hosts.append(Host(gateway.free_name(names[0].replace("*.", "")), names, listens, [
            Rule([], Forward([(pool, None)]))], "sni", remark=f"{place.place}"))
        if default is not None and default.args == [target]:
            gateway.hosts[-1].default, default = True, None
    if default is not None and default.args:
        pool = pools.pool(default.args[0], words, secure=False, place=default.place)
        gateway.hosts.append(Host(gateway.free_name("default"), ["default.invalid"], listens, [
            Rule([], Forward([(pool, None)]))], "sni", default=True, remark=f"{default.place}"))
