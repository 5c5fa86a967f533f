"""network_firewall: which policies act on a site's networks (objects.md 12.8)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import refs
from voltgw.config.reader import REFUSES
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Presence
from voltgw.config.values import Ref


@message
class ActiveForwardProxyPoliciesType:
    """Forward proxy policies in order."""

    forward_proxy_policies: tuple[Ref, ...] = field(refs("forward_proxy_policy"), "The policies.")


@message
class ActiveNetworkPoliciesType:
    """Network policies in order."""

    network_policies: tuple[Ref, ...] = field(refs("network_policy", "network_policy_view"), "The policies.")


@message
class ActiveEnhancedFirewallPoliciesType:
    """Enhanced firewall policies in order."""

    SINCE: ClassVar = ""

    enhanced_firewall_policies: tuple[Ref, ...] = field(refs("enhanced_firewall_policy"), "The policies.")


@message
class ActiveFastACLsType:
    """Lists of packets that are dropped early."""

    fast_acls: tuple[Ref, ...] = field(refs("fast_acl"), "The lists.")


@message
class NetworkFirewallSpec:
    """Which policies act on a site's networks."""

    active_forward_proxy_policies: ActiveForwardProxyPoliciesType | None = field(
        Nested(ActiveForwardProxyPoliciesType), "Where forward proxies may go.", group="forward_proxy_policy_choice")
    disable_forward_proxy_policy: bool = field(Presence(), "Anywhere.", group="forward_proxy_policy_choice")
    active_network_policies: ActiveNetworkPoliciesType | None = field(
        Nested(ActiveNetworkPoliciesType), "Which connections may pass.", group="network_policy_choice", state=REFUSES)
    active_enhanced_firewall_policies: ActiveEnhancedFirewallPoliciesType | None = field(
        Nested(ActiveEnhancedFirewallPoliciesType), "Which connections may pass (newer).", group="network_policy_choice",
        state=REFUSES)
    disable_network_policy: bool = field(Presence(), "Every connection may.", group="network_policy_choice")
    active_fast_acls: ActiveFastACLsType | None = field(
        Nested(ActiveFastACLsType), "Which packets are dropped early.", group="fast_acl_choice", state=REFUSES)
    disable_fast_acl: bool = field(Presence(), "None are.", group="fast_acl_choice")
