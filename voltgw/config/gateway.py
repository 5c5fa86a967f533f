"""The ``gateway:`` part of the main file: what concerns this process."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from voltgw.config.acme import Acme
from voltgw.config.admin import AdminAddress
from voltgw.config.compound import ListOf, MapOf
from voltgw.config.contents import SecretContent
from voltgw.config.formats import IP, OBJECT_NAME, PREFIX
from voltgw.config.logs import LOGGER, MAX_LOGGERS, AccessLog, LogLevel, ProcessLog
from voltgw.config.metrics import Metrics
from voltgw.config.overload import Overload
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.tracing import Tracing
from voltgw.config.types import Choice, FilePath, Flag, Number, Text
from voltgw.config.units import show_seconds
from voltgw.config.values import FrozenMap, Secret
from voltgw.values import defaults

#: The name of the own site where the file names none.
LOCAL_SITE = "local"


class OnDangling(Enum):
    """What a reference to a cluster that does not exist is."""

    ERROR = "error"
    SERVE_503 = "serve_503"


class Addresses(Enum):
    """Whether VIPs may be added to interfaces."""

    BY_SITE = "by_site"
    UNTOUCHED = "untouched"


class PacketRules(Enum):
    """Whether packet rules of ours may be installed."""

    INSTALLED = "installed"
    UNTOUCHED = "untouched"


@message
class Address:
    """An address and a port."""

    address: str = field(Text(IP), "Address.", required=True)
    port: int = field(Number(0, 65535), "Port; 0 lets the kernel choose.", required=True)


@message
class DnsAddress:
    """Where delegated zones are answered, by UDP and TCP."""

    address: str = field(Text(IP), "Address.", required=True)
    port: int = field(Number(0, 65535), "Port; 0 lets the kernel choose.", required=True)
    responses_per_second: int | None = field(
        Number(0, 1_000_000), "Answers by UDP to one network of clients (/24, /56) that show no cookie; 0 = any number.",
        absent=str(defaults.DNS_RESPONSES_PER_SECOND))
    slip: int | None = field(
        Number(0, 10), "Every so many answers beyond that say \"ask by TCP\", the others are not sent; 0 = none is.",
        absent=str(defaults.DNS_SLIP))


@message
class GeoDatabases:
    """Databases in MaxMind's format that say where an address is, and whose it is. A newer file is taken by itself."""

    database: str | None = field(
        FilePath(), "Countries, regions and cities.", example="/var/lib/GeoIP/GeoLite2-City.mmdb")
    asn_database: str | None = field(
        FilePath(), "Autonomous systems.", example="/var/lib/GeoIP/GeoLite2-ASN.mmdb")

    def rules(self) -> Iterable[Rule]:
        """Without any there is nothing to ask."""
        if self.database is None and self.asn_database is None:
            yield Rule("", "VG0106", "name a `database`, an `asn_database`, or both")


