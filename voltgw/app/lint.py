"""What is allowed but hardly meant: asked of a configuration that has no errors, and of what was built from it.

Everything here is a warning, but for certificates and keys that could not be used at all. `voltgw check` shows it; the gateway
itself does not ask, so that a certificate which expires tomorrow never keeps anybody from reloading.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from voltgw.config.acme import DEFAULT_CHALLENGE
from voltgw.config.model import Object
from voltgw.config.objects.route import HttpMethod
from voltgw.config.objects.tls import TlsProtocol
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.config.show import arranged
from voltgw.errors import ConfigError, ConfigErrors, Place, Severity
from voltgw.routing.lint import lint_domains, lint_rules
from voltgw.values.retry import SAFE_CONDITIONS

if TYPE_CHECKING:
    from voltgw.app.build import Runtime
    from voltgw.config.certificates import Certificate
    from voltgw.config.model import Config
    from voltgw.config.objects.policies import RetryPolicyType
    from voltgw.config.objects.route import RouteDestination, RouteDestinationList, RouteSpec, RouteType
    from voltgw.config.objects.secrets import SecretType
    from voltgw.config.objects.virtual_host import VirtualHostSpec

#: Methods of which a second request may do something a second time (RFC 9110 9.2.2).
NOT_IDEMPOTENT: Final = frozenset((HttpMethod.POST, HttpMethod.PATCH))
#: What follows from a certificate that cannot be used.
_CONSEQUENCE: Final = "VG0410"
#: Where a CA comes to look at a challenge (RFC 8555 8.3, RFC 8737 3).
_CHALLENGE_PORTS: Final = {"http-01": 80, "tls-alpn-01": 443}
#: Kinds of proxy that show a certificate to their clients.
_TERMINATING: Final = (ProxyType.HTTPS_PROXY, ProxyType.TLS_TCP_PROXY, ProxyType.TLS_TCP_PROXY_WITH_SNI)


def lint(config: Config, runtime: Runtime, now: datetime) -> tuple[ConfigError, ...]:
    """Warnings (and errors about certificates) in the order of files; `now` says which certificates have expired."""
    found: list[ConfigError] = []
    for host in runtime.hosts.values():
        found += lint_rules(host)
    for plan in runtime.listeners.values():
        if plan.table is not None:
            found += lint_domains(plan.table, plan.port)
    found += _rules(config)
    found += _lost_with_the_process(config)
    found += _weak_tls(config)
    found += _certificates(config, now)
    found += _nobody_there(config, runtime)
    found += _in_vain(runtime)
    found += _untraced(config)
    return arranged(list(dict.fromkeys(found)), list(config.files), config.line)


def after_refusal(config: Config, errors: ConfigErrors, now: datetime) -> tuple[ConfigError, ...]:
    """The problems for which `config` could not be built, with those of its certificates.

    A certificate that cannot be used is told as that, at its own place, instead of as TLS that cannot be set up with it.
    """
    certificates = tuple(_certificates(config, now))
    unusable = any(one.severity is Severity.ERROR for one in certificates)
    found = tuple(one for one in errors.problems if not (unusable and one.code == _CONSEQUENCE))
    return arranged(tuple(dict.fromkeys((*found, *certificates))), list(config.files), config.line)


def _warning(code: str, place: Place, message: str, hint: str = "", **related: Place) -> ConfigError:
    return ConfigError(code, place, message, hint, Severity.WARNING,
                       related=tuple((words.replace("_", " "), other) for words, other in related.items()))


# -- retries, time limits, stand-by -----------------------------------------------------------------------------------
def _rules(config: Config) -> Iterator[ConfigError]:
    """What the rules of all hosts say; a route object that several share is looked at with each of them."""
    for host in config.of("virtual_host").values():
        for ref in host.spec.routes if host.spec.proxy.http else ():
            route = config.find("route", ref, host.namespace)
            for index, rule in enumerate(route.spec.routes if route is not None else ()):
                if route is not None and rule.route_destination is not None:
                    yield from _retries(host, route, index, rule, rule.route_destination)
    for route in config.of("route").values():
        for index, rule in enumerate(route.spec.routes):
            if rule.route_destination is not None:
                yield from _stand_by(config, route, index, rule.route_destination)


def _retries(
    host: Object[VirtualHostSpec], route: Object[RouteSpec], index: int, rule: RouteType, forward: RouteDestinationList,
) -> Iterator[ConfigError]:
    """Whether the retry policy of a rule, its own or its host's, can do what it says."""
    own = forward.retry_policy
    policy = own if own is not None else host.spec.retry_policy
    if policy is None:
        return
    path = ("routes", index, "route_destination")
    methods = {match.http_method for match in rule.match} or {HttpMethod.ANY}
    said = [extension for extension in (rule.voltgw, route.spec.voltgw, host.spec.voltgw) if extension is not None]
    twice = any(extension.retry_non_idempotent for extension in said)
    unsafe = sorted({*policy.retry_condition, policy.retry_on or ""} - SAFE_CONDITIONS - {""})
    if unsafe and policy.num_retries != 0 and methods <= NOT_IDEMPOTENT and not twice:
        words = " and ".join(sorted(str(method.value) for method in methods))
        yield _warning(
            "VG0406", route.place(*path), f"retries on {', '.join(unsafe)} never happen here: the rule takes {words} only, "
            "which may do something a second time", "allow them with `voltgw: {retry_non_idempotent: true}` in the rule, if "
            "the endpoints can tell that a request comes again",
            the_retry_policy=route.place(*path, "retry_policy") if own is not None else host.place("retry_policy"))
    if twice and policy.per_try_timeout_s and any(extension.hedge_on_per_try_timeout for extension in said) \
            and methods & {HttpMethod.ANY, *NOT_IDEMPOTENT}:
        yield _warning(
            "VG0407", route.place(*path), "a slow request is sent to a second endpoint while the first one goes on with it, "
            "also where its method is not idempotent (POST, PATCH)",
            "leave out one of `hedge_on_per_try_timeout` and `retry_non_idempotent`")
    if policy.per_try_timeout_s is not None:
        yield from _limits(host, route, path, forward, policy, own=own is not None)


