"""dns_zone: a DNS zone and its records (objects.md 19)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import Anything, ListOf
from voltgw.config.names import Reference
from voltgw.config.objects.parts import MessageMetaType
from voltgw.config.objects.secrets import SecretType
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Flag, Presence, Text
from voltgw.config.values import Ref


@message
class SOARecordParameters:
    """The zone's own record (RFC 1035 3.3.13)."""

    SINCE: ClassVar = ""

    refresh_s: float | None = field(Duration("s"), "Secondaries ask this often.")
    retry_s: float | None = field(Duration("s"), "After a failure they ask again after this.")
    expire_s: float | None = field(Duration("s"), "Without an answer they give up after this.")
    negative_ttl_s: float | None = field(Duration("s"), "How long it is remembered that a name is not there.")
    ttl_s: float | None = field(Duration("s"), "How long the record itself is remembered.")


@message
class DNSSECMode:
    """Whether the zone is signed."""

    SINCE: ClassVar = ""

    enable: object = field(Anything(), "It is.", group="mode")
    disable: bool = field(Presence(), "It is not.", group="mode")


@message
class LbRecord:
    """A name that is answered by a DNS load balancer."""

    SINCE: ClassVar = ""

    name: str | None = field(Text(), "The name below the zone.", absent="the zone's own")
    value: Ref | None = field(Reference("dns_load_balancer"), "Who answers.")


@message
class RRSet:
    """The records of one name and type."""

    SINCE: ClassVar = ""

    ttl_s: float | None = field(Duration("s"), "How long they are remembered.")
    description: str | None = field(Text(), "Free text.")
    a_record: object = field(Anything(), "A.", group="type_record_set")
    aaaa_record: object = field(Anything(), "AAAA.", group="type_record_set")
    cname_record: object = field(Anything(), "CNAME.", group="type_record_set")
    mx_record: object = field(Anything(), "MX.", group="type_record_set")
    ns_record: object = field(Anything(), "NS.", group="type_record_set")
    ptr_record: object = field(Anything(), "PTR.", group="type_record_set")
    srv_record: object = field(Anything(), "SRV.", group="type_record_set")
    txt_record: object = field(Anything(), "TXT.", group="type_record_set")
    caa_record: object = field(Anything(), "CAA.", group="type_record_set")
    alias_record: object = field(Anything(), "Addresses of another name.", group="type_record_set")
    lb_record: LbRecord | None = field(Nested(LbRecord), "What a DNS load balancer answers.", group="type_record_set")
    afsdb_record: object = field(Anything(), "AFSDB.", group="type_record_set")
    cds_record: object = field(Anything(), "CDS.", group="type_record_set")
    cert_record: object = field(Anything(), "CERT.", group="type_record_set")
    dlv_record: object = field(Anything(), "DLV.", group="type_record_set")
    ds_record: object = field(Anything(), "DS.", group="type_record_set")
    eui48_record: object = field(Anything(), "EUI48.", group="type_record_set")
    eui64_record: object = field(Anything(), "EUI64.", group="type_record_set")
    loc_record: object = field(Anything(), "LOC.", group="type_record_set")
    naptr_record: object = field(Anything(), "NAPTR.", group="type_record_set")
    sshfp_record: object = field(Anything(), "SSHFP.", group="type_record_set")
    tlsa_record: object = field(Anything(), "TLSA.", group="type_record_set")


@message
class RRSetGroup:
    """Records under one name, for those who edit them."""

    SINCE: ClassVar = ""

    metadata: MessageMetaType | None = field(Nested(MessageMetaType), "Its name.")
    rr_set: tuple[RRSet, ...] = field(ListOf(Nested(RRSet)), "The records.")


@message
class PrimaryDNSCreateSpecType:
    """The zone's records stand here."""

    SINCE: ClassVar = ""

    soa_parameters: SOARecordParameters | None = field(
        Nested(SOARecordParameters), "The zone's own record.", group="soa_record_parameters_choice")
    default_soa_parameters: bool = field(Presence(), "The usual one.", group="soa_record_parameters_choice")
    dnssec_mode: DNSSECMode | None = field(Nested(DNSSECMode), "Whether it is signed.")
    default_rr_set_group: tuple[RRSet, ...] = field(ListOf(Nested(RRSet)), "Records.")
    rr_set_group: tuple[RRSetGroup, ...] = field(ListOf(Nested(RRSetGroup)), "Records in groups.")
    allow_http_lb_managed_records: bool = field(Flag(), "Load balancers may add records for their domains.")


@message
class SecondaryDNSCreateSpecType:
    """The zone's records are copied from other servers."""

    SINCE: ClassVar = ""

    primary_servers: tuple[str, ...] = field(ListOf(Text(least=1)), "Those servers.")
    tsig_key_algorithm: str | None = field(Text(), "How transfers are signed.")
    tsig_key_name: str | None = field(Text(), "Name of the key that signs.")
    tsig_key_value: SecretType | None = field(Nested(SecretType), "The key that signs.")


@message
class DnsZoneSpec:
    """A DNS zone."""

    SINCE: ClassVar = ""

    primary: PrimaryDNSCreateSpecType | None = field(
        Nested(PrimaryDNSCreateSpecType), "Its records stand here.", group="dns_type")
    secondary: SecondaryDNSCreateSpecType | None = field(
        Nested(SecondaryDNSCreateSpecType), "They are copied from other servers.", group="dns_type")
