"""dns_lb_pool: what a DNS load balancer answers (objects.md 19)."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.compound import ListOf
from voltgw.config.formats import HOSTNAME, IP
from voltgw.config.names import Reference
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Flag, Number, Presence, Text
from voltgw.config.values import Ref


class LoadBalancingMode(Enum):
    """How members are chosen."""

    ROUND_ROBIN = "ROUND_ROBIN"
    RATIO_MEMBER = "RATIO_MEMBER"
    STATIC_PERSIST = "STATIC_PERSIST"
    PRIORITY = "PRIORITY"


@message
class AddressMember:
    """One address."""

    SINCE: ClassVar = ""

    ip_endpoint: str | None = field(Text(IP), "The address.")
    ratio: int | None = field(Number(), "Its share, with RATIO_MEMBER.")
    priority: int | None = field(Number(), "Its rank, with PRIORITY.")
    disable: bool = field(Flag(), "It takes no part.")
    name: str | None = field(Text(), "Its name.")


@message
class AddressPool:
    """Addresses."""

    SINCE: ClassVar = ""

    members: tuple[AddressMember, ...] = field(ListOf(Nested(AddressMember)), "The addresses.")
    max_answers: int | None = field(Number(), "Most of them in one answer.")
    health_check: Ref | None = field(
        Reference("dns_lb_health_check"), "How they are probed.", group="health_check_choice")
    disable_health_check: bool = field(Presence(), "They are not probed.", group="health_check_choice")


@message
class CNAMEMember:
    """Another name."""

    SINCE: ClassVar = ""

    domain: str | None = field(Text(HOSTNAME), "That name.")
    final_translation: bool = field(Flag(), "It is not looked up further.")
    name: str | None = field(Text(), "Its name.")
    ratio: int | None = field(Number(), "Its share.")


@message
class CNAMEPool:
    """Other names."""

    SINCE: ClassVar = ""

    members: tuple[CNAMEMember, ...] = field(ListOf(Nested(CNAMEMember)), "The names.")


@message
class MXMember:
    """A mail server."""

    SINCE: ClassVar = ""

    domain: str | None = field(Text(HOSTNAME), "Its host name.")
    name: str | None = field(Text(), "Its name.")
    priority: int | None = field(Number(most=65535), "Preference in the record.")
    ratio: int | None = field(Number(), "Its share.")


@message
class MXPool:
    """Mail servers."""

    SINCE: ClassVar = ""

    members: tuple[MXMember, ...] = field(ListOf(Nested(MXMember)), "The servers.")
    max_answers: int | None = field(Number(), "Most of them in one answer.")


@message
class SRVMember:
    """A server of a service."""

    SINCE: ClassVar = ""

    target: str | None = field(Text(HOSTNAME), "Its host name.")
    port: int | None = field(Number(most=65535), "Its port.")
    weight: int | None = field(Number(most=65535), "Weight in the record.")
    priority: int | None = field(Number(most=65535), "Priority in the record.")
    ratio: int | None = field(Number(), "Its share.")
    final_translation: bool = field(Flag(), "Its name is not looked up further.")
    name: str | None = field(Text(), "Its name.")


@message
class SRVPool:
    """Servers of a service."""

    SINCE: ClassVar = ""

    members: tuple[SRVMember, ...] = field(ListOf(Nested(SRVMember)), "The servers.")
    max_answers: int | None = field(Number(), "Most of them in one answer.")


@message
class DnsLbPoolSpec:
    """What a DNS load balancer answers."""

    SINCE: ClassVar = ""

    load_balancing_mode: LoadBalancingMode = field(Choice(LoadBalancingMode), "How members are chosen.")
    a_pool: AddressPool | None = field(Nested(AddressPool), "IPv4 addresses.", group="pool_type_choice")
    aaaa_pool: AddressPool | None = field(Nested(AddressPool), "IPv6 addresses.", group="pool_type_choice")
    cname_pool: CNAMEPool | None = field(Nested(CNAMEPool), "Other names.", group="pool_type_choice")
    mx_pool: MXPool | None = field(Nested(MXPool), "Mail servers.", group="pool_type_choice")
    srv_pool: SRVPool | None = field(Nested(SRVPool), "Servers of a service.", group="pool_type_choice")
    ttl_s: float | None = field(
        Duration("s", zero="value"), "How long answers are remembered.", group="ttl_choice", absent="30 s")
    use_rrset_ttl: bool = field(Presence(), "As long as the zone's record says.", group="ttl_choice")
