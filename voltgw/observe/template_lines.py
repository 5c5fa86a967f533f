"""Access records by a template: `voltgw.config.log_template` has read it, here each of its fields becomes a function.

A line is made of text that stands ready and of what the functions return; a field that the record does not have is "". Every
value is written in ASCII, with no control character and, inside quotes, no quote that could end the value, escaped as Apache's
mod_log_config does; outside quotes there is no space in it either. ``-`` stands for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from time import gmtime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from voltgw.config.log_template import Piece
from voltgw.observe.headers import Headers, request_fields
from voltgw.observe.json_lines import host_type, proxy_type
from voltgw.observe.lines import USER_AGENT, VERSIONS, Stamps, ended, forwarded_for, original_path, text_of
from voltgw.observe.redact import redact_path, redact_query
from voltgw.values.address import where
from voltgw.values.exchange import Exchange

if TYPE_CHECKING:
    from voltgw.observe.json_lines import Find
    from voltgw.values.record import ConnectionRecord

#: Bytes of one value that are written.
MAX_VALUE: Final = 2048

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TO_ESCAPE: Final = re.compile(r'[^ !#-\[\]-~]').search
_TO_ESCAPE_BARE: Final = re.compile(r'[^!#-\[\]-~]').search
_BARE: Final = {**{number: f"\\x{number:02x}" for number in (*range(0x21), *range(0x7F, 0x100))},
                ord('"'): '\\"', ord("\\"): "\\\\"}
_QUOTED: Final = {number: text for number, text in _BARE.items() if number != 0x20}


class Setting(NamedTuple):
    """What functions of fields share. `shown` is how client addresses are written."""

    site: str
    hostname: str
    network: str
    find: Find | None
    shown: Callable[[str], str]
    headers: Headers
    stamps: Stamps


class Moment(NamedTuple):
    """One record as the functions of fields get it: `exchange` or `connection` is None. With `offset`, monotonic seconds become
    wall clock.
    """

    exchange: Exchange | None
    connection: ConnectionRecord | None
    offset: float
    setting: Setting

    @property
    def record(self) -> Any:
        """Either."""
        return self.connection if self.exchange is None else self.exchange

    @property
    def address(self) -> str:
        """The client's address, whole."""
        return self.connection.client.peer_address if self.exchange is None else self.exchange.client_address  # type: ignore[union-attr]

    @property
    def duration_s(self) -> float:
        """From beginning to end."""
        if self.exchange is not None:
            return ended(self.exchange) - self.exchange.t_start
        record = self.record
        return float((record.t_end or record.t_start) - record.t_start)


class TemplateLines:
    """Lines by a template; `headers` hides secrets of header fields, `shown` says how a client's address is written."""

    __slots__ = ("_pieces", "_setting")

    def __init__(self, pieces: Sequence[Piece], *, site: str = "local", hostname: str = "", network: str = "site-local-vn",
                 find: Find | None = None, shown: Callable[[str], str] = str, headers: Headers | None = None) -> None:
        self._setting = Setting(site, hostname, network, find, shown, headers or Headers((), (), (), b""), Stamps())
        self._pieces = tuple((piece.text, *_function(piece)) for piece in pieces)

    def http(self, exchange: Exchange, offset: float) -> str:
        """The line of one finished exchange."""
        return self._line(Moment(exchange, None, offset, self._setting))

    def connection(self, record: ConnectionRecord, offset: float) -> str:
        """The line of one ended connection."""
        return self._line(Moment(None, record, offset, self._setting))

    def forget(self) -> None:
        """Nothing is kept."""

    def _line(self, moment: Moment) -> str:
        texts = [text if function is None else escaped(function(moment), quoted) for text, function, quoted in self._pieces]
        texts.append("\n")
        return "".join(texts)


def escaped(value: str, quoted: bool) -> str:
    """A value as it stands inside quotes, or outside of them."""
    if len(value) > MAX_VALUE:
        value = f"{value[:MAX_VALUE]}..."
    if not value:
        return "-"
    if not quoted:
        if _TO_ESCAPE_BARE(value) is None:
            return value
        return value.encode("utf-8", "backslashreplace").decode("latin-1").translate(_BARE)
    if _TO_ESCAPE(value) is None:
        return value
    return value.encode("utf-8", "backslashreplace").decode("latin-1").translate(_QUOTED)


Function = Callable[[Moment], str]


