"""``%NAME%`` in the values that edits write: parsed when the configuration is built, so that plain values pay nothing.

``%%`` stands for one percent sign. A percent sign that begins no name stays as it is, so percent-encoded text may be
written as usual.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias, cast

from voltgw.config.objects.secrets import SecretEncodingType
from voltgw.routing.filters.fields import CONTROL, field_value
from voltgw.routing.problems import ProblemError, at
from voltgw.values.address import where

if TYPE_CHECKING:
    from voltgw.config.objects.secrets import SecretType
    from voltgw.routing.route import Route
    from voltgw.values.exchange import Exchange

#: A value that depends on the exchange.
Render: TypeAlias = "Callable[[Exchange], bytes]"

#: Two characters would be percent-encoded bytes: ``%AB%CD``.
_VARIABLE: Final = re.compile(rb"%%|%([A-Z][A-Z_]{2,})(?:\(([^)%]*)\))?%")


class Clocked(Protocol):
    """The clocks of a client's connection."""

    @property
    def wall(self) -> Callable[[], float]:
        """Seconds since the epoch."""

    @property
    def monotonic(self) -> Callable[[], float]:
        """Monotonic seconds, as in `Exchange.t_start`."""


class Variable(NamedTuple):
    """One name: what it stands for, whether requests have it already, and other gateways' names for it."""

    name: str
    meaning: str
    in_requests: bool
    get: Render
    aliases: tuple[str, ...] = ()


def _ascii(text: str) -> bytes:
    """Text from outside as a field value; what could split a message cannot be in it."""
    return text.encode("utf-8") if text.isprintable() else b""


@lru_cache(maxsize=4)
def _date(second: int) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode("ascii")


def _start_time(exchange: Exchange) -> bytes:
    client = cast("Clocked", exchange.client)
    started = client.wall() - (client.monotonic() - exchange.t_start)
    second, fraction = divmod(started, 1.0)
    return b"%b.%03dZ" % (_date(int(second)), int(fraction * 1000))


def _duration(exchange: Exchange) -> bytes:
    client = cast("Clocked", exchange.client)
    return b"%d" % ((client.monotonic() - exchange.t_start) * 1000)


def _protocol(exchange: Exchange) -> bytes:
    minor = exchange.request.minor
    return b"HTTP/2" if minor == 2 else b"HTTP/1.%d" % minor


def _route(exchange: Exchange) -> bytes:
    return _ascii(exchange.route.name) if exchange.route is not None else b""


def _host(exchange: Exchange) -> bytes:
    host = exchange.route.host if exchange.route is not None else None
    return _ascii(f"{host.namespace}/{host.name}") if host is not None else b""


def _cluster(exchange: Exchange) -> bytes:
    if exchange.endpoint is not None:
        return _ascii(exchange.endpoint.cluster)
    route = cast("Route | None", exchange.route)        # the records' view of it; filters run on routes of ours
    return _ascii(route.cluster.name) if route is not None and route.cluster is not None else b""


def _endpoint(exchange: Exchange) -> bytes:
    endpoint = exchange.endpoint
    return _ascii(where(endpoint.address, endpoint.port)) if endpoint is not None else b""


def _status(exchange: Exchange) -> bytes:
    return b"%d" % exchange.response.status if exchange.response is not None else b""


