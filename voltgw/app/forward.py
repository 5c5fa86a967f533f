"""The forward proxies of this site: which connectors act here, under which policies, and what clients of each may do.

A connector acts through a fleet (objects.md 11.6): the fleet names it, and the own site carries the fleet's label. The policies
are those of the network_firewall objects that the same fleet names, in order; one that is for another proxy takes no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from voltgw.app.tls import REFUSED, parameters
from voltgw.config.labels import selector
from voltgw.config.networks import FLEET_LABEL
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.proxy.forward.host import forward_host
from voltgw.proxy.forward.settings import Egress
from voltgw.routing.problems import BuildErrors, Collector, ProblemError
from voltgw.security.addresses import Prefixes
from voltgw.security.destinations import Guard
from voltgw.security.egress import EgressPolicy, Policies
from voltgw.security.egress_rules import rules_of
from voltgw.security.htpasswd import Htpasswd
from voltgw.values.defaults import CONNECT_TIMEOUT_S

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.networks import Networks
    from voltgw.config.objects.forward_proxy_policy import ForwardProxyPolicySpec
    from voltgw.config.objects.network_connector import ExplicitProxyType, ForwardProxyConfigType, NetworkConnectorSpec
    from voltgw.config.objects.network_firewall import NetworkFirewallSpec
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.config.values import Ref
    from voltgw.routing.route import VirtualHost
    from voltgw.security.policies import Hits
    from voltgw.values.tls import ServerTls

#: Which proxies a policy is about, beside those that it names.
CONNECTOR: Final = "connector"
EXPLICIT: Final = "explicit"
DYNAMIC: Final = "dynamic"


class Forward(NamedTuple):
    """One forward proxy: a connector with what listens for it."""

    connector: Object[NetworkConnectorSpec]
    host: VirtualHost
    egress: Egress
    listens: ExplicitProxyType | None       # None = connections are captured
    tls: ServerTls | None = None            # between clients and an explicit proxy

    @property
    def name(self) -> str:
        """What it is called: ``namespace/name`` of its connector, and which of its doors it is."""
        return self.egress.name


def fleets_of(config: Config) -> list[Object[Any]]:
    """The fleets that the own site is a member of."""
    site = config.site
    label = None if site is None else site.metadata.labels.get(FLEET_LABEL)
    return [] if label is None else [one for one in config.of("fleet").values() if one.spec.fleet_label == label]


def connectors_of(config: Config) -> list[Object[NetworkConnectorSpec]]:
    """The connectors that act here and have a forward proxy."""
    found: dict[int, Object[NetworkConnectorSpec]] = {}
    for fleet in fleets_of(config):
        for ref in fleet.spec.network_connectors:
            connector = config.find("network_connector", ref, fleet.namespace)
            if connector is not None and connector.spec.enable_forward_proxy is not None:
                found[id(connector)] = connector
    return list(found.values())


def firewalls_of(config: Config) -> list[Object[NetworkFirewallSpec]]:
    """The firewalls that act here."""
    found: dict[int, Object[NetworkFirewallSpec]] = {}
    for fleet in fleets_of(config):
        for ref in fleet.spec.network_firewall:
            firewall = config.find("network_firewall", ref, fleet.namespace)
            if firewall is not None:
                found[id(firewall)] = firewall
    return list(found.values())


def forwards(
    config: Config, networks: Networks, before: Mapping[str, Forward], opens: Callable[[Any, Any], Any],
) -> Iterator[Forward]:
    """Every forward proxy of this site; counts go on where `before` stopped. Raises `ConfigErrors` with all that is wrong.

    `opens` makes the `Interception` of a connector.
    """
    problems: list[ConfigError] = []
    for connector in connectors_of(config):
        spec = connector.spec
        settings = spec.enable_forward_proxy
        ours = spec.voltgw
        assert settings is not None         # `connectors_of` has seen to it
        doors: list[tuple[str, ExplicitProxyType | None]] = []
        if ours is not None and ours.explicit_proxy is not None:
            doors.append((EXPLICIT, ours.explicit_proxy))
        if spec.sli_to_slo_snat is not None and spec.sli_to_slo_snat.default_gw_snat:
            doors.append((CONNECTOR, None))
        for kind, listens in doors:
            name = connector.full_name if listens is None else f"{connector.full_name}/explicit"
            known = before.get(name)
            try:
                policies = policies_for(config, connector, kind, known.egress.policies.hits if known is not None else {})
                tls = None
                if listens is not None and listens.tls_parameters is not None:
                    tls = parameters(config, connector, listens.tls_parameters, "explicit_proxy")
                egress = _egress(connector, name, settings, listens, policies, config, networks,
                                 known.egress if known is not None else None, opens)
            except (ConfigErrors, BuildErrors) as errors:
                problems += errors.problems
                continue
            host = forward_host(
                connector.name if listens is None else f"{connector.name}-explicit", connector.namespace, connector.place,
                known.host.routes[0].counters if known is not None else None)
            host.egress = policies
            yield Forward(connector, host, egress, listens, tls)
    if problems:
        raise ConfigErrors(tuple(problems))


def _egress(
    connector: Object[NetworkConnectorSpec], name: str, settings: ForwardProxyConfigType, listens: ExplicitProxyType | None,
    policies: Policies, config: Config, networks: Networks, known: Egress | None, opens: Callable[[Any, Any], Any],
) -> Egress:
    ours = connector.spec.voltgw
    users, mark = None, b""
    if listens is not None and listens.htpasswd is not None:
        mark = sha256(listens.htpasswd.data).digest()
        try:
            users = known.users if known is not None and known.users_mark == mark else Htpasswd.parse(listens.htpasswd.data)
        except ValueError as error:
            raise ConfigErrors((ConfigError(
                "VG0301", connector.place("voltgw", "explicit_proxy", "htpasswd"), f"the users of {connector.title}: {error}"),
            )) from error
    interception = None
    if settings.tls_intercept is not None:
        interception = opens(connector, known.interception if known is not None else None)
    return Egress(
        name, policies, Guard(ours.allowed_prefixes if ours is not None else (), own_ports(config)),
        settings.connection_timeout_s or CONNECT_TIMEOUT_S, settings.max_connect_attempts or 1,
        ours.connect_ports if ours is not None else (), frozenset(settings.white_listed_ports),
        Prefixes(settings.white_listed_prefixes), networks.outside, listens is not None, users,
        (listens.realm if listens is not None else None) or "proxy", interception, mark)


def own_ports(config: Config) -> list[tuple[str, int]]:
    """Ports of this host to which nothing leads, whatever is allowed: it would go in a ring."""
    found = []
    for connector in connectors_of(config):
        ours = connector.spec.voltgw
        if ours is not None and ours.explicit_proxy is not None:
            found.append(("", config.gateway.bound_port(ours.explicit_proxy.port)))
    return found


# -- policies --------------------------------------------------------------------------------------------------------------


def policies_for(config: Config, one: Object[Any], kind: str, known: Mapping[str, Hits]) -> Policies:
    """The policies that judge a connector's proxy, or a virtual host that resolves dynamically. Raises `BuildErrors`."""
    found = Collector()
    policies: list[EgressPolicy] = []
    judged = False
    for firewall in firewalls_of(config):
        active = firewall.spec.active_forward_proxy_policies
        if active is None:
            continue
        judged = True
        for number, ref in enumerate(active.forward_proxy_policies):
            with found.at(firewall.place, "active_forward_proxy_policies", "forward_proxy_policies", number):
                policy = config.find("forward_proxy_policy", ref, firewall.namespace)
                if policy is None:
                    if next(config.candidates("forward_proxy_policy", ref, firewall.namespace), None) is None:
                        raise ProblemError(f'there is no forward_proxy_policy "{ref.name}", so whom it refuses is not known')
                    continue                # it is out of service
                if _about(config, policy, one, kind):
                    policies += _compiled(config, policy, found)
    found.finish()
    if kind == DYNAMIC and not policies:
        judged = False                      # policies of forward proxies are not about virtual hosts, unless they say so
    return Policies(policies, known, judged=judged)


