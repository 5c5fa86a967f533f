"""What voltgw adds to a discovery object: a zone of DNS that is delegated to this gateway (CONFIG.md)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from voltgw.config.compound import ListOf
from voltgw.config.contents import SecretContent
from voltgw.config.formats import HOSTNAME, IP, PREFIX
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Flag, Number, Text
from voltgw.config.values import Secret
from voltgw.values import defaults


class DnsOrder(Enum):
    """How the VIPs of a name are put into an answer."""

    ROUND_ROBIN = "round_robin"
    WEIGHTED = "weighted"
    PRIORITY = "priority"
    CLIENT_SUBNET = "client_subnet"


class WhenDown(Enum):
    """What is answered for a name whose service has no endpoint that could serve."""

    SERVE_ALL = "serve_all"
    NODATA = "nodata"


@message
class NameServer:
    """A name server of the zone, as the parent zone's delegation names it."""

    name: str = field(Text(HOSTNAME), "Its name.", since="voltgw", required=True, example="ns1.apps.example.com")
    addresses: tuple[str, ...] = field(
        ListOf(Text(IP), most=16), "Its addresses; needed where the name is within the zone.", since="voltgw",
        example="[192.0.2.1]")


@message
class DnsRecord:
    """A static record."""

    name: str = field(
        Text(least=1, most=253), "Owner, relative to the zone; ``@`` is the zone itself, ``*`` its wildcard.", since="voltgw",
        required=True, example="txt")
    type: str = field(Text(least=1, most=16), "Type: A, AAAA, CAA, CNAME, MX, NS (a delegation), PTR, SRV, TXT, HTTPS, SVCB.",
                      since="voltgw", required=True, example="TXT")
    data: str = field(Text(least=1, most=4096), "What it says, as zone files have it.", since="voltgw", required=True,
                      example='"v=spf1 -all"')
    ttl_s: float | None = field(Duration("s", 0, 604800, zero="value"), "How long it may be remembered.", since="voltgw",
                                absent="the zone's `ttl`")


class TsigAlgorithm(Enum):
    """How messages are signed (RFC 8945 6)."""

    HMAC_SHA256 = "hmac-sha256"
    HMAC_SHA384 = "hmac-sha384"
    HMAC_SHA512 = "hmac-sha512"


@message
class Tsig:
    """A key that the server on the other side knows, too (RFC 8945)."""

    name: str = field(Text(HOSTNAME), "Its name.", since="voltgw", required=True, example="voltgw-key")
    algorithm: TsigAlgorithm = field(
        Choice(TsigAlgorithm, numbers=False), "How it signs.", since="voltgw", absent="hmac-sha256")
    secret: Secret = field(
        SecretContent(4096), "The key itself: ``string:///`` and the base64 that ``tsig-keygen`` prints, or ``file:<path>`` or "
        "``env:<NAME>`` with the bytes.", since="voltgw", required=True)


@message
class DnsSecondary:
    """A server that holds a copy of the zone: it may fetch it by AXFR, and is told of changes by NOTIFY."""

    address: str = field(
        Text(IP), "From where it asks, and where it is told.", since="voltgw", required=True, example="192.0.2.53")
    port: int | None = field(Number(1, 65535), "Where it is told.", since="voltgw", absent="53")
    tsig: Tsig | None = field(Nested(Tsig), "The key by which it signs what it asks.", since="voltgw",
                              absent="its address is enough")
    disable_notify: bool = field(Flag(), "Do not tell it of changes: it looks for them by itself.", since="voltgw")


@message
class DnssecKey:
    """The key that signs a zone."""

    private_key: Secret = field(
        SecretContent(16384), "A private key of P-256 or Ed25519 in PEM, as ``openssl ecparam -name prime256v1 -genkey "
        "-noout`` makes it.", since="voltgw", required=True, example="file:zone.key")


@message
class DnsDelegation:
    """A zone that this gateway answers for: the domains of virtual hosts below it, and static records."""

    zone: str = field(Text(HOSTNAME), "Name of the zone.", since="voltgw", required=True, example="apps.example.com")
    ttl_s: float | None = field(
        Duration("s", 0, 86400, zero="value"), "How long answers may be remembered.", since="voltgw",
        absent=f"{defaults.DNS_TTL_S} s")
    name_servers: tuple[NameServer, ...] = field(
        ListOf(Nested(NameServer), most=16), "Name servers of the zone.", since="voltgw",
        absent="one, ``ns1`` of the zone, with the addresses of `gateway.dns`")
    hostmaster: str | None = field(
        Text(HOSTNAME), "Mailbox of who is responsible, with a dot for the at sign.", since="voltgw",
        absent="``hostmaster`` of the zone", example="dns.example.com")
    records: tuple[DnsRecord, ...] = field(ListOf(Nested(DnsRecord), most=10_000), "Static records.", since="voltgw")
    order: DnsOrder = field(Choice(DnsOrder, numbers=False), "How several VIPs of a name are answered.", since="voltgw",
                            absent="all, beginning with another one each time")
    when_down: WhenDown = field(
        Choice(WhenDown, numbers=False), "What is answered when no endpoint of a name's service is up.", since="voltgw",
        absent="all VIPs, as if they were up")
    disable_https_records: bool = field(
        Flag(), "Do not answer HTTPS records for virtual hosts with TLS (RFC 9460).", since="voltgw")
    dnssec: DnssecKey | None = field(
        Nested(DnssecKey), "Sign what is answered (DNSSEC); ``voltgw names`` shows the DS record that the parent zone needs.",
        since="voltgw", absent="answers are not signed")
    secondaries: tuple[DnsSecondary, ...] = field(
        ListOf(Nested(DnsSecondary), most=64), "Servers that hold a copy of the zone.", since="voltgw",
        absent="none: nobody may fetch the zone")

    def rules(self) -> Iterable[Rule]:
        """A zone below which nobody could find the name servers is none."""
        for index, server in enumerate(self.name_servers):
            if not server.addresses and f".{server.name}".endswith(f".{self.zone}"):
                yield Rule(f"name_servers.{index}.addresses", "VG0106",
                           "a name server within the zone needs its addresses here")
        if self.dnssec is not None and self.secondaries:
            yield Rule("secondaries", "VG0106", "a zone that is signed as it is answered cannot be handed to secondaries: "
                       "their answers would have no signatures", "remove `secondaries`, or `dnssec` and let them sign")


@message
class AdvertiseDns:
    """How the VIP of a policy is answered by DNS, in delegated zones whose `order` asks for it."""

    weight: int | None = field(Number(0, 65535), "Its share, with ``weighted``; 0 = only when nothing else is left.",
                               since="voltgw", absent="1")
    priority: int | None = field(Number(0, 255), "Its rank, with ``priority``; the lowest that is up is answered.",
                                 since="voltgw", absent="0")
    client_prefixes: tuple[str, ...] = field(
        ListOf(Text(PREFIX), most=1000, unique=True), "Clients that it is for, with ``client_subnet``.", since="voltgw",
        example="[10.0.0.0/8]")