@message
class Gateway:
    """This process."""

    site: str | None = field(Text(OBJECT_NAME, least=1), "Name of the site object that it embodies.", absent=LOCAL_SITE)
    workers: int | None = field(
        Number(0, 1024, zero_is_absent=True),
        "Data-plane processes beside the one that controls them; 0 = one process for everything.", absent="0")
    admin: AdminAddress | None = field(Nested(AdminAddress), "Where the admin interface listens, and who may do what there.")
    data_dir: str | None = field(
        FilePath(), "Folder for state that outlives a restart: certificates that are fetched, the account for that, how far "
        "rollouts are, and the last configurations that have served.",
        absent="none is kept")
    acme: Acme | None = field(
        Nested(Acme), "From whom certificates are fetched, for load balancers that ask for that.",
        absent="none are fetched")
    access_log: tuple[AccessLog, ...] = field(
        ListOf(Nested(AccessLog, scalar="path"), most=16, single=True),
        "Where the line of each request and connection goes, and what it says; several logs as a list.", absent="no access log")
    dns: tuple[DnsAddress, ...] = field(ListOf(Nested(DnsAddress), most=64), "Where delegated zones are answered.")
    geo: GeoDatabases | None = field(
        Nested(GeoDatabases), "Databases by which policies know countries and autonomous systems.",
        absent="policies that ask for those are refused")
    metrics: Metrics | None = field(Nested(Metrics), "How much ``/metrics`` says.")
    tracing: Tracing | None = field(
        Nested(Tracing, scalar="endpoint"), "Traces of requests: passed on, recorded, sent to a collector.",
        absent="what clients say of a trace goes to endpoints as it came")
    log: ProcessLog | None = field(
        Nested(ProcessLog, scalar="path"), "Where the process log goes.",
        absent="standard error; with ``twistd --nodaemon`` standard output, else where twistd writes it")
    log_level: LogLevel = field(Choice(LogLevel, numbers=False), "From which level on the process log is written.")
    log_levels: FrozenMap[str, LogLevel] = field(
        MapOf(Text(LOGGER), Choice(LogLevel, numbers=False), most=MAX_LOGGERS),
        "Levels of parts of the gateway: the name of a logger, as its lines have it, or the beginning of such names.",
        example="{voltgw.control: debug}")
    monitor: Address | None = field(
        Nested(Address), "A second address for /ready, /live and /metrics alone, which may be public.")
    port_map: FrozenMap[int, int] = field(
        MapOf(Number(1, 65535), Number(1, 65535)), "Ports to bind instead of those that policies name.",
        example="{80: 8080, 443: 8443}")
    secrets: FrozenMap[str, Secret] = field(
        MapOf(Text(least=1), SecretContent(131072)),
        "Stand-ins for sealed private keys: ``namespace/name`` of the object that holds the sealed one, to a URL. An object "
        "with several takes ``namespace/name/0``, ``namespace/name/1`` and so on.")
    allow_unenforced: tuple[str, ...] = field(
        ListOf(Text(least=1), unique=True),
        "Fields that may be ignored although they exist to refuse someone.", example="[virtual_host.waf_type]")
    on_dangling: OnDangling = field(
        Choice(OnDangling, numbers=False), "Whether a cluster that does not exist is an error, or answered 503.")
    drain_timeout_s: float | None = field(
        Duration("s", zero="value"), "SIGTERM waits this long for what is under way; 0 = not at all.",
        absent=show_seconds(defaults.DRAIN_TIMEOUT_S))
    drain_lead_s: float | None = field(
        Duration("s", zero="value"), "On SIGTERM, /ready fails and names are withdrawn so long before the gateway takes "
        "nothing new any more: load balancers in front of it notice first.", absent="0s")
    restart_socket: str | None = field(
        FilePath(107), "Path of a Unix socket (mode 0600) over which a new process takes the place of this one without losing "
        "a connection (SIGUSR2, ``--takeover``).", absent="``restart.sock`` in ``data_dir``, if there is one")
    watch: bool = field(
        Flag(), "The files of the configuration are watched, and reloaded when an edit of them has come to rest.")
    max_connections: int | None = field(
        Number(1), "Most client connections; then accepting pauses.",
        absent=f"(open-file limit - {defaults.RESERVED_FDS}) / 2")

    overload: Overload | None = field(
        Nested(Overload), "What is done before memory or descriptors run out.",
        absent="as its fields say: descriptors are looked after, and memory where the control group has a limit")
    addresses: Addresses = field(
        Choice(Addresses, numbers=False), "Whether VIPs are added to interfaces as the site says (`voltgw: {manage_addresses: "
        "true}`), or no address of the host is ever touched; then VIPs are bound whether the host has them or not.")
    packet_rules: PacketRules = field(
        Choice(PacketRules, numbers=False), "Whether the rules are installed that bring connections of inside hosts to a "
        "forward proxy; else install what `voltgw rules FILE` prints.")
    trusted_sources: tuple[str, ...] = field(
        ListOf(Text(PREFIX)),
        "Prefixes of load balancers and the like; any other client address may hold `max_connections_per_source`.",
        absent="loopback addresses")
    max_connections_per_source: int | None = field(
        Number(1), "Most connections of one client address; those beyond it are closed at once and counted.",
        absent="a quarter of `max_connections`")
    max_requests_per_source: int | None = field(
        Number(1), "Most HTTP requests of one client address (IPv6: /64) that are under way at a time, in each worker; those "
        "beyond are answered 429. Clients in `trusted_sources` are not counted.", absent="any number")

    @property
    def site_name(self) -> str:
        """The name of the own site."""
        return self.site or LOCAL_SITE

    def bound_port(self, port: int) -> int:
        """The port that is really bound for one that a policy names."""
        return self.port_map.get(port, port)