def dynamic_egress(config: Config, networks: Networks, host: Object[VirtualHostSpec], known: Egress | None) -> Egress:
    """What requests of a virtual host with `dynamic_reverse_proxy` may reach. Raises `BuildErrors`."""
    asked = host.spec.dynamic_reverse_proxy
    assert asked is not None                # the caller has looked
    policies = policies_for(config, host, DYNAMIC, known.policies.hits if known is not None else {})
    network = networks.inside if asked.resolution_network_type is VirtualNetworkType.SITE_LOCAL_INSIDE else networks.outside
    for ref in asked.resolution_network:
        network = networks.named(ref, host.namespace) or network
    ours = host.spec.voltgw
    own = [*own_ports(config), *(("", config.gateway.bound_port(port)) for port in _ports(config, host))]
    return Egress(
        f"{host.full_name}/dynamic", policies, Guard(ours.allowed_prefixes if ours is not None else (), own),
        asked.connection_timeout_s or CONNECT_TIMEOUT_S, network=network)


def _ports(config: Config, host: Object[VirtualHostSpec]) -> Iterator[int]:
    """The ports on which a virtual host is offered: a name that leads back to one of them would go in a ring."""
    for ref in host.spec.advertise_policies:
        policy = config.find("advertise_policy", ref, host.namespace)
        if policy is not None:
            yield from policy.spec.ports


def _about(config: Config, policy: Object[ForwardProxyPolicySpec], one: Object[Any], kind: str) -> bool:
    """Whether a policy is about that proxy; one that does not say so is about every connector's."""
    spec = policy.spec
    if spec.network_connector is not None:
        return one.kind == "network_connector" and config.find(
            "network_connector", spec.network_connector, policy.namespace) is one
    if spec.proxy_label_selector is not None:
        return selector(spec.proxy_label_selector.expressions).matches(one.metadata.labels)
    if spec.drp_http_connect:
        return kind in (EXPLICIT, DYNAMIC)
    return kind != DYNAMIC


def _compiled(config: Config, policy: Object[ForwardProxyPolicySpec], found: Collector) -> list[EgressPolicy]:
    def prefixes(ref: Ref) -> Sequence[str]:
        listed = config.find("ip_prefix_set", ref, policy.namespace)
        if listed is None:
            raise ProblemError(f'there is no ip_prefix_set "{ref.name}" in service, so what it lists is not known')
        spec = listed.spec
        return (*spec.prefix, *(each.ipv4_prefix for each in spec.ipv4_prefixes if each.ipv4_prefix is not None),
                *(each.ipv6_prefix for each in spec.ipv6_prefixes if each.ipv6_prefix is not None))

    with found.at(policy.place):
        rules = tuple(rules_of(policy.spec, policy.place, prefixes))
        spec = policy.spec
        lists: list[Any] = [spec.allow_list, spec.deny_list]
        if spec.rule_list is not None:
            lists += spec.rule_list.rules_
        about_requests = any(one is not None and one.http_list for one in lists)
        return [EgressPolicy(policy.full_name, rules, policy.place, about_requests)]
    return []


def refused(connector: Object[Any], path: tuple[str | int, ...], message: str, hint: str = "") -> ConfigErrors:
    """What `raise` wants where TLS of a connector cannot be."""
    return ConfigErrors((ConfigError(REFUSED, connector.place(*path), message, hint),))
