"""What ``gateway:`` says of the logs: the access logs, and from which level on the process log is written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

from voltgw.config.compound import ListOf, MapOf
from voltgw.config.contents import SecretContent
from voltgw.config.formats import HEADER_NAME, IP, Format
from voltgw.config.log_template import TEMPLATE, parse
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Decimal, FilePath, Number, Text
from voltgw.config.values import FrozenMap, Secret

#: Header fields that one log may have, of requests and of answers.
MAX_HEADERS: Final = 32
#: Header fields that hold credentials…
CREDENTIALS: Final = frozenset((
    "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token", "x-csrf-token",
    "x-amz-security-token", "proxy-authenticate", "www-authenticate", "authentication-info"))
#: …and client addresses.
ADDRESSES: Final = frozenset((
    "x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip", "x-client-ip",
    "x-cluster-client-ip", "via"))
#: What `sample` may name.
SAMPLED: Final = ("1xx", "2xx", "3xx", "4xx", "tcp")

#: Where local daemons listen, syslog's port, and what messages say they are of.
DEV_LOG: Final = "/dev/log"
JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"
SYSLOG_PORT: Final = 514
TAG: Final = "voltgw"

#: Loggers that may have a level of their own.
MAX_LOGGERS: Final = 64
_LOGGER: Final = re.compile(r"[A-Za-z_]\w{0,63}(?:\.\w{1,64}){0,15}", re.ASCII)


def _logger(text: str) -> str:
    if _LOGGER.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a logger's name, which is like voltgw.control")
    return text


LOGGER: Final = Format("logger's name", _logger, pattern=r"^[A-Za-z_]\w*(\.\w+)*$")


_STATUS: Final = re.compile(r"[1-5](?:xx|[0-9]{2})")
_HOST_NAME: Final = re.compile(r"(?:[A-Za-z0-9._-]+/)?[A-Za-z0-9._-]+")


def _status(text: str) -> str:
    if _STATUS.fullmatch(text) is None:
        raise ValueError(f"{text!r} is neither a status, such as 404, nor a class of them, such as 5xx")
    return text


def _host_name(text: str) -> str:
    if _HOST_NAME.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a virtual host's name")
    return text if "/" in text else f"default/{text}"


STATUS: Final = Format("status or class of statuses", _status, pattern="^[1-5](xx|[0-9]{2})$")
HOST_NAME: Final = Format("name of a virtual host", _host_name)


class LogFormat(Enum):
    """How log lines look."""

    JSON = "json"
    TEXT = "text"
    COMMON = "common"
    COMBINED = "combined"


class LogLevel(Enum):
    """From which level on process log events are written."""

    INFO = "info"
    DEBUG = "debug"
    WARN = "warn"
    ERROR = "error"
    CRITICAL = "critical"


class ProcessFormat(Enum):
    """How lines of the process log look."""

    TEXT = "text"
    JSON = "json"


class ClientAddresses(Enum):
    """How client addresses are written."""

    WHOLE = "whole"
    NETWORK = "network"


class Transport(Enum):
    """How syslog is carried to another host."""

    UDP = "udp"
    TCP = "tcp"


class Facility(Enum):
    """What syslog files messages under."""

    DAEMON = "daemon"
    USER = "user"
    LOCAL0 = "local0"
    LOCAL1 = "local1"
    LOCAL2 = "local2"
    LOCAL3 = "local3"
    LOCAL4 = "local4"
    LOCAL5 = "local5"
    LOCAL6 = "local6"
    LOCAL7 = "local7"


@message
class Syslog:
    """A syslog daemon: of this host, or of another one by RFC 5424."""

    unix: str | None = field(
        FilePath(107), "Path of the local daemon's socket, which is spoken to as syslog(3) does.", absent=DEV_LOG)
    address: str | None = field(Text(IP), "Another host's address, instead.")
    port: int | None = field(Number(1, 65535), "Its port.", absent=str(SYSLOG_PORT))
    transport: Transport = field(
        Choice(Transport, numbers=False), "``tcp`` counts octets (RFC 6587), and loses nothing while the connection lasts.")
    facility: Facility = field(Choice(Facility, numbers=False), "What messages are filed under.")
    tag: str | None = field(Text(most=48), "What messages say they are of.", absent=TAG)

    def rules(self) -> Iterable[Rule]:
        """It is one place."""
        if self.unix is not None and self.address is not None:
            yield Rule("unix", "VG0106", "the daemon is either here (`unix`) or at an `address`")
        if self.address is None and self.port is not None:
            yield Rule("port", "VG0106", "a port goes with an `address`")
        if self.address is None and self.transport is Transport.TCP:
            yield Rule("transport", "VG0106", "tcp goes with an `address`")


@message
class Journald:
    """systemd's journal, by its own protocol: fields of records can be searched for."""

    socket: str | None = field(FilePath(107), "Path of its socket.", absent=JOURNAL_SOCKET)
    tag: str | None = field(Text(most=48), "SYSLOG_IDENTIFIER of messages.", absent=TAG)


@message
class ProcessLog:
    """Where the process log goes, and how its lines look."""

    path: str | None = field(FilePath(), "File to append to; ``-`` = standard output.", absent="standard error")
    syslog: Syslog | None = field(Nested(Syslog), "A syslog daemon instead.")
    journald: Journald | None = field(Nested(Journald), "systemd's journal instead.")
    format: ProcessFormat = field(Choice(ProcessFormat, numbers=False), "How the lines look.")

    def rules(self) -> Iterable[Rule]:
        """It goes to one place."""
        if sum(each is not None for each in (self.path, self.syslog, self.journald)) > 1:
            yield Rule("", "VG0106", "it goes to one place: `path`, `syslog` or `journald`")