def _limits(
    host: Object[VirtualHostSpec], route: Object[RouteSpec], path: tuple[str | int, ...], forward: RouteDestinationList,
    policy: RetryPolicyType, *, own: bool,
) -> Iterator[ConfigError]:
    """Limits that end a try before its own does. (A rule's own policy and time limit are compared by `check`.)"""
    per_try_s = policy.per_try_timeout_s or 0.0
    place = route.place(*path, "retry_policy") if own else host.place("retry_policy")
    if not own and forward.timeout_s is not None and per_try_s >= forward.timeout_s:
        yield _warning(
            "VG0208", route.place(*path, "timeout"), f"one try may take {per_try_s:g} s by the retry policy of {host.title}, "
            f"but all together only {forward.timeout_s:g} s here", the_retry_policy=place)
    if host.spec.idle_timeout_s is not None and per_try_s >= host.spec.idle_timeout_s:
        yield _warning(
            "VG0208", place, f"one try may take {per_try_s:g} s, but after {host.spec.idle_timeout_s:g} s without a byte the "
            f"idle_timeout of {host.title} ends it", the_idle_timeout=host.place("idle_timeout"))


def _stand_by(config: Config, route: Object[RouteSpec], index: int, forward: RouteDestinationList) -> Iterator[ConfigError]:
    """Destinations that wait for others to fail, where nobody would notice that they do."""
    used = [(number, one) for number, one in enumerate(forward.destinations) if _has_share(one, forward)]
    ranks = sorted({one.priority or 1 << 32 for _, one in used})            # 0 comes last
    for number, one in used:
        if (one.priority or 1 << 32) == ranks[-1]:
            continue
        cluster = config.find("cluster", one.cluster[0], route.namespace)
        if cluster is None or cluster.spec.health_checks or cluster.spec.outlier_detection is not None:
            continue
        yield _warning(
            "VG0408", route.place("routes", index, "route_destination", "destinations", number),
            f"others stand by for {cluster.title}, but it has no health check: they take over only when connecting fails, "
            "not when it answers with errors", "give it `health_checks`", the_cluster=cluster.place())


def _has_share(one: RouteDestination, forward: RouteDestinationList) -> bool:
    return bool(one.weight) or all(other.weight is None for other in forward.destinations)


# -- what would be lost -----------------------------------------------------------------------------------------------
def _lost_with_the_process(config: Config) -> Iterator[ConfigError]:
    """Features that keep something only as long as the process lives."""
    hint = "objects are not kept over a restart yet"
    for place in config.keep_last:
        yield _warning("VG0409", place, "`on_error: keep_last` keeps the last good objects only until the gateway stops", hint)


