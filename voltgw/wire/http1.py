"""Heads of HTTP/1.1 and 1.0 messages (RFC 9112), read strictly; `voltgw.wire.chunks` has their bodies.

Nothing here does I/O. Every function takes bytes and returns values or raises `BadRequest` / `BadResponse`; where RFC 9112
offers a choice between repairing and refusing, this codec refuses, because a repair is what smuggling needs.

Field lines repeat from request to request, so lines that were once found valid are remembered, whole, in two bounded tables
(`_request_lines`, `_response_lines`): looking one up costs a tenth of parsing it. What connections begin with is remembered for
those that begin with the same (`_beginnings`). Lines that carry secrets are never kept, but those of a connection by itself.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import Any, Final

from voltgw.errors import BadRequest, BadResponse
from voltgw.values.compiling import mypyc_attr
from voltgw.values.defaults import (
    MAX_REQUEST_FIELDS,
    MAX_RESPONSE_FIELDS,
)
from voltgw.values.head import CHUNKED, FORWARDING, UNTIL_CLOSE, Field, RequestHead, ResponseHead, Shared
from voltgw.wire.authority import known_authorities, read_authority
from voltgw.wire.path import IN_PLAIN, NORMAL_TARGET, BadTarget, normal_target, normalise

#: How many field lines each table remembers before it starts again, and how long a remembered line may be.
MEMO_LINES: Final = 4096
MEMO_LINE_BYTES: Final = 512
#: The same for names of fields.
MEMO_NAMES: Final = 1024
MEMO_NAME_BYTES: Final = 64
#: The same for all field lines of a connection's first head together.
MEMO_BLOCKS: Final = 256
MEMO_SHARED_BYTES: Final = 2048
#: How many bytes of field lines one connection remembers, and up to twice as much of what they mean and how they go on:
#: 10,000 idle ones must not hold a large head each.
MEMO_BLOCK_BYTES: Final = 4096
#: Longest method that is let pass; registered ones have at most 17 letters.
MAX_METHOD_BYTES: Final = 32

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: For `translate`: octets that may stand in a value become letters, controls blanks. That is cheaper than a pattern.
IN_VALUE: Final = bytes(ord("a") if octet >= 32 and octet != 127 or octet == 9 else ord(" ") for octet in range(256))
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"COPY"))
_COOKIE: Final = b"\r\nCookie: "
_COOKIE_BYTES: Final = 10
_VERSION: Final = b" HTTP/1.1"
_SHORTEST_LINE: Final = len(b"GET / HTTP/1.1")
#: Method, target, path and query of a request line as nearly all are; see `NORMAL_TARGET` for what remains to be looked at.
_usual_line: Final = re.compile(
    rb"(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|COPY) (" + NORMAL_TARGET + rb") HTTP/1\.1").fullmatch
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")

# What a field line means to the codec; 0 is "an end-to-end field like any other".
_HOST: Final = 1
_LENGTH: Final = 2
_ENCODING: Final = 3
_CONNECTION: Final = 4
_HOP: Final = 5                     # hop-by-hop without a meaning to us: set aside
_EXPECT: Final = 6
_FORWARDING: Final = 7
_UPGRADE: Final = 8
_UNDERSCORE: Final = 9
_SERVER: Final = 10
_DATE: Final = 11
_KEEP_ALIVE: Final = 12             # Connection: keep-alive and nothing else: nothing to do in HTTP/1.1
_CLOSE: Final = 13                  # Connection: close and nothing else

_USUAL_CONNECTIONS: Final = {b"keep-alive": _KEEP_ALIVE, b"close": _CLOSE}
HOP_NAMES: Final = dict.fromkeys((
    b"keep-alive", b"proxy-connection", b"te", b"trailer", b"http2-settings", b"proxy-authorization", b"proxy-authenticate",
), _HOP)
_REQUEST_CODES: Final[dict[bytes, int]] = {
    b"host": _HOST, b"content-length": _LENGTH, b"transfer-encoding": _ENCODING, b"connection": _CONNECTION,
    b"expect": _EXPECT, b"upgrade": _UPGRADE, **HOP_NAMES, **dict.fromkeys(FORWARDING, _FORWARDING),
}
_RESPONSE_CODES: Final[dict[bytes, int]] = {
    b"content-length": _LENGTH, b"transfer-encoding": _ENCODING, b"connection": _CONNECTION, b"upgrade": _UPGRADE,
    b"server": _SERVER, b"date": _DATE, **HOP_NAMES,
}
#: Never remembered: what differs every time, and fields that sound as if they held a secret.
_NOT_REMEMBERED: Final = frozenset((b"etag", b"if-none-match", b"if-modified-since", b"x-request-id", b"traceparent"))
_SECRET: Final = re.compile(rb"auth|cookie|token|secret|passw|key|session|sign|credential|cert|jwt|dpop")

#: The `Field` of a line, and what it means. (Any: a compiled module would take a pair of pairs apart, and make it anew.)
_Line = tuple[Any, int]
_request_lines: Final[dict[bytes, _Line]] = {}
_response_lines: Final[dict[bytes, _Line]] = {}
#: Names of fields as they are written: in lower case, what they mean, and whether lines with them are remembered.
_request_names: Final[dict[bytes, tuple[bytes, int, bool]]] = {}
_response_names: Final[dict[bytes, tuple[bytes, int, bool]]] = {}
_status_lines: Final[dict[bytes, tuple[int, int, bytes]]] = {}
#: What connections began with, for those that begin with the same; see `_Beginning`.
_beginnings: Final[dict[bytes, _Beginning]] = {}


@mypyc_attr(acyclic=True)
class _Beginning:
    """What the field lines of a head mean, where each of them may be remembered, but for one line with cookies.

    That is not in it: it belongs in front of ``fields[cookie]`` (-1: there is none). `close` is the field that says that
    nothing follows, if one did.
    """

    __slots__ = ("authority", "close", "cookie", "fields")

    def __init__(self, fields: list[Field], authority: bytes, close: Any, cookie: int) -> None:
        self.fields = fields
        self.authority = authority
        self.close = close                  # a `Field`, or None
        self.cookie = cookie


# -- requests ----------------------------------------------------------------------------------------------------------

@mypyc_attr(acyclic=True)
class RequestParser:
    """The request heads of one client connection.

    A client repeats its field lines from request to request. When they are the same bytes as last time, and said nothing
    that this hop must act on, comparing them is all that is left to do: `_block` is that text, the rest what it meant.
    """

    __slots__ = ("_authority", "_begun", "_block", "_fields", "_host", "_port", "_shared", "_size", "normalised", "tunnels")

    def __init__(self, normalised: bool = True, tunnels: bool = False) -> None:
        self.normalised = normalised        # False: the path is checked and passed on as written (disable_path_normalize)
        self.tunnels = tunnels              # CONNECT is a method like another (a forward proxy's clients)
        self._begun = False                 # there was a head
        self._block = b"\0"                 # equal to no real one
        self._size = 0                      # its length, 0 = there is none yet
        self._fields: list[Field] = []
        self._shared: Shared | None = None  # made when a block comes for the second time
        self._authority = b""
        self._host = b""
        self._port: int | None = None

    def parse(self, data: bytes, end: int) -> RequestHead:
        """The head in ``data[:end]`` (the empty line that ends it stands at `end`). Raises `BadRequest`."""
        head = self.repeated(data, end)
        return head if head is not None else self.anew(data, end)

    def repeated(self, data: bytes, end: int) -> RequestHead | None:
        """The same, if its fields are those of the head before; None: `anew` has to look at it.

        What stands in front of these fields cannot hold an empty line where this finds a head, so that whoever sees that `data`
        ends with one need not look for the first.
        """
        size = self._size
        line_end = end - size
        if not size or line_end < _SHORTEST_LINE or data[line_end:end] != self._block:
            return None
        method: bytes
        query: bytes | None = None
        version = line_end - len(_VERSION)
        target = path = data[4:version]
        if data.startswith(b"GET /") and data[version:line_end] == _VERSION and target.translate(IN_PLAIN).isalpha():
            method = b"GET"
        else:
            match = _usual_line(data, 0, line_end)
            if match is None:
                return None
            usual: tuple[bytes, bytes, bytes, bytes | None] = match.groups()    # type: ignore[assignment]  # it has so many
            method, target, path, query = usual
        if target.find(b"/.") >= 0:
            return None
        head = RequestHead(method, target, path, query, 1, self._authority, self._host, self._port, self._fields[:], 0, True)
        shared = self._shared
        if shared is None and self._fields:
            self._shared = shared = Shared(self._fields)
        head.shared = shared
        return head

    def anew(self, data: bytes, end: int) -> RequestHead:
        """The same of any head. Raises `BadRequest`."""
        line_end = data.find(b"\r\n")
        parts = data[:line_end].split(b" ")
        if len(parts) != 3:
            raise BadRequest("the request line is not METHOD SP TARGET SP VERSION")
        method, target, version = parts
        if method not in _METHODS:
            _check_method(method, target, self.tunnels)
        if version == b"HTTP/1.1":
            minor = 1
        elif version == b"HTTP/1.0":
            minor = 0
        else:
            raise _bad_version(version)
        return self._parse(method, target, minor, data[line_end:end])

    def _parse(self, method: bytes, target: bytes, minor: int, block: bytes) -> RequestHead:
        fields: list[Field] = []
        special: list[_Line] | None = None
        authority: bytes | None = None
        keep_alive = minor == 1
        beginning: _Beginning | None = None
        begins, self._begun = minor == 1 and not self._begun, True
        key, cookie = b"", None
        if begins:
            key, cookie = _without_cookie(block)
            beginning = _beginnings.get(key)
        if beginning is not None and (beginning.cookie < 0) == (cookie is None):
            fields = beginning.fields[:]
            if cookie is not None:
                fields.insert(beginning.cookie, (b"cookie", _value_of(cookie, BadRequest)))
            authority = beginning.authority
            if beginning.close is not None:
                special = [(beginning.close, _CLOSE)]
        else:
            lines = block.split(b"\r\n")
            lines.pop(0)                    # it is empty
            if len(lines) > MAX_REQUEST_FIELDS:
                raise BadRequest(f"more than {MAX_REQUEST_FIELDS} fields", 431)
            for line in lines:
                known = _request_lines.get(line)
                if known is None:
                    known = _learn_request(line)
                field, code = known
                if not code:
                    fields.append(field)
                elif code == _HOST and authority is None:
                    authority = field[1]
                elif code == _KEEP_ALIVE and special is None:
                    keep_alive = True
                elif special is None:
                    special = [known]
                else:
                    special.append(known)
            if begins and authority is not None and len(key) <= MEMO_SHARED_BYTES:
                _remember_beginning(key, lines, fields, authority, special, cookie is not None)

        if authority is None:
            if minor:
                raise BadRequest("no Host (RFC 9112 3.2)")
            authority = b""
        named: bytes | None = None
        path: bytes
        query: bytes | None
        forward = target
        if target.startswith(b"/") and target.translate(IN_PLAIN).isalpha() and target.find(b"/.") < 0:
            path, query = target, None
        elif (normal := normal_target(target)) is not None and target.find(b"/.") < 0:
            path, query = normal[1], normal[2]
        else:
            path, query, named = _unusual_target(method, target, self.normalised)
            forward = path if query is None else path + b"?" + query
            if named is not None:
                if authority or minor:              # an invalid Host is refused, even where it does not count
                    read_authority(authority)
                authority = named                   # RFC 9112 3.2.2: the target's authority wins over Host
        host: bytes = b""
        port: int | None = None
        if authority or minor:
            read = known_authorities.get(authority)
            if read is None:
                read = read_authority(authority)
            host, port = read
        head = RequestHead(method, target, path, query, minor, authority, host, port, fields, 0, keep_alive)
        head.forward = forward
        if special is not None:
            if len(special) == 1 and special[0][1] == _CLOSE:
                head.keep_alive = False     # what a client that comes for one request alone says
                head.connection.append(special[0][0])
            else:
                _apply_request(head, special)
        elif minor and named is None and len(block) <= MEMO_BLOCK_BYTES:
            self._block = block
            self._size = len(block)
            self._fields = fields[:]
            self._shared = None
            self._authority, self._host, self._port = authority, host, port
        return head


def parse_request(data: bytes, end: int, normalised: bool = True) -> RequestHead:
    """`RequestParser.parse` for a single head. Raises `BadRequest`."""
    return RequestParser(normalised).parse(data, end)


def bad_start(data: bytes, seen: int = 0) -> BadRequest | None:
    """Whether bytes without an end of head yet can never become one; so that a client hears of it at once.

    The first `seen` bytes were looked at before: a head that drips in must not cost the square of its length.
    """
    if _BARE_LF.search(data, seen) is not None:
        return BadRequest("a line ends with a bare LF (RFC 9112 2.2)")
    if data.find(b"\0", seen) >= 0:
        return BadRequest("a NUL in the head")
    if seen <= MAX_METHOD_BYTES:
        method = data[:MAX_METHOD_BYTES + 1].partition(b"\r")[0].partition(b" ")[0]
        if TOKEN.fullmatch(method) is None or len(method) > MAX_METHOD_BYTES:
            return BadRequest("not an HTTP request")
    return None


def bare_line_end(data: bytes) -> bool:
    """Whether a line ends with LF alone, so that the end of this head would never come (RFC 9112 2.2)."""
    return _BARE_LF.search(data) is not None


def _check_method(method: bytes, target: bytes, tunnels: bool) -> None:
    """A method that is not among the usual ones: any short token will do but CONNECT, whatever its target looks like.

    Where there are tunnels, the target of CONNECT is a host and a port (RFC 9110 9.3.6).
    """
    if method == b"CONNECT":
        if not tunnels:
            raise BadRequest("CONNECT is not served here", 405)
        if read_authority(target)[1] is None:
            raise BadRequest("the target of CONNECT is not a host with a port (RFC 9110 9.3.6)")
    if TOKEN.fullmatch(method) is None or len(method) > MAX_METHOD_BYTES:
        raise BadRequest("the method is not a short token")


def _bad_version(version: bytes) -> BadRequest:
    if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version):
        return BadRequest("this HTTP version is not spoken here", 505)
    return BadRequest("the version is not HTTP/1.1 or HTTP/1.0")


def _learn_request(line: bytes) -> _Line:
    raw, colon, value = line.partition(b":")
    known = _request_names.get(raw) if colon else None
    if known is None:
        name = _name_of(line, BadRequest)
        code = _REQUEST_CODES.get(name, 0)
        if not code and b"_" in name:
            code = _UNDERSCORE
        known = _remember_name(_request_names, raw, name, code)
    name, code, repeats = known
    field = name, _value_of(value, BadRequest)
    if code == _CONNECTION:
        code = _USUAL_CONNECTIONS.get(field[1].lower(), _CONNECTION)
    if repeats and len(line) <= MEMO_LINE_BYTES:
        _remember(_request_lines, line, (field, code))
    return field, code


def _name_of(line: bytes, error: type[BadRequest] | type[BadResponse]) -> bytes:
    """The name (lower case) of a field line; RFC 9112 5: a token, behind which a colon stands."""
    raw, colon, _ = line.partition(b":")
    if not colon or TOKEN.fullmatch(raw) is None:
        if line[:1] in (b" ", b"\t"):
            raise error("a folded or indented field line (RFC 9112 5.2)")
        raise error("a field line without a proper name and colon (RFC 9112 5.1)")
    return raw.lower()


def _value_of(value: bytes, error: type[BadRequest] | type[BadResponse]) -> bytes:
    """What stands behind the colon of a field line, without the blanks around it; it has no controls."""
    if value and not value.translate(IN_VALUE).isalpha():
        raise error("a control character in a field value (RFC 9110 5.5)")
    return value.strip(b" \t")


def _remember_name(
    memo: dict[bytes, tuple[bytes, int, bool]], raw: bytes, name: bytes, code: int,
) -> tuple[bytes, int, bool]:
    """What there is to know of a name; `name` is `raw` in lower case."""
    known = name, code, name not in _NOT_REMEMBERED and _SECRET.search(name) is None
    if len(raw) <= MEMO_NAME_BYTES:
        if len(memo) >= MEMO_NAMES:
            memo.clear()
        memo[raw] = known
    return known


def _without_cookie(block: bytes) -> tuple[bytes, bytes | None]:
    """The field lines of a head without the first line with cookies, which is returned beside them if there is one.

    Where it stood there is an empty line, of which a block has none.
    """
    start = block.find(_COOKIE)
    if start < 0:
        return block, None
    end = block.find(b"\r\n", start + 2)
    if end < 0:
        end = len(block)
    return block[:start] + b"\r\n" + block[end:], block[start + _COOKIE_BYTES:end]


def _remember_beginning(
    key: bytes, lines: list[bytes], fields: list[Field], authority: bytes, special: list[_Line] | None, cookie: bool,
) -> None:
    """The next connection may begin with these lines as well; unless they, but for a line with cookies, are not remembered."""
    close: Any = None
    if special is not None:
        if len(special) > 1 or special[0][1] != _CLOSE:
            return
        close = special[0][0]
    left = 0
    for line in lines:
        if line not in _request_lines:
            left += 1
    if left != (1 if cookie else 0):
        return
    kept: list[Field] = []
    place = -1
    for name, value in fields:
        if name == b"cookie":
            place = len(kept)
        else:
            kept.append((name, value))
    if len(_beginnings) >= MEMO_BLOCKS:
        _beginnings.clear()
    _beginnings[key] = _Beginning(kept, authority, close, place)


def _remember(memo: dict[bytes, _Line], line: bytes, known: _Line) -> None:
    if len(memo) >= MEMO_LINES:
        memo.clear()
    memo[line] = known


def _unusual_target(method: bytes, target: bytes, normalised: bool) -> tuple[bytes, bytes | None, bytes | None]:
    """Path, query, and the authority if the target names one (RFC 9112 3.2)."""
    named: bytes | None = None
    if method == b"CONNECT":                        # `_check_method` has looked at it
        return b"", None, target
    if target == b"*":
        if method != b"OPTIONS":
            raise BadRequest("the target * is for OPTIONS only")
        return target, None, None
    if not target.startswith(b"/"):
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise BadRequest("the target is neither a path nor an http URL")
        named, target = match[1], match[2]
        if not named:
            raise BadRequest("the authority in the target is empty (RFC 9110 4.2.1)")
        if not target and method == b"OPTIONS":
            return b"*", None, named                # RFC 9112 3.2.4: it asks the server as a whole
        if not target.startswith(b"/"):
            target = b"/" + target
    try:
        path, query = normalise(target, normalised)
    except BadTarget as error:
        raise BadRequest(f"the target {error}") from None
    return path, query, named


def _apply_request(head: RequestHead, special: list[_Line]) -> None:
    """The fields that mean something to this hop: framing, hop-by-hop, forwarding."""
    length: int | None = None
    chunked = False
    options: set[bytes] | None = None
    upgrade: bytes | None = None
    for field, code in special:
        value = field[1]
        if code == _LENGTH:
            if length is not None:
                raise BadRequest("Content-Length stands twice (RFC 9112 6.3)")
            if not value.isdigit() or len(value) > 18:
                raise BadRequest("Content-Length is not a plain number (RFC 9110 8.6)")
            length = int(value)
        elif code in (_CONNECTION, _KEEP_ALIVE, _CLOSE):
            named = {option.strip(b" \t") for option in value.lower().split(b",")}
            options = named if options is None else options | named
            head.connection.append(field)
        elif code == _FORWARDING:
            if head.forwarding is None:
                head.forwarding = [field]
            else:
                head.forwarding.append(field)
        elif code == _UNDERSCORE:
            head.underscored += 1                   # origins read X_Foo and X-Foo as one (DECISIONS: dropped and counted)
        elif code == _HOP:
            head.connection.append(field)
        elif code == _ENCODING:
            if chunked:
                raise BadRequest("Transfer-Encoding stands twice")
            coding = value.lower()
            if coding != b"chunked":
                known = all(TOKEN.fullmatch(name.strip(b" \t")) for name in coding.split(b","))
                raise BadRequest("Transfer-Encoding is not just chunked (RFC 9112 6.1)",
                                 501 if known and coding.endswith((b",chunked", b", chunked")) else 400)
            chunked = True
        elif code == _EXPECT:
            if value.lower() == b"100-continue":
                head.expect_continue = head.minor == 1      # RFC 9110 10.1.1: ignored from a 1.0 client
            else:
                raise BadRequest("an expectation that is not 100-continue", 417)
        elif code == _UPGRADE:
            upgrade = value.lower()
            head.connection.append(field)
        elif code == _HOST:
            raise BadRequest("Host stands twice (RFC 9112 3.2)")
    if chunked:
        if not head.minor:
            raise BadRequest("Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1)")
        if length is not None:
            raise BadRequest("Content-Length beside Transfer-Encoding (RFC 9112 6.3)")
        head.length = CHUNKED
    elif length is not None:
        head.length = length
    if options is not None:
        if b"close" in options:
            head.keep_alive = False
        elif b"keep-alive" in options:
            head.keep_alive = True
        if b"upgrade" in options:
            head.upgrade = upgrade
        options -= _USUAL_OPTIONS
        if options:
            _set_aside(head, options)


_USUAL_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings", b""))


def _set_aside(head: RequestHead | ResponseHead, options: set[bytes]) -> None:
    """Take out the fields that Connection names (RFC 9110 7.6.1), before anybody adds or judges any."""
    kept: list[Field] = []
    for field in head.fields:
        (head.connection if field[0] in options else kept).append(field)
    head.fields = kept
    if isinstance(head, RequestHead) and head.forwarding is not None:
        head.forwarding = [field for field in head.forwarding if field[0] not in options] or None


# -- responses ---------------------------------------------------------------------------------------------------------

@mypyc_attr(acyclic=True)
class ResponseParser:
    """The response heads of one connection to an endpoint; one that is equal to the one before is only compared."""

    __slots__ = ("_declared", "_fields", "_keep_alive", "_length", "_reason", "_server", "_shared", "_status", "_text", "end")

    def __init__(self) -> None:
        self.end = 0                        # where the empty line stands in the head that `repeated` has found
        self._text = b""                    # the latest head, with the empty line; b"" = there is none yet
        self._status = 0
        self._reason = b""
        self._fields: list[Field] = []
        self._shared: Shared | None = None  # made when a head comes for the second time
        self._keep_alive = True
        self._declared = -1
        self._length = UNTIL_CLOSE
        self._server: bytes | None = None

    def parse(self, data: bytes, end: int, method: bytes) -> ResponseHead:
        """The head in ``data[:end]`` of an answer to a request of `method`. Raises `BadResponse`."""
        head = self.repeated(data, method)
        return head if head is not None else self.anew(data, end, method)

    def repeated(self, data: bytes, method: bytes) -> ResponseHead | None:
        """The head with which `data` begins, if it is the one before; it ends at `end`. None: `anew` has to look at it."""
        size = self.end + 4
        if size == 4 or data[:size] != self._text:
            return None
        head = ResponseHead(self._status, self._reason, 1, self._fields[:], self._length, self._keep_alive)
        head.declared = self._declared
        head.server = self._server
        head.dated = True
        shared = self._shared
        if shared is None:
            self._shared = shared = Shared(self._fields)        # there are some: it is dated
        head.shared = shared
        if method == b"HEAD" or self._status < 200 or self._status == 204 or self._status == 304:
            _without_body(head)
        return head

    def anew(self, data: bytes, end: int, method: bytes) -> ResponseHead:
        """The head in ``data[:end]``, whatever came before. Raises `BadResponse`."""
        line_end = data.find(b"\r\n")
        line = data[:line_end]
        known = _status_lines.get(line)
        if known is None:
            known = _learn_status(line)
        minor, status, reason = known
        head = self._parse(status, reason, minor, data[line_end:end])
        if minor and head.dated and not head.connection and end <= MEMO_BLOCK_BYTES:
            self._text = data[:end + 4]
            self.end = end
            self._status, self._reason = status, reason
            self._fields = head.fields[:]
            self._shared = None
            self._keep_alive = head.keep_alive
            self._declared = head.declared
            self._length = head.length
            self._server = head.server
        if status < 200 or status == 204 or status == 304 or method == b"HEAD":
            _without_body(head)
        return head

    def _parse(self, status: int, reason: bytes, minor: int, block: bytes) -> ResponseHead:
        lines = block.split(b"\r\n")
        lines.pop(0)                        # it is empty
        if len(lines) > MAX_RESPONSE_FIELDS:
            raise BadResponse(f"more than {MAX_RESPONSE_FIELDS} fields")
        fields: list[Field] = []
        head = ResponseHead(status, reason, minor, fields, UNTIL_CLOSE, minor == 1)
        chunked = False
        for line in lines:
            known = _response_lines.get(line)
            if known is None:
                known = _learn_response(line)
            field, code = known
            if not code:
                fields.append(field)
            elif code == _DATE:
                head.dated = True
                fields.append(field)
            elif code == _SERVER:
                head.server = field[1]
            elif code == _LENGTH:
                value = field[1]
                if head.declared >= 0:
                    raise BadResponse("Content-Length stands twice (RFC 9112 6.3)")
                if not value.isdigit() or len(value) > 18:
                    raise BadResponse("Content-Length is not a plain number")
                head.declared = int(value)
            elif code == _ENCODING:
                if chunked or field[1].lower() != b"chunked" or not minor:
                    raise BadResponse("Transfer-Encoding is not just chunked")
                chunked = True
            elif code == _KEEP_ALIVE and minor:
                pass
            else:
                head.connection.append(field)
        if chunked:
            if head.declared >= 0:
                raise BadResponse("Content-Length beside Transfer-Encoding (RFC 9112 6.3)")
            head.length = CHUNKED
        elif head.declared >= 0:
            head.length = head.declared
        if head.connection:
            _apply_connection(head)
        return head


def _without_body(head: ResponseHead) -> None:
    """The answer has none, whatever its fields say (RFC 9112 6.3 item 1)."""
    if head.status == 204 and (head.length > 0 or head.length == CHUNKED):
        head.keep_alive = False             # RFC 9110 8.6: it may not announce one; who knows what follows
    head.length = 0


def parse_response(data: bytes, end: int, method: bytes) -> ResponseHead:
    """`ResponseParser.parse` for a single head. Raises `BadResponse`."""
    return ResponseParser().parse(data, end, method)


def _learn_status(line: bytes) -> tuple[int, int, bytes]:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadResponse("the status line is not HTTP/1.1")
    known = int(match[1]), int(match[2]), match[3] or b""
    if len(_status_lines) >= 256:
        _status_lines.clear()
    if len(line) <= MEMO_LINE_BYTES:
        _status_lines[line] = known
    return known


def _learn_response(line: bytes) -> _Line:
    raw, colon, value = line.partition(b":")
    known = _response_names.get(raw) if colon else None
    if known is None:
        name = _name_of(line, BadResponse)
        known = _remember_name(_response_names, raw, name, _RESPONSE_CODES.get(name, 0))
    name, code, repeats = known
    field = name, _value_of(value, BadResponse)
    if code == _CONNECTION:
        code = _KEEP_ALIVE if field[1].lower() == b"keep-alive" else _CONNECTION
    if repeats and len(line) <= MEMO_LINE_BYTES:
        _remember(_response_lines, line, (field, code))
    return field, code


def _apply_connection(head: ResponseHead) -> None:
    options: set[bytes] = set()
    upgrade: bytes | None = None
    for name, value in head.connection:
        if name == b"connection":
            options.update(option.strip(b" \t") for option in value.lower().split(b","))
        elif name == b"upgrade":
            upgrade = value
    if b"close" in options:
        head.keep_alive = False
    elif b"keep-alive" in options:
        head.keep_alive = True
    if b"upgrade" in options:
        head.upgrade = upgrade
    options -= _USUAL_OPTIONS
    if options:
        _set_aside(head, options)


# -- dates -------------------------------------------------------------------------------------------------------------

_date: list[tuple[int, bytes]] = [(0, b"")]         # the last second that was asked for, and its text


def http_date(wall: float) -> bytes:
    """IMF-fixdate (RFC 9110 5.6.7) of `wall`, seconds since the epoch."""
    second = int(wall)
    known = _date[0]
    if known[0] == second:
        return known[1]
    text = formatdate(second, usegmt=True).encode("ascii")
    _date[0] = second, text
    return text
