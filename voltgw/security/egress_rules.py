"""The rules of forward_proxy_policy objects, compiled (objects.md 12.5 to 12.7).

Semantics beyond the object model:

* Names compare without case and without a trailing dot; a suffix also takes the bare name, and only whole labels.
* `tls_list` is about TLS by its server name, `http_list` about requests by host and path, those inside TLS that is opened
  included. What is both (a request inside opened TLS) meets either.
* `dest_list` is for the rest: what is neither HTTP nor TLS with a server name. Where it *denies* it is about everything that
  goes to these addresses and ports, for an operator who lists them wants nobody there.
* The path is judged as service policies judge it: normal form, escapes decoded; the query is not a part of it.
* A default action that is not said is "the next policy", and behind the last policy everything is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from voltgw.routing.problems import ProblemError, at
from voltgw.routing.regex.pattern import ANY, Pattern
from voltgw.security.addresses import Prefixes, number_of
from voltgw.security.egress import ALLOW, DENY, NEXT, Condition, EgressRule, Flow, Speaks

if TYPE_CHECKING:
    from voltgw.config.objects.forward_proxy_policy import (
        ForwardProxyAdvancedRuleType,
        ForwardProxyPolicySpec,
        ForwardProxySimpleRuleType,
        L4DestType,
        URLType,
    )
    from voltgw.config.objects.parts import DomainType
    from voltgw.config.values import Range, Ref
    from voltgw.routing.problems import Placer

#: A reference to an ip_prefix_set -> its prefixes.
FindPrefixes: TypeAlias = "Callable[[Ref], Sequence[str]]"
_Fits: TypeAlias = "Callable[[bytes], bool]"

#: Sources and destinations that cannot be told here. Whoever lets them be ignored gets a rule that never holds.
UNJUDGED: Final = ("interface", "namespace", "label_selector", "dst_asn_set", "dst_asn_list", "url_category_list",
                   "dst_label_selector")
_SHOWN: Final = 4


def rules_of(spec: ForwardProxyPolicySpec, place: Placer, prefixes: FindPrefixes) -> Iterator[EgressRule]:
    """The rules of a policy in their order. Raises ValueError with the way to what is wrong."""
    if spec.allow_all:
        yield EgressRule("allow_all", ALLOW, (), partial(place, "allow_all"))
    for name, listed, action in (("allow_list", spec.allow_list, ALLOW), ("deny_list", spec.deny_list, DENY)):
        if listed is not None:
            with at(name):
                yield from _listed(name, listed, action, partial(place, name))
    for number, rule in enumerate(spec.rule_list.rules_ if spec.rule_list is not None else ()):
        if rule.metadata is not None and rule.metadata.disable:
            continue
        path = ("rule_list", "rules", number)
        with at(*path):
            name = rule.metadata.name if rule.metadata is not None else rule.rule_name or f"rule {number}"
            action = {"DENY": DENY, "ALLOW": ALLOW}.get(rule.action.value, NEXT)
            yield EgressRule(name, action, tuple(_conditions(rule, action, prefixes)), partial(place, *path))


def _listed(name: str, listed: ForwardProxySimpleRuleType, action: str, place: Placer) -> Iterator[EgressRule]:
    for field, make in (("tls_list", partial(_tls, listed.tls_list)), ("http_list", partial(_http, listed.http_list)),
                        ("dest_list", partial(_rest, listed.dest_list, action))):
        if getattr(listed, field):
            with at(field):
                yield EgressRule(f"{name}.{field}", action, (make(),), partial(place, field))
    for field, then in (("default_action_deny", DENY), ("default_action_allow", ALLOW), ("default_action_next_policy", NEXT)):
        if getattr(listed, field):
            yield EgressRule(f"{name}.{field}", then, (), partial(place, field))


def _conditions(rule: ForwardProxyAdvancedRuleType, action: str, prefixes: FindPrefixes) -> Iterator[Condition]:
    for name in UNJUDGED:
        if getattr(rule, name):
            yield Condition(f"{name} can be judged here", lambda flow: False)
    if rule.prefix_list is not None:
        yield _source((*rule.prefix_list.prefixes, *rule.prefix_list.ipv6_prefixes), "prefix_list")
    if rule.ip_prefix_set is not None:
        with at("ip_prefix_set"):
            listed = tuple(prefixes(rule.ip_prefix_set))
        yield _source(listed, f"ip_prefix_set {rule.ip_prefix_set.name}")
    if rule.tls_list is not None:
        with at("tls_list", "tls_list"):
            yield _tls(rule.tls_list.tls_list)
    if rule.http_list is not None:
        with at("http_list", "http_list"):
            yield _http(rule.http_list.http_list)
    if rule.dest_list is not None:
        with at("dest_list", "dest_list"):
            yield _rest(rule.dest_list.dest_list, action)
    if rule.dst_prefix_list is not None:
        yield _destination((*rule.dst_prefix_list.prefixes, *rule.dst_prefix_list.ipv6_prefixes), "dst_prefix_list")
    if rule.dst_ip_prefix_set is not None:
        with at("dst_ip_prefix_set"):
            listed = tuple(prefixes(rule.dst_ip_prefix_set))
        yield _destination(listed, f"ip_prefix_set {rule.dst_ip_prefix_set.name}")
    if rule.port_matcher is not None:
        yield _port(rule.port_matcher.ports, inverted=rule.port_matcher.invert_matcher)


# -- conditions ------------------------------------------------------------------------------------------------------------


def _source(listed: Sequence[str], what: str) -> Condition:
    holds = Prefixes(listed).holds
    return Condition(f"the client's address is in {what}", lambda flow: holds(number_of(flow.source)))


def _destination(listed: Sequence[str], what: str) -> Condition:
    holds = Prefixes(listed).holds
    return Condition(f"the destination's address is in {what}",
                     lambda flow: None if flow.number is None else holds(flow.number))


def _port(ranges: Sequence[Range], *, inverted: bool) -> Condition:
    text = ", ".join(map(str, ranges))
    return Condition(f"the port is {'not ' if inverted else ''}in {text}",
                     lambda flow: any(flow.port in one for one in ranges) is not inverted)


def _tls(domains: Sequence[DomainType]) -> Condition:
    fits = names_fit(domains)

    def test(flow: Flow) -> bool | None:
        if flow.speaks is Speaks.TLS or (flow.opened and flow.speaks is Speaks.HTTP):
            return fits(flow.name)
        if flow.speaks is not Speaks.UNKNOWN or (flow.name and not fits(flow.name)):
            return False                    # a hello that comes must agree with the name that is known
        return None

    return Condition(f"it is TLS to {_shown([said(one) for one in domains])}", test)


def _http(urls: Sequence[URLType]) -> Condition:
    exact: dict[bytes, list[_Fits | None]] = {}         # what is asked of the path, by host
    suffixes: dict[bytes, list[_Fits | None]] = {}
    others: list[tuple[_Fits, _Fits | None]] = []
    for number, url in enumerate(urls):
        with at(number):
            fits, path = names_fit((url,)), _path(url)
        if url.exact_value is not None:
            exact.setdefault(_name(url.exact_value), []).append(path)
        elif url.suffix_value is not None:
            suffixes.setdefault(_name(url.suffix_value), []).append(path)
        else:
            others.append((fits, path))

    def paths(name: bytes) -> list[_Fits | None]:
        found = [path for fits, path in others if fits(name)] if others else []
        if name in exact:
            found += exact[name]
        if suffixes:
            rest = name
            while rest:
                found += suffixes.get(rest, ())
                rest = rest.partition(b".")[2]
        return found

    def test(flow: Flow) -> bool | None:
        speaks = flow.speaks
        if speaks is Speaks.OTHER or (speaks is Speaks.TLS and not flow.opened):
            return False
        sure = speaks is Speaks.HTTP
        if not flow.name and not sure:
            return None
        path = flow.path
        perhaps = False
        for fits in paths(flow.name):
            if not sure or (path is None and fits is not None):
                perhaps = True
            elif fits is None or fits(path or b""):
                return True
        return None if perhaps else False

    return Condition(f"it is HTTP to {_shown([said(one) + _said_path(one) for one in urls])}", test)


def _rest(listed: Sequence[L4DestType], action: str) -> Condition:
    made = [(Prefixes((*one.prefixes, *one.ipv6_prefixes)) if one.prefixes or one.ipv6_prefixes else None,
             (*one.port_ranges, *one.ports)) for one in listed]
    everything = action == DENY

    def holds(flow: Flow) -> bool | None:
        perhaps = False
        for prefixes, ports in made:
            if ports and not any(flow.port in one for one in ports):
                continue
            if prefixes is None:
                return True
            if flow.number is None:
                perhaps = True
            elif prefixes.holds(flow.number):
                return True
        return None if perhaps else False

    def test(flow: Flow) -> bool | None:
        found = holds(flow)
        if everything or found is False:
            return found
        if flow.speaks is Speaks.UNKNOWN:
            return None
        rest = flow.speaks is Speaks.OTHER or (flow.speaks is Speaks.TLS and not flow.name)
        return found if rest else False

    listed_text = [", ".join((*one.prefixes, *one.ipv6_prefixes)) or "any address" for one in listed]
    for number, one in enumerate(listed):
        if one.port_ranges or one.ports:
            listed_text[number] += f" port {', '.join(map(str, (*one.port_ranges, *one.ports)))}"
    what = "it goes" if everything else "it is neither HTTP nor TLS with a name, and goes"
    return Condition(f"{what} to {_shown(listed_text)}", test)


def names_fit(domains: Iterable[DomainType | URLType]) -> _Fits:
    """Whether a name is one of these. Raises ValueError."""
    exact: set[bytes] = set()
    suffixes: set[bytes] = set()
    patterns: list[Callable[[bytes], Any]] = []
    anything = False
    for number, one in enumerate(domains):
        if one.exact_value is not None:
            exact.add(_name(one.exact_value))
        elif one.suffix_value is not None:
            suffixes.add(_name(one.suffix_value))
        elif one.regex_value is not None:
            with at(number, "regex_value"):
                patterns.append(Pattern(f"(?i){one.regex_value}", ANY).matches)
        elif hasattr(one, "any_path"):
            anything = True                 # a URL without a host: its path alone counts
        else:
            raise ProblemError("a domain needs `exact_value`, `suffix_value` or `regex_value`")

    def fits(name: bytes) -> bool:
        if not name:
            return anything
        if anything or name in exact:
            return True
        if suffixes:
            rest = name
            while rest:
                if rest in suffixes:
                    return True
                rest = rest.partition(b".")[2]
        return any(matches(name) for matches in patterns)

    return fits


def _name(text: str) -> bytes:
    return text.lower().rstrip(".").removeprefix(".").encode("idna" if not text.isascii() else "ascii")


def _path(url: URLType) -> _Fits | None:
    """Whether a path is meant; None = any is. Raises ValueError."""
    if url.path_exact_value is not None:
        exact = url.path_exact_value.encode("utf-8")
        return lambda path: path == exact
    if url.path_prefix_value is not None:
        prefix = url.path_prefix_value.encode("utf-8")
        return lambda path: path.startswith(prefix)
    if url.path_regex_value is not None:
        with at("path_regex_value"):
            matches = Pattern(url.path_regex_value, ANY).matches
        return lambda path: bool(matches(path))
    return None


def said(one: DomainType | URLType) -> str:
    """The names that it takes, for people."""
    if one.exact_value is not None:
        return one.exact_value
    if one.suffix_value is not None:
        return f"*.{one.suffix_value}"
    return f"/{one.regex_value}/" if one.regex_value is not None else "any host"


def _said_path(url: URLType) -> str:
    if url.path_exact_value is not None:
        return f" path {url.path_exact_value}"
    if url.path_prefix_value is not None:
        return f" path {url.path_prefix_value}*"
    return f" path /{url.path_regex_value}/" if url.path_regex_value is not None else ""


def _shown(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:_SHOWN])
    return shown if len(texts) <= _SHOWN else f"{shown} and {len(texts) - _SHOWN} more"
