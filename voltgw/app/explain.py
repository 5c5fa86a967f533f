"""Says what becomes of a request and why: every decision in its order, with its reason and the place in the file.

It asks the same tables as the data plane, and lets the data plane itself show what an endpoint would get
(`voltgw.app.rehearsal`). Nothing that serves is changed: no counter, no turn of a scheduler.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from ipaddress import ip_address
from random import Random
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.find import find_listener, of_host
from voltgw.app.policies import of_forwarding, retries, timeouts
from voltgw.app.rehearsal import Head, Performance, Ran, refused_by, rehearse
from voltgw.app.tls_explain import entrance, misdirected, towards
from voltgw.cluster.plan import build_cluster
from voltgw.cluster.snapshot import EndpointSet
from voltgw.cluster.subset import Subset
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.config.units import show_seconds
from voltgw.control.view import why
from voltgw.errors import BadRequest
from voltgw.observe.decisions import plain_reason
from voltgw.observe.redact import HIDDEN, secret_name
from voltgw.proxy.judged import Seen, arrival
from voltgw.proxy.pool import Pool
from voltgw.proxy.replies import DETAILS
from voltgw.registry import Registry
from voltgw.routing.admitted import stand_in
from voltgw.routing.explain import explain_route
from voltgw.routing.split import shares
from voltgw.values.proxyheader import ALL_TLVS, tlv_name
from voltgw.values.reason import Reason
from voltgw.wire.http1 import parse_request

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan, Runtime
    from voltgw.app.publishing import Publishing
    from voltgw.app.question import Question
    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.interfaces import UpstreamCluster
    from voltgw.routing.route import Route, VirtualHost
    from voltgw.routing.split import Destination
    from voltgw.values.head import RequestHead

#: Endpoints of one cluster that are listed one by one.
MOST_ENDPOINTS: Final = 50


@dataclass(slots=True)
class Explanation:
    """What becomes of one request: the decisions in their order, and what came out in single values.

    `outcome` is ``forwarded``, ``answered`` (by the gateway), ``relayed``, ``refused`` (no TLS, or a client that may not
    connect) or ``no listener``. `refused_by` is the rule, limit or method that refuses, "" = nobody does. `shares` says which
    part of such requests each cluster gets. `status` is the gateway's own answer's; `sent` what the endpoint gets and `told`
    what the client gets (for a plain 200 of the endpoint's, if it is not an own answer).
    """

    outcome: str
    decisions: list[Reason] = field(default_factory=list)
    listener: str = ""
    virtual_host: str = ""
    route: str = ""
    shares: dict[str, float] = field(default_factory=dict)
    status: int | None = None
    flag: str = ""
    refused_by: str = ""
    sent: Head | None = None
    told: Head | None = None
    body: bytes = b""

    @property
    def cluster(self) -> str:
        """The cluster that gets all such requests, "" if there is none."""
        return next((name for name, share in self.shares.items() if share > 0.999999), "")

    @property
    def target(self) -> str | None:
        """Path and query as the endpoint gets them."""
        return None if self.sent is None else self.sent.start.split(" ")[1]

    def plain(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        return {
            "outcome": self.outcome, "listener": self.listener or None, "virtual_host": self.virtual_host or None,
            "route": self.route or None, "cluster": self.cluster or None,
            "shares": {name: round(share, 6) for name, share in self.shares.items()}, "status": self.status,
            "flag": self.flag or None, "refused_by": self.refused_by or None, "target": self.target,
            "sent": None if self.sent is None else _plain_head(self.sent),
            "told": None if self.told is None else _plain_head(self.told),
            "decisions": [plain_reason(reason) for reason in self.decisions],
        }


class Explainer:
    """Answers questions about one runtime.

    `live` tells that it serves, so that what is known of its endpoints is true at this moment; else nobody was asked.
    """

    def __init__(
        self, runtime: Runtime, *, live: bool = False, registry: Registry | None = None,
        wall: Callable[[], float] = lambda: 0.0, publishing: Publishing | None = None,
    ) -> None:
        self.runtime = runtime
        self._publishing = publishing
        self._live = live
        self._registry = Registry() if registry is None else registry
        self._wall = wall

    def explain(self, question: Question) -> Explanation:
        """What becomes of `question`. Raises `QuestionError` where only the zones tell that it is none."""
        if question.scheme == "dns":
            return Explanation(*import_module("voltgw.app.explain_dns").of_name(
                self.runtime, question, self._publishing))
        if question.scheme == "connect":
            return _forwarded(import_module("voltgw.app.explain_forward").explain_connect(self.runtime, question), "relayed")
        head: RequestHead | None = None
        refused: BadRequest | None = None
        if question.head:
            try:
                head = parse_request(question.head, question.head.find(b"\r\n\r\n"))
            except BadRequest as error:
                refused = error
        plan, of_listener = find_listener(self.runtime, question, head)
        if plan is None:
            return Explanation("no listener", [of_listener])
        if plan.forward is not None and head is not None:
            return _forwarded(import_module("voltgw.app.explain_forward").explain_request(plan, question, head, of_listener),
                              "forwarded")
        result = Explanation("answered", [of_listener], str(plan.key))
        if not question.head:
            self._connection(result, question, plan)
        elif head is None:
            assert refused is not None          # one of the two is set
            result.decisions.append(Reason("request", f"refused {refused.answer}", str(refused)))
            self._rehearse(result, question, plan, None, None, None)
        else:
            self._request(result, question, plan, head)
        return result

    # -- requests ------------------------------------------------------------------------------------------------------

    def _request(self, result: Explanation, question: Question, plan: ListenerPlan, head: RequestHead) -> None:
        table = plan.table
        assert table is not None                # listeners of HTTP have one
        if head.target != head.forward or head.underscored or head.connection:
            result.decisions.append(_of_head(head))
        entered: VirtualHost | None = None
        if plan.tls:
            entered, reason = entrance(plan, _server_name(question))
            result.decisions.append(reason)
            if entered is None:
                result.outcome = "refused"
                return
        host, reason = of_host(table, head, plan.port)
        result.decisions.append(reason)
        if host is None and entered is not None and entered is plan.default:
            host = entered
        elif host is not None and entered is not None and host is not entered:
            misplaced = misdirected(plan, entered, host)
            if misplaced is not None:
                result.decisions.append(misplaced)
                host = stand_in(host)
                result.virtual_host = f"{host.namespace}/{host.name}"
                self._rehearse(result, question, plan, host, host.routes[0], None)
                return
        if host is None:
            self._rehearse(result, question, plan, None, None, None)
            return
        result.virtual_host = f"{host.namespace}/{host.name}"
        reason, route = explain_route(host, head, plan.port)
        action = None
        if reason.steps and reason.steps[-1].about == "action":
            action = reason.steps[-1]
            reason = dataclasses.replace(reason, steps=reason.steps[:-1])
        result.decisions.append(reason)
        if route is None:
            self._rehearse(result, question, plan, host, None, None)
            return
        result.route = route.name
        if action is not None:
            result.decisions.append(self._with_endpoints(action, route))
        for destination, share in shares(route.destinations, route.retract) if route.destinations else ():
            name = destination.cluster_name
            result.shares[name] = result.shares.get(name, 0.0) + share
        result.decisions += of_forwarding(route, head)
        likely = _likeliest(route)
        reached = None if likely is None else self.runtime.clusters.get(likely.cluster_name)
        if reached is not None and reached.config.tls is not None:
            result.decisions.append(towards(reached.config.tls))
        first = self._rehearse(result, question, plan, host, route, self._sticky(result, route, head) or _likeliest(route))
        if result.outcome == "forwarded":
            cluster = None if first.endpoint is None else self.runtime.clusters.get(first.endpoint.cluster)
            result.decisions += [timeouts(route, cluster), retries(route, cluster, head)]

    def _rehearse(
        self, result: Explanation, question: Question, plan: ListenerPlan, host: VirtualHost | None, route: Route | None,
        destination: Destination | None,
    ) -> Performance:
        """Let the data plane show it, and tell what was seen."""
        stand_ins = {} if destination is None or destination.cluster is None else {
            destination.cluster_name: self._stand_in(destination.cluster_name, destination.cluster)}
        seen = rehearse(question, plan, host, route, destination, stand_ins, self._wall)
        exchange = seen.exchange
        if route is not None:
            if route.filters:
                steps = tuple(Reason(each.name, "", each.text, each.place) for each in route.filters)
                result.decisions.append(Reason("filters", str(len(steps)), "what the route and its host ask for", None, steps))
            result.decisions += seen.judged
            result.decisions += _filters("request filters", seen.request_filters, "before the request goes on")
        if seen.problem:
            result.decisions.append(Reason("outcome", "unknown", seen.problem))
        if seen.waited_s:
            result.decisions.append(Reason("wait", show_seconds(seen.waited_s), "so long a filter holds the request back"))
        if exchange is not None and exchange.hash_key is not None:
            result.decisions.append(Reason("hash key", f"{exchange.hash_key:#x}", "the route's hash policy gave it"))
        if seen.sent is not None:
            result.outcome = "forwarded"
            result.sent = seen.sent
            to = "" if destination is None else f"to an endpoint of {destination.cluster_name}"
            if route is not None and route.auto_host_rewrite and seen.endpoint is not None:
                to += f", whose name Host is: here {seen.endpoint.key}"
            result.decisions.append(_head_reason("request sent", seen.sent, to))
        if seen.told is not None:
            result.told, result.body = seen.told, seen.body
            if seen.own:
                result.status = seen.status
                result.flag = exchange.flag if exchange is not None else ""
                result.refused_by = seen.refused_by
                detail = exchange.detail.replace("_", " ") if exchange is not None else ""
                detail = f"flag {result.flag}: {DETAILS.get(result.flag, detail)}" if result.flag else detail
                result.decisions.append(_head_reason("answer", seen.told, detail))
            else:
                result.decisions += _filters("response filters", seen.response_filters, "on a plain 200 of the endpoint")
                result.decisions.append(_head_reason("answer", seen.told, "if the endpoint answers 200 without a field"))
        return seen

    def _sticky(self, result: Explanation, route: Route, head: RequestHead) -> Destination | None:
        """The destination that this user keeps; None where every request is drawn anew."""
        if route.sticky is None:
            return None
        reason = route.sticky.why(head)
        if not any(step.about == reason.about for each in result.decisions for step in each.steps):
            result.decisions.append(reason)
        chosen = next((each for each in route.destinations if each.place == reason.place
                       and reason.outcome == f"cluster {each.cluster_name}"), None)
        if chosen is not None:
            result.shares = {name: float(name == chosen.cluster_name) for name in result.shares}
        return chosen

    # -- connections ---------------------------------------------------------------------------------------------------

    def _connection(self, result: Explanation, question: Question, plan: ListenerPlan) -> None:
        host: VirtualHost | None = plan.hosts[0]
        assert host is not None
        chosen_by = Reason("virtual host", f"{host.namespace}/{host.name}", "the only one of this listener", host.place)
        if plan.tls:
            host, chosen_by = entrance(plan, _server_name(question))
            if host is None or host.proxy == ProxyType.HTTPS_PROXY.value:
                result.outcome = "refused" if host is None else "answered"
                result.decisions.append(chosen_by)
                if host is not None:
                    result.virtual_host = f"{host.namespace}/{host.name}"
                return
        route = host.routes[0]
        result.outcome = "relayed"
        result.virtual_host, result.route = f"{host.namespace}/{host.name}", route.name
        flows = "sessions" if plan.key.transport == "UDP" else "connections"
        result.decisions += [
            chosen_by, Reason("route", route.name, f"{flows} go by the first rule, whatever its conditions are", route.place)]
        arrived = arrival(Seen((question.source, 50000), plan.port, _server_name(question) if plan.tls else "", None), 0.0)
        for gate in route.gates:
            reply, reason = gate.rehearse(arrived)
            result.decisions.append(reason)
            if reply is not None:
                result.outcome, result.flag, result.refused_by = "refused", reply.flag, refused_by(reply)
                return
        steps = tuple(_share(destination, share) for destination, share in shares(route.destinations, route.retract))
        action = Reason("action", "relay", "", route.place, steps)
        result.decisions.append(self._with_endpoints(action, route))
        for destination, share in shares(route.destinations, route.retract):
            result.shares[destination.cluster_name] = result.shares.get(destination.cluster_name, 0.0) + share
        chosen = _likeliest(route)
        cluster = None if chosen is None else self.runtime.clusters.get(chosen.cluster_name)
        result.decisions += [timeouts(route, cluster), retries(route, cluster, None)]

    # -- clusters ------------------------------------------------------------------------------------------------------

    def _with_endpoints(self, action: Reason, route: Route) -> Reason:
        """The action with the candidates below each cluster that it may go to."""
        steps: list[Reason] = []
        named: dict[str, list[Destination]] = {}
        for each in route.destinations:
            named.setdefault(f"cluster {each.cluster_name}", []).append(each)
        for step in action.steps:
            if named.get(step.about):
                destination = named[step.about].pop(0)      # several subsets of one cluster may be destinations
                cluster: Cluster | Subset | None = self.runtime.clusters.get(destination.cluster_name)
                if isinstance(destination.cluster, Subset):
                    cluster = destination.cluster
                if cluster is not None:
                    step = dataclasses.replace(step, steps=(*step.steps, *self._endpoints(cluster)))
            steps.append(step)
        return dataclasses.replace(action, steps=tuple(steps))

    def _endpoints(self, cluster: Cluster | Subset) -> list[Reason]:
        """Who may be picked, with which probability, and why the others may not."""
        shares = cluster.shares()
        spoken = []
        if isinstance(cluster, Subset):
            spoken.append(Reason("subset", str(cluster.wanted), cluster.how))
        if cluster.http2:
            how = ("by ALPN, or HTTP/1.1 where an endpoint chooses that" if cluster.by_alpn
                   else "HTTP/2 options of the cluster; what an endpoint gets is told as in HTTP/1.1")
            spoken.append(Reason("protocol", "HTTP/2", how))
        out = cluster.proxy_protocol
        if out is not None:
            told = "" if out.version == 1 else f"; we tell {_types(out.tell)}, and pass on {_types(out.pass_on)}"
            spoken.append(Reason("proxy header", f"version {out.version}",
                                 f"connections begin with it, and serve one client alone{told}"))
        elif cluster.unshared:
            spoken.append(Reason("connections", "not shared", "disable_conn_pool_reuse: each serves one client alone"))
        if cluster.affinity is not None:
            spoken.append(Reason("affinity", f"cookie {cluster.affinity.cookie}",
                                 "a client that brings it stays at its endpoint while that is ready; the shares are "
                                 "those of others"))
        listed = spoken + [self._endpoint(each, shares.get(each, 0.0)) for each in cluster.endpoints[:MOST_ENDPOINTS]]
        left = len(cluster.endpoints) - len(listed) + len(spoken)
        if left:
            listed.append(Reason("endpoints", f"{left} more", "not listed here"))
        if not cluster.endpoints:
            whose = "the subset" if isinstance(cluster, Subset) else "the cluster"
            listed.append(Reason("endpoints", "none", f"{whose} has no member"))
        return listed

    def _endpoint(self, endpoint: Endpoint, share: float) -> Reason:
        said = why(endpoint, share) if self._live else endpoint.reason
        if endpoint.weight <= 0 and not self._live:
            said = "its weight is 0"
        weight = f"weight {endpoint.weight}, " if endpoint.weight > 1 else ""
        name = f" ({endpoint.hostname})" if self._live and endpoint.hostname else ""
        place = f"; it is reached in network {endpoint.network}" if endpoint.network.apart else ""
        return Reason(f"endpoint {endpoint.key}{name}", f"{share:.1%}", f"{weight}{said}{place}")

    def _stand_in(self, name: str, serves: UpstreamCluster) -> Cluster | Subset:
        """A cluster like the one of this name, with endpoints that only look like its own; or its subset."""
        real = self.runtime.clusters[name]
        other = build_cluster(self.runtime.plans[name], lambda key: Pool(), Random(0), self._registry)
        other.install(EndpointSet(1, tuple(
            dataclasses.replace(each.state, ready=each.ready, reason=each.reason) for each in real.endpoints)))
        other.http2 = other.by_alpn = False     # what it would get is told in the words of HTTP/1.1
        if isinstance(serves, Subset):
            same = other.part(serves.wanted)
            assert isinstance(same, Subset)     # its rules are the same
            return same
        return other


# -- words -------------------------------------------------------------------------------------------------------------

def _likeliest(route: Route) -> Destination | None:
    """The destination that gets most of the requests, None where the route answers."""
    if not route.destinations:
        return None
    return max(shares(route.destinations, route.retract), key=lambda each: each[1])[0]


def _share(destination: Destination, share: float) -> Reason:
    said = f"weight {destination.weight}" if destination.weight > 1 else ""
    return Reason(f"cluster {destination.cluster_name}", f"{share:.1%}", said, destination.place)


def _of_head(head: RequestHead) -> Reason:
    """What the codec made of the head, where it is not what was written."""
    steps: list[Reason] = []
    if head.target != head.forward:
        steps.append(Reason("target", _text(head.forward),
                            f"the normal form of {_text(head.target)}: it is matched and sent on"))
    steps += [Reason(f"field {_text(name)}", "set aside", "it belongs to this connection and is not sent on")
              for name, _ in head.connection]
    if head.underscored:
        steps.append(Reason("fields", f"{head.underscored} dropped", "their names have a _, which origins may read as a -"))
    return Reason("request", "as read", "", None, tuple(steps))


def _filters(about: str, ran: list[Ran], when: str) -> list[Reason]:
    if not ran:
        return []
    steps = tuple(Reason(each.name, each.outcome, "", None, tuple(Reason("", change) for change in each.changes))
                  for each in ran)
    return [Reason(about, str(len(ran)), when, None, steps)]


def _head_reason(about: str, head: Head, why: str) -> Reason:
    return Reason(about, head.start, why, None,
                  tuple(Reason(f"{name}:", _value(name, value)) for name, value in head.fields))


def _value(name: str, value: str) -> str:
    if secret_name(name):
        return HIDDEN
    if name == "x-request-id":
        return "(a new one for each request)"
    return "(now)" if name == "date" else value


def _types(types: frozenset[int]) -> str:
    """Types of TLVs, in words."""
    if types == ALL_TLVS:
        return "everything that the proxy before us has told"
    return " ".join(map(tlv_name, sorted(types))) or "nothing"


def _server_name(question: Question) -> str:
    """What a client of the question's URL puts into its hello: an address is no name."""
    try:
        ip_address(question.host)
    except ValueError:
        return question.host.lower().removesuffix(".")
    return ""


def _plain_head(head: Head) -> Mapping[str, Any]:
    return {"start": head.start, "fields": [[name, _value(name, value)] for name, value in head.fields]}


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _forwarded(found: Any, outcome: str) -> Explanation:
    """What a forward proxy does; `outcome` is what it is called where nobody refuses."""
    return Explanation(
        "answered" if found.status else outcome, found.decisions, found.listener, found.host, status=found.status or None,
        flag=found.flag, refused_by=found.refused_by)
