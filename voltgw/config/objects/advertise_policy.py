"""advertise_policy: where, on which address and port a virtual host is offered (objects.md 8)."""

from __future__ import annotations

from collections.abc import Iterable

from voltgw.config.compound import ListOf, refs
from voltgw.config.formats import IP, PREFIX, Format
from voltgw.config.objects.delegation import AdvertiseDns
from voltgw.config.objects.endpoint import TransportProtocol
from voltgw.config.objects.tls import DownstreamTlsParamsType
from voltgw.config.objects.where import NetworkSiteRefSelector
from voltgw.config.quantities import Duration, Size
from voltgw.config.ranges import Ports
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, FilePath, Flag, Number, Text
from voltgw.config.values import Range, Ref


def _mode(text: str) -> str:
    if len(text) != 4 or text[0] != "0" or not set(text) <= set("01234567"):
        raise ValueError(f"{text!r} is no mode of a file such as 0660")
    return text


#: Permissions of a file, as chmod(1) has them.
MODE = Format("mode of a file", _mode, "^0[0-7]{3}$")
#: The port of a policy that names none (objects.md 22.16).
DEFAULT_PORT = 80


@message
class ProxyProtocolExtension:
    """Clients come through proxies that say whom they stand for, in a PROXY header of version 1 or 2 (UDP: 2)."""

    trusted: tuple[str, ...] = field(
        ListOf(Text(PREFIX), least=1, most=256), "Addresses of these proxies. Anybody else is refused, and so is a connection "
        "without the header.", since="voltgw", required=True, example="[10.0.0.0/8]")
    first_datagram_only: bool = field(
        Flag(), "UDP: these proxies send a header with the first datagram of a session alone, and have a port of their own for "
        "each session. Otherwise each datagram begins with one, as those of DNS proxies do.", since="voltgw")


@message
class TcpExtension:
    """TCP towards clients; what is absent is the host's own setting. A reload changes it for new connections."""

    congestion_control: str | None = field(
        Text(least=1, most=15), "Algorithm, of those that the host has loaded.", since="voltgw", example="bbr")
    send_buffer_bytes: int | None = field(Size("B", 4096, 1 << 30), "What may wait to be acknowledged.", since="voltgw")
    receive_buffer_bytes: int | None = field(Size("B", 4096, 1 << 30), "What may wait to be read.", since="voltgw")
    user_timeout_s: float | None = field(
        Duration("s", 1, 3600), "Longest time that sent bytes may stay unacknowledged.", since="voltgw")
    keep_alive_s: float | None = field(
        Duration("s", 1, 32767), "Silence after which the peer is asked for a sign of life.", since="voltgw")
    fast_open: int | None = field(
        Number(most=65535), "Connections with data in their SYN that may wait; 0 = none.", since="voltgw")


@message
class AdvertiseExtension:
    """What voltgw adds to an advertise policy."""

    unix: str | None = field(
        FilePath(107), "Listen on a Unix socket of this path instead of an address and port; not for UDP. Its clients count as "
        "127.0.0.1.", since="voltgw", example="/run/voltgw/web.sock")
    unix_mode: str | None = field(
        Text(MODE), "Permissions of its file.", since="voltgw", absent='"0660"', example='"0666"')
    any_address: bool = field(
        Flag(), "Listen on all addresses, IPv4 and IPv6 on one socket; not together with `address`.", since="voltgw")
    freebind: bool = field(
        Flag(), "Listen on an address that this host may not have yet: a VIP that moves between hosts.", since="voltgw")
    device: str | None = field(
        Text(least=1, most=15), "Take only what comes in by this network interface.", since="voltgw", absent="any",
        example="eth1")
    max_connections: int | None = field(
        Number(1, 1 << 30), "Connections open at a time on each port, TCP alone; more wait in the kernel and are not refused.",
        since="voltgw", absent="what the process may hold")
    connections_per_second: int | None = field(
        Number(1, 1_000_000), "New connections in a second on each port; more wait in the kernel and are not refused. Of UDP: "
        "new sessions; a datagram that would begin one more is dropped.", since="voltgw", absent="as many as come")
    connection_burst: int | None = field(
        Number(1, 1_000_000), "How many of them at once, after a quiet time.", since="voltgw",
        absent="as many as in a second")
    upload_bytes_per_second: int | None = field(
        Size("B", 1, 1 << 40), "What the client of each relayed connection or session may send in a second (TCP_PROXY and its "
        "kin, UDP_PROXY, TLS that passes through). Connections are not read until it is time; datagrams beyond it are dropped.",
        since="voltgw", absent="as much as comes", example="1MiB")
    download_bytes_per_second: int | None = field(
        Size("B", 1, 1 << 40), "Likewise what the client gets in a second.", since="voltgw", absent="as much as comes",
        example="10MiB")
    tcp: TcpExtension | None = field(Nested(TcpExtension), "TCP options towards clients.", since="voltgw")
    dns: AdvertiseDns | None = field(
        Nested(AdvertiseDns), "How its VIP is answered in delegated zones.", since="voltgw", example="{weight: 3}")
    proxy_protocol: ProxyProtocolExtension | None = field(
        Nested(ProxyProtocolExtension), "Require a PROXY header, from proxies that are trusted.", since="voltgw")


