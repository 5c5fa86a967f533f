"""The declaration of the short form: a load balancer in a few lines (``load_balancers:`` of our own files)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

from yaml.nodes import Node

from voltgw.config.compound import ListOf, MapOf
from voltgw.config.contents import PemFile, SecretPemFile
from voltgw.config.formats import DOMAIN, HOSTPORT, HTTP_PATH, IP, OBJECT_NAME, Format, split_port
from voltgw.config.names import Reference
from voltgw.config.quantities import Duration
from voltgw.config.ranges import Between
from voltgw.config.reader import MISSING, Missing, Reader
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Flag, Number, Schema, Text, Type
from voltgw.config.units import show_seconds
from voltgw.config.values import FrozenMap, Range, Ref, Secret
from voltgw.errors import Severity
from voltgw.values import defaults

#: The port that a URL without one means.
_URL_PORTS: Final = {"http": 80, "https": 443, "tcp": None, "udp": None}


class ShortProtocol(Enum):
    """What a load balancer of the short form speaks to its clients."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"
    UDP = "udp"
    SNI = "sni"

    @property
    def http(self) -> bool:
        """Whether its clients speak HTTP."""
        return self in (ShortProtocol.HTTP, ShortProtocol.HTTPS)


class Listen(NamedTuple):
    """An address (None = all, IPv4 and IPv6) and a port."""

    address: str | None
    port: int


class OriginAddress(NamedTuple):
    """A server: scheme ("" = none was written), host name or address, port (None = none was written)."""

    scheme: str
    host: str
    port: int | None


class ListenType(Type[Listen, None]):
    """``8080``, ``127.0.0.1:8080`` or ``[::1]:8080``; a bare port means all addresses."""

    default = None
    words = "a port, or address:port"

    def read(self, node: Node, reader: Reader) -> Listen | Missing:
        text = self.scalar(node, reader)
        if text is MISSING:
            return MISSING
        try:
            host, port = split_port(text if ":" in text else f":{text}")
            if port is None:
                raise ValueError(f"{text!r} has no port")
            if host in ("", "*"):
                return Listen(None, port)
            return Listen(IP.read(host.removeprefix("[").removesuffix("]")), port)
        except ValueError as error:
            return reader.wrong(node, "VG0110", f"{error}; write {self.words}, such as 8080, 127.0.0.1:8080 or [::1]:8080")

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string", "pattern": r"[0-9]+$|\$\{"}]}

    def plain(self, value: Listen) -> object:
        if value.address is None:
            return value.port
        return f"[{value.address}]:{value.port}" if ":" in value.address else f"{value.address}:{value.port}"


class OriginType(Type[OriginAddress, None]):
    """``host:port``, ``192.0.2.7:80``, ``[::1]:80`` or a URL without a path."""

    default = None
    words = "host:port or a URL such as http://app.internal:8000"

    def read(self, node: Node, reader: Reader) -> OriginAddress | Missing:
        text = self.scalar(node, reader)
        if text is MISSING:
            return MISSING
        scheme, slashes, rest = text.rpartition("://")
        if slashes and scheme not in _URL_PORTS:
            return reader.wrong(node, "VG0110", f'origins are reached by http:// or tcp://, not by "{scheme}://"')
        try:
            host, port = split_port(rest.removesuffix("/"))
            host = HOSTPORT.read(host).removeprefix("[").removesuffix("]") if host else host
            if not host or "/" in host:
                raise ValueError(f"{text!r} is not {self.words}")
        except ValueError as error:
            return reader.wrong(node, "VG0110", str(error),
                                "the path of a request is passed on; give a server here" if "/" in rest else "")
        return OriginAddress(scheme, host, port if port is not None else _URL_PORTS.get(scheme))

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"type": "string"}

    def plain(self, value: OriginAddress) -> object:
        host = f"[{value.host}]" if ":" in value.host else value.host
        return f"{value.scheme}://" * bool(value.scheme) + host + (f":{value.port}" if value.port is not None else "")


def _redirect_target(text: str) -> str:
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        return HTTP_PATH.read(text)
    if scheme not in ("http", "https"):
        raise ValueError(f"{text!r} is neither a path nor an http:// or https:// URL")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{HOSTPORT.read(host)}" + (HTTP_PATH.read(slash + path) if slash else "")


@message
class ShortOrigin:
    """One server."""

    address: OriginAddress = field(OriginType(), "Where it is: ``host:port`` or a URL.", since="voltgw", required=True)
    weight: int | None = field(Number(0, 65535), "Its share; 0 gets nothing.", since="voltgw", absent="1")
    labels: FrozenMap[str, str] = field(MapOf(Text(), Text()), "Labels of the endpoint.", since="voltgw")


@message
class ShortHealthCheck:
    """How the origins are probed: by HTTP where there is a path, else by connecting, or for udp by a datagram."""

    path: str | None = field(
        Text(HTTP_PATH, least=1, most=2048), "Path of a GET that must be answered 200.", since="voltgw",
        absent="connecting is enough; for udp, that nobody says that the origin is unreachable")
    interval_s: float | None = field(
        Duration("s", 1, 600), "Between two probes.", since="voltgw", absent=show_seconds(defaults.HEALTH_INTERVAL_S))
    timeout_s: float | None = field(
        Duration("s", 1, 600), "A probe must be over in this time.", since="voltgw",
        absent=f"{show_seconds(defaults.HEALTH_TIMEOUT_S)}, or the interval if that is shorter")
    healthy_threshold: int | None = field(
        Number(1, 16), "Successes in a row that bring an origin back.", since="voltgw", absent=str(defaults.HEALTHY_THRESHOLD))
    unhealthy_threshold: int | None = field(
        Number(1, 16), "Failures in a row that take it out.", since="voltgw", absent=str(defaults.UNHEALTHY_THRESHOLD))
    host_header: str | None = field(Text(HOSTPORT, most=262), "Host of the probe.", since="voltgw", absent="the origin's name")
    expected_status_codes: tuple[Range, ...] = field(
        ListOf(Between(100, 599, "a status or a range of them"), most=16, unique=True), "Statuses that are good.",
        since="voltgw", absent="200")