@message
class LogHeaders:
    """Header fields in JSON lines, as ``req_headers`` and ``rsp_headers``."""

    request: tuple[str, ...] = field(
        ListOf(Text(HEADER_NAME), most=MAX_HEADERS, unique=True), "Fields of requests.", example="[referer, accept-language]")
    response: tuple[str, ...] = field(
        ListOf(Text(HEADER_NAME), most=MAX_HEADERS, unique=True), "Fields of answers of endpoints.", example="[content-type]")
    hashed: tuple[str, ...] = field(
        ListOf(Text(HEADER_NAME), most=MAX_HEADERS, unique=True),
        "Fields of which only a keyed hash is written, so that equal values can be found, and nothing else.",
        example="[authorization]")
    hash_key: Secret | None = field(
        SecretContent(1024), "Key of the hashes; with the same key equal values have the same hash in every process.",
        absent="a random one for each process")

    def rules(self) -> Iterable[Rule]:
        """Credentials are nobody's business, not even the operator's."""
        hashed = {name.lower() for name in self.hashed}
        for key, names in (("request", self.request), ("response", self.response)):
            for name in names:
                if name.lower() in CREDENTIALS and name.lower() not in hashed:
                    yield Rule(key, "VG0106", f"{name} holds credentials, which are not written; name it in `hashed`, too, to "
                               "have a hash")
        for name in self.hashed:
            if name.lower() not in {each.lower() for each in (*self.request, *self.response)}:
                yield Rule("hashed", "VG0106", f"{name} is hashed, but neither `request` nor `response` names it")


@message
class LogOnly:
    """Which records are written: those for which everything that is said here holds."""

    status: tuple[str, ...] = field(
        ListOf(Text(STATUS), most=64, unique=True), "Statuses, or classes of them; connections have none.", absent="all",
        example="[5xx, 429]")
    min_duration_s: float | None = field(
        Duration("s"), "Those that took at least so long.", absent="0", example="500ms")
    hosts: tuple[str, ...] = field(
        ListOf(Text(HOST_NAME), most=1024, unique=True),
        "Virtual hosts: ``namespace/name``, or the name of one in ``default``.",
        absent="all", example="[default/shop]")


@message
class AccessLog:
    """An access log: where the line of each request and connection goes, and what it says."""

    path: str | None = field(FilePath(), "File to append to; ``-`` = standard output.", absent="no access log")
    syslog: Syslog | None = field(Nested(Syslog), "A syslog daemon instead.")
    journald: Journald | None = field(Nested(Journald), "systemd's journal instead.")
    format: LogFormat = field(Choice(LogFormat, numbers=False), "How the lines look.")
    template: str | None = field(
        Text(TEMPLATE, least=1), "How the lines look, in words of one's own: text with fields in braces; instead of `format`.",
        absent="as `format` says", example="'{src_ip} [{time}] \"{request_line}\" {rsp_code} {duration_ms}'")
    only: LogOnly | None = field(Nested(LogOnly), "Which records are written.", absent="all")
    sample: FrozenMap[str, float] = field(
        MapOf(Text(one_of=SAMPLED), Decimal(0, 1)),
        "Part of the records of a class of status (``tcp``: of connections) that are written; errors all are: statuses from "
        "500 on, no answer, a response flag.", example="{2xx: 0.01, 3xx: 0.01}")
    headers: LogHeaders | None = field(Nested(LogHeaders), "Header fields that are written; JSON only.", absent="none")
    client_addresses: ClientAddresses = field(
        Choice(ClientAddresses, numbers=False),
        "Whether client addresses are written as they are, or only their networks (/24, /48).")
    explain: float | None = field(
        Decimal(0, 1), "Part of the requests whose lines say which rules were tried and why; JSON only.", absent="0",
        example="0.01")

    def rules(self) -> Iterable[Rule]:
        """Only a JSON line has room for more, and a template is a format."""
        if sum(each is not None for each in (self.path, self.syslog, self.journald)) > 1:
            yield Rule("", "VG0106", "a log goes to one place: `path`, `syslog` or `journald`; several logs are a list")
        json = self.format is LogFormat.JSON and self.template is None
        if self.template is not None and self.format is not LogFormat.JSON:
            yield Rule("template", "VG0106", "a template is a format of its own: leave `format` away")
        if self.explain and not json:
            yield Rule("explain", "VG0106", "only lines in JSON say why; set `format: json`")
        if self.headers is not None and not json:
            yield Rule("headers", "VG0106", "only lines in JSON have header fields; a template names them: "
                       "{request_header:referer}")
        if self.client_addresses is ClientAddresses.NETWORK:
            if self.explain:
                yield Rule("explain", "VG0106", "what it says names client addresses, which are not to be written whole")
            named = set() if self.headers is None else {
                name.lower() for name in self.headers.request} - {name.lower() for name in self.headers.hashed}
            if self.template is not None:
                named |= {piece.header for piece in parse(self.template) if piece.field == "request_header"}
            for name in sorted(named & ADDRESSES):
                yield Rule("client_addresses", "VG0106", f"{name} holds client addresses, which are not to be written whole")
        if self.template is not None:
            for name in sorted({piece.header for piece in parse(self.template)} & CREDENTIALS):
                yield Rule("template", "VG0106", f"{name} holds credentials, which are not written")