#: Every variable, in the order of the documentation.
VARIABLES: Final = (
    Variable("CLIENT_ADDRESS", "The client's address, after trusted proxies in front of the gateway are taken into account.",
             True, lambda exchange: _ascii(exchange.client_address), ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",)),
    Variable("PEER_ADDRESS", "The address that the connection comes from.", True,
             lambda exchange: _ascii(exchange.client.peer_address), ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",)),
    Variable("PEER_PORT", "The port that it comes from.", True, lambda exchange: b"%d" % exchange.client.peer_port),
    Variable("LOCAL_ADDRESS", "The address that it came in on.", True,
             lambda exchange: _ascii(exchange.client.local_address), ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",)),
    Variable("LOCAL_PORT", "The port that it came in on.", True, lambda exchange: b"%d" % exchange.client.local_port,
             ("DOWNSTREAM_LOCAL_PORT",)),
    Variable("SCHEME", "``http`` or ``https``: of the client's connection, or what a trusted proxy in front says in "
             "X-Forwarded-Proto.", True, lambda exchange: exchange.scheme),
    Variable("PROTOCOL", "``HTTP/1.0``, ``HTTP/1.1`` or ``HTTP/2``, as the client speaks it.", True, _protocol),
    Variable("METHOD", "The request's method.", True, lambda exchange: exchange.request.method),
    Variable("HOST", "Host as the client wrote it.", True, lambda exchange: exchange.original_authority),
    Variable("PATH", "The path in its normal form, without the query.", True, lambda exchange: exchange.request.path),
    Variable("QUERY", "The query, without its question mark.", True, lambda exchange: exchange.request.query or b""),
    Variable("REQUEST_ID", "The id in ``x-request-id`` and in the access log.", True, lambda exchange: exchange.request_id),
    Variable("START_TIME", "When the request began: ``2026-01-31T12:00:00.123Z``.", True, _start_time),
    Variable("SNI", "The server name that the client asked for in TLS.", True,
             lambda exchange: _ascii(exchange.client.sni), ("REQUESTED_SERVER_NAME",)),
    Variable("TLS_VERSION", "The client's version of TLS.", True, lambda exchange: _ascii(exchange.client.tls_version),
             ("DOWNSTREAM_TLS_VERSION",)),
    Variable("TLS_CIPHER", "The client's cipher suite.", True, lambda exchange: _ascii(exchange.client.tls_cipher),
             ("DOWNSTREAM_TLS_CIPHER",)),
    Variable("VIRTUAL_HOST", "The virtual host, ``namespace/name``.", True, _host),
    Variable("ROUTE", "The rule, ``<route object>/<its place in it>``.", True, _route, ("ROUTE_NAME",)),
    Variable("CLUSTER", "The cluster, ``namespace/name``; in requests empty where the route has several destinations.", True,
             _cluster, ("UPSTREAM_CLUSTER",)),
    Variable("ENDPOINT", "Address and port of the endpoint that answered.", False, _endpoint, ("UPSTREAM_HOST",)),
    Variable("STATUS", "The endpoint's status.", False, _status, ("RESPONSE_CODE",)),
    Variable("ATTEMPTS", "How many tries it took.", False, lambda exchange: b"%d" % exchange.attempts,
             ("UPSTREAM_REQUEST_ATTEMPT_COUNT",)),
    Variable("DURATION", "Milliseconds since the request began.", False, _duration),
)
_BY_NAME: Final[Mapping[str, Variable]] = {
    name: variable for variable in VARIABLES for name in (variable.name, *variable.aliases)}


def compile_value(text: str | None, secret: SecretType | None, *, response: bool) -> bytes | Render:
    """The value of an edit: bytes, or a function where it has variables. Raises ValueError, with the way from the edit.

    `secret` wins; it may not have variables. `response` says whether the edit is one of responses.
    """
    if secret is not None:
        with at("secret_value"):
            return _secret(secret)
    with at("value"):
        value = field_value(text or "")
        return _compile(value, response) if b"%" in value else value


def _secret(secret: SecretType) -> bytes:
    if secret.clear_secret_info is None:
        raise ValueError("only secrets in the clear can be opened yet; without it the header would be empty")
    data = secret.clear_secret_info.url.data
    if secret.secret_encoding_type is SecretEncodingType.BASE64:
        try:
            data = base64.b64decode(data, validate=True)
        except ValueError:
            raise ValueError("the secret is not base64, as its secret_encoding_type says") from None
    data = data.strip(b" \t\r\n")           # files end with a line end
    if CONTROL.search(data) is not None:
        raise ValueError("the secret holds line ends or other control characters, which no header value may hold")
    return data


def _compile(value: bytes, response: bool) -> bytes | Render:
    pieces: list[bytes] = []                # of a format: literals with %b between them
    getters: list[Render] = []
    end = 0
    for match in _VARIABLE.finditer(value):
        begin = match.start()
        pieces.append(value[end:begin].replace(b"%", b"%%"))
        end = match.end()
        if match[1] is None:
            pieces.append(b"%%")
        else:
            pieces.append(b"%b")
            getters.append(_getter(match[1].decode("ascii"), match[2], response))
    pieces.append(value[end:].replace(b"%", b"%%"))
    form = b"".join(pieces)
    if not getters:
        return form.replace(b"%%", b"%")
    if form == b"%b":
        return getters[0]
    return _Form(form, getters).of_one if len(getters) == 1 else _Form(form, getters).of_all


class _Form:
    """A value with variables in it."""

    __slots__ = ("_first", "_form", "_getters")

    def __init__(self, form: bytes, getters: list[Render]) -> None:
        self._form = form
        self._first = getters[0]
        self._getters = getters

    def of_one(self, exchange: Exchange) -> bytes:
        """It, where there is one variable."""
        return self._form % self._first(exchange)

    def of_all(self, exchange: Exchange) -> bytes:
        """It, where there are several."""
        return self._form % tuple([get(exchange) for get in self._getters])


class _Sent:
    """A header of the request."""

    __slots__ = ("_name",)

    def __init__(self, name: bytes) -> None:
        self._name = name

    def value(self, exchange: Exchange) -> bytes:
        """Its first value."""
        return exchange.request.get(self._name) or b""


def _getter(name: str, argument: bytes | None, response: bool) -> Render:
    if name == "REQ" and argument is not None:
        key = argument.lower()
        if not re.fullmatch(rb"[!#$&'*+.^_`|~0-9a-z-]+", key):
            raise ValueError(f"%REQ({argument.decode()})% names no header of the request")
        return _Sent(key).value
    variable = _BY_NAME.get(name) if argument is None else None
    if variable is None:
        near = get_close_matches(name, _BY_NAME, 1)
        raise ProblemError(
            f"there is no variable %{name}%", hint=(f"did you mean %{near[0]}%? " if near else "")
            + "a percent sign that is meant as itself before a name is written %%")
    if not variable.in_requests and not response:
        raise ValueError(f"%{name}% is not known when a request is edited; responses may have it")
    return variable.get