# -- TLS ---------------------------------------------------------------------------------------------------------------
def _nobody_there(config: Config, runtime: Runtime) -> Iterator[ConfigError]:
    """Certificates that are to be fetched, and no listener where the CA looks whether the names are ours; told once."""
    acme = config.gateway.acme
    fetched = runtime.fetched()
    if acme is None or not fetched:
        return
    challenge = acme.challenge or DEFAULT_CHALLENGE
    port = _CHALLENGE_PORTS.get(challenge)
    there = [plan for plan in runtime.listeners.values() if plan.port == port and plan.forward is None]
    if port is None or any(plan.table is not None and not plan.tls if challenge == "http-01" else plan.tls for plan in there):
        return
    first = next(iter(fetched.values()))[0]
    host = runtime.hosts[first]
    what = "a plain HTTP listener" if challenge == "http-01" else "a TLS listener"
    yield _warning(
        "VG0413", host.place, f"the certificate of {first} is fetched by {challenge}, for which the CA comes to port {port}, "
        "where there is no listener that could answer",
        f"have {what} on port {port}; `gateway.port_map` may bind another in its place")


def _in_vain(runtime: Runtime) -> Iterator[ConfigError]:
    """Registries that get no name, and names that lead nobody here; the first one of each registry."""
    for publication in runtime.publications:
        kind, one = publication.registry.kind, publication.object
        place = one.place(*publication.path)
        if not publication.names:
            where = f" in {publication.zone_text}" if publication.zone_text else ""
            left_out = "".join(f"; {name} is left out: {why}" for name, why in publication.left_out[:1])
            yield _warning(
                "VG0414", place,
                f"{kind} of {one.title} gets no name: no virtual host that it could have has a domain{where}{left_out}")
        for name in publication.names.values():
            mine = next((offer for offer in name.offers if offer.address.is_loopback or offer.address.is_link_local), None)
            if mine is not None:
                yield _warning(
                    "VG0414", place, f"{name.text} is published with {mine.address}, by which others do not reach this host",
                    "advertise it on an address that clients have a way to", advertised_here=mine.host.place)
                break


def _weak_tls(config: Config) -> Iterator[ConfigError]:
    """Endpoints that nobody verifies, and versions of TLS that are no longer standards."""
    for cluster in config.of("cluster").values():
        params = cluster.spec.tls_parameters
        if params is not None and params.voltgw is not None and params.voltgw.skip_server_verification:
            yield _warning(
                "VG0411", cluster.place("tls_parameters"), f"{cluster.title} accepts any certificate of its endpoints: whoever "
                "stands between can read and change everything", "trust the CA of the endpoints instead: `trusted_ca_url`")
    for kind in ("virtual_host", "advertise_policy", "cluster"):
        for one in config.of(kind).values():
            for field in ("tls_parameters", "tls_cert_params"):
                asked = getattr(one.spec, field, None)
                for params in (asked, getattr(asked, "common_params", None), getattr(asked, "cert_params", None)):
                    lowest = getattr(params, "minimum_protocol_version", None)
                    if lowest in (TlsProtocol.V1_0, TlsProtocol.V1_1):
                        yield _warning("VG0412", one.place(field), f"{one.title} speaks {lowest.value}, which has known "
                                       "weaknesses (RFC 8996)", "leave `minimum_protocol_version` out for TLS 1.2 and later")


# -- certificates -----------------------------------------------------------------------------------------------------
class _Held(NamedTuple):
    """A certificate in the configuration: the object, the way to the message that has it, and its bytes."""

    one: Object[Any]
    path: tuple[str | int, ...]
    chain: bytes
    key: bytes | None

    def place(self, *, key: bool = False) -> Place:
        """Where it, or its key, stands."""
        return self.one.place(*self.path, "private_key" if key else "certificate_url")


def _certificates(config: Config, now: datetime) -> Iterator[ConfigError]:
    """Certificates that cannot be used, have expired or are about to, and domains that none covers."""
    hosts = [host for host in config.objects.get("virtual_host", {}).values() if _shows_certificate(host)]
    held = {_identity(one): one for one in _all_held(config, hosts)}
    if not held:
        return
    certificates = importlib.import_module("voltgw.config.certificates")    # it takes a while, and most files have none
    looked_at: dict[tuple[bytes, bytes | None], Certificate] = {}
    known: dict[tuple[int, tuple[str | int, ...]], Certificate] = {}
    for identity, one in held.items():
        content = one.chain, one.key
        if content not in looked_at:
            looked_at[content] = certificates.examine(one.chain, one.key, now)
        known[identity] = looked_at[content]
        for finding in looked_at[content].findings:
            yield ConfigError(finding.code, one.place(key=finding.key), finding.message, finding.hint, finding.severity)
    for host in hosts:
        for shown in _shown(config, host):
            found = [known[_identity(one)] for one in shown]
            lacking = certificates.uncovered(host.spec.domains, found) if all(one.names for one in found) else []
            if lacking:
                yield _not_covered(certificates.NOT_COVERED, host, lacking, shown, found)


