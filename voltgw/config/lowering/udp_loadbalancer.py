"""udp_loadbalancer: a virtual host that relays datagrams, its one route and its advertise policies (objects.md 18)."""

from __future__ import annotations

from typing import Any

from voltgw.config.lowering.making import Maker, Part, Report
from voltgw.config.lowering.pools import destinations
from voltgw.config.lowering.tcp_loadbalancer import relay
from voltgw.config.model import Object
from voltgw.config.objects.endpoint import TransportProtocol
from voltgw.config.objects.extensions import HostExtension
from voltgw.config.objects.udp_loadbalancer import UdpLoadbalancerSpec
from voltgw.config.objects.virtual_host import ProxyType, VirtualHostSpec


def lower(view: Object[UdpLoadbalancerSpec], report: Report) -> list[Object[Any]]:
    """The virtual host ``ves-io-udp-loadbalancer-<name>`` and what belongs to it."""
    make = Maker(view, report)
    pools = destinations(make, view.spec.origin_pools_weights, ("origin_pools_weights",))
    host = Part(VirtualHostSpec, ())
    if view.spec.enable_per_packet_load_balancing:
        host.set("voltgw", HostExtension(per_packet_load_balancing=True), ("enable_per_packet_load_balancing",))
    relay(make, host, ProxyType.UDP_PROXY, pools, TransportProtocol.UDP)
    return make.objects
