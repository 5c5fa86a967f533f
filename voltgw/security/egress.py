"""Policies of a forward proxy (objects.md 12.5 to 12.7), compiled: who may go where.

The first rule that holds decides; NEXT_POLICY, and a policy of which no rule holds, leave it to the next policy; behind the
last policy everything is refused. Where there is no policy at all, everything is let through.

What is known of a connection grows: at CONNECT there is a name and a port, later the hello of TLS, or a request with its
path. So a condition may also answer "not known yet" (None). `Policies.judge` then says `WAIT`, unless the answer could
change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from voltgw.errors import Place
from voltgw.security.addresses import Number, number_of
from voltgw.security.policies import ALLOW, DENY, END, MOST_SHOWN, NEXT, Hits, Row
from voltgw.values.reason import Reason

__all__ = ["ALLOW", "DENY", "END", "NEXT", "WAIT", "Condition", "EgressPolicy", "EgressRule", "Flow", "Policies", "Speaks",
           "Verdict"]

#: More must be heard before a policy can decide.
WAIT: Final = "WAIT"
#: The response flag of what a policy of the forward proxy refuses.
FLAG: Final = "FP"
#: … of clients that have not logged in.
LOGIN_FLAG: Final = "PA"


class Speaks(Enum):
    """What a client says behind its destination's name."""

    UNKNOWN = "not heard yet"
    HTTP = "HTTP"
    TLS = "TLS"
    OTHER = "neither HTTP nor TLS"


class Flow:
    """What is known of one connection or request.

    `name` is lower-case, b"" = none is known. `address` "" = it has not been looked up yet. `path` is what policies judge
    (the first of `voltgw.security.readings.readings`), None = not heard yet. `opened`: the requests inside TLS will be (or
    are) looked at. `connect` says that the client has asked for a tunnel.
    """

    __slots__ = ("address", "connect", "name", "number", "opened", "path", "port", "source", "speaks")

    def __init__(
        self, source: str, name: bytes, port: int, speaks: Speaks = Speaks.UNKNOWN, *, address: str = "",
        path: bytes | None = None, opened: bool = False, connect: bool = False,
    ) -> None:
        self.source = source
        self.name = name
        self.port = port
        self.speaks = speaks
        self.path = path
        self.opened = opened
        self.connect = connect
        self.to(address)

    def to(self, address: str) -> Flow:
        """The same to another address."""
        self.address = address
        self.number: Number | None = number_of(address) if address else None
        return self


class Condition(NamedTuple):
    """One condition: a sentence, and a function that says True, False or None ("not known yet")."""

    text: str
    test: Callable[[Flow], bool | None]


class EgressRule(NamedTuple):
    """One rule as it was written; all of its conditions must hold. `action` is `ALLOW`, `DENY` or `NEXT`."""

    name: str
    action: str
    conditions: tuple[Condition, ...]
    find_place: Callable[[], Place]

    def holds(self, flow: Flow) -> bool | None:
        """Whether all of its conditions do."""
        known: bool | None = True
        for condition in self.conditions:
            found = condition.test(flow)
            if found is False:
                return False
            if found is None:
                known = None
        return known


class EgressPolicy(NamedTuple):
    """One policy; `name` is ``namespace/name``. `about_requests`: a rule of it is about hosts and paths of requests."""

    name: str
    rules: tuple[EgressRule, ...]
    find_place: Callable[[], Place]
    about_requests: bool = False


class Verdict(NamedTuple):
    """`action` is `ALLOW`, `DENY` or `WAIT`; `label` names the rule, "" where there is no policy."""

    action: str
    label: str
    hits: Hits | None = None

    @property
    def allowed(self) -> bool:
        """Whether it may go on."""
        return self.action == ALLOW

    def counted(self) -> Verdict:
        """Count it where its rule is counted: a verdict that is acted on, and not one that was only asked for."""
        if self.hits is not None:
            self.hits.count += 1
        return self


_FREE: Final = Verdict(ALLOW, "")


