"""Service policies of one virtual host, compiled into one function (objects.md 13).

All rules of all policies stand in one list, in the order in which they are asked: in a policy with DENY_OVERRIDES its DENY
rules first, in one with ALLOW_OVERRIDES its ALLOW rules. Every rule has a bit. What tells rules apart (host, method, path,
address, values of headers) is looked up in tables, each of which gives the bits of the rules that it does not rule out; the
lowest bit that is left in all of them is the first rule worth asking, and only what no table knows is asked of it. So 2,000
rules cost little more than one.

A rule with rate limits counts a request for which it holds, before it lets it pass or goes on; what is too much is refused by
the limit. One that refuses, only logs or only reports counts nothing.

The first rule that holds decides: DENY refuses, ALLOW lets pass, NEXT_POLICY goes on with the next policy, as does a policy of
which no rule holds. Behind the last policy everything is refused. A policy that only reports does not take part in that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.errors import Place
from voltgw.security.limiting import Limits, tell
from voltgw.security.tables import narrowing
from voltgw.values.reason import Reason
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from voltgw.config.objects.route import RouteSpec, RouteType
    from voltgw.security.conditions import Condition
    from voltgw.values.exchange import Exchange

#: The response flag of a request that is refused.
FLAG: Final = "SP"
#: What a rule that holds leads to.
DENY, ALLOW, NEXT, LOG = "DENY", "ALLOW", "NEXT_POLICY", "LOG"
#: The name that stands for "behind the last policy".
END: Final = "end of the policies"
#: What the policies are called together that only refuse.
BLOCKING: Final = "blocking policies"
#: Rules that `Chain.why` lists one by one.
MOST_SHOWN: Final = 100


class Hits:
    """How often a rule has held; at a reload it goes on counting."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Row(NamedTuple):
    """One rule for the metrics: names of the configuration, what it leads to, how often it held."""

    policy: str
    rule: str
    action: str
    hits: int


class PolicyRule(NamedTuple):
    """One rule as it was written: `action` is one of `DENY`, `ALLOW`, `NEXT`, `LOG`."""

    name: str
    action: str
    conditions: tuple[Condition, ...]
    find_place: Callable[[], Place]
    limits: Limits | None = None            # that count what it lets pass, or lets go on


class Policy(NamedTuple):
    """One policy: `servers` are its conditions on what is asked for; `order` an algorithm's name."""

    name: str                               # "namespace/name"
    order: str
    servers: tuple[Condition, ...]
    rules: tuple[PolicyRule, ...]
    report_only: bool
    find_place: Callable[[], Place]


class _Ruling:
    """A rule in the list of all."""

    __slots__ = (
        "action", "asked", "beyond", "conditions", "find_place", "hits", "label", "limits", "policy", "report", "rule",
        "too_many",
    )

    def __init__(self, policy: Policy, rule: PolicyRule, hits: Hits, beyond: int) -> None:
        self.policy = policy.name
        self.rule = rule.name
        self.label = f"{policy.name}/{rule.name}"
        self.action = rule.action
        self.report = policy.report_only
        self.conditions = (*policy.servers, *rule.conditions)
        self.asked: tuple[Callable[[Exchange], bool], ...] = ()     # what no table has decided
        self.hits = hits
        self.beyond = beyond                # keeps the bits of the policies behind this one
        self.find_place = rule.find_place
        self.limits = rule.limits if rule.action in (ALLOW, NEXT) and not policy.report_only else None
        self.too_many = None if self.limits is None else self.limits.judge


def ordered(rules: Iterable[PolicyRule], order: str) -> list[PolicyRule]:
    """The rules of a policy in the order in which they are asked: those that override first, else as they were written."""
    first = {"DENY_OVERRIDES": DENY, "ALLOW_OVERRIDES": ALLOW}.get(order)
    if first is None:
        return list(rules)
    return sorted(rules, key=lambda rule: rule.action not in (LOG, first))