def _function(piece: Piece) -> tuple[Function | None, bool]:
    if not piece.field:
        return None, False
    if piece.header:
        name = piece.header.encode("ascii")
        of_request = piece.field == "request_header"
        return lambda moment: _header(moment, name, of_request), piece.quoted
    return FUNCTIONS[piece.field], piece.quoted


def _header(moment: Moment, name: bytes, of_request: bool) -> str:
    exchange = moment.exchange
    if exchange is None:
        return ""
    if of_request:
        return moment.setting.headers.value(name, request_fields(exchange))
    return "" if exchange.response is None else moment.setting.headers.value(name, exchange.response.fields)


# -- fields: what they say of a moment ------------------------------------------------------------------------------------


def _of_request(read: Callable[[Exchange], str]) -> Function:
    return lambda moment: "" if moment.exchange is None else read(moment.exchange)


def _of_host(read: Callable[[Any], str]) -> Function:
    return lambda moment: "" if moment.record.route is None else read(moment.record.route.host)


def _of_endpoint(read: Callable[[Any], str]) -> Function:
    return lambda moment: "" if moment.record.endpoint is None else read(moment.record.endpoint)


def _of_client(read: Callable[[Any], str]) -> Function:
    return lambda moment: read(moment.record.client)


def _located(place: int) -> Function:
    def read(moment: Moment) -> str:
        found = None if moment.setting.find is None else moment.setting.find(moment.address)
        return "" if found is None else str(found[place])
    return read


def _asn(moment: Moment) -> str:
    found = None if moment.setting.find is None else moment.setting.find(moment.address)
    return f"{found[4]}({found[3]})" if found is not None and found[3] else ""


def _clf_time(moment: Moment) -> str:
    """As strftime has it in the C locale: ``28/Mar/2022:23:09:53 +0000``."""
    at = gmtime(moment.record.t_start + moment.offset)
    return (f"{at.tm_mday:02d}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} +0000")


def _target(exchange: Exchange) -> str:
    request = exchange.request
    path = redact_path(text_of(request.path))
    return path if request.query is None else f"{path}?{redact_query(text_of(request.query))}"


def _request_line(exchange: Exchange) -> str:
    return f"{text_of(exchange.request.method)} {_target(exchange)} {VERSIONS[exchange.request.minor]}"


def _status(exchange: Exchange) -> str:
    return str(exchange.response_code)


def _class(exchange: Exchange) -> str:
    return f"{exchange.response_code // 100}xx" if exchange.response_code else ""


def _detail(moment: Moment) -> str:
    detail: str = moment.record.detail
    exchange = moment.exchange
    return detail or ("via_upstream" if exchange is not None and exchange.response is not None else "")


def _port(moment: Moment) -> str:
    record = moment.record
    return str(record.client.peer_port) if moment.address == record.client.peer_address else "0"


def _auth_user(exchange: Exchange) -> str:
    proof = exchange.proof
    return "" if proof is None or proof.user is None else proof.user.name


def _limit(moment: Moment) -> str:
    exchange = moment.exchange
    if exchange is None or not exchange.limit:
        return ""
    name, space, who = exchange.limit.rpartition(" ")
    shown = moment.setting.shown(who) if "." in who or ":" in who else who
    return f"{name}{space}{shown}"


def _forwarded(moment: Moment) -> str:
    said = "" if moment.exchange is None else forwarded_for(moment.exchange)
    shown = moment.setting.shown
    return said if shown is str else ", ".join(filter(None, map(shown, said.split(",")))) if said else ""


def _upstream_ms(exchange: Exchange) -> str:
    sent, answered = exchange.t_upstream_first_tx, exchange.t_upstream_first_rx
    return f"{(answered - sent) * 1e3:.0f}" if sent and answered else ""