class Policies:
    """The policies of one forward proxy, in order."""

    name: Final = "forward proxy policies"

    def __init__(
        self, policies: Sequence[EgressPolicy], known: Mapping[str, Hits] | None = None, *, judged: bool = True,
    ) -> None:
        """`known` has the counts so far by label. Not `judged`: no firewall asks for policies, so everything is let through."""
        self.policies = tuple(policies)
        self.judged = judged
        self.about_requests = any(policy.about_requests for policy in policies)
        known = known or {}
        self.hits: dict[str, Hits] = {
            label: known.get(label) or Hits()
            for label in (END, *(f"{policy.name}/{rule.name}" for policy in policies for rule in policy.rules))}
        self._rules = tuple(
            tuple((rule, Verdict(rule.action, label := f"{policy.name}/{rule.name}", self.hits[label]))
                  for rule in policy.rules)
            for policy in policies)
        self._end = Verdict(DENY, END, self.hits[END])

    @property
    def text(self) -> str:
        """What they are, in words."""
        if not self.judged:
            return "no network_firewall of the fleet has forward proxy policies, so everything is let through"
        names = ", ".join(policy.name for policy in self.policies)
        return f"asks {names}" if names else "there is no policy in service, so everything is refused"

    def judge(self, flow: Flow) -> Verdict:
        """What is to be done with `flow`, as far as can be told. Counts nothing."""
        if not self.judged:
            return _FREE
        perhaps: set[str] = set()
        for rules in self._rules:
            for rule, verdict in rules:
                holds = rule.holds(flow)
                if holds is False:
                    continue
                if holds is None:
                    perhaps.add(rule.action)
                    continue
                if rule.action == NEXT:
                    break
                return _unless(perhaps, verdict)
        return _unless(perhaps, self._end)

    def torn(self, flow: Flow, others: Sequence[bytes]) -> bool:
        """Whether some rule holds for one reading of the request's path and not for another (`voltgw.security.readings`).

        Without `others` there are too many of them; then every rule about requests counts as one.
        """
        path = flow.path
        if not others:
            return self.judged and self.about_requests
        found = set()
        for reading in (path, *others):
            flow.path = reading
            found.add(tuple(rule.holds(flow) for rules in self._rules for rule, _ in rules))
        flow.path = path
        return self.judged and len(found) > 1

    def rows(self) -> Iterable[Row]:
        """Every rule that has decided something, for the metrics."""
        for policy in self.policies:
            for rule in policy.rules:
                count = self.hits[f"{policy.name}/{rule.name}"].count
                if count:
                    yield Row(policy.name, rule.name, rule.action, count)
        if self.hits[END].count:
            yield Row("", END, DENY, self.hits[END].count)

    def place_of(self, label: str) -> Place | None:
        """Where the rule of that label stands."""
        return next((rule.find_place() for policy in self.policies for rule in policy.rules
                     if f"{policy.name}/{rule.name}" == label), None)

    def why(self, flow: Flow) -> Reason:
        """The same rule by rule, counted nowhere."""
        verdict = self.judge(flow)
        steps: list[Reason] = []
        for policy in self.policies:
            of_policy: list[Reason] = []
            outcome, ends = "none holds", False
            for rule in policy.rules:
                failed = next((each for each in rule.conditions if each.test(flow) is False), None)
                unsure = next((each for each in rule.conditions if each.test(flow) is None), None)
                about = f"rule {rule.name}"
                if failed is not None:
                    of_policy.append(Reason(about, "does not hold", f"it is not so that {failed.text}", rule.find_place()))
                elif unsure is not None:
                    of_policy.append(Reason(about, f"perhaps: {rule.action}", f"it is not known yet whether {unsure.text}",
                                            rule.find_place()))
                else:
                    said = " and ".join(each.text for each in rule.conditions) or "it takes everything"
                    of_policy.append(Reason(about, f"holds: {rule.action}", said, rule.find_place()))
                    outcome, ends = rule.action, rule.action != NEXT
                    break
            steps.append(Reason(f"policy {policy.name}", outcome, "" if ends else "the next policy decides",
                                policy.find_place(), tuple(of_policy[:MOST_SHOWN])))
            if ends:
                break
        said = {ALLOW: "let through", DENY: "refused", WAIT: "decided when more was heard"}[verdict.action]
        because = self.text if not verdict.label else (
            "no policy lets it through" if verdict.label == END else f"rule {verdict.label}")
        return Reason(self.name, said, because, None, tuple(steps))


def _unless(perhaps: set[str], verdict: Verdict) -> Verdict:
    """`verdict`, unless a rule before it might hold and decide otherwise."""
    return verdict if perhaps <= {verdict.action} else Verdict(WAIT, verdict.label)
