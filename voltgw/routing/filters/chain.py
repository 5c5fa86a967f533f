"""The filters of one route, in the order in which they run.

Requests: the Host against the TLS server name, CORS (answers preflights), CSRF, faults, filters of packages (the virtual
host's, the route object's, the rule's), then what is done to the request for the endpoint: Accept-Encoding, header edits,
cookie edits. Responses the other way round: header edits and cookie edits, filters of packages (the last one first),
compression, CORS.

Refusing comes first, so that nothing is done for a request that is refused; edits are nearest to the endpoint, so that no other
filter is deceived by them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.errors import Place
from voltgw.routing.filters.compression import compression
from voltgw.routing.filters.cookies import request_cookies, response_cookies
from voltgw.routing.filters.cors import cors
from voltgw.routing.filters.csrf import csrf
from voltgw.routing.filters.extensions import Named, named_filters
from voltgw.routing.filters.fault import fault
from voltgw.routing.filters.headers import Level, Plan, request_edits, response_edits
from voltgw.routing.filters.strict_sni import strict_sni
from voltgw.routing.problems import Collector, Placer, at
from voltgw.routing.route import FilterLabel
from voltgw.values.head import FORWARDING

if TYPE_CHECKING:
    from voltgw.config.objects.extensions import FaultType
    from voltgw.config.objects.headers import CookieManipulationOptionType
    from voltgw.config.objects.policies import CorsPolicy, CsrfPolicy
    from voltgw.config.objects.route import RouteSpec, RouteType
    from voltgw.config.objects.virtual_host import CompressionType, VirtualHostSpec
    from voltgw.interfaces import RequestFilter, ResponseFilter
    from voltgw.registry import Registry
    from voltgw.routing.filters.compression import Compression
    from voltgw.routing.filters.cookies import RequestLevel, ResponseLevel
    from voltgw.routing.filters.cors import Cors
    from voltgw.routing.filters.headers import Edit

_NO_HEADERS: Final[Level] = ((), (), "", "")
_NO_FIELDS: Final[frozenset[bytes]] = frozenset()
_ORIGIN: Final = frozenset((b"origin",))
_ACCEPT_ENCODING: Final = frozenset((b"accept-encoding",))


class Filters(NamedTuple):
    """What runs, and what explain says of it, in the order of requests."""

    request: tuple[RequestFilter, ...]
    response: tuple[ResponseFilter, ...]
    labels: tuple[FilterLabel, ...]
    of_errors: tuple[ResponseFilter, ...]   # those that also change error pages of our own


class HostFilters:
    """What a virtual host says of filters, each part checked once; a part that is wrong has been reported and is left out."""

    def __init__(self, spec: VirtualHostSpec, registry: Registry, place: Placer, found: Collector) -> None:
        self.spec = spec
        self.place = place
        self.registry = registry
        self.request_headers = self.response_headers = _NO_HEADERS
        self.request_cookies: RequestLevel = ((), ())
        self.response_cookies: ResponseLevel = ((), ())
        self.cookies_to_modify: tuple[CookieManipulationOptionType, ...] = ()
        self.cors: CorsPolicy | None = None
        self.csrf: CsrfPolicy | None = None
        self.fault: FaultType | None = None
        self.compression: CompressionType | None = None
        self.named: tuple[Named, ...] = ()
        self.strict_sni: RequestFilter | None = None
        self.domains = spec.domains
        # What rules that say nothing of their own have in common, by the names of the fields that edits drop, or that are kept
        # from them: a thousand copies of it would leave the processor's caches between two requests.
        self._of_requests: dict[frozenset[bytes], tuple[Edit, ...]] = {}
        self._of_responses: tuple[Edit, ...] | None = None
        self._cors: dict[frozenset[bytes], Cors | None] = {}
        self._csrf: list[RequestFilter | None] = []
        self._compression: dict[frozenset[bytes], Compression | None] = {}
        extension = spec.voltgw
        # Each part is built once for the sake of its mistakes, which are then shown once and not for every route.
        if spec.request_headers_to_add or spec.request_headers_to_remove:
            with found.at(place):
                level = _request_headers(spec)
                request_edits(level)
                self.request_headers = level
        if spec.response_headers_to_add or spec.response_headers_to_remove:
            with found.at(place):
                level = _response_headers(spec)
                response_edits(level)
                self.response_headers = level
        if spec.request_cookies_to_add or spec.request_cookies_to_remove:
            with found.at(place):
                of_requests: RequestLevel = (spec.request_cookies_to_add, spec.request_cookies_to_remove)
                request_cookies(of_requests)
                self.request_cookies = of_requests
        if spec.response_cookies_to_add or spec.response_cookies_to_remove:
            with found.at(place):
                of_responses: ResponseLevel = (spec.response_cookies_to_add, spec.response_cookies_to_remove)
                response_cookies(of_responses)
                self.response_cookies = of_responses
        if spec.cookies_to_modify:
            with found.at(place):
                response_cookies(modify=spec.cookies_to_modify)
                self.cookies_to_modify = spec.cookies_to_modify
        if spec.cors_policy is not None:
            with found.at(place, "cors_policy"):
                cors(None, spec.cors_policy)
                self.cors = spec.cors_policy
        if spec.csrf_policy is not None:
            with found.at(place, "csrf_policy"):
                csrf(None, spec.csrf_policy, spec.domains)
                self.csrf = spec.csrf_policy
        with found.at(place):
            self.strict_sni = strict_sni(spec)
        if spec.compression_params is not None:
            with found.at(place, "compression_params"):
                compression(spec.compression_params)
                self.compression = spec.compression_params
        if extension is not None:
            with found.at(place, "voltgw", "fault"):
                fault(extension.fault)
                self.fault = extension.fault
            with found.at(place):
                self.named = named_filters(extension.filters, registry, place, "voltgw", "filters")

    def request_edits(self, rule: RouteType, keep: frozenset[bytes]) -> tuple[Edit, ...]:
        """What is done to the requests of a rule. Raises ValueError, with the way to it from the rule."""
        if rule.request_headers_to_add or rule.request_headers_to_remove \
                or rule.request_cookies_to_add or rule.request_cookies_to_remove:
            return _request_edits(rule, self, keep)
        shared = self._of_requests.get(keep)
        if shared is None:
            shared = self._of_requests[keep] = _request_edits(rule, self, keep)
        return shared

    def response_edits(self, rule: RouteType) -> tuple[Edit, ...]:
        """The same for responses."""
        if rule.response_headers_to_add or rule.response_headers_to_remove \
                or rule.response_cookies_to_add or rule.response_cookies_to_remove:
            return _response_edits(rule, self)
        shared = self._of_responses
        if shared is None:
            shared = self._of_responses = _response_edits(rule, self)
        return shared

    def cors_of(self, own: CorsPolicy | None, dropped: frozenset[bytes]) -> Cors | None:
        """The filters of a rule, with a policy of its `own` or without. Raises ValueError, with the way from the policy."""
        if own is not None:
            return cors(own, self.cors, dropped)
        if dropped not in self._cors:
            self._cors[dropped] = cors(None, self.cors, dropped)
        return self._cors[dropped]

    def csrf_of(self, own: CsrfPolicy | None) -> RequestFilter | None:
        """The same for that policy."""
        if own is not None:
            return csrf(own, self.csrf, self.domains)
        if not self._csrf:
            self._csrf.append(csrf(None, self.csrf, self.domains))
        return self._csrf[0]

    def compression_of(self, dropped: frozenset[bytes]) -> Compression | None:
        """What compresses the answers of a rule."""
        if dropped not in self._compression:
            self._compression[dropped] = compression(self.compression, dropped)
        return self._compression[dropped]


class ObjectFilters:
    """The same for what a route object says for all of its rules."""

    def __init__(self, spec: RouteSpec, host: HostFilters, place: Placer, found: Collector) -> None:
        self.place = place
        self.fault: FaultType | None = None
        self.named: tuple[Named, ...] = ()
        extension = spec.voltgw
        if extension is not None:
            with found.at(place, "voltgw", "fault"):
                fault(extension.fault)
                self.fault = extension.fault
            with found.at(place):
                self.named = named_filters(extension.filters, host.registry, place, "voltgw", "filters")


def rule_filters(rule: RouteType, number: int, of_object: ObjectFilters, host: HostFilters) -> Filters:
    """The filters of rule `number` of a route object. Raises ValueError, with the way to it from the rule."""
    request: list[RequestFilter] = []
    response: list[ResponseFilter] = []
    labels: list[FilterLabel] = []
    forward = rule.route_destination
    place = of_object.place
    at_rule = partial(place, "routes", number)

    def label(name: str, text: str, where: Callable[[], Place]) -> None:
        labels.append(FilterLabel(name, text, where))

    if host.strict_sni is not None:
        request.append(host.strict_sni)
        field = "additional_domains" if host.spec.additional_domains is not None else "enable_strict_sni_host_header_check"
        label("strict_sni", "refuses a Host that is not the TLS server name", partial(host.place, field))

    header_levels = (_request_headers(rule), host.request_headers)
    own_cors = forward.cors_policy if forward is not None else None
    dropped = _NO_FIELDS
    if own_cors is not None or host.cors is not None or host.compression is not None:
        dropped = Plan(header_levels, response=False).drop
    with at("route_destination", "cors_policy"):
        of_cors = host.cors_of(own_cors, dropped)
    if of_cors is not None:
        request.append(of_cors.request)
        label("cors", "answers preflights, says who may read answers",
              partial(at_rule, "route_destination", "cors_policy") if own_cors else partial(host.place, "cors_policy"))

    own_csrf = forward.csrf_policy if forward is not None else None
    with at("route_destination", "csrf_policy"):
        of_csrf = host.csrf_of(own_csrf)
    if of_csrf is not None:
        request.append(of_csrf)
        label("csrf", "refuses requests that change state from other origins' pages",
              partial(at_rule, "route_destination", "csrf_policy") if own_csrf else partial(host.place, "csrf_policy"))

    extension = rule.voltgw
    own_fault = extension.fault if extension is not None else None
    with at("voltgw", "fault"):
        faults = fault(own_fault, of_object.fault, host.fault)
    if faults:
        request += faults
        label("fault", "holds back or refuses a share of the requests",
              partial(at_rule if own_fault else place if of_object.fault else host.place, "voltgw", "fault"))

    named = [*((one, host.place) for one in host.named), *((one, place) for one in of_object.named)]
    if extension is not None:
        named += [(one, at_rule) for one in named_filters(extension.filters, host.registry, at_rule, "voltgw", "filters")]
    for one, placer in named:
        if one.request is not None:
            request.append(one.request)
        label(one.name, "a filter of an installed package", partial(placer, *one.path))

    packed = host.compression_of(dropped)
    if packed is not None:
        if packed.request is not None:
            request.append(packed.request)
        label("compression", "compresses answers", partial(host.place, "compression_params"))

    keep = (_ORIGIN if of_cors is not None else _NO_FIELDS) | (_ACCEPT_ENCODING if packed is not None else _NO_FIELDS)
    edits = host.request_edits(rule, keep)
    request += edits
    if edits:
        label("request edits", *_edited(rule, host, "request", at_rule))

    edits = host.response_edits(rule)
    response += edits
    if edits:
        label("response edits", *_edited(rule, host, "response", at_rule))
    response += [one.response for one, _ in reversed(named) if one.response is not None]
    if packed is not None:
        response.append(packed.response)
    if of_cors is not None:
        response.append(of_cors.response)
    return Filters(tuple(request), tuple(response), tuple(labels), () if of_cors is None else (of_cors.response,))


def told(rule: RouteType, host: VirtualHostSpec) -> frozenset[bytes]:
    """The fields about the client (`FORWARDING`) that edits of a rule or its host set or take out, so that they win.

    An edit with `append` adds to what the gateway says itself.
    """
    names = {edit.name for spec in (rule, host) for edit in spec.request_headers_to_add if not edit.append}
    names.update(name for spec in (rule, host) for name in spec.request_headers_to_remove)
    return FORWARDING.intersection(name.lower().encode("ascii") for name in names) or _NO_FIELDS


def _request_headers(spec: VirtualHostSpec | RouteType) -> Level:
    return (spec.request_headers_to_add, spec.request_headers_to_remove,
            "request_headers_to_add", "request_headers_to_remove")


def _response_headers(spec: VirtualHostSpec | RouteType) -> Level:
    return (spec.response_headers_to_add, spec.response_headers_to_remove,
            "response_headers_to_add", "response_headers_to_remove")


def _request_edits(rule: RouteType, host: HostFilters, keep: frozenset[bytes]) -> tuple[Edit, ...]:
    cookie_levels = (rule.request_cookies_to_add, rule.request_cookies_to_remove), host.request_cookies
    return (*request_edits(_request_headers(rule), host.request_headers, keep=keep), *request_cookies(*cookie_levels))


def _response_edits(rule: RouteType, host: HostFilters) -> tuple[Edit, ...]:
    return (*response_edits(_response_headers(rule), host.response_headers),
            *response_cookies((rule.response_cookies_to_add, rule.response_cookies_to_remove), host.response_cookies,
                              modify=host.cookies_to_modify))


def _edited(rule: RouteType, host: HostFilters, side: str, at_rule: Placer) -> tuple[str, Callable[[], Place]]:
    """Which headers and cookies are edited, and where that is asked for: in the rule, or else in the virtual host."""
    fields = [f"{side}_{what}_to_{do}" for what in ("headers", "cookies") for do in ("add", "remove")]
    names: dict[str, None] = {}
    for spec in (rule, host.spec):
        for field in fields:
            for one in getattr(spec, field):
                name = one if isinstance(one, str) else one.name
                names[f"cookie {name}" if "cookies" in field else name.lower()] = None
    if side == "response":
        names.update((f"cookie {one.name}", None) for one in host.cookies_to_modify)
    own = next((field for field in fields if getattr(rule, field)), None)
    other = next((field for field in fields if getattr(host.spec, field)), "cookies_to_modify")
    return f"edits {', '.join(names)}", partial(host.place, other) if own is None else partial(at_rule, own)
