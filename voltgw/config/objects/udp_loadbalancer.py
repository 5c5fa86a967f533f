"""udp_loadbalancer: a UDP load balancer in one object (objects.md 18)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import ListOf
from voltgw.config.formats import DOMAIN
from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
from voltgw.config.objects.route import RouteDestinationList
from voltgw.config.objects.view_advertise import (
    AdvertiseCustom,
    AdvertisePublic,
    OriginPoolWithWeight,
    ServicePolicyList,
)
from voltgw.config.quantities import Duration
from voltgw.config.ranges import Ports
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, field, message, state_of
from voltgw.config.types import Flag, Number, Presence, Text
from voltgw.config.values import Range


@message
class UdpLoadbalancerSpec:
    """A UDP load balancer."""

    READ_ONLY: ClassVar = ("host_name", "dns_info", "internet_vip_info")
    SINCE: ClassVar = ""

    udp: bool = field(Presence(), "Plain UDP.", group="loadbalancer_type", absent="this")
    listen_port: int | None = field(Number(1, 65535), "Port to listen on.", group="port_choice")
    port_ranges: tuple[Range, ...] = field(Ports(), "Ports to listen on.", group="port_choice")
    enable_per_packet_load_balancing: bool = field(
        Flag(), "Every datagram has its own choice of an origin server.")
    hash_policy_choice_random: bool = field(
        Presence(), "Any origin server.", group="hash_policy_choice")
    hash_policy_choice_round_robin: bool = field(
        Presence(), "Origin servers take turns.", group="hash_policy_choice", absent="this")
    hash_policy_choice_source_ip_stickiness: bool = field(
        Presence(), "The same one for the same client address.", group="hash_policy_choice",
        state=state_of(RouteDestinationList, "hash_policy"))
    hash_policy_choice_least_active: bool = field(
        Presence(), "The one with the fewest sessions.", group="hash_policy_choice")
    domains: tuple[str, ...] = field(ListOf(Text(DOMAIN), most=33, unique=True), "Its names.")
    origin_pools_weights: tuple[OriginPoolWithWeight, ...] = field(
        ListOf(Nested(OriginPoolWithWeight)), "Pools with their shares.")
    idle_timeout_s: float | None = field(Duration("ms"), "Longest silence of a session.", absent="60 s")
    retract_cluster: bool = field(
        Presence(), "A pool without a healthy origin server leaves the weighted choice.", group="cluster_retract_choice")
    do_not_retract_cluster: bool = field(
        Presence(), "It stays, and its share of the sessions fails.", group="cluster_retract_choice", absent="this")
    dns_volterra_managed: bool = field(Flag(), "Its names are published in a delegated domain.", state=WARNS)
    advertise_on_public_default_vip: bool = field(
        Presence(), "Offered on the public address of regional edges.", group="advertise_choice")
    advertise_on_public: AdvertisePublic | None = field(
        Nested(AdvertisePublic), "Offered on a public address of one's own.", group="advertise_choice",
        state=state_of(AdvertisePolicySpec, "public_ip"))
    advertise_custom: AdvertiseCustom | None = field(
        Nested(AdvertiseCustom), "Offered in some places.", group="advertise_choice")
    do_not_advertise: bool = field(Presence(), "Offered nowhere.", group="advertise_choice")
    active_service_policies: ServicePolicyList | None = field(
        Nested(ServicePolicyList), "These service policies say which clients may pass.", group="service_policy_choice")
    no_service_policies: bool = field(Presence(), "All clients may pass.", group="service_policy_choice")
    service_policies_from_namespace: bool = field(
        Presence(), "The namespace's service policies say so.", group="service_policy_choice", absent="this")