def _not_covered(
    code: str, host: Object[VirtualHostSpec], lacking: list[str], shown: list[_Held], found: list[Certificate],
) -> ConfigError:
    more = f" (nor {len(lacking) - 1} more of its domains)" if len(lacking) > 1 else ""
    names = sorted({name for one in found for name in one.names})
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return ConfigError(
        code, host.place("domains", host.spec.domains.index(lacking[0])),
        f"no certificate of {host.title} covers {lacking[0]}{more}: the names are {listed}", "", Severity.WARNING,
        related=tuple(("certificate", one.place()) for one in shown[:3]))


def _identity(held: _Held) -> tuple[int, tuple[str | int, ...]]:
    return id(held.one), held.path


def _shows_certificate(host: Object[VirtualHostSpec]) -> bool:
    """Whether it ends its clients' TLS. One that a view stands for counts even where it is not served yet."""
    off = host.metadata.disable and (host.owner is None or host.owner.metadata.disable)
    return host.spec.proxy in _TERMINATING and not off


def _all_held(config: Config, hosts: list[Object[VirtualHostSpec]]) -> Iterator[_Held]:
    for one in config.of("certificate").values():
        yield from _of_object(one)
    for host in hosts:
        yield from _inline(host, host.spec.tls_parameters)
    for policy in config.of("advertise_policy").values():
        yield from _inline(policy, policy.spec.tls_parameters)
    for cluster in config.of("cluster").values():
        yield from _inline(cluster, cluster.spec.tls_parameters)


def _shown(config: Config, host: Object[VirtualHostSpec]) -> Iterator[list[_Held]]:
    """The certificates that a host shows, once for each of its policies that has its own."""
    own = list(_inline(host, host.spec.tls_parameters))
    for ref in host.spec.tls_cert_params.certificates if host.spec.tls_cert_params is not None else ():
        certificate = config.find("certificate", ref, host.namespace)
        own += _of_object(certificate) if certificate is not None else ()
    policies = [config.find("advertise_policy", ref, host.namespace) for ref in host.spec.advertise_policies]
    with_their_own = [policy for policy in policies if policy is not None and policy.spec.tls_parameters is not None]
    if own and (len(with_their_own) < len(policies) or not policies):
        yield own
    for policy in with_their_own:
        theirs = list(_inline(policy, policy.spec.tls_parameters))
        if theirs:
            yield theirs


def _of_object(one: Object[Any]) -> Iterator[_Held]:
    if one.spec.certificate_url is not None:
        yield _Held(one, (), one.spec.certificate_url, _clear(one.spec.private_key))


def _inline(one: Object[Any], parameters: Any) -> Iterator[_Held]:
    common = parameters.common_params if parameters is not None else None
    for index, certificate in enumerate(common.tls_certificates if common is not None else ()):
        yield _Held(one, ("tls_parameters", "common_params", "tls_certificates", index), certificate.certificate_url,
                    _clear(certificate.private_key))


def _clear(secret: SecretType | None) -> bytes | None:
    """The bytes of a key that is at hand; None for one that somebody else holds."""
    return secret.clear_secret_info.url.data if secret is not None and secret.clear_secret_info is not None else None


# -- traces -------------------------------------------------------------------------------------------------------------
def _untraced(config: Config) -> Iterator[ConfigError]:
    """What is said of traces where no request takes part in any."""
    if config.gateway.tracing is not None:
        return
    for host in config.of("virtual_host").values():
        if host.spec.voltgw is not None and host.spec.voltgw.tracing is not None:
            yield _unsent(host, "voltgw", "tracing")
    for route in config.of("route").values():
        if route.spec.voltgw is not None and route.spec.voltgw.tracing is not None:
            yield _unsent(route, "voltgw", "tracing")
        for index, rule in enumerate(route.spec.routes):
            if rule.voltgw is not None and rule.voltgw.tracing is not None:
                yield _unsent(route, "routes", index, "voltgw", "tracing")


def _unsent(one: Object[Any], *path: str | int) -> ConfigError:
    return _warning("VG0415", one.place(*path), f"of {one.title} nothing is recorded in traces: `gateway.tracing` is not there",
                    "add `gateway: {tracing: <URL of a collector>}`, or take this away")