@message
class ShortTls:
    """The certificate of an https load balancer."""

    cert: bytes | None = field(
        PemFile(131072), "PEM file, leaf first.", since="voltgw", absent="that of `auto_cert`", example="shop.crt")
    key: Secret | None = field(
        SecretPemFile(131072), "PEM file of its key.", since="voltgw", absent="that of `auto_cert`", example="shop.key")
    auto_cert: bool = field(
        Flag(), "Have a certificate fetched and renewed, as ``gateway.acme`` says.", since="voltgw")
    client_ca: bytes | None = field(
        PemFile(131072), "PEM file of the CA whose clients are let in.", since="voltgw", absent="clients show no certificate",
        example="ca.crt")

    def rules(self) -> Iterable[Rule]:
        """A certificate with its key, or one that is fetched."""
        if self.auto_cert:
            if self.cert is not None or self.key is not None:
                yield Rule("auto_cert", "VG0106", "a certificate is given, so none is fetched")
        elif self.cert is None or self.key is None:
            missing = "cert" if self.cert is None else "key"
            yield Rule("", "VG0105", f'"{missing}" is missing here', "or have a certificate fetched: `auto_cert: true`")


@message
class ShortRoute:
    """Requests below a path that go elsewhere than to the origins."""

    path: str = field(Text(HTTP_PATH, least=1, most=256),
                      "Path; it matches whole segments: ``/api`` takes ``/api`` and ``/api/x``.", since="voltgw", required=True)
    to: Ref | None = field(Reference("cluster"), "Name of a cluster, origin_pool or other load balancer, whose origins serve.",
                           since="voltgw", group="action")
    redirect: str | None = field(Text(Format("path or URL", _redirect_target), least=1),
                                 "Answer 301 with this path or URL in place of the matched path.", since="voltgw",
                                 group="action")

    def rules(self) -> Iterable[Rule]:
        """Something must be done."""
        if self.to is None and self.redirect is None:
            yield Rule("", "VG0105", "this route needs `to` or `redirect`")


@message
class ShortLoadBalancer:
    """A load balancer in a few lines; it becomes a virtual host, route, cluster, endpoints, policy and health check."""

    name: str = field(Text(OBJECT_NAME, least=1), "Name, also of the objects made from it.", since="voltgw", required=True)
    protocol: ShortProtocol = field(Choice(ShortProtocol, numbers=False), "What its clients speak.", since="voltgw")
    listen: Listen | None = field(
        ListenType(), "Port or address:port; a bare port means all addresses.", since="voltgw",
        absent="80 (http), 443 (https, sni)",
        example="127.0.0.1:8080")
    domains: tuple[str, ...] = field(
        ListOf(Text(DOMAIN), most=33, unique=True), "Hosts that it takes.", since="voltgw", absent="any host")
    origins: tuple[ShortOrigin, ...] = field(
        ListOf(Nested(ShortOrigin, scalar="address")), "Servers among which requests are shared out.", since="voltgw",
        example="[127.0.0.1:9001, {address: 127.0.0.1:9002, weight: 2}]")
    health_check: ShortHealthCheck | None = field(
        Nested(ShortHealthCheck, scalar="path"), "How the origins are probed; a path alone is enough.", since="voltgw",
        absent="judged by connect results", example="/healthz")
    tls: ShortTls | None = field(Nested(ShortTls), "Certificate, for https.", since="voltgw")
    routes: tuple[ShortRoute, ...] = field(
        ListOf(Nested(ShortRoute), most=256), "Paths that go elsewhere; the first that matches wins.", since="voltgw",
        example="[{path: /api, to: api}, {path: /old, redirect: /new}]")

    def rules(self) -> Iterable[Rule]:
        """What belongs to one protocol only."""
        if not self.origins and not self.routes:
            yield Rule("", "VG0105", "a load balancer needs `origins` (or `routes` that go elsewhere)")
        if self.tls is not None and self.protocol is not ShortProtocol.HTTPS:
            yield Rule("tls", "VG0106", f"`tls` has no effect: it is for protocol https, and this is {self.protocol.value}",
                       severity=Severity.WARNING)
        if not self.protocol.http:
            if self.listen is None and self.protocol is not ShortProtocol.SNI:
                yield Rule("", "VG0105", f'"listen" is missing here: {self.protocol.value} has no port of its own')
            if self.routes:
                yield Rule("routes", "VG0203", f"{self.protocol.value} has no paths, so it has no routes")
        if self.protocol is ShortProtocol.SNI and not self.domains:
            yield Rule("", "VG0105", "sni needs `domains`: the server names by which its clients ask for it")
        if self.protocol is ShortProtocol.HTTPS and self.tls is None:
            yield Rule("", "VG0105", "https needs a certificate", "give it `tls: {cert: shop.crt, key: shop.key}`")
        if len({origin.address.scheme == "https" for origin in self.origins}) > 1:
            yield Rule("origins", "VG0106", "either all origins are reached by https://, or none")
        for index, origin in enumerate(self.origins):
            if origin.address.port is None and not self.protocol.http:
                yield Rule("origins", "VG0105", f"origin {index + 1} has no port")