class Chain:
    """The policies of a virtual host. `judge` is the request filter; `rehearse` says the same without counting."""

    def __init__(
        self, policies: Sequence[Policy], known: Mapping[str, Hits] | None = None, *, only_refuses: bool = False,
    ) -> None:
        """`known` has the counts so far by label; rules of the same label count on.

        One that `only_refuses` lets pass what none of its policies refuses, of every route; somebody else judges it then.
        """
        self.name = BLOCKING if only_refuses else "service policies"
        self.policies = tuple(policies)
        self.only_refuses = only_refuses
        self.enforced = not only_refuses and any(not policy.report_only for policy in policies)
        known = known or {}
        rulings: list[_Ruling] = []
        for policy in policies:
            end = len(rulings) + len(policy.rules)
            for rule in ordered(policy.rules, policy.order):
                rulings.append(_Ruling(policy, rule, known.get(f"{policy.name}/{rule.name}") or Hits(), -1 << end))
        self.rulings = tuple(rulings)
        self.end = known.get(END) or Hits()
        self.judge = service_policies(self)

    @property
    def hits(self) -> dict[str, Hits]:
        """The counts, for a chain that follows this one."""
        return {END: self.end, **{ruling.label: ruling.hits for ruling in self.rulings}}

    def has(self, label: str) -> bool:
        """Whether it is one of its rules, or its end, that is called so."""
        return label == END and not self.only_refuses or any(ruling.label == label for ruling in self.rulings)

    @property
    def text(self) -> str:
        """What it does, in words."""
        names = ", ".join(policy.name + (" (report only)" if policy.report_only else "") for policy in self.policies)
        return f"asks {names or 'no policy, so it refuses everything'}"

    def for_rule(self, rule: RouteType, namespace: str, spec: RouteSpec) -> Chain | None:
        """A route may say ``service_policy: {disable: true}``."""
        if self.only_refuses:
            return self
        return None if rule.service_policy is not None and rule.service_policy.disable else self

    @property
    def answer_filter(self) -> Callable[[Exchange], None] | None:
        """Answers say where a client stands, if a limit of a rule asks for it."""
        return tell if any(each.limits is not None and each.limits.answer_filter for each in self.rulings) else None

    def verdicts(self) -> Iterable[tuple[str, str, int]]:
        """What its policies have said: ``allow`` and ``deny``, or that a policy that only reports would have."""
        counts: dict[tuple[str, str], int] = {}
        for policy, _, action, hits in self.rows():
            verdict = {ALLOW: "allowed", DENY: "refused", "REPORT": "reported"}.get(action)
            if verdict is not None:
                key = policy or END, verdict
                counts[key] = counts.get(key, 0) + hits
        for (policy, verdict), hits in counts.items():
            yield policy, verdict, hits

    def rows(self) -> Iterable[Row]:
        """Every rule that has held, for the metrics."""
        for ruling in self.rulings:
            if ruling.hits.count:
                yield Row(ruling.policy, ruling.rule, "REPORT" if ruling.report else ruling.action, ruling.hits.count)
        if self.end.count:
            yield Row("", END, DENY, self.end.count)

    def rehearse(self, exchange: Exchange) -> tuple[Reply | None, Reason]:
        """The verdict and why, asked rule by rule and counted nowhere."""
        steps: list[Reason] = []
        index = 0
        for policy in self.policies:
            of_policy: list[Reason] = []
            decided: _Ruling | None = None
            for ruling in self.rulings[index:index + len(policy.rules)]:
                failed = next((_said(each, exchange) for each in ruling.conditions if not each.test(exchange)), None)
                about = f"rule {ruling.rule}"
                if failed is not None:
                    of_policy.append(Reason(about, "does not match", f"it is not so that {failed}", ruling.find_place()))
                    continue
                holds = " and ".join(_said(each, exchange) for each in ruling.conditions) or "it takes every request"
                of_policy.append(Reason(about, f"matches: {ruling.action}", holds, ruling.find_place()))
                if ruling.limits is not None:
                    too_many, counted = ruling.limits.rehearse(exchange)
                    of_policy.append(counted)
                    if too_many is not None:
                        steps.append(Reason(f"policy {policy.name}", "refused", counted.why, policy.find_place(),
                                            tuple(of_policy[-MOST_SHOWN:])))
                        return too_many, Reason(self.name, "refused", f"{counted.why}, of rule {ruling.label}",
                                                ruling.find_place(), tuple(steps))
                if ruling.action != LOG:
                    decided = ruling
                    break
            index += len(policy.rules)
            outcome = "none matches" if decided is None else decided.action
            passes_on = decided is None or decided.action == NEXT
            why = "it only reports" if policy.report_only else "the next policy decides" if passes_on else ""
            steps.append(Reason(f"policy {policy.name}", outcome, why, policy.find_place(), tuple(of_policy[:MOST_SHOWN])))
            if decided is not None and decided.action in (DENY, ALLOW) and not policy.report_only:
                refused = decided.action == DENY
                return (_refusal(decided.label) if refused else None), Reason(
                    self.name, "refused" if refused else "let pass", f"rule {decided.label}",
                    decided.find_place(), tuple(steps))
        if self.only_refuses:
            return None, Reason(self.name, "let pass", "none of them refuses it", None, tuple(steps))
        if not self.enforced and self.policies:
            return None, Reason(self.name, "let pass", "they only report", None, tuple(steps))
        return _refusal(END), Reason(self.name, "refused", "no policy lets it pass", None, tuple(steps))


def _said(condition: Condition, exchange: Exchange) -> str:
    """A condition, and what it has looked at."""
    return condition.text if condition.seen is None else f"{condition.text} ({condition.seen(exchange)})"


def _refusal(label: str) -> Reply:
    return Reply(403, flag=FLAG, detail=f"service_policy: {label}", negotiate=True)


def service_policies(chain: Chain) -> Callable[[Exchange], Reply | None]:
    """The filter of a chain."""
    rulings = chain.rulings
    narrow = narrowing(rulings)
    end = chain.end
    verdict_of_end = not chain.only_refuses and (chain.enforced or not chain.policies)

    def judge(exchange: Exchange) -> Reply | None:
        left = narrow(exchange)
        while left:
            low = left & -left
            ruling = rulings[low.bit_length() - 1]
            for test in ruling.asked:
                if not test(exchange):
                    break
            else:
                ruling.hits.count += 1
                action = ruling.action
                if action is LOG:
                    exchange.policy = f"{ruling.label} (logged)"
                elif ruling.report:
                    exchange.policy = f"{ruling.label} (report only: {action})"
                    left &= ruling.beyond
                    continue
                else:
                    if ruling.too_many is not None:
                        refused = ruling.too_many(exchange)
                        if refused is not None:
                            exchange.policy = ruling.label
                            return refused
                    if action is NEXT:
                        left &= ruling.beyond
                        continue
                    exchange.policy = ruling.label
                    return None if action is ALLOW else _refusal(ruling.label)
            left ^= low
        if verdict_of_end:
            end.count += 1
            exchange.policy = END
            return _refusal(END)
        return None

    return judge
