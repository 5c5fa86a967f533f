"""Which service policies judge the requests of a virtual host, and the chain that they make (objects.md 13).

A virtual host's own list wins, then ``no_service_policies``; otherwise the ``service_policy_set`` of its namespace judges, if
there is one. A policy that is out of service (``metadata: {disable: true}``) takes no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.lists import Known, prefixes_of, systems_of
from voltgw.config.values import Ref
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.routing.problems import Collector, ProblemError, at
from voltgw.security.conditions import Surroundings, of_rule, of_servers, of_sources
from voltgw.security.limiting import Limits
from voltgw.security.policies import ALLOW, DENY, LOG, NEXT, Chain, Hits, Policy, PolicyRule

if TYPE_CHECKING:
    from voltgw.app.limiters import HostLimits
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.service_policy import ServicePolicySpec
    from voltgw.config.objects.service_policy_rule import ServicePolicyRuleSpec
    from voltgw.config.objects.service_policy_set import ServicePolicySetSpec
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.errors import Place
    from voltgw.routing.problems import Placer
    from voltgw.security.addresses import Prefixes
    from voltgw.security.limiting import Limiter


#: The policies that are built in, by what they do with every request.
_BUILT_IN: Final = {"ves-io-allow-all": ALLOW, "ves-io-deny-all": DENY}


def policy_refs(config: Config, host: Object[VirtualHostSpec]) -> tuple[Object[Any], Sequence[Ref], str] | None:
    """The object that lists a host's policies, the list, and the field in which it stands; None = nobody judges.

    Raises `ConfigErrors` when there is a doubt, for then someone would be admitted by a guess.
    """
    spec = host.spec
    if spec.no_service_policies:
        return None
    if spec.active_service_policies is not None:
        found: tuple[Object[Any], Sequence[Ref], str] = host, spec.active_service_policies.policies, "active_service_policies"
    else:
        sets: list[Object[ServicePolicySetSpec]] = [
            one for (namespace, _), one in config.of("service_policy_set").items() if namespace == host.namespace]
        if not sets:
            return None
        if len(sets) > 1:
            raise ConfigErrors((ConfigError(
                "VG0115", sets[1].place(), f"namespace {host.namespace} has several service_policy_sets; which of them would "
                f"judge the requests of {host.title} is not known", related=(("the first one", sets[0].place()),)),))
        if sets[0].spec.type not in (None, "", "NETWORK_SECURITY"):
            raise ConfigErrors((ConfigError(
                "VG0115", sets[0].place("type"), f"{sets[0].title} is for {sets[0].spec.type}, which is not acted on; it "
                f"exists to refuse requests of {host.title}, which ignoring it would admit"),))
        found = sets[0], sets[0].spec.policies, "policies"
    return found


def guarding(config: Config, host: Object[VirtualHostSpec]) -> list[Object[Any]]:
    """Every object that the chain of a host is made of. Raises `ConfigErrors`."""
    listed = policy_refs(config, host)
    blocking = blocking_refs(host)
    if listed is None and not blocking:
        return []
    found: list[Object[Any]] = [] if listed is None or listed[0] is host else [listed[0]]
    named: list[tuple[Object[Any], Ref]] = [(host, ref) for ref in blocking]
    if listed is not None:
        named += [(listed[0], ref) for ref in listed[1]]

    def sets(kind: str, refs: Sequence[Ref], namespace: str) -> None:
        found.extend(one for ref in refs if (one := config.find(kind, ref, namespace)) is not None)

    def of_rule_spec(spec: ServicePolicyRuleSpec | None, namespace: str) -> None:
        if spec is not None and spec.ip_matcher is not None:
            sets("ip_prefix_set", spec.ip_matcher.prefix_sets, namespace)
        if spec is not None and spec.asn_matcher is not None:
            sets("bgp_asn_set", spec.asn_matcher.asn_sets, namespace)
        if spec is not None:
            sets("rate_limiter", spec.rate_limiter, namespace)

    for holder, ref in named:
        policy = config.find("service_policy", ref, holder.namespace)
        if policy is None:
            continue
        found.append(policy)
        spec: ServicePolicySpec = policy.spec
        for source in (spec.allow_list, spec.deny_list):
            if source is not None:
                sets("ip_prefix_set", source.ip_prefix_set, policy.namespace)
                sets("bgp_asn_set", source.asn_set, policy.namespace)
        for rule in spec.rule_list.rules_ if spec.rule_list is not None else ():
            of_rule_spec(rule.spec, policy.namespace)
        for rule_ref in (*spec.rules_, *(spec.legacy_rule_list.rules_ if spec.legacy_rule_list is not None else ())):
            one = config.find("service_policy_rule", rule_ref, policy.namespace)
            if one is not None:
                found.append(one)
                of_rule_spec(one.spec, one.namespace)
    return found


def blocking_refs(host: Object[VirtualHostSpec]) -> Sequence[Ref]:
    """The policies of a host that only refuse."""
    return host.spec.voltgw.blocking_policies if host.spec.voltgw is not None else ()


def blocking_of(
    config: Config, host: Object[VirtualHostSpec], place_of: Callable[[Object[Any]], Placer], counted: Mapping[str, Hits],
    wall: Callable[[], float], known: Known, limits: HostLimits,
) -> Chain | None:
    """The chain of those, None when there are none. Raises `BuildErrors` with all that is wrong."""
    refs = blocking_refs(host)
    if not refs:
        return None
    found = Collector()
    work = _Chaining(config, host, place_of, wall, found, known, limits, proven=False)
    policies: list[Policy] = []
    for number, ref in enumerate(refs):
        path = ("voltgw", "blocking_policies", number)
        with found.at(place_of(host), *path):
            policy = work.policy(host, ref, partial(place_of(host), *path))
            if policy is not None:
                policies.append(policy)
    found.finish()
    return Chain(policies, counted, only_refuses=True)


def chain_of(
    config: Config, host: Object[VirtualHostSpec], place_of: Callable[[Object[Any]], Placer], counted: Mapping[str, Hits],
    wall: Callable[[], float], known: Known, limits: HostLimits,
) -> Chain | None:
    """The chain of a host, None when nobody judges its requests. Raises `BuildErrors` with all that is wrong."""
    listed = policy_refs(config, host)
    if listed is None:
        return None
    holder, refs, field = listed
    found = Collector()
    work = _Chaining(config, host, place_of, wall, found, known, limits, proven=True)
    policies: list[Policy] = []
    for number, ref in enumerate(refs):
        path = (field, number) if field == "policies" else (field, "policies", number)
        with found.at(place_of(holder), *path):
            policy = work.policy(holder, ref, partial(place_of(holder), *path))
            if policy is not None:
                policies.append(policy)
    found.finish()
    return Chain(policies, counted)


class _Chaining:
    """Builds the policies of one host."""

    def __init__(
        self, config: Config, host: Object[VirtualHostSpec], place_of: Callable[[Object[Any]], Placer],
        wall: Callable[[], float], found: Collector, known: Known, limits: HostLimits, *, proven: bool,
    ) -> None:
        """`proven`: it is known by then who has sent a request, so users may be told apart by claims."""
        self.config = config
        self.host = host
        self.place_of = place_of
        self.wall = wall
        self.found = found
        self.known = known
        self.limits = limits
        self.proven = proven

    def policy(self, holder: Object[Any], ref: Ref, find_place: Callable[[], Place]) -> Policy | None:
        """The policy that `ref` means, None when it is out of service. Raises ValueError when there is none."""
        policy = self.config.find("service_policy", ref, holder.namespace)
        if policy is None:
            action = _BUILT_IN.get(ref.name)
            if action is not None:
                return Policy(f"{ref.namespace or 'shared'}/{ref.name}", "FIRST_MATCH", (),
                              (PolicyRule("all", action, (), find_place),), False, find_place)
            if next(self.config.candidates("service_policy", ref, holder.namespace), None) is not None:
                return None
            raise ProblemError(f'there is no service_policy "{ref.name}", so whom it refuses is not known')
        spec: ServicePolicySpec = policy.spec
        place = self.place_of(policy)
        with self.found.at(place):
            around = self.around(policy)
            return Policy(policy.full_name, spec.algo.value, tuple(of_servers(spec, around)), tuple(self.rules(policy)),
                          spec.voltgw is not None and spec.voltgw.report_only, partial(place))
        return None                         # what is wrong with it has been noted

    def around(self, holder: Object[Any]) -> Surroundings:
        """What conditions in an object may ask for."""

        def prefixes(ref: Ref) -> Prefixes:
            return prefixes_of(self.config, ref, holder.namespace, self.known.lists)

        def systems(ref: Ref) -> tuple[int, ...]:
            return systems_of(self.config, ref, holder.namespace)

        proxy = self.host.spec.proxy
        relays = "" if proxy.http else "UDP" if proxy.transport == "UDP" else "TLS" if proxy.tls or proxy.named else "TCP"
        return Surroundings(
            self.host.name, self.host.metadata.labels, prefixes, self.wall, relays, systems, self.known.geo)

    def rules(self, policy: Object[ServicePolicySpec]) -> Iterator[PolicyRule]:
        """The rules of a policy, as they were written. Raises ValueError."""
        spec, place = policy.spec, self.place_of(policy)
        around = self.around(policy)
        if spec.allow_all_requests:
            yield PolicyRule("allow_all_requests", ALLOW, (), partial(place, "allow_all_requests"))
        elif spec.deny_all_requests:
            yield PolicyRule("deny_all_requests", DENY, (), partial(place, "deny_all_requests"))
        for name, listed, action in (("allow_list", spec.allow_list, ALLOW), ("deny_list", spec.deny_list, DENY)):
            if listed is None:
                continue
            with at(name):
                yield PolicyRule(name, action, tuple(of_sources(listed, around)), partial(place, name))
            for rest, then in (("deny", DENY), ("allow", ALLOW)):
                if getattr(listed, f"default_action_{rest}"):
                    field = f"default_action_{rest}"
                    yield PolicyRule(f"{name}.{field}", then, (), partial(place, name, field))
        for number, rule in enumerate(spec.rule_list.rules_ if spec.rule_list is not None else ()):
            path = ("rule_list", "rules", number)
            named = rule.metadata.name if rule.metadata is not None else f"rule {number}"
            if rule.spec is not None and not (rule.metadata is not None and rule.metadata.disable):
                with at(*path, "spec"):
                    yield self.rule(policy, named, rule.spec, around, partial(place, *path))
        for name, refs in (("rules", spec.rules_), (
                "legacy_rule_list", spec.legacy_rule_list.rules_ if spec.legacy_rule_list is not None else ())):
            for number, ref in enumerate(refs):
                yield from self.referred(policy, ref, (name, number) if name == "rules" else (name, "rules", number))

    def referred(self, policy: Object[ServicePolicySpec], ref: Ref, path: tuple[str | int, ...]) -> Iterator[PolicyRule]:
        """The rule that `ref` means; none if it is out of service."""
        one = self.config.find("service_policy_rule", ref, policy.namespace)
        if one is None:
            if next(self.config.candidates("service_policy_rule", ref, policy.namespace), None) is None:
                with at(*path):
                    raise ProblemError(f'there is no service_policy_rule "{ref.name}", so whom it refuses is not known')
            return
        place = self.place_of(one)
        with self.found.at(place):
            yield self.rule(one, one.name, one.spec, self.around(one), partial(place))

    def rule(
        self, holder: Object[Any], name: str, spec: ServicePolicyRuleSpec, around: Surroundings,
        find_place: Callable[[], Place],
    ) -> PolicyRule:
        """One rule, which stands in `holder`. Raises ValueError."""
        action = LOG if spec.log_rule_evaluation else {DENY: DENY, ALLOW: ALLOW}.get(spec.action.value, NEXT)
        conditions = tuple(of_rule(spec, around))
        limiters: list[Limiter] = []
        for number, ref in enumerate(spec.rate_limiter):
            with at("rate_limiter", number):
                limiters.append(self.limits.of_policies(ref, holder.namespace, proven=self.proven))
        return PolicyRule(name, action, conditions, find_place, Limits(limiters) if limiters else None)