#: By `voltgw.config.log_template.TEMPLATE_FIELDS`.
FUNCTIONS: Final[dict[str, Function]] = {
    "time": lambda moment: moment.setting.stamps.at(int((moment.record.t_start + moment.offset) * 1000)),
    "time_clf": _clf_time,
    "time_unix": lambda moment: f"{moment.record.t_start + moment.offset:.3f}",
    "connected_time": lambda moment: moment.setting.stamps.exactly(moment.record.client.connected_wall),
    "listener": _of_client(lambda client: client.listener),
    "scheme": _of_client(lambda client: text_of(client.scheme)),
    "sni": _of_client(lambda client: client.sni),
    "tls_version": _of_client(lambda client: client.tls_version or "VERSION_UNSPECIFIED"),
    "tls_cipher_suite": _of_client(
        lambda client: f"{client.tls_version or 'VERSION_UNSPECIFIED'}/{client.tls_cipher or 'TLS_NULL_WITH_NULL_NULL'}"),
    "src": lambda moment: f"N:{moment.setting.network}",
    "src_site": lambda moment: moment.setting.site,
    "src_ip": lambda moment: moment.setting.shown(moment.address),
    "src_port": _port,
    "user": lambda moment: f"IP-{moment.setting.shown(moment.address)}",
    "country": _located(0), "region": _located(1), "city": _located(2), "asn": _asn,
    "site": lambda moment: moment.setting.site,
    "cluster_name": lambda moment: moment.setting.site,
    "hostname": lambda moment: moment.setting.hostname,
    "namespace": _of_host(lambda host: host.namespace),
    "vh_name": _of_host(lambda host: host.name),
    "virtual_host": _of_host(lambda host: f"{host.namespace}/{host.name}"),
    "vh_type": _of_host(lambda host: host_type(host.proxy)),
    "app_type": _of_host(lambda host: host.app_type),
    "proxy_type": lambda moment: (
        ("http" if moment.connection is None else "tcp") if moment.record.route is None
        else proxy_type(moment.record.route.host.proxy)),
    "route": lambda moment: "" if moment.record.route is None else moment.record.route.name,
    "authority": _of_request(lambda exchange: text_of(exchange.request.authority)),
    "original_authority": _of_request(lambda exchange: text_of(exchange.original_authority)),
    "method": _of_request(lambda exchange: text_of(exchange.request.method)),
    "req_path": _of_request(lambda exchange: redact_path(text_of(exchange.request.path))),
    "original_path": _of_request(lambda exchange: redact_path(text_of(original_path(exchange.request.target)))),
    "req_params": _of_request(
        lambda exchange: redact_query(text_of(exchange.request.query)) if exchange.request.query else ""),
    "target": _of_request(_target),
    "request_line": lambda moment: "- - -" if moment.exchange is None else _request_line(moment.exchange),
    "req_size": lambda moment: str(moment.record.bytes_in),
    "req_id": _of_request(lambda exchange: text_of(exchange.request_id)),
    "trace_id": _of_request(lambda exchange: text_of(exchange.trace.trace_id) if exchange.trace is not None else ""),
    "http_version": _of_request(lambda exchange: VERSIONS[exchange.request.minor]),
    "x_forwarded_for": _forwarded,
    "user_agent": _of_request(lambda exchange: text_of(exchange.request.get(USER_AGENT) or b"")),
    "rsp_code": lambda moment: "0" if moment.exchange is None else _status(moment.exchange),
    "rsp_code_class": _of_request(_class),
    "rsp_code_details": _detail,
    "response_flags": lambda moment: moment.record.flag,
    "grpc_status": _of_request(lambda exchange: text_of(exchange.grpc_status)),
    "auth": _of_request(lambda exchange: "" if exchange.proof is None else exchange.proof.said),
    "auth_user": _of_request(_auth_user),
    "policy": lambda moment: moment.record.policy,
    "rate_limit": _limit,
    "rsp_size": lambda moment: str(moment.record.bytes_out),
    "upstream_cluster": _of_endpoint(lambda endpoint: endpoint.cluster),
    "dst": _of_endpoint(lambda endpoint: f"S:{endpoint.address}"),
    "dst_ip": lambda moment: "NOT-APPLICABLE" if moment.record.endpoint is None else moment.record.endpoint.address,
    "dst_port": lambda moment: "0" if moment.record.endpoint is None else str(moment.record.endpoint.port),
    "dst_site": lambda moment: "" if moment.record.endpoint is None else moment.record.endpoint.site or moment.setting.site,
    "endpoint": _of_endpoint(lambda endpoint: where(endpoint.address, endpoint.port)),
    "rollout": lambda moment: getattr(moment.record, "rollout", ""),
    "attempts": lambda moment: str(moment.record.attempts),
    "duration_s": lambda moment: f"{moment.duration_s:.6f}",
    "duration_ms": lambda moment: f"{moment.duration_s * 1e3:.0f}",
    "upstream_ms": _of_request(_upstream_ms),
}
