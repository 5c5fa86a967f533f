"""Which rate limits hold for the requests of a virtual host, and of each of its rules (objects.md 14).

The virtual host's ``rate_limiter`` counts every request; a rule, or its route object, may add its own (``voltgw: {rate_limiter:
[...]}``) or say that none holds. A rule of a service policy counts what it holds for. Users are told apart by what the limiter
says, else by what the virtual host says, else by their address. One limiter of one virtual host has one store, wherever in it
the limiter is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.lists import Known, prefixes_of
from voltgw.config.objects.rate_limiter import LimitFields, RateLimitPeriodUnit
from voltgw.config.values import Ref
from voltgw.routing.problems import Collector, ProblemError, at
from voltgw.security.addresses import Prefixes
from voltgw.security.limiting import Limiter, Limits, Telling, pace_of
from voltgw.security.rates import Pace
from voltgw.security.users import described, needs_claims, user_of
from voltgw.values.defaults import MAX_RATE_LIMIT_USERS

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.rate_limiter import RateLimiterSpec, RateLimitValue
    from voltgw.config.objects.route import RouteSpec, RouteType
    from voltgw.config.objects.user_identification import UserIdentificationRule, UserIdentificationSpec
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.routing.problems import Placer

_UNITS_S: Final = {
    RateLimitPeriodUnit.SECOND: 1.0, RateLimitPeriodUnit.MINUTE: 60.0, RateLimitPeriodUnit.HOUR: 3600.0,
    RateLimitPeriodUnit.DAY: 86400.0,
}


def limit_objects(
    config: Config, host: Object[VirtualHostSpec], routes: Sequence[Object[RouteSpec]], of_policies: Sequence[Object[Any]],
) -> list[Object[Any]]:
    """Every object that the limits of a host are made of, each once; `of_policies` are the limiters that its policies name."""
    found: dict[int, Object[Any]] = {}

    def add(kind: str, refs: Sequence[Ref], namespace: str) -> None:
        for ref in refs:
            one = config.find(kind, ref, namespace)
            if one is not None:
                found[id(one)] = one

    def add_limiters(refs: Sequence[Ref], namespace: str) -> None:
        for ref in refs:                    # two functions: one that called itself would be a cycle, which keeps `config`
            one = config.find("rate_limiter", ref, namespace)
            if one is not None:
                found[id(one)] = one
                add("user_identification", one.spec.user_identification, one.namespace)

    spec = host.spec
    for one in of_policies:
        found[id(one)] = one
        add("user_identification", one.spec.user_identification, one.namespace)
    add_limiters(spec.rate_limiter, host.namespace)
    for route in routes:
        for extension in (route.spec.voltgw, *(rule.voltgw for rule in route.spec.routes)):
            if extension is not None:
                add_limiters(extension.rate_limiter, route.namespace)
    if found:
        add("user_identification", spec.user_identification, host.namespace)
        add("ip_prefix_set", spec.rate_limiter_allowed_prefixes, host.namespace)
    return list(found.values())


def pace_in(value: RateLimitValue) -> Pace:
    """What one ``limits`` entry allows."""
    block = value.action_block
    spans = (block.seconds, block.minutes, block.hours) if block is not None else ()
    lasts = next((each.duration_s for each in spans if each is not None), None)
    return pace_of(value.total_number, _UNITS_S[value.unit], value.period_multiplier or 1, value.burst_multiplier or 1,
                   strict=value.token_bucket is not None, block_s=lasts or 0.0)


class HostLimits:
    """Makes the limiters of one host, and of those that hold for its requests or its routes two gates (`gates`)."""

    def __init__(
        self, config: Config, host: Object[VirtualHostSpec], routes: Sequence[Object[RouteSpec]],
        place_of: Callable[[Object[Any]], Placer], before: Sequence[Limits], known: Known,
    ) -> None:
        self._config = config
        self._known = known
        self._host = host
        self._place_of = place_of
        self._before = {limiter.name: limiter for limits in before for limiter in limits.all}
        self._made: dict[int, Limiter] = {}         # by the object's id
        self._late: set[int] = set()                # those, by their own id, that need claims
        found = Collector()
        exempt: list[Prefixes] = []
        with found.at(place_of(host), "rate_limiter_allowed_prefixes"):
            exempt = [prefixes_of(config, ref, host.namespace, known.lists) for ref in host.spec.rate_limiter_allowed_prefixes]
        self._exempt = Prefixes((), exempt) if exempt else None
        whole: list[Limiter] = []
        for number, ref in enumerate(host.spec.rate_limiter):
            with found.at(place_of(host), "rate_limiter", number):
                whole.append(self._limiter(ref, host.namespace))
        of_rules: dict[int, list[Limiter]] = {}     # by the id of the rule's extension
        for route in routes:
            for path, extension in self._extensions(route):
                for number, ref in enumerate(extension.rate_limiter):
                    with found.at(place_of(route), *path, "rate_limiter", number):
                        of_rules.setdefault(id(extension), []).append(self._limiter(ref, route.namespace))
        found.finish()
        self._whole = whole
        self._of_rules = of_rules

    def gates(self) -> tuple[Limits | None, Limits | None]:
        """What counts before anybody is authenticated, and what is told apart by claims.

        They tell of all limiters, those of policies among them.
        """
        self._before = {}                           # what was before may go
        return self._gate(self._whole, self._of_rules, late=False), self._gate(self._whole, self._of_rules, late=True)

    def of_policies(self, ref: Ref, namespace: str, *, proven: bool) -> Limiter:
        """The limiter that a rule of a service policy names; `proven`: claims are known by then. Raises ValueError."""
        limiter = self._limiter(ref, namespace)
        if id(limiter) in self._late and not proven:
            raise ProblemError(
                f"{limiter.name} tells users apart by a claim, and this policy is asked before it is known who sends a request")
        return limiter

    @staticmethod
    def _extensions(route: Object[RouteSpec]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
        if route.spec.voltgw is not None:
            yield ("voltgw",), route.spec.voltgw
        for number, rule in enumerate(route.spec.routes):
            if rule.voltgw is not None:
                yield ("routes", number, "voltgw"), rule.voltgw

    def _gate(self, whole: Sequence[Limiter], of_rules: dict[int, list[Limiter]], *, late: bool) -> Limits | None:
        def ours(limiters: Sequence[Limiter]) -> tuple[Limiter, ...]:
            return tuple(dict.fromkeys(each for each in limiters if (id(each) in self._late) is late))

        known: dict[tuple[Limiter, ...], Limits] = {}

        def for_rule(rule: RouteType, namespace: str, spec: RouteSpec) -> Limits | None:
            extensions = [each for each in (rule.voltgw, spec.voltgw) if each is not None]
            if any(each.no_rate_limit for each in extensions):
                return None
            added = next((each for each in extensions if each.rate_limiter), None)
            limiters = ours((*whole, *(of_rules.get(id(added), ()) if added is not None else ())))
            if limiters not in known:
                known[limiters] = Limits(limiters)
            return known[limiters]

        everything = ours(list(self._made.values()))
        return Limits(ours(whole), for_rule, everything) if everything else None

    def _limiter(self, ref: Ref, namespace: str) -> Limiter:
        """The limiter that `ref` means. Raises ValueError when there is none: how much users may send is then not known."""
        one: Object[RateLimiterSpec] | None = self._config.find("rate_limiter", ref, namespace)
        if one is None:
            raise ProblemError(f'there is no rate_limiter "{ref.name}" in service, so how much users may send is not known')
        if id(one) in self._made:
            return self._made[id(one)]
        spec = one.spec
        rules = self._rules(one)
        extension = spec.voltgw
        how = extension.fields if extension is not None else LimitFields.ON_REFUSAL
        page = self._host.spec.temporary_user_blocking
        most = extension.most_users if extension is not None and extension.most_users is not None else MAX_RATE_LIMIT_USERS
        limiter = Limiter(
            one.full_name, self._known.new_store(f"{self._host.full_name} {one.full_name}", pace_in(spec.limits[0]), most),
            user_of(rules, self._known.geo), described(rules),
            self._exempt,
            report_only=extension is not None and extension.report_only,
            telling=Telling(
                how is LimitFields.ON_REFUSAL, how is LimitFields.ALWAYS, extension is not None and extension.x_fields),
            find_place=partial(self._place_of(one)),
            blocking_page=page.custom_page if page is not None and page.custom_page is not None else b"")
        before = self._before.get(one.full_name)
        if before is not None:
            limiter.counts_on(before)
        if needs_claims(rules):
            self._late.add(id(limiter))
        self._made[id(one)] = limiter
        return limiter

    def _rules(self, limiter: Object[RateLimiterSpec]) -> tuple[UserIdentificationRule, ...]:
        """What tells its users apart."""
        refs, holder = limiter.spec.user_identification, limiter
        if not refs:
            refs, holder = self._host.spec.user_identification, self._host      # type: ignore[assignment]  # any object will do
        if not refs:
            return ()
        one: Object[UserIdentificationSpec] | None = self._config.find("user_identification", refs[0], holder.namespace)
        if one is None:
            with at("user_identification", 0):
                raise ProblemError(
                    f'there is no user_identification "{refs[0].name}" in service, so users cannot be told apart')
        return one.spec.rules_
