"""A virtual host whose endpoint is whatever a request's Host resolves to (dynamic_reverse_proxy, objects.md 4.4).

The names that it serves are those of its `domains`; which addresses it may reach is judged as for a forward proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltgw.net.here import HERE
from voltgw.proxy.forward.gate import DNS_FLAG, SAFE_PORTS, Judged, refused_reply, torn
from voltgw.proxy.forward.origins import RETRY, Asked
from voltgw.security.destinations import literal
from voltgw.security.egress import DENY, Flow, Speaks
from voltgw.security.readings import readings
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voltgw.proxy.forward.outside import Outside
    from voltgw.proxy.forward.settings import Egress
    from voltgw.routing.split import Destination
    from voltgw.security.policies import Row
    from voltgw.values.exchange import Exchange

#: Where a request goes whose Host names no port.
_PORTS = {b"http": 80, b"https": 443}


class Dynamic:
    """Finds the destination of each request of one virtual host. `egress` and `outside` are set when it begins to serve.

    What comes to the virtual host by TLS goes on by TLS: the origin is verified by the name that was asked for.
    """

    retry = RETRY

    def __init__(self) -> None:
        self.egress: Egress | None = None
        self.outside: Outside | None = None

    def rows(self) -> Iterable[Row]:
        """What its policies have decided."""
        return self.egress.policies.rows() if self.egress is not None else ()

    def number(self, exchange: Exchange) -> float:
        """The number of the destination that was found."""
        return float(exchange.hash_key or 0)

    def destination(self, number: float) -> Destination | None:
        """The destination of that number."""
        return self.outside.origins.destination(number) if self.outside is not None else None

    def judge(self, exchange: Exchange) -> Judged:
        """None = it may go on; a Reply refuses it."""
        egress, outside = self.egress, self.outside
        if egress is None or outside is None:
            return Reply(503, flag="NC", detail="cluster_not_found", negotiate=True)    # it does not serve yet
        head = exchange.request
        try:
            address = literal(head.host)
        except ValueError as error:
            return Reply(400, flag="DPE", detail=f"bad_destination: {error}", negotiate=True)
        scheme = exchange.client.scheme
        port = head.port or _PORTS.get(scheme, 80)
        if port < 1024 and port not in SAFE_PORTS:
            return refused_reply(f"forward_port: no requests are sent to port {port}")
        name = head.host if address is None else address.encode("ascii")
        paths = readings(head)
        flow = Flow(
            exchange.client_address, name, port, Speaks.HTTP, path=paths[0] if paths else head.path, opened=scheme == b"https")
        if len(paths) != 1 and egress.policies.torn(flow, paths[1:]):
            return torn()
        if egress.policies.judge(flow).action == DENY:
            return self._reach(exchange, flow, None)
        if address is not None:
            return self._reach(exchange, flow, (address,))
        known = outside.lookup.known(egress.network, name)
        if known is not None:
            return self._reach(exchange, flow, known)
        asked = outside.lookup.ask_for(exchange, egress.network, name, flow.source)
        return asked.addCallback(lambda found: self._reach(exchange, flow, found))

    def _reach(self, exchange: Exchange, flow: Flow, addresses: tuple[str, ...] | None) -> Reply | None:
        """`addresses` None = the name alone is refused."""
        egress, outside = self.egress, self.outside
        assert egress is not None and outside is not None
        client: Any = exchange.client
        usable: tuple[str, ...] = ()
        why = ""
        if addresses is None:
            verdict = egress.policies.judge(flow)
        elif not addresses:
            return Reply(502, flag=DNS_FLAG, detail="dns_resolution_failure", negotiate=True)
        else:
            usable, verdict, why = egress.select(flow, addresses, HERE, outside.refuses)
        if why:
            outside.counters.guarded += 1
            return refused_reply(f"forward_destination: {why}")
        if verdict.label:
            exchange.policy = verdict.label
        verdict.counted()
        if not usable:
            outside.counters.denied += 1
            return refused_reply(f"forward_proxy_policy: {verdict.label}")
        secure = client.scheme == b"https"
        exchange.hash_key = outside.origins.number(Asked(
            egress.name, "https" if secure else "http", flow.name, flow.port, usable, egress.rounds, egress.connect_timeout_s,
            egress.network, outside.tls if secure else None))
        return None
