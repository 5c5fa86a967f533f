"""What becomes of a CONNECT, or of a request with a whole URL, at a forward proxy, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.proxy.forward.gate import SAFE_PORTS, torn
from voltgw.proxy.forward.interception import Action
from voltgw.proxy.forward.settings import assumed
from voltgw.security.destinations import literal
from voltgw.security.egress import ALLOW, DENY, FLAG, WAIT, Flow, Speaks
from voltgw.security.readings import readings
from voltgw.values.reason import Reason

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan, Runtime
    from voltgw.app.forward import Forward
    from voltgw.app.question import Question
    from voltgw.proxy.forward.settings import Egress
    from voltgw.values.head import RequestHead

#: Behind a proxy an address is connected to and no name; who asks without resolving cannot say which.
_LATER: Final = "when it is asked for: then each address is judged, and one of those that are left is connected to"


class Explained:
    """The decisions in their order, and what came of them; `status` 0 = it is let through."""

    def __init__(self, decisions: list[Reason]) -> None:
        self.decisions = decisions
        self.listener = ""
        self.host = ""
        self.status = 0
        self.refused_by = ""

    @property
    def flag(self) -> str:
        """The response flag of a refusal."""
        return FLAG if self.status else ""


def forward_plan(runtime: Runtime, question: Question) -> tuple[ListenerPlan | None, Reason]:
    """The forward proxy that a CONNECT comes to."""
    plans = [plan for plan in runtime.listeners.values() if plan.forward is not None and plan.forward.listens is not None]
    if question.listener is not None:
        at = question.listener
        plans = [plan for plan in plans if at.port in (plan.key.port, plan.port) and at.address in (None, plan.key.address)]
    if not plans:
        return None, Reason("listener", "none", "no explicit forward proxy of this site listens there" if question.listener
                            else "this site has no explicit forward proxy; virtual hosts refuse CONNECT (405)")
    chosen = plans[0]
    others = tuple(Reason(f"listener {plan.key}", "not looked at", f"it would do as well: --listener {plan.key}")
                   for plan in plans[1:])
    forward = chosen.forward
    assert forward is not None
    return chosen, Reason("listener", str(chosen.key), f"forward proxy of {forward.connector.title}", forward.connector.place(),
                          others)


def explain_connect(runtime: Runtime, question: Question) -> Explained:
    """What becomes of ``CONNECT host:port``."""
    plan, of_listener = forward_plan(runtime, question)
    result = Explained([of_listener])
    if plan is None or plan.forward is None:
        result.status = 405
        return result
    result.listener = str(plan.key)
    egress = _begin(result, plan.forward)
    host, port = question.host.lower().encode("ascii", "replace"), question.port or 443
    if ":" in question.host:
        host = b"[%b]" % host
    if not egress.tunnels_to(port):
        return _refuse(result, Reason("port", "refused", f"CONNECT may not lead to port {port} (`connect_ports`)"))
    address = _address(result, egress, host, port)
    if result.status:
        return result
    flow = Flow(question.source, b"" if address else host, port, assumed(port) if address is None else Speaks.UNKNOWN,
                address=address or "", connect=True)
    verdict = egress.policies.judge(flow)
    result.decisions.append(egress.policies.why(flow))
    if verdict.action == DENY:
        return _refuse(result, None, verdict.label)
    if address is not None and egress.unparsed(address, port) or port in egress.white_ports:
        result.decisions.append(Reason("inside", "not looked into", "the port or address is white-listed"))
        return result
    steps = [_heard(egress, flow, speaks) for speaks in (Speaks.TLS, Speaks.HTTP, Speaks.OTHER)]
    result.decisions.append(Reason("inside", "is heard", "what the client says first decides", None, tuple(steps)))
    return result


def explain_request(plan: ListenerPlan, question: Question, head: RequestHead, of_listener: Reason) -> Explained:
    """What becomes of a request with a whole URL."""
    forward = plan.forward
    assert forward is not None
    result = Explained([of_listener])
    result.listener = str(plan.key)
    egress = _begin(result, forward)
    port = question.port or (443 if question.scheme == "https" else 80)
    if port < 1024 and port not in SAFE_PORTS and not egress.tunnels_to(port):
        return _refuse(result, Reason("port", "refused", f"no requests are sent to port {port}"))
    address = _address(result, egress, head.host, port)
    if result.status:
        return result
    name = head.host if address is None else address.encode("ascii")
    paths = readings(head)
    flow = Flow(question.source, name, port, Speaks.HTTP, path=paths[0] if paths else head.path, address=address or "")
    if len(paths) != 1 and egress.policies.torn(flow, paths[1:]):
        return _refuse(result, Reason("path", "refused", torn().detail))
    verdict = egress.policies.judge(flow)
    result.decisions.append(egress.policies.why(flow))
    return _refuse(result, None, verdict.label) if verdict.action == DENY else result


def _begin(result: Explained, forward: Forward) -> Egress:
    egress = forward.egress
    result.host = f"{forward.host.namespace}/{forward.host.name}"
    if egress.users is not None:
        count = len(egress.users)
        result.decisions.append(Reason(
            "login", "required", f"realm {egress.realm!r} has {count} user{'s' * (count != 1)}; everybody else gets 407"))
    return egress


def _address(result: Explained, egress: Egress, host: bytes, port: int) -> str | None:
    """The address that the host is; None for a name. Says what the guard has against it."""
    try:
        address = literal(host)
    except ValueError as error:
        result.status = 400
        result.decisions.append(Reason("destination", "refused 400", str(error)))
        return None
    if address is None:
        network = egress.network
        where = f"in network {network}" if network.apart or network.dns_servers else "by the host's resolver"
        result.decisions.append(Reason("destination", "is looked up", f"{where}, {_LATER}"))
        return None
    why = egress.guard.refusal(address, port)
    if why:
        _refuse(result, Reason("destination", "refused", f"{address}: {why}; `allowed_prefixes` could allow it"))
    else:
        result.decisions.append(Reason("destination", address, "nothing is against that address"))
    return address


def _heard(egress: Egress, asked: Flow, speaks: Speaks) -> Reason:
    """What becomes of a tunnel in which that is spoken."""
    name = b"" if speaks is Speaks.OTHER else asked.name
    flow = Flow(asked.source, name, asked.port, speaks, address=asked.address, connect=True)
    opened = ""
    if speaks is Speaks.TLS and egress.interception is not None:
        action, why = egress.interception.why(name)
        flow.opened = action is Action.OPEN
        opened = f"; TLS is {'opened' if flow.opened else 'passed on' if action is Action.SPLICE else 'looked at'} ({why})"
    if speaks is Speaks.HTTP and egress.hears_requests:
        return Reason(speaks.value, "each request is judged", "a policy speaks of URLs")
    verdict = egress.policies.judge(flow)
    outcome = {ALLOW: "let through", DENY: "refused",
               WAIT: "each request is judged" if flow.opened else "decided by the address"}[verdict.action]
    about = "TLS with that server name" if speaks is Speaks.TLS and name else speaks.value
    return Reason(about, outcome, (f"rule {verdict.label}" if verdict.label else egress.policies.text) + opened)


def _refuse(result: Explained, reason: Reason | None, label: str = "") -> Explained:
    result.status = 403
    result.refused_by = label
    if reason is not None:
        result.decisions.append(reason)
    return result
