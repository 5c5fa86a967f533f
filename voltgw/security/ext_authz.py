"""Envoy's ext_authz over gRPC: ``envoy.service.auth.v3.Authorization/Check``, its messages written and read by hand.

The numbers of fields are those of Envoy's API (envoy/service/auth/v3/external_auth.proto, attribute_context.proto).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.security.forward_auth import ERROR, OURS, REFUSED, Answer, ForwardAuth
from voltgw.security.names import names_of
from voltgw.security.proofs import FLAG, Accepted, Denied
from voltgw.values.head import FORWARDING, RequestHead
from voltgw.values.identity import User
from voltgw.values.reply import Reply
from voltgw.wire.protobuf import fields, message, number, octets

if TYPE_CHECKING:
    from voltgw.security.proofs import Verdict
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import Field

PATH: Final = b"/envoy.service.auth.v3.Authorization/Check"
#: A message in gRPC's framing: not compressed, its length in four octets.
_PREFIX: Final = 5
_HTTP: Final = {0: b"HTTP/1.0", 1: b"HTTP/1.1", 2: b"HTTP/2"}
#: Fields that no authorizer may set: they frame messages, are for one hop, say where a request goes, or are ours to say.
_KEPT: Final = frozenset((
    b"host", b"content-length", b"transfer-encoding", b"connection", b"te", b"upgrade", b"trailer", b"keep-alive", b"expect",
    b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info", b"http2-settings",
    *FORWARDING))


class Check(NamedTuple):
    """A CheckResponse: `code` 0 = it may pass; what stands beside that is only of use in its case."""

    code: int
    headers: tuple[Field, ...] = ()         # for the endpoint, or with a refusal for the client
    remove: tuple[bytes, ...] = ()          # headers that the endpoint does not get
    to_client: tuple[Field, ...] = ()       # with the endpoint's answer
    status: int = 403                       # of a refusal
    body: bytes = b""


def check_request(exchange: Exchange, sent: Sequence[Field]) -> bytes:
    """A CheckRequest about a request, with these of its headers."""
    head, client = exchange.request, exchange.client
    names = names_of(exchange) if client.handshake is not None and client.handshake.peer else ()
    source = message(1, _address(exchange.client_address, client.peer_port)) + octets(4, _utf8(names[0]) if names else b"")
    destination = message(1, _address(client.local_address, client.local_port))
    headers: dict[bytes, bytes] = {}
    for name, value in sent:
        headers[name] = b"%b,%b" % (headers[name], value) if name in headers else value
    pairs = {**headers, b":method": head.method, b":path": head.forward, b":authority": head.authority,
             b":scheme": exchange.scheme, b"x-request-id": exchange.request_id}
    http = b"".join((
        octets(1, exchange.request_id), octets(2, head.method),
        *(message(3, octets(1, _utf8(name)) + octets(2, _utf8(value))) for name, value in pairs.items()),
        octets(4, _utf8(head.forward)), octets(5, _utf8(head.authority)), octets(6, exchange.scheme),
        number(9, head.length if head.length >= 0 else -1), octets(10, _HTTP.get(head.minor, b"")),
    ))
    return message(1, message(1, source) + message(2, destination) + message(4, message(2, http)))


def check_response(data: bytes) -> Check:
    """Read a CheckResponse. Raises ValueError for what is none.

    Of a number that stands twice the last one counts, and a message that does is the sum of both, as Protocol Buffers have it;
    a verdict that is no number is none.
    """
    code, found = 0, Check(0)
    for field, value in fields(data):
        if field == 1:
            for number, one in fields(_inside(value)):
                if number == 1:
                    code = _number(one)
        elif field == 2:
            found = found._replace(headers=(), status=403, body=b"")
            for inner, one in fields(_inside(value)):
                if inner == 1:
                    status = 0
                    for number, each in fields(_inside(one)):
                        if number == 1:
                            status = _number(each)
                    found = found._replace(status=status if 200 <= status <= 599 else 403)
                elif inner == 2:
                    found = found._replace(headers=(*found.headers, *_header(_inside(one))))
                elif inner == 3:
                    found = found._replace(body=_inside(one))
        elif field == 3:
            for inner, one in fields(_inside(value)):
                if inner == 2:
                    found = found._replace(headers=(*found.headers, *_header(_inside(one))))
                elif inner == 5:
                    found = found._replace(remove=(*found.remove, _inside(one).lower()))
                elif inner == 6:
                    found = found._replace(to_client=(*found.to_client, *_header(_inside(one))))
    return found._replace(code=code)


class ExtAuthz(ForwardAuth):
    """`ForwardAuth` by gRPC; ``to_endpoint`` of its terms names what the authorizer may tell endpoints, empty = anything."""

    @property
    def text(self) -> str:
        """What it asks for, in words."""
        return f"{super().text} by gRPC"

    def question(self, exchange: Exchange) -> tuple[RequestHead, bytes]:
        """The call."""
        send = self.terms.send
        sent = [field for field in exchange.request.fields if send is None or field[0] in send]
        data = check_request(exchange, sent)
        host = self.terms.host or exchange.request.authority
        told = [(b"content-type", b"application/grpc"), (b"te", b"trailers"),
                (b"grpc-timeout", b"%dm" % max(1, round(self.terms.timeout_s * 1000)))]
        body = b"\0" + len(data).to_bytes(4, "big") + data
        return RequestHead(b"POST", PATH, PATH, None, 2, host, host, None, told, len(body), True), body

    def _heard(self, answer: Answer | str, exchange: Exchange) -> Verdict:
        if isinstance(answer, str):
            return self._error(ERROR, answer)
        said = dict(answer.fields) | dict(answer.trailers)
        status = said.get(b"grpc-status", b"-")
        if answer.status != 200 or status != b"0":
            return self._error(ERROR, f"it has answered {answer.status}, grpc-status {status[:8].decode('latin-1')}")
        data = answer.body
        if len(data) < _PREFIX or data[0] or len(data) - _PREFIX != int.from_bytes(data[1:_PREFIX], "big"):
            return self._error(ERROR, "its answer is no single message")
        try:
            check = check_response(data[_PREFIX:])
        except ValueError as error:
            return self._error(ERROR, f"its answer is no CheckResponse: {error}")
        return self._passes(check, exchange) if not check.code else self._refuses(check)

    def _passes(self, check: Check, exchange: Exchange) -> Accepted:
        terms, head = self.terms, exchange.request
        if check.remove:
            head.fields = [field for field in head.fields if field[0] not in check.remove]
        said = [field for field in check.headers if not terms.to_endpoint or field[0] in terms.to_endpoint]
        if terms.cookies_to_client:
            cookies = [value for name, value in check.to_client if name == b"set-cookie"]
            exchange.cookies_to_set = [*(exchange.cookies_to_set or ()), *cookies]
        name = next((value for field, value in check.headers if field == terms.user_from), b"")
        return Accepted(User(name.decode("utf-8", "backslashreplace"), self.by), said)

    def _refuses(self, check: Check) -> Denied:
        told = [field for field in check.headers
                if field[0] not in OURS and (self.terms.to_client is None or field[0] in self.terms.to_client)]
        reply = Reply(check.status, told, check.body, flag=FLAG, detail=f"authentication: {self.by} {REFUSED}",
                      negotiate=not check.body)
        return Denied(self.by, REFUSED, f"its answer is code {check.code}", check.status, reply=reply)


def _address(address: str, port: int) -> bytes:
    return message(1, octets(2, address.encode("ascii", "replace")) + number(3, port))


def _utf8(value: bytes) -> bytes:
    """Octets as text must be: what is not UTF-8 is replaced."""
    return value.decode("utf-8", "replace").encode("utf-8")


def _inside(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("a message where a number should be")
    return value


def _header(data: bytes) -> Iterator[Field]:
    """A HeaderValueOption, if it is one that may be set."""
    for field, value in fields(data):
        if field == 1:
            pair = {inner: one for inner, one in fields(_inside(value)) if isinstance(one, bytes)}
            name, text = pair.get(1, b"").lower(), pair.get(3) or pair.get(2, b"")
            if name and name not in _KEPT and not name.startswith(b":") and _good(name, text):
                yield name, text.strip(b" \t")


def _good(name: bytes, value: bytes) -> bool:
    return (all(octet in _TOKEN for octet in name) and not any(octet < 32 and octet != 9 or octet == 127 for octet in value))


_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
