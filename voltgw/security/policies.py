"""Service policies of one virtual host, compiled into one function (objects.md 13).

All rules of all policies stand in one list, in the order in which they are asked: in a policy with DENY_OVERRIDES its DENY
rules first, in one with ALLOW_OVERRIDES its ALLOW rules. Every rule has a bit. What tells rules apart (host, method, path,
address, values of headers) is looked up in tables, each of which gives the bits of the rules that it does not rule out; the
lowest bit that is left in all of them is the first rule worth asking, and only what no table knows is asked of it. So 2,000
rules cost little more than one.

The first rule that holds decides: DENY refuses, ALLOW lets pass, NEXT_POLICY goes on with the next policy, as does a policy of
which no rule holds. Behind the last policy everything is refused. A policy that only reports does not take part in that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.errors import Place
from voltgw.security.addresses import number_of
from voltgw.security.conditions import Condition, judged_path
from voltgw.values.reason import Reason
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from voltgw.config.objects.route import RouteSpec, RouteType
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

    __slots__ = ("action", "asked", "beyond", "conditions", "find_place", "hits", "label", "policy", "report", "rule")

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

    answer_filter: Final = None

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
                failed = next((each.text for each in ruling.conditions if not each.test(exchange)), None)
                about = f"rule {ruling.rule}"
                if failed is not None:
                    of_policy.append(Reason(about, "does not match", f"it is not so that {failed}", ruling.find_place()))
                    continue
                holds = " and ".join(each.text for each in ruling.conditions) or "it takes every request"
                of_policy.append(Reason(about, f"matches: {ruling.action}", holds, ruling.find_place()))
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


def _refusal(label: str) -> Reply:
    return Reply(403, flag=FLAG, detail=f"service_policy: {label}", negotiate=True)


def service_policies(chain: Chain) -> Callable[[Exchange], Reply | None]:
    """The filter of a chain."""
    rulings = chain.rulings
    everything = (1 << len(rulings)) - 1
    hosts, methods, paths, addresses, headers = _tables(rulings)
    end = chain.end
    verdict_of_end = not chain.only_refuses and (chain.enforced or not chain.policies)

    def judge(exchange: Exchange) -> Reply | None:
        head = exchange.request
        left = everything
        if hosts is not None:
            left &= hosts[0].get(head.host, hosts[1])
        if methods is not None:
            left &= methods[0].get(head.method, methods[1])
        if paths is not None:
            path = judged_path(head)
            found = paths.exact.get(path, paths.rest)
            for length, table in paths.prefixes:
                found |= table.get(path[:length], 0)
            left &= found
        if addresses is not None:
            version, number = number_of(exchange.client_address)
            found = addresses.rest
            for shift, ranges in addresses.by_version.get(version, ()):
                found |= ranges.get(number >> shift, 0)
            left &= found
        if headers:
            fields = head.fields
            for name, table, found in headers:
                for key, value in fields:
                    if key == name:
                        found |= table.get(value, 0)
                left &= found
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
                elif action is NEXT:
                    left &= ruling.beyond
                    continue
                else:
                    exchange.policy = ruling.label
                    return None if action is ALLOW else _refusal(ruling.label)
            left ^= low
        if verdict_of_end:
            end.count += 1
            exchange.policy = END
            return _refusal(END)
        return None

    return judge


class _Paths(NamedTuple):
    exact: dict[bytes, int]
    prefixes: tuple[tuple[int, dict[bytes, int]], ...]
    rest: int


class _Addresses(NamedTuple):
    by_version: dict[int, list[tuple[int, dict[int, int]]]]
    rest: int


_ByValue = tuple[dict[bytes, int], int]
#: More headers than this are not looked up by table, for each costs a walk through the fields.
_MOST_HEADERS: Final = 4


def _tables(rulings: Sequence[_Ruling]) -> tuple[
        _ByValue | None, _ByValue | None, _Paths | None, _Addresses | None, list[tuple[bytes, dict[bytes, int], int]]]:
    """The tables that are worth having; sets what is left to ask of each rule."""
    uses: dict[str, int] = {}
    for ruling in rulings:
        for condition in ruling.conditions:
            if condition.table:
                uses[condition.table] = uses.get(condition.table, 0) + 1
    of_headers = sorted((name for name in uses if name.startswith("header ")), key=lambda name: -uses[name])[:_MOST_HEADERS]
    rows: dict[str, list[tuple[int, Condition]]] = {
        name: [] for name in ("host", "method", "path", "ip", *of_headers) if name in uses}
    rests = dict.fromkeys(rows, 0)
    for index, ruling in enumerate(rulings):
        bit = 1 << index
        asked: list[Callable[[Exchange], bool]] = []
        decided: set[str] = set()
        for condition in ruling.conditions:
            if condition.table in rows and condition.table not in decided:
                decided.add(condition.table)
                rows[condition.table].append((bit, condition))
                if not condition.decisive:
                    asked.append(condition.test)
            else:
                asked.append(condition.test)
        for name in rows:
            if name not in decided:
                rests[name] |= bit
        ruling.asked = tuple(asked)

    def by_value(name: str) -> _ByValue | None:
        return (_keyed(rows[name], rests[name]), rests[name]) if name in rows else None

    paths = _paths(rows["path"], rests["path"]) if "path" in rows else None
    addresses = _addresses(rows["ip"], rests["ip"]) if "ip" in rows else None
    headers = [(name.removeprefix("header ").encode("utf-8"), _keyed(rows[name], 0), rests[name]) for name in of_headers]
    return by_value("host"), by_value("method"), paths, addresses, headers


def _keyed(rows: Iterable[tuple[int, Condition]], rest: int) -> dict[bytes, int]:
    table: dict[bytes, int] = {}
    for bit, condition in rows:
        for key in condition.keys:
            table[key] = table.get(key, rest) | bit
    return table


def _paths(rows: Iterable[tuple[int, Condition]], rest: int) -> _Paths:
    exact: dict[bytes, int] = {}
    prefixes: dict[int, dict[bytes, int]] = {}
    for bit, condition in rows:
        for path in condition.keys[0]:
            exact[path] = exact.get(path, rest) | bit
        for prefix in condition.keys[1]:
            table = prefixes.setdefault(len(prefix), {})
            table[prefix] = table.get(prefix, 0) | bit
    return _Paths(exact, tuple(sorted(prefixes.items())), rest)


def _addresses(rows: Iterable[tuple[int, Condition]], rest: int) -> _Addresses:
    tables: dict[tuple[int, int], dict[int, int]] = {}
    for bit, condition in rows:
        for version, shift, top in condition.keys:
            table = tables.setdefault((version, shift), {})
            table[top] = table.get(top, 0) | bit
    by_version: dict[int, list[tuple[int, dict[int, int]]]] = {}
    for (version, shift), table in tables.items():
        by_version.setdefault(version, []).append((shift, table))
    return _Addresses(by_version, rest)
