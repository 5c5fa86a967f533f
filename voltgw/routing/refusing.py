"""The virtual hosts of a listener while requests are refused: the same names lead to stand-ins that answer 503.

So refusing costs nothing while there is no need for it: a request reads the table that it always reads, and in a time of
overload that is another one (`voltgw.proxy.factory.HttpFactory.refuse`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.routing.hosts import HostTable
from voltgw.routing.match import EVERYTHING
from voltgw.routing.route import Route, Rule, VirtualHost
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from voltgw.routing.actions import Asked
    from voltgw.values.counters import RouteCounters
    from voltgw.values.head import RequestHead

#: Flag and detail in the access log, as Envoy's overload manager has them.
FLAG: Final = "OM"
DETAIL: Final = "overload"


class RefusingTable(HostTable):
    """Stands for `whole`, whose answers it is asked for: a name that leads nowhere there leads nowhere here.

    Refused requests are counted by `counters`; the client is told to come again in `retry_after_s`.
    """

    __slots__ = ("_counters", "_retry_after_s", "_stand_ins", "whole")

    def __init__(self, whole: HostTable, counters: RouteCounters, retry_after_s: int) -> None:
        super().__init__(())
        self.whole = whole
        self._counters = counters
        self._retry_after_s = retry_after_s
        self._stand_ins: dict[VirtualHost, VirtualHost] = {}        # at most one for each host

    def choose(self, host: bytes, port: int | None, listener_port: int) -> VirtualHost | None:
        """As `HostTable.choose`, but what is found is a host of the same name that refuses."""
        found = self.whole.exact.get(host) or self.whole.choose(host, port, listener_port)
        if found is None:
            return None
        other = self._stand_ins.get(found)
        if other is None:
            other = self._stand_ins[found] = self._stand_in(found)
        return other

    def _stand_in(self, host: VirtualHost) -> VirtualHost:
        made = VirtualHost(host.name, host.namespace, host.domains, proxy=host.proxy, app_type=host.app_type)
        made.find_place = host.find_place
        for name in _AS_THE_HOST:
            setattr(made, name, getattr(host, name))
        route = Route(made, DETAIL, counters=self._counters)
        retry_after = b"%d" % self._retry_after_s

        def refuse(head: RequestHead, asked: Asked | None) -> Reply:
            return Reply(503, [(b"retry-after", retry_after)], flag=FLAG, detail=DETAIL, negotiate=True)

        route.answer = refuse
        # The same as a filter: a CONNECT to a forward proxy does not ask for the route's answer.
        route.request_filters = (lambda exchange: refuse(exchange.request, None),)
        made.install((Rule(route, ((EVERYTHING, route),)),))
        return made


#: What decides how an answer looks, which versions of HTTP are spoken, and what must not be logged.
_AS_THE_HOST: Final = (
    "custom_errors", "default_error_pages", "header_case", "hides", "identity", "keep_alive_timeout_s", "prior_knowledge",
    "proxy_status", "request_head_timeout_s", "server_line", "version_1", "version_2",
)
