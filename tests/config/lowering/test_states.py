"""What a view's field says is done with it is what is done with the field that it becomes."""

from __future__ import annotations

from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from voltgw.config.kinds import KINDS
from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
from voltgw.config.objects.cluster import ClusterSpec
from voltgw.config.objects.endpoint import EndpointSpec
from voltgw.config.objects.http_loadbalancer import (
    HttpLoadbalancerSpec,
    MoreOptionType,
    ProxyTypeHttps,
    ProxyTypeHttpsAutoCerts,
)
from voltgw.config.objects.origin_pool import OriginPoolAdvancedOptions, OriginPoolSpec, OriginServerType
from voltgw.config.objects.route import RouteDestination, RouteDestinationList, RouteMatch, RouteType
from voltgw.config.objects.tcp_loadbalancer import TcpLoadbalancerSpec
from voltgw.config.objects.udp_loadbalancer import UdpLoadbalancerSpec
from voltgw.config.objects.view_advertise import OriginPoolWithWeight, WhereType
from voltgw.config.objects.view_routes import (
    DirectResponseRouteType,
    RedirectRouteType,
    RouteSimpleAdvancedOptions,
    SimpleRouteType,
)
from voltgw.config.objects.virtual_host import SERVED, ProxyType, VirtualHostSpec
from voltgw.config.objects.where import NetworkSiteRefSelector
from voltgw.config.reader import State
from voltgw.config.schema import Decl, Nested, plan_of
from voltgw.config.types import Choice

#: Messages of views, and those that they become.
PAIRS = (
    (HttpLoadbalancerSpec, VirtualHostSpec), (MoreOptionType, VirtualHostSpec), (ProxyTypeHttps, VirtualHostSpec),
    (ProxyTypeHttpsAutoCerts, VirtualHostSpec), (RouteSimpleAdvancedOptions, RouteDestinationList),
    (RouteSimpleAdvancedOptions, RouteType), (SimpleRouteType, RouteDestinationList), (RedirectRouteType, RouteType),
    (DirectResponseRouteType, RouteType), (RedirectRouteType, RouteMatch), (DirectResponseRouteType, RouteMatch),
    (OriginPoolSpec, ClusterSpec), (OriginPoolAdvancedOptions, ClusterSpec), (OriginPoolWithWeight, RouteDestination),
    (OriginServerType, EndpointSpec), (TcpLoadbalancerSpec, VirtualHostSpec), (UdpLoadbalancerSpec, VirtualHostSpec),
    (TcpLoadbalancerSpec, RouteDestinationList), (UdpLoadbalancerSpec, RouteDestinationList),
)
#: Fields of one name that are not the same thing: what they hold is put into another shape.
OTHER_SHAPE = {
    "routes", "user_identification", "sensitive_data_policy", "cluster", "tls_parameters", "tls_cert_params", "mirror_policy",
    "policy_based_challenge",
    # a flag where the view has a member of a oneof
    "auto_host_rewrite",
}
#: Fields of other names.
RENAMED: tuple[tuple[type[Any], str, type[Any], str], ...] = (
    (OriginPoolSpec, "use_tls", ClusterSpec, "tls_parameters"), (OriginPoolSpec, "healthcheck", ClusterSpec, "health_checks"),
    (OriginPoolAdvancedOptions, "enable_subsets", ClusterSpec, "endpoint_subsets"),
    (OriginServerType, "k8s_service", EndpointSpec, "service_info"), (OriginServerType, "consul_service", EndpointSpec, "service_info"),
    (WhereType, "virtual_site", NetworkSiteRefSelector, "virtual_site"),
    (WhereType, "virtual_network", NetworkSiteRefSelector, "virtual_network"),
    (HttpLoadbalancerSpec, "advertise_on_public", AdvertisePolicySpec, "public_ip"),
    (HttpLoadbalancerSpec, "ring_hash", RouteDestinationList, "hash_policy"),
    (RouteSimpleAdvancedOptions, "specific_hash_policy", RouteDestinationList, "hash_policy"),
    (HttpLoadbalancerSpec, "protected_cookies", VirtualHostSpec, "cookies_to_modify"),
)


#: Policies do not judge connections and datagrams yet, so these load balancers may not name any.
UNJUDGED: Final = ((TcpLoadbalancerSpec, "active_service_policies"), (UdpLoadbalancerSpec, "active_service_policies"))


def shape(decl: Decl) -> tuple[object, ...]:
    """What makes two declarations the same."""
    item = getattr(decl.type, "item", decl.type)
    inner: object = item.cls if isinstance(item, Nested) else item.enum if isinstance(item, Choice) else item.words
    return type(decl.type), inner, dict(item.states) if isinstance(item, Choice) else None


class StateTests(SynchronousTestCase):
    def test_fields_of_one_name_are_the_same(self) -> None:
        """In type, so that values can be taken over, and in what is done with them."""
        wrong = []
        for cls, primitive in PAIRS:
            theirs = plan_of(primitive).by_key
            for decl in plan_of(cls).decls:
                other = theirs.get(decl.name)
                if other is None:
                    continue
                if (cls, decl.name) in UNJUDGED:
                    continue                # so far only requests are judged
                if decl.state is not other.state or decl.name not in OTHER_SHAPE and shape(decl) != shape(other):
                    wrong.append(f"{cls.__name__}.{decl.name} and {primitive.__name__}.{other.name}")
        self.assertEqual(wrong, [])

    def test_fields_of_other_names(self) -> None:
        """Likewise for what is done with them."""
        for cls, name, primitive, other in RENAMED:
            self.assertIs(plan_of(cls).by_key[name].state, plan_of(primitive).by_key[other].state, f"{cls.__name__}.{name}")

    def test_kinds_of_proxy(self) -> None:
        """A view is served when its proxy is."""
        for cls, name, proxy in (
            (HttpLoadbalancerSpec, "https", ProxyType.HTTPS_PROXY), (TcpLoadbalancerSpec, "sni", ProxyType.TCP_PROXY_WITH_SNI),
            (TcpLoadbalancerSpec, "tls_tcp", ProxyType.TLS_TCP_PROXY),
        ):
            self.assertEqual(plan_of(cls).by_key[name].state is State.ACTS, proxy in SERVED, name)
        self.assertEqual(KINDS["udp_loadbalancer"].state is State.ACTS, ProxyType.UDP_PROXY in SERVED)
