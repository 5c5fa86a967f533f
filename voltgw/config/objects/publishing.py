"""What voltgw adds to a discovery object so that virtual hosts are published in registries that others run (CONFIG.md)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from voltgw.config.compound import Anything, ListOf
from voltgw.config.contents import Content, SecretContent
from voltgw.config.formats import HOSTNAME, IP, OBJECT_NAME, PREFIX, URL
from voltgw.config.objects.delegation import DnsDelegation, Tsig, WhenDown
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Flag, Number, Text
from voltgw.config.values import Secret
from voltgw.values import defaults


class OnShutdown(Enum):
    """What becomes of published names when the gateway is shut down in an orderly way."""

    KEEP = "keep"
    REMOVE = "remove"


@message
class PublishPolicy:
    """How names are kept in the registries of this object."""

    owner: str = field(
        Text(least=1, most=100), "By which names of this gateway are known as its own. Gateways that have the same one write, "
        "and take out, each other's names: they must have the same virtual hosts. Letters, digits, ``.``, ``-`` and ``_``.",
        since="voltgw", required=True, example="edge-lyon")
    domains: tuple[str, ...] = field(
        ListOf(Text(least=1, most=253), most=1000, unique=True), "Only these domains of virtual hosts, as they stand there.",
        since="voltgw", absent="all that the registry can have")
    when_down: WhenDown = field(
        Choice(WhenDown, numbers=False), "What is published when no endpoint of a name's service is up.", since="voltgw",
        absent="all VIPs, as if they were up")
    interval_s: float | None = field(
        Duration("s", 1, 86400), "How often a registry is looked at, and repaired.", since="voltgw",
        absent=f"{defaults.PUBLISH_INTERVAL_S:g} s; the APIs of clouds {defaults.PUBLISH_CLOUD_INTERVAL_S:g} s")
    hold_down_s: float | None = field(
        Duration("s", 0, 3600, zero="value"), "A name whose VIPs have changed with the health of its service does not change "
        "for that reason again so soon.", since="voltgw", absent=f"{defaults.PUBLISH_HOLD_DOWN_S:g} s")
    on_shutdown: OnShutdown = field(
        Choice(OnShutdown, numbers=False), "Whether names stay when the gateway is shut down in an orderly way.",
        since="voltgw", absent="they stay")
    dry_run: bool = field(Flag(), "Write nothing; say what would be written.", since="voltgw")

    def rules(self) -> Iterable[Rule]:
        """The owner stands in records and tags between quotes."""
        if not all(each.isascii() and (each.isalnum() or each in ".-_") for each in self.owner):
            yield Rule("owner", "VG0106", "only letters, digits, `.`, `-` and `_` can be in an owner")


@message
class DnsUpdate:
    """A zone of a DNS server that takes DNS UPDATE (RFC 2136), signed by TSIG, over TCP."""

    zone: str = field(Text(HOSTNAME), "Name of the zone.", since="voltgw", required=True, example="apps.example.com")
    address: str = field(Text(IP), "Address of its primary server.", since="voltgw", required=True, example="192.0.2.53")
    port: int | None = field(Number(1, 65535), "Its TCP port.", since="voltgw", absent="53")
    tsig: Tsig = field(Nested(Tsig), "The key by which updates are signed.", since="voltgw", required=True)
    ttl_s: float | None = field(
        Duration("s", 0, 86400, zero="value"), "How long answers may be remembered.", since="voltgw",
        absent=f"{defaults.DNS_TTL_S:g} s")


@message
class AwsCredentials:
    """An access key of AWS."""

    access_key_id: str = field(
        Text(least=1, most=128), "Its id.", since="voltgw", required=True, example="AKIAIOSFODNN7EXAMPLE")
    secret_access_key: Secret = field(
        SecretContent(4096), "The secret: ``file:<path>``, ``env:<NAME>``, or ``string:///`` and base64.", since="voltgw",
        required=True, example="env:AWS_SECRET_ACCESS_KEY")
    session_token: Secret | None = field(
        SecretContent(16384), "The token of credentials that expire.", since="voltgw", absent="they do not expire")


@message
class Route53:
    """A hosted zone of Amazon Route 53."""

    zone: str = field(Text(HOSTNAME), "Name of the zone.", since="voltgw", required=True, example="apps.example.com")
    hosted_zone_id: str = field(
        Text(least=1, most=64), "Its id.", since="voltgw", required=True, example="Z0123456789ABCDEFGHIJ")
    credentials: AwsCredentials | None = field(
        Nested(AwsCredentials), "As whom it is written.", since="voltgw",
        absent="the role of the instance that the gateway runs on")
    ttl_s: float | None = field(
        Duration("s", 0, 86400, zero="value"), "How long answers may be remembered.", since="voltgw",
        absent=f"{defaults.DNS_TTL_S:g} s")
    endpoint: str | None = field(
        Text(URL, most=2048), "URL of the API, for other partitions and stand-ins.", since="voltgw",
        absent="``https://route53.amazonaws.com``")
    region: str | None = field(
        Text(least=1, most=64), "Region for which requests are signed.", since="voltgw", absent="``us-east-1``")
    trusted_ca: bytes | None = field(
        Content(131072, pem=True), "PEM of the authorities that vouch for the API.", since="voltgw", absent="the system's")

    def rules(self) -> Iterable[Rule]:
        """The id stands in paths."""
        if not self.hosted_zone_id.isascii() or not self.hosted_zone_id.isalnum():
            yield Rule("hosted_zone_id", "VG0106", "an id has only letters and digits, such as Z0123456789ABCDEFGHIJ")


@message
class GoogleDns:
    """A managed zone of Google Cloud DNS."""

    zone: str = field(Text(HOSTNAME), "Name of the zone in DNS.", since="voltgw", required=True, example="apps.example.com")
    project: str = field(Text(least=1, most=128), "Its project.", since="voltgw", required=True, example="shop-prod")
    managed_zone: str = field(
        Text(least=1, most=128), "Name of the managed zone.", since="voltgw", required=True, example="apps-example-com")
    service_account_key: Secret | None = field(
        SecretContent(65536), "The JSON file of a service account's key.", since="voltgw",
        absent="the service account of the instance that the gateway runs on", example="file:voltgw.json")
    ttl_s: float | None = field(
        Duration("s", 0, 86400, zero="value"), "How long answers may be remembered.", since="voltgw",
        absent=f"{defaults.DNS_TTL_S:g} s")
    endpoint: str | None = field(
        Text(URL, most=2048), "URL of the API, for stand-ins.", since="voltgw", absent="``https://dns.googleapis.com``")
    token_endpoint: str | None = field(
        Text(URL, most=2048), "URL where tokens are had, for stand-ins.", since="voltgw", absent="what the key's file says")
    trusted_ca: bytes | None = field(
        Content(131072, pem=True), "PEM of the authorities that vouch for both.", since="voltgw", absent="the system's")


@message
class EntraCredentials:
    """An application of Microsoft Entra."""

    tenant: str = field(
        Text(OBJECT_NAME), "Its tenant's id or domain.", since="voltgw", required=True,
        example="72f988bf-86f1-41af-91ab-2d7cd011db47")
    client_id: str = field(Text(least=1, most=128), "Its id.", since="voltgw", required=True,
                           example="11111111-1111-1111-1111-111111111111")
    client_secret: Secret = field(
        SecretContent(4096), "Its secret: ``file:<path>``, ``env:<NAME>``, or ``string:///`` and base64.", since="voltgw",
        required=True, example="env:AZURE_CLIENT_SECRET")


@message
class AzureDns:
    """A zone of Azure DNS."""

    zone: str = field(Text(HOSTNAME), "Name of the zone.", since="voltgw", required=True, example="apps.example.com")
    subscription_id: str = field(
        Text(least=1, most=128), "Its subscription.", since="voltgw", required=True,
        example="00000000-0000-0000-0000-000000000000")
    resource_group: str = field(Text(least=1, most=128), "Its resource group.", since="voltgw", required=True, example="dns")
    credentials: EntraCredentials | None = field(
        Nested(EntraCredentials), "As whom it is written.", since="voltgw",
        absent="the managed identity of the instance that the gateway runs on")
    ttl_s: float | None = field(
        Duration("s", 1, 86400), "How long answers may be remembered.", since="voltgw", absent=f"{defaults.DNS_TTL_S:g} s")
    endpoint: str | None = field(
        Text(URL, most=2048), "URL of the API, for other clouds and stand-ins.", since="voltgw",
        absent="``https://management.azure.com``")
    token_endpoint: str | None = field(
        Text(URL, most=2048), "URL of the authority for tokens, for other clouds and stand-ins.", since="voltgw",
        absent="``https://login.microsoftonline.com``")
    trusted_ca: bytes | None = field(
        Content(131072, pem=True), "PEM of the authorities that vouch for both.", since="voltgw", absent="the system's")


@message
class RegistrarUse:
    """A registry of a kind that an installed package knows."""

    name: str = field(
        Text(least=1, most=256), "Name of the kind, as the package declares it.", since="voltgw", required=True,
        example="hosts-file")
    zone: str | None = field(
        Text(HOSTNAME), "Only names in this zone.", since="voltgw", absent="all names", example="apps.example.com")
    options: object = field(
        Anything(), "What the documentation of the package says.", since="voltgw", absent="none",
        example="{path: /etc/hosts.d/voltgw}")


#: Fields of `DiscoveryExtension` that describe registries.
REGISTRIES: Final = ("dns_update", "route53", "google_dns", "azure_dns", "registrar")


@message
class ConsulExtension:
    """What voltgw adds to a Consul that is asked for services."""

    token: Secret | None = field(
        SecretContent(4096), "ACL token; it needs ``service:read`` and ``node:read``.", since="voltgw",
        absent="the anonymous one", example="file:/etc/voltgw/consul.token")
    datacenter: str | None = field(Text(least=1, most=256), "Data centre.", since="voltgw", absent="the agent's own")
    namespace: str | None = field(Text(least=1, most=256), "Namespace (Enterprise).", since="voltgw", absent="the token's")
    partition: str | None = field(Text(least=1, most=256), "Partition (Enterprise).", since="voltgw", absent="the agent's own")


@message
class DiscoveryExtension:
    """What voltgw adds to a discovery object."""

    consul: ConsulExtension | None = field(
        Nested(ConsulExtension), "How the Consul of `discovery_consul` is asked.", since="voltgw")
    allowed_addresses: tuple[str, ...] = field(
        ListOf(Text(PREFIX), most=256, unique=True), "Addresses that it may name; others are turned away.", since="voltgw",
        absent="all but loopback, link-local and multicast ones", example="[10.0.0.0/8]")

    dns_delegation: DnsDelegation | None = field(
        Nested(DnsDelegation), "A zone of DNS that is delegated to this gateway.", since="voltgw")
    publish: PublishPolicy | None = field(
        Nested(PublishPolicy), "How names are kept in the registries of this object.", since="voltgw")
    dns_update: DnsUpdate | None = field(
        Nested(DnsUpdate), "A zone at another server, in which virtual hosts are published.", since="voltgw")

    route53: Route53 | None = field(
        Nested(Route53), "A zone of Amazon Route 53, in which virtual hosts are published.", since="voltgw")
    google_dns: GoogleDns | None = field(
        Nested(GoogleDns), "A zone of Google Cloud DNS, in which virtual hosts are published.", since="voltgw")
    azure_dns: AzureDns | None = field(
        Nested(AzureDns), "A zone of Azure DNS, in which virtual hosts are published.", since="voltgw")
    registrar: RegistrarUse | None = field(
        Nested(RegistrarUse), "A registry of an installed package's kind, in which virtual hosts are published.",
        since="voltgw")

    def rules(self) -> Iterable[Rule]:
        """Without an owner nobody could say which names of a registry are ours."""
        for name in REGISTRIES:
            if getattr(self, name) is not None and self.publish is None:
                yield Rule(name, "VG0106", "publishing needs an owner, by which our names are known as ours",
                           "add `publish: {owner: ...}` beside it")
