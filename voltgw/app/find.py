"""Which listener and which virtual host a question comes to, and why not another."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from voltgw.config.suggest import did_you_mean
from voltgw.routing.hosts import MAX_NAME_BYTES, Rank
from voltgw.values.reason import Reason

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan, Runtime
    from voltgw.app.question import At, Question
    from voltgw.errors import Place
    from voltgw.routing.hosts import Entry, HostTable
    from voltgw.routing.route import VirtualHost
    from voltgw.values.head import RequestHead

#: Listeners and domains that are shown when they are not the one.
MOST_OTHERS: Final = 8
#: The port that a scheme means where none is written.
_PORTS: Final = {"http": 80, "https": 443}
_KINDS: Final = {"http": "HTTP", "https": "HTTPS", "tcp": "TCP", "tls": "TLS", "udp": "UDP"}


def find_listener(runtime: Runtime, question: Question, head: RequestHead | None) -> tuple[ListenerPlan | None, Reason]:
    """Where `question` comes in, and why there; None when nothing listens for it."""
    plans = list(runtime.listeners.values())
    kind = _KINDS[question.scheme]
    fitting = [plan for plan in plans if _speaks(plan, question)]
    others = tuple(Reason(f"listener {plan.key}", "not this one", plan.kind.value) for plan in plans
                   if plan not in fitting)[:MOST_OTHERS]
    if question.listener is not None:
        found = [plan for plan in fitting if _is_at(plan, question.listener)]
        if found:
            return found[0], _of_listener(runtime, found[0], "it was asked for")
        elsewhere = [plan for plan in plans if _is_at(plan, question.listener)]
        why = (f"{elsewhere[0].key} is a {elsewhere[0].kind.value} listener" if elsewhere
               else f"nothing listens on {question.listener}")
        return None, Reason("listener", "none", f"{why}; there is {_listed(plans)}")
    port = question.port or _PORTS.get(question.scheme, 0)
    found = [plan for plan in fitting if plan.port == port]
    found = found or [plan for plan in fitting if plan.key.port == port]        # gateway.port_map leads here
    said = f"the URL's port is {port}"
    if question.port is None and not found:
        found, said = fitting, f"the URL names no port, and nothing listens on {port}"
    if not found:
        return None, Reason("listener", "none", f"no {kind} listener has port {port}; there is {_listed(plans)}", None, others)
    here = [plan for plan in found if _has_address(plan, question.host)]
    if here:
        return here[0], _of_listener(runtime, here[0], f"{said}, and its address is the URL's")
    named = [plan for plan in found if head is not None and plan.table is not None
             and plan.table.find(head.host, head.port, plan.port) is not None]
    chosen = (named or found)[0]
    if len(found) == 1:
        return chosen, _of_listener(runtime, chosen, said if question.port or chosen.port == port
                                    else f"{said}: it is the only {kind} listener")
    said += ", and one of its virtual hosts takes the name" if named else ""
    rest = tuple(Reason(f"listener {plan.key}", "not looked at", f"it would do as well: --listener {plan.key}")
                 for plan in found if plan is not chosen)[:MOST_OTHERS]
    return chosen, _of_listener(runtime, chosen, said, rest)


def _speaks(plan: ListenerPlan, question: Question) -> bool:
    name = plan.kind.value
    if question.scheme == "udp":
        return plan.key.transport == "UDP"
    if question.scheme == "tls":
        return plan.tls
    if question.scheme == "tcp":
        return not plan.kind.http and plan.key.transport == "TCP" and not plan.tls
    return plan.kind.http and name.startswith("HTTPS") == (question.scheme == "https")


def _is_at(plan: ListenerPlan, at: At) -> bool:
    return (at.port in (plan.key.port, plan.port) and at.place in ("", plan.key.place)
            and (at.address is None or _same(plan.key.address, at.address)))


def _has_address(plan: ListenerPlan, host: str) -> bool:
    return plan.key.address is not None and _same(plan.key.address, host)


def _same(address: str | None, other: str) -> bool:
    """Whether two ways of writing an address mean the same; every address is everywhere."""
    if address is None:
        return True
    try:
        return ip_address(address) == ip_address(other)
    except ValueError:
        return address == other


def _listed(plans: list[ListenerPlan]) -> str:
    if not plans:
        return "no listener at all"
    shown = ", ".join(f"{plan.key} ({plan.kind.value})" for plan in plans[:MOST_OTHERS])
    return shown if len(plans) <= MOST_OTHERS else f"{shown} and {len(plans) - MOST_OTHERS} more"


def _of_listener(runtime: Runtime, plan: ListenerPlan, why: str, steps: tuple[Reason, ...] = ()) -> Reason:
    if plan.key.port != plan.port:
        why += f"; gateway.port_map binds {plan.key.port} for {plan.port}"
    if plan.terms.proxies is not None:
        why += f"; a PROXY header must come first, from a proxy in {', '.join(plan.terms.proxies)}"
    if plan.key.transport == "UDP" and plan.hosts[0].quic:
        why += "; QUIC connections keep their session by their connection ids when a client's address changes"
    if plan.key.transport == "UDP" and plan.hosts[0].per_packet:
        why += "; each datagram has its own choice of an endpoint"
    why += "".join(f"; {name} is {value}" for name, value in plan.limits.items())
    if plan.network.apart:
        why += f"; it listens in network {plan.network}"
    return Reason("listener", str(plan.key), f"{plan.kind.value}: {why}", _policy_place(runtime, plan), steps)


def _policy_place(runtime: Runtime, plan: ListenerPlan) -> Place | None:
    """Where the policy stands that opens a listener."""
    config = runtime.config
    for made in plan.hosts:
        host = config.of("virtual_host").get((made.namespace, made.name))
        for ref in host.spec.advertise_policies if host is not None else ():
            policy = config.find("advertise_policy", ref, made.namespace)
            if policy is not None and plan.port in policy.spec.ports:
                return policy.place()
    return None


# -- virtual hosts -----------------------------------------------------------------------------------------------------

def of_host(table: HostTable, head: RequestHead, listener_port: int) -> tuple[VirtualHost | None, Reason]:
    """The virtual host for `head`, and every domain that would have taken it, too."""
    name = head.host.decode("latin-1")
    port = listener_port if head.port is None else head.port
    entry = table.find(head.host, head.port, listener_port)
    candidates, near = _candidates(table, head.host, port)
    if entry is None:
        steps = tuple(_candidate(each, f"it is for port {each.domain.port} alone") for each in near[:MOST_OTHERS])
        hint = did_you_mean(name, [each.text for each in table.entries]) if not near else ""
        why = f"no domain of the {len(table.entries)} on this listener takes {name!r}" + (f"; {hint}" if hint else "")
        return None, Reason("virtual host", "none", why, None, steps)
    others = tuple(_candidate(each, _behind(each, entry)) for each in candidates if each is not entry)
    others += tuple(_candidate(each, f"it is for port {each.domain.port} alone") for each in near)
    return entry.host, Reason("virtual host", _name(entry), f"{name!r} {_taken(entry)}", entry.host.place,
                              others[:MOST_OTHERS])


def _name(entry: Entry) -> str:
    return f"{entry.host.namespace}/{entry.host.name}"


def _taken(entry: Entry) -> str:
    port = "" if entry.domain.port is None else ", for this port"
    if entry.domain.rank is Rank.ANY:
        return f"is taken by domain {entry.text!r}, which takes any name{port}; no better one takes it"
    return f"{entry.domain.rank.value}: domain {entry.text!r}{port}"


def _candidate(entry: Entry, why: str) -> Reason:
    return Reason(f"domain {entry.text!r}", f"not {_name(entry)}", why, entry.host.place)


def _behind(entry: Entry, chosen: Entry) -> str:
    if _group(entry) != _group(chosen):
        return "an exact name comes before it" if chosen.domain.rank is Rank.EXACT else "a suffix comes before it"
    if len(entry.domain.key) != len(chosen.domain.key):
        return "the other suffix is longer"
    return "the other one names the port"


def _group(entry: Entry) -> int:
    """Exact names, then suffixes, then the lone star."""
    return 0 if entry.domain.rank is Rank.EXACT else 2 if entry.domain.rank is Rank.ANY else 1


def _candidates(table: HostTable, host: bytes, port: int) -> tuple[list[Entry], list[Entry]]:
    """The entries that take `host` on `port`, the best first; and those that would on another port."""
    host = host.lower().removesuffix(b".")
    taking: list[Entry] = []
    near: list[Entry] = []
    for entry in table.entries:
        domain = entry.domain
        rank, key = domain.rank, domain.key
        if rank is Rank.EXACT:
            fits = key == host
        elif rank is Rank.ANY:
            fits = True
        else:
            fits = len(key) < len(host) <= MAX_NAME_BYTES and host.endswith(key)
        if fits:
            (taking if domain.port is None or domain.port == port else near).append(entry)
    taking.sort(key=lambda each: (_group(each), -len(each.domain.key), each.domain.port is None))
    return taking, near
