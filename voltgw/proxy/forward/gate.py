"""Judges each request of a forward proxy's client before anything of it goes anywhere: who asks for what, at which address.

A name is judged first, by what policies say of names alone; what they refuse is not even looked up. Then its addresses are
judged one by one, and the request goes to one of those that are left and to no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred

from voltgw.net.here import HERE
from voltgw.proxy.forward.origins import Asked
from voltgw.proxy.forward.settings import assumed
from voltgw.security.basic import WRONG
from voltgw.security.destinations import literal
from voltgw.security.egress import DENY, FLAG, LOGIN_FLAG, Flow, Speaks, Verdict
from voltgw.security.readings import readings
from voltgw.security.tokens import MISSING
from voltgw.values.identity import Proof, User
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from voltgw.cluster.cluster import ClientContextLike
    from voltgw.proxy.forward.outside import Outside
    from voltgw.proxy.forward.settings import Egress
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead

#: Flag of the access log (Envoy's): a name without an address.
DNS_FLAG: Final = "DF"
#: Ports below 1024 to which requests may go although they are not among those of CONNECT (http, http-mgmt, gss-http, filemaker,
#: multiling-http). Behind the others are servers that would take a request for commands of their own protocol.
SAFE_PORTS: Final = frozenset((80, 443, 280, 488, 591, 777))
#: Requests that have passed through so many proxies go round in a loop that we do not see.
MAX_VIA: Final = 32
_MISSING: Final = Proof(None, f"basic {MISSING}")
_WRONG: Final = Proof(None, f"basic {WRONG}")

Judged = Reply | None | Deferred[Reply | None]


class Way(NamedTuple):
    """What is settled of a connection before its first request.

    `explicit`: the client knows of the proxy, and each request says where it goes. Otherwise it is bound for the one of
    `addresses` at `port`, and has named `name` on the way there (by CONNECT or in its TLS hello, b"" = it has not). `opened`:
    the requests come out of TLS that we have opened.
    """

    explicit: bool = True
    name: bytes = b""
    port: int = 0
    addresses: tuple[str, ...] = ()
    opened: bool = False
    tls: ClientContextLike | None = None    # how the origin of opened TLS is reached
    fault: str = ""                         # why it is not: the client is told
    proof: Proof | None = None              # who has asked for the tunnel that this comes out of


class Going(NamedTuple):
    """Where a tunnel leads: what is known of it, the addresses that may be connected to, and the verdict so far."""

    flow: Flow
    addresses: tuple[str, ...]
    verdict: Verdict


class Holder(Protocol):
    """Who has the rules; a reload gives it others."""

    egress: Egress


class Gate:
    """Judges the requests of one connection, each by the rules of its moment."""

    __slots__ = ("_holder", "_outside", "going", "way")

    def __init__(self, outside: Outside, holder: Holder, way: Way) -> None:
        self._outside = outside
        self._holder = holder
        self.way = way
        self.going: Going | None = None     # of the CONNECT that was let through last

    @property
    def egress(self) -> Egress:
        """The rules of now."""
        return self._holder.egress

    def via(self, minor: int) -> bytes:
        """Our element of Via (RFC 9110 7.6.3)."""
        return self._outside.via(minor)

    def judge(self, exchange: Exchange) -> Judged:
        """None = it may go on (`Exchange.hash_key` then says where to); a Reply refuses it. A Deferred: somebody is asked."""
        egress = self.egress
        if self.way.explicit and egress.users is not None:
            logged_in = self._outside.logins.check(
                egress.users, _credentials(exchange.request), egress.users_mark, exchange.client_address)
            if isinstance(logged_in, Deferred):
                return logged_in.addCallback(lambda good: self._logged_in(exchange, good))
            return self._logged_in(exchange, logged_in)
        return self._target(exchange)

    def _logged_in(self, exchange: Exchange, user: str | None) -> Judged:
        if user is None:
            exchange.proof = _MISSING if _credentials(exchange.request) is None else _WRONG
            realm = self.egress.realm.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8")
            return Reply(407, [(b"proxy-authenticate", b'Basic realm="%b", charset="UTF-8"' % realm)], flag=LOGIN_FLAG,
                         detail="proxy_login_required", negotiate=True)
        exchange.proof = Proof(User(user, "basic"), "basic")
        return self._target(exchange)

    # -- what is asked for -----------------------------------------------------------------------------------------------------

    def _target(self, exchange: Exchange) -> Judged:
        head, way = exchange.request, self.way
        egress = self.egress
        connect = head.method == b"CONNECT"
        target = head.target
        opened = False
        if way.explicit:
            if not connect and (target.startswith(b"/") or target == b"*"):
                return _bad("not_a_proxy_request")
            secure = target[:6].lower() == b"https:"
            port = head.port or (443 if secure else 80)
        else:
            exchange.proof = way.proof
            if connect:
                return Reply(405, flag="DPE", detail="connect_within_tunnel", close=True, negotiate=True)
            secure = opened = way.opened
            port = way.port
        if way.fault:
            return Reply(502, flag="UF", detail=f"tls_origin: {way.fault}", close=True, negotiate=True)
        if self._looped(head):
            return Reply(508, flag=FLAG, detail="forward_loop: the request came through here before", negotiate=True)
        try:
            address = literal(head.host)
        except ValueError as error:
            return _bad(f"bad_destination: {error}")
        if connect and not egress.tunnels_to(port):
            return refused_reply(f"forward_port: CONNECT may not lead to port {port}")
        if not connect and way.explicit and port < 1024 and port not in SAFE_PORTS and not egress.tunnels_to(port):
            return refused_reply(f"forward_port: no requests are sent to port {port}")
        if connect:
            flow = Flow(exchange.client_address, b"" if address is not None else head.host, port,
                        assumed(port) if address is None else Speaks.UNKNOWN, connect=True)
        else:
            name = head.host if address is None else address.encode("ascii")
            paths = readings(head)
            flow = Flow(exchange.client_address, name, port, Speaks.HTTP, path=paths[0] if paths else head.path, opened=opened)
            if len(paths) != 1 and egress.policies.torn(flow, paths[1:]):
                return torn()
        if opened and (head.host if address is None else address.encode("ascii")) != way.name:
            return Reply(421, flag=FLAG, detail="forward_name: the request is for another name than its TLS", negotiate=True)
        if address is not None:
            flow.to(address)
        verdict = egress.policies.judge(flow)
        if verdict.action == DENY:
            return self._denied(exchange, verdict)
        settled = verdict if verdict.allowed else None          # whatever its address is
        scheme = "tunnel" if connect else "https" if secure else "http"
        if not way.explicit:
            return self._bound(exchange, flow, scheme, address, settled)
        if address is not None:
            return self._reach(exchange, flow, (address,), scheme, settled)
        known = self._outside.lookup.known(egress.network, head.host)
        if known is not None:
            return self._reach(exchange, flow, known, scheme, settled)
        asked = self._outside.lookup.ask(egress.network, head.host, exchange.client_address)
        return asked.addCallback(lambda found: self._reach(exchange, flow, found, scheme, settled))

    def _looped(self, head: RequestHead) -> bool:
        mark = self._outside.pseudonym
        hops = 0
        for name, value in head.fields:
            if name == b"via":
                if mark in value:
                    return True
                hops += value.count(b",") + 1
        return hops >= MAX_VIA

    # -- where it goes ---------------------------------------------------------------------------------------------------------

    def _bound(
        self, exchange: Exchange, flow: Flow, scheme: str, address: str | None, settled: Verdict | None,
    ) -> Judged:
        """A request of a client that is bound for certain addresses: Host must lead there, or policies hear a lie."""
        way = self.way
        if (way.name and flow.name == way.name) or address in way.addresses:
            return self._reach(exchange, flow, way.addresses, scheme, settled)
        if address is not None:
            return self._disagrees()
        leads = self._outside.lookup.leads_to(self.egress.network, flow.name, way.addresses[0], exchange.client_address)
        if isinstance(leads, bool):
            return self._agreed(exchange, flow, leads, scheme, settled)
        return leads.addCallback(lambda leads: self._agreed(exchange, flow, leads, scheme, settled))

    def _agreed(self, exchange: Exchange, flow: Flow, leads: bool, scheme: str, settled: Verdict | None) -> Reply | None:
        return self._reach(exchange, flow, self.way.addresses, scheme, settled) if leads else self._disagrees()

    def _disagrees(self) -> Reply:
        self._outside.counters.disagreements += 1
        return refused_reply("forward_name: Host does not lead to where the connection was bound for")

    def _reach(
        self, exchange: Exchange, flow: Flow, addresses: tuple[str, ...], scheme: str, settled: Verdict | None,
    ) -> Reply | None:
        egress, way = self.egress, self.way
        if not addresses:
            return Reply(502, flag=DNS_FLAG, detail="dns_resolution_failure", negotiate=True)
        usable, verdict, why = egress.select(
            flow, addresses, HERE, self._outside.refuses, settled)
        if why:
            self._outside.counters.guarded += 1
            return refused_reply(f"forward_destination: {why}")
        if not usable:
            return self._denied(exchange, verdict)
        exchange.policy = verdict.label
        if scheme == "tunnel":
            self.going = Going(flow.to(usable[0]), usable, verdict)
        else:
            verdict.counted()
        tls = None if scheme != "https" else way.tls or self._outside.tls
        exchange.hash_key = self._outside.origins.number(Asked(
            egress.name, scheme, flow.name, flow.port, usable, egress.rounds, egress.connect_timeout_s, egress.network, tls))
        return None

    def _denied(self, exchange: Exchange, verdict: Verdict) -> Reply:
        self._outside.counters.denied += 1
        verdict.counted()
        exchange.policy = verdict.label
        return refused_reply(f"forward_proxy_policy: {verdict.label}")


def _credentials(head: RequestHead) -> bytes | None:
    """What the client says in Proxy-Authorization; None = nothing, or more than one thing."""
    found = [value for name, value in head.connection if name == b"proxy-authorization"]
    return found[0] if len(found) == 1 else None


def torn() -> Reply:
    """The answer to a path that the policies would judge by how the origin reads it, which nobody here knows."""
    return refused_reply("forward_path: origins read it in different ways, which the policies do not treat alike")


def refused_reply(detail: str) -> Reply:
    """403, with the reason for the log."""
    return Reply(403, flag=FLAG, detail=detail, negotiate=True)


def _bad(detail: str) -> Reply:
    return Reply(400, flag="DPE", detail=detail, close=True, negotiate=True)