@message
class AdvertisePolicySpec:
    """Where, on which address and port a virtual host is offered."""

    where: NetworkSiteRefSelector | None = field(
        Nested(NetworkSiteRefSelector), "On which site and network.", absent="this gateway's own site, outside network")
    address: str | None = field(
        Text(IP), "The address (VIP).", absent="the site's outside_vip or inside_vip, else its interface's address",
        example="192.0.2.10")
    public_ip: tuple[Ref, ...] = field(
        refs("public_ip"), "public_ip objects instead of where and address.", state=WARNS)
    protocol: TransportProtocol = field(Choice(TransportProtocol), "Transport of the port.")
    port: int | None = field(
        Number(most=65535, zero_is_absent=True), "Port to listen on.", group="port_choice", absent=str(DEFAULT_PORT))
    port_ranges: tuple[Range, ...] = field(
        Ports(), "Ports to listen on.", since="+2023-06", group="port_choice", example='"80,443,8080-8191"')
    tls_parameters: DownstreamTlsParamsType | None = field(
        Nested(DownstreamTlsParamsType), "TLS towards clients; wins over the virtual host's.")
    skip_xff_append: bool = field(Flag(), "Do not append the client's address to X-Forwarded-For.")
    voltgw: AdvertiseExtension | None = field(Nested(AdvertiseExtension), "What voltgw adds.", since="voltgw")

    @property
    def any_address(self) -> bool:
        """Whether it listens on every address of the host, IPv4 and IPv6."""
        return self.voltgw is not None and self.voltgw.any_address

    @property
    def device(self) -> str:
        """The network interface that it is bound to, "" = any."""
        return (self.voltgw.device or "") if self.voltgw is not None else ""

    @property
    def unix(self) -> str | None:
        """The path of its Unix socket; None = it listens on an address."""
        return self.voltgw.unix if self.voltgw is not None else None

    @property
    def proxies(self) -> tuple[str, ...] | None:
        """Prefixes of the proxies that must send a PROXY header; None = there is none."""
        extension = self.voltgw
        return None if extension is None or extension.proxy_protocol is None else extension.proxy_protocol.trusted

    @property
    def first_datagram_only(self) -> bool:
        """Whether proxies send a header with the first datagram of a session alone."""
        return self.proxies is not None and self.voltgw is not None and (
            self.voltgw.proxy_protocol is not None and self.voltgw.proxy_protocol.first_datagram_only)

    @property
    def ports(self) -> tuple[int, ...]:
        """All ports it listens on, in the order written."""
        if self.port_ranges:
            return tuple(port for one in self.port_ranges for port in one)
        return (self.port or DEFAULT_PORT,)

    def rules(self) -> Iterable[Rule]:
        """What excludes each other."""
        if self.unix is not None:
            if self.address is not None or self.any_address or self.device or self.where is not None:
                yield Rule("voltgw", "VG0106", "`unix` excludes `address`, `where`, `any_address` and `device`")
            if self.port_ranges or self.protocol is TransportProtocol.UDP:
                yield Rule("voltgw", "VG0106", "a Unix socket is one, for TCP: it has no `port_ranges` and no UDP")
        elif self.voltgw is not None and self.voltgw.unix_mode is not None:
            yield Rule("voltgw", "VG0106", "`unix_mode` is for `unix`")
        if self.address is not None and self.any_address:
            yield Rule("voltgw", "VG0106", "`address` and `voltgw: {any_address: true}` exclude each other")
        if self.voltgw is not None and self.voltgw.max_connections is not None and self.protocol is TransportProtocol.UDP:
            yield Rule("voltgw", "VG0106", "`max_connections` is for TCP; UDP has bounds of its own")
        if self.voltgw is not None and self.voltgw.connection_burst is not None and self.voltgw.connections_per_second is None:
            yield Rule("voltgw", "VG0106", "`connection_burst` is of `connections_per_second`, which is not there")
        if self.first_datagram_only and self.protocol is not TransportProtocol.UDP:
            yield Rule("voltgw", "VG0106", "`first_datagram_only` is for UDP; a connection begins with one header anyway")
        if self.public_ip and (self.address is not None or self.where is not None):
            yield Rule("public_ip", "VG0106", "`public_ip` excludes `where` and `address`")
