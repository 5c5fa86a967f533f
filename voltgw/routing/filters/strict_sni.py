"""The Host of a request against the server name of its TLS connection (objects.md 4.1, 22.2).

With ``enable_strict_sni_host_header_check`` the two must be the same; ``additional_domains`` lists names that may be asked for
on any connection that the virtual host takes. What does not fit is answered 421 (RFC 9110 15.5.20): the client may try again
on a connection of its own. Ports are not compared, for a hello has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from voltgw.routing.hosts import Domain, Rank, read_domain
from voltgw.routing.problems import at
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.interfaces import RequestFilter
    from voltgw.values.exchange import Exchange

FLAG: Final = "SNI"
_DETAIL: Final = "host_is_not_server_name"


def strict_sni(spec: VirtualHostSpec) -> RequestFilter | None:
    """The filter of a virtual host, if it asks for one. Raises ValueError."""
    listed: list[Domain] = []
    if spec.additional_domains is not None:
        for number, text in enumerate(spec.additional_domains.domains):
            with at("additional_domains", "domains", number):
                listed.append(read_domain(text))
    elif not spec.enable_strict_sni_host_header_check:
        return None
    takes = _Listed(listed)

    def check(exchange: Exchange) -> Reply | None:
        host = exchange.request.host
        if host == exchange.client.sni.encode("ascii", "replace") and host:
            return None
        return None if takes(host) else Reply(421, flag=FLAG, detail=_DETAIL, negotiate=True)

    return check


class _Listed:
    """Whether a name is one of some domains."""

    def __init__(self, domains: Iterable[Domain]) -> None:
        self._exact = frozenset(domain.key for domain in domains if domain.rank is Rank.EXACT)
        self._ends = tuple(domain.key for domain in domains if domain.rank in (Rank.LABELS, Rank.PART))
        self._any = any(domain.rank is Rank.ANY for domain in domains)

    def __call__(self, host: bytes) -> bool:
        return (self._any or host in self._exact
                or any(host.endswith(end) and len(host) > len(end) for end in self._ends))
