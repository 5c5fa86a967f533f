"""CSRF (objects.md 3.9): requests that change state must come from pages of this host, or of the domains that are listed.

It looks at POST, PUT, PATCH and DELETE. The source is Origin; where that is missing, Referer. It must name the host and port
that the request is for, or a domain of the list; a request with neither field, or with ``Origin: null``, is answered 403. The
scheme is not compared: TLS may end in front of the gateway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.routing.hosts import Domain, Rank, read_domain
from voltgw.routing.problems import at
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from voltgw.config.objects.policies import CsrfPolicy
    from voltgw.interfaces import RequestFilter
    from voltgw.values.exchange import Exchange

#: The flag of a request that is refused.
FLAG: Final = "CSRF"
#: Methods that change state (RFC 9110 9.2.1 calls the others safe).
_CHANGING: Final = frozenset((b"POST", b"PUT", b"PATCH", b"DELETE"))
_SOURCE: Final = re.compile(rb"(https?)://([^/?#@\\]+)(?=[/?#]|\Z)", re.IGNORECASE)
_HOST_PORT: Final = re.compile(rb"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS: Final = {b"http": 80, b"https": 443}


class _Source(NamedTuple):
    """Where a request comes from; `usual` says that the port is its scheme's own."""

    host: bytes
    port: int
    usual: bool


def csrf(own: CsrfPolicy | None, of_host: CsrfPolicy | None, domains: Iterable[str] = ()) -> RequestFilter | None:
    """The filter of a route; its own policy wins over its host's, and a disabled one is none. Raises ValueError.

    `domains` are the virtual host's, for ``all_load_balancer_domains``; its lone ``*`` is no domain that a page could be of.
    """
    policy = own if own is not None else of_host
    if policy is None or policy.disabled:
        return None
    listed: list[Domain] = []
    if policy.custom_domain_list is not None:
        for number, text in enumerate(policy.custom_domain_list.domains):
            with at("custom_domain_list", "domains", number):
                listed.append(read_domain(text))
    elif policy.all_load_balancer_domains:
        listed = [domain for text in domains if (domain := read_domain(text)).rank is not Rank.ANY]
    is_listed = _listed(listed)

    def refuse(exchange: Exchange) -> Reply | None:
        request = exchange.request
        if request.method not in _CHANGING:
            return None
        value = request.get(b"origin")
        if value is None:
            value = request.get(b"referer")
        elif request.port is None and request.host and (
                value == b"https://" + request.host or value == b"http://" + request.host):
            return None                         # what follows says the same of it, more slowly
        source = _source(value) if value is not None else None
        if source is not None:
            port = request.port
            same_port = source.usual if port is None or port in (80, 443) else source.port == port
            if source.host == request.host and same_port or is_listed(source):
                return None
        return Reply(403, flag=FLAG, detail="csrf_origin_mismatch", negotiate=True)

    return refuse


def _source(value: bytes) -> _Source | None:
    """Host and port of an origin or URL; None when it has none (``null``)."""
    match = _SOURCE.match(value)
    if match is None:
        return None
    parts = _HOST_PORT.fullmatch(match[2].lower())
    if parts is None:
        return None
    usual = _DEFAULT_PORTS[match[1].lower()]
    port = int(parts[2]) if parts[2] else usual
    return _Source(parts[1].removesuffix(b"."), port, port == usual)


def _listed(domains: Iterable[Domain]) -> Callable[[_Source], bool]:
    """Whether one of `domains` takes a source; they mean what they mean for virtual hosts."""
    exact = {(domain.key, domain.port) for domain in domains if domain.rank is Rank.EXACT}
    suffixes = [(domain.key, domain.port) for domain in domains if domain.rank is not Rank.EXACT]

    def listed(source: _Source) -> bool:
        host, port, _ = source
        if (host, port) in exact or (host, None) in exact:
            return True
        for key, wanted in suffixes:
            if (wanted is None or wanted == port) and host.endswith(key) and len(host) > len(key):
                return True
        return False

    return listed
