"""Fields of HTTP/2 to heads (RFC 9113 8.2, 8.3), with every check that keeps HTTP/1.1 safe behind us (8.2.1, 10.3).

A field is checked when it is learned: what enters the dynamic table is looked at once, and its code stands beside it. A
message that is malformed (8.1.1) raises `Malformed`; a request that is one, but that we do not serve, raises `BadRequest`
with the status of the answer. Heads have the same shape as those of HTTP/1.1; `minor` is 2.
"""

from __future__ import annotations

import re
from typing import Final

from voltgw.errors import BadRequest, BadResponse
from voltgw.values.head import CHUNKED, FORWARDING, Field, RequestHead, ResponseHead, Shared
from voltgw.wire.authority import known_authorities, read_authority
from voltgw.wire.hpack import ENTRY_BYTES, MISPLACED, BadBlock, Decoder, Line, ListTooLarge, static_lines
from voltgw.wire.huffman import BadHuffman, decode
from voltgw.wire.path import IN_PLAIN, BadTarget, normal_target, normalise

_METHOD: Final = -1
_SCHEME: Final = -2
_AUTHORITY: Final = -3
_PATH: Final = -4
_PROTOCOL: Final = -5
_STATUS: Final = -6
_BAD: Final = 1                 # malformed, whatever else the message says
_HOST: Final = 2
_LENGTH: Final = 3
_COOKIE: Final = 4
_TE: Final = 5
_HOP: Final = 6                 # hop-by-hop without a meaning to us: set aside
_EXPECT: Final = 7
_FORWARDING: Final = 8
_UNDERSCORE: Final = 9
_PRIORITY: Final = 10
_SERVER: Final = 11
_DATE: Final = 12

#: RFC 9113 8.2.2: a message that has one of them is malformed.
CONNECTION_FIELDS: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
#: Fields that only mean something to the next hop, or to one who frames messages; none of them passes from here to there.
_HOP_NAMES: Final = (b"trailer", b"http2-settings", b"proxy-authorization", b"proxy-authenticate")
_REQUEST_CODES: Final[dict[bytes, int]] = {
    b":method": _METHOD, b":scheme": _SCHEME, b":authority": _AUTHORITY, b":path": _PATH, b":protocol": _PROTOCOL,
    b"host": _HOST, b"content-length": _LENGTH, b"cookie": _COOKIE, b"te": _TE, b"expect": _EXPECT, b"priority": _PRIORITY,
    **dict.fromkeys(FORWARDING, _FORWARDING), **dict.fromkeys(CONNECTION_FIELDS, _BAD), **dict.fromkeys(_HOP_NAMES, _HOP),
}
_RESPONSE_CODES: Final[dict[bytes, int]] = {
    b":status": _STATUS, b"content-length": _LENGTH, b"server": _SERVER, b"date": _DATE,
    b"te": _HOP, **dict.fromkeys(CONNECTION_FIELDS, _BAD), **dict.fromkeys(_HOP_NAMES, _HOP),
}
#: What may not come behind a body, because it would change what stood before it (RFC 9110 6.5.1).
_NOT_IN_TRAILERS: Final = frozenset((
    b"host", b"content-length", b"content-encoding", b"content-type", b"content-range", b"te", b"trailer", b"expect",
    b"authorization", b"cookie", b"set-cookie", b"cache-control", b"max-forwards", b"priority", *_HOP_NAMES, *FORWARDING,
))

#: RFC 9113 8.2.1 allows more; a name that is no token (RFC 9110 5.1) could not go on as HTTP/1.1.
_name: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_token: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}").fullmatch
_bad_in_value: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"))
_SCHEMES: Final = frozenset((b"http", b"https"))

#: Names of either direction that were found proper, and their codes. Bounded.
_request_names: dict[bytes, int] = dict(_REQUEST_CODES)
_response_names: dict[bytes, int] = dict(_RESPONSE_CODES)
_MAX_NAMES: Final = 4096
_MAX_NAME_BYTES: Final = 64
#: Blocks that one connection remembers, by so many octets of their end.
_MAX_KNOWN: Final = 8
_END_BYTES: Final = 4
#: A path that is a literal without indexing, by either of its names in the static table (RFC 7541 6.2.2): its first octet.
_PATH_LITERALS: Final = (0x04, 0x05)
#: No octet of Huffman's code stands for more, and a length of one octet goes to 126.
_MAX_SHORT_BYTES: Final = 126 * 8 // 5 + 1


class Malformed(BadRequest):
    """A request that is malformed (RFC 9113 8.1.1): its stream is reset with PROTOCOL_ERROR, nobody gets it."""


class MalformedAnswer(BadResponse):
    """The same for a response."""


def request_code(name: bytes, value: bytes) -> int:
    """What a request's field means (`hpack.FieldCode`); `_BAD` if no message may have it."""
    code = _request_names.get(name)
    if code is None:
        code = _learn(name, _request_names, _REQUEST_CODES)
    if _bad_in_value(value) is not None or value.strip(b" \t") != value:
        return _BAD
    return code


def response_code(name: bytes, value: bytes) -> int:
    """The same for a response's field."""
    code = _response_names.get(name)
    if code is None:
        code = _learn(name, _response_names, _RESPONSE_CODES)
        if code == _UNDERSCORE:
            code = 0                        # an origin may call its fields what it likes
    if _bad_in_value(value) is not None or value.strip(b" \t") != value:
        return _BAD
    return code


def _learn(name: bytes, names: dict[bytes, int], codes: dict[bytes, int]) -> int:
    code = 0 if _name(name) is not None else _BAD
    if not code and b"_" in name and codes is _REQUEST_CODES:
        code = _UNDERSCORE
    if len(names) >= _MAX_NAMES:
        names.clear()
        names.update(codes)
    if len(name) <= _MAX_NAME_BYTES:
        names[name] = code
    return code


_REQUEST_STATIC: Final = static_lines(request_code)
_RESPONSE_STATIC: Final = static_lines(response_code)

class _Known:
    """A request that came, for those that differ from it in their path alone.

    Clients do not put paths into the table, so that the next block is the same octets around another literal; while the table
    does not change they mean the same. `before` ends where the path's length stands, `behind` begins behind the path.
    """

    __slots__ = ("before", "behind", "generation", "head", "priority")

    def __init__(self, generation: int, before: bytes, behind: bytes, head: RequestHead, priority: bytes | None) -> None:
        self.generation = generation
        self.before = before
        self.behind = behind
        self.head = head
        self.priority = priority


class RequestReader:
    """The request heads and trailers of one client connection.

    `priority` is the last head's priority field, None if it had none; `protocol` its ``:protocol`` (RFC 8441). With
    `normalised` false the path is checked and passed on as written (``disable_path_normalize``).
    """

    __slots__ = ("_known", "decoder", "extended_connect", "normalised", "priority", "protocol")

    def __init__(
        self, max_list_bytes: int, max_fields: int, *, normalised: bool = True, extended_connect: bool = False,
    ) -> None:
        self.decoder = Decoder(request_code, max_list_bytes=max_list_bytes, max_fields=max_fields, static=_REQUEST_STATIC)
        self.normalised = normalised
        self.extended_connect = extended_connect
        self.priority: bytes | None = None
        self.protocol: bytes | None = None
        self._known: dict[bytes, _Known] = {}

    def read(self, block: bytes, ended: bool) -> RequestHead:
        """The head of a request; `ended` tells that no body follows.

        Raises `BadBlock` (of the connection), `Malformed`, or `BadRequest` for what is answered.
        """
        decoder = self.decoder
        generation = decoder.generation
        known = self._known.get(block[-_END_BYTES:])
        if known is not None and ended and known.generation == generation:
            before, behind = known.before, known.behind
            begin, end = len(before) + 1, len(block) - len(behind)
            if (end > begin and block[begin - 1] & 0x7F == end - begin < 0x7F
                    and block.startswith(before) and block.endswith(behind)):
                target = block[begin:end]
                if block[begin - 1] >= 0x80:
                    try:
                        target = decode(target)
                    except BadHuffman as wrong:
                        raise BadBlock(str(wrong)) from None
                path, query = target, None
                good = target.startswith(b"/") and target.translate(IN_PLAIN).isalpha()
                if not good and (normal := normal_target(target)) is not None:
                    good, path, query = True, normal[1], normal[2]
                if good and target.find(b"/.") < 0:
                    like = known.head
                    head = RequestHead(like.method, target, path, query, 2, like.authority, like.host, like.port,
                                       like.fields.copy(), 0, True)
                    if like.shared is None and like.fields:
                        like.shared = Shared(like.fields)
                    head.shared = like.shared
                    if like.connection:
                        head.connection = like.connection.copy()
                    if like.forwarding is not None:
                        head.forwarding = like.forwarding.copy()
                    head.underscored = like.underscored
                    self.priority, self.protocol = known.priority, None
                    if decoder.never_indexed:
                        decoder.never_indexed = []
                    return head
        self.priority = self.protocol = None
        try:
            fields, special = decoder.decode(block)
        except ListTooLarge as large:
            raise BadRequest(f"{large} is more than allowed", 431) from None
        pseudo: dict[int, bytes] = {}
        others: list[Line] | None = None
        for line in special:
            code = line[1]
            if code >= 0:
                if others is None:
                    others = [line]
                else:
                    others.append(line)
            elif code in pseudo or others is not None:
                raise Malformed("a pseudo-field stands twice, or behind another field (RFC 9113 8.3)")
            else:
                pseudo[code] = line[0][1]
        try:
            head = self._head(fields, pseudo, others, ended)
        except BadRequest as error:
            error.method = pseudo.get(_METHOD, b"")     # the answer to a HEAD has no body, whatever it says
            raise
        if (decoder.literals == 1 and decoder.literal_kind in _PATH_LITERALS and generation == decoder.generation
                and ended and _PROTOCOL not in pseudo and not head.expect_continue):
            self._remember(block, head, special)
        return head

    def _remember(self, block: bytes, head: RequestHead, special: list[Line]) -> None:
        """Know this request again."""
        decoder, known = self.decoder, self._known
        begin = decoder.literal_at + 1
        end = begin + (block[begin - 1] & 0x7F)
        behind = block[end:]
        if block[begin - 1] & 0x7F == 0x7F or len(behind) < _END_BYTES:
            return
        size = _MAX_SHORT_BYTES + sum(ENTRY_BYTES + len(name) + len(value) for name, value in head.fields)
        if size + sum(ENTRY_BYTES + len(name) + len(value) for (name, value), _ in special) > decoder.max_list_bytes:
            return                          # with another path it could be more than is allowed
        like = RequestHead(head.method, head.target, head.path, head.query, 2, head.authority, head.host, head.port,
                           head.fields.copy(), 0, True)
        like.connection = head.connection.copy()
        like.forwarding = None if head.forwarding is None else head.forwarding.copy()
        like.underscored = head.underscored
        if len(known) >= _MAX_KNOWN:
            known.clear()
        known[block[-_END_BYTES:]] = _Known(decoder.generation, block[:begin - 1], behind, like, self.priority)

    def _head(
        self, fields: list[Field], pseudo: dict[int, bytes], others: list[Line] | None, ended: bool,
    ) -> RequestHead:
        method = pseudo.get(_METHOD)
        target = pseudo.get(_PATH)
        scheme = pseudo.get(_SCHEME)
        if len(pseudo) != 4 or method is None or target is None or scheme is None or method not in _METHODS:
            method, target, scheme = self._unusual(pseudo)
        if scheme not in _SCHEMES:
            raise Malformed("a scheme other than http and https")
        normal = normal_target(target)
        forward = target
        path: bytes
        query: bytes | None
        if normal is not None and target.find(b"/.") < 0:
            path, query = normal[1], normal[2]
        elif target == b"*" and method == b"OPTIONS":
            path, query = target, None
        elif not target.startswith(b"/"):
            raise Malformed(":path is not a path (RFC 9113 8.3.1)")
        else:
            try:
                path, query = normalise(target, self.normalised)
            except BadTarget as error:
                raise BadRequest(f"the target {error}") from None
            forward = path if query is None else path + b"?" + query
        authority = pseudo.get(_AUTHORITY)
        length: int = 0 if ended else CHUNKED
        if others is None and authority:
            host, port = known_authorities.get(authority) or read_authority(authority)
            head = RequestHead(method, target, path, query, 2, authority, host, port, fields, length, True)
            head.forward = forward
        else:
            head = RequestHead(method, target, path, query, 2, b"", b"", None, fields, length, True)
            head.forward = forward
            self._apply(head, authority, others or [], ended)
        if self.protocol is not None:
            # So that routes see one form: an upgrade of HTTP/1.1 is a GET without a body, what follows is the tunnel's.
            head.method, head.upgrade, head.length = b"GET", self.protocol, 0
        return head

    def _unusual(self, pseudo: dict[int, bytes]) -> tuple[bytes, bytes, bytes]:
        """Methods beyond the usual ones, CONNECT of both kinds, and what is missing."""
        if _STATUS in pseudo:
            raise Malformed("a request with :status")
        method = pseudo.get(_METHOD)
        if method is None or _token(method) is None:
            raise Malformed("no :method, or none that is a short token")
        target, scheme, protocol = pseudo.get(_PATH), pseudo.get(_SCHEME), pseudo.get(_PROTOCOL)
        if method == b"CONNECT" and protocol is None:
            if target is not None or scheme is not None or not pseudo.get(_AUTHORITY):
                raise Malformed("CONNECT with :scheme or :path, or without :authority (RFC 9113 8.5)")
            raise BadRequest("CONNECT is not served here", 405)
        if target is None or scheme is None:
            raise Malformed("no :path or :scheme (RFC 9113 8.3.1)")
        if protocol is not None:
            if method != b"CONNECT" or not self.extended_connect or not pseudo.get(_AUTHORITY) or _token(protocol) is None:
                raise Malformed(":protocol where it may not be (RFC 8441 4)")
            self.protocol = protocol.lower()
        return method, target, scheme

    def _apply(self, head: RequestHead, authority: bytes | None, special: list[Line], ended: bool) -> None:
        """The fields that mean something to this hop."""
        named: bytes | None = None
        declared = -1
        cookies: list[bytes] = []
        fields = head.fields
        for field, code in special:
            name, value = field
            if code == _COOKIE:
                cookies.append(value)
            elif code == _FORWARDING:
                if head.forwarding is None:
                    head.forwarding = [field]
                else:
                    head.forwarding.append(field)
            elif code == _UNDERSCORE:
                head.underscored += 1
            elif code == _PRIORITY:
                self.priority = value
                fields.append(field)
            elif code == _TE:
                if value.lower() != b"trailers":
                    raise Malformed("te is not just trailers (RFC 9113 8.2.2)")
                head.connection.append(field)
            elif code == _LENGTH:
                declared = _length(value, declared, Malformed)
            elif code == _HOST:
                if named is not None:
                    raise Malformed("Host stands twice")
                named = value
            elif code == _HOP:
                head.connection.append(field)
            elif code == _EXPECT:
                if value.lower() != b"100-continue":
                    raise BadRequest("an expectation that is not 100-continue", 417)
                head.expect_continue = True
            elif code == MISPLACED:
                raise Malformed("a pseudo-field behind another field (RFC 9113 8.3)")
            else:
                raise Malformed(_why_bad(name))
        if cookies:
            fields.append((b"cookie", b"; ".join(cookies)))         # RFC 9113 8.2.3
        if authority is None:
            authority = named
        if not authority:
            raise Malformed("neither :authority nor Host (RFC 9113 8.3.1)")
        head.authority = authority
        head.host, head.port = known_authorities.get(authority) or read_authority(authority)
        if named is not None and named != authority and read_authority(named) != (head.host, head.port):
            raise Malformed(":authority and Host differ (RFC 9113 8.3.1)")
        if declared >= 0:
            if ended and declared:
                raise Malformed("Content-Length without a body (RFC 9113 8.1.1)")
            head.length = declared

    def trailers(self, block: bytes) -> list[Field]:
        """The fields behind a body that may go on. Raises `BadBlock` or `Malformed`."""
        return _trailers(self.decoder, block, Malformed)


class ResponseReader:
    """The response heads and trailers of one connection to an endpoint."""

    __slots__ = ("decoder",)

    def __init__(self, max_list_bytes: int, max_fields: int) -> None:
        self.decoder = Decoder(response_code, max_list_bytes=max_list_bytes, max_fields=max_fields, static=_RESPONSE_STATIC)

    def read(self, block: bytes, ended: bool, bodiless: bool) -> ResponseHead:
        """The head of a response, or of an interim one; `bodiless`: it answers HEAD.

        `declared` is its Content-Length; `length` 0 where no body follows. Raises `BadBlock` or `MalformedAnswer`.
        """
        try:
            fields, special = self.decoder.decode(block)
        except ListTooLarge as error:
            raise MalformedAnswer(f"{error} is more than allowed") from None
        head = ResponseHead(0, b"", 2, fields, 0 if ended else CHUNKED, True)
        for field, code in special:
            value = field[1]
            if code == _STATUS and not head.status:
                if len(value) != 3 or not value.isdigit() or not b"100" <= value <= b"599":
                    raise MalformedAnswer(":status is not a number from 100 to 599")
                head.status = int(value)
            elif not head.status:
                raise MalformedAnswer(":status is not the first field (RFC 9113 8.3.2)")
            elif code == _DATE:
                head.dated = True
                fields.append(field)
            elif code == _SERVER:
                head.server = value
            elif code == _LENGTH:
                head.declared = _length(value, head.declared, MalformedAnswer)
            elif code == _HOP:
                head.connection.append(field)
            elif code < 0 or code == MISPLACED:
                raise MalformedAnswer("a pseudo-field that is unknown, stands twice or behind another (RFC 9113 8.3)")
            else:
                raise MalformedAnswer(_why_bad(field[0]))
        status = head.status
        if not status:
            raise MalformedAnswer("no :status (RFC 9113 8.3.2)")
        if status == 101 or (status < 200 and ended):
            raise MalformedAnswer("101, or an interim answer that ends the stream (RFC 9113 8.1, 8.6)")
        if bodiless or status < 200 or status == 204 or status == 304:
            head.length = 0
        elif head.declared >= 0:
            if ended and head.declared:
                raise MalformedAnswer("Content-Length without a body (RFC 9113 8.1.1)")
            head.length = head.declared
        return head

    def trailers(self, block: bytes) -> list[Field]:
        """The fields behind a body that may go on. Raises `BadBlock` or `MalformedAnswer`."""
        return _trailers(self.decoder, block, MalformedAnswer)


def _trailers(decoder: Decoder, block: bytes, error: type[Malformed] | type[MalformedAnswer]) -> list[Field]:
    try:
        fields, special = decoder.decode(block)
    except ListTooLarge as problem:
        raise error(f"trailers: {problem} is more than allowed") from None
    for (name, _), code in special:
        if code < 0 or code == MISPLACED:
            raise error("a pseudo-field in trailers (RFC 9113 8.1)")
        if code == _BAD:
            raise error(_why_bad(name))
    return [field for field in fields if field[0] not in _NOT_IN_TRAILERS]


def _length(value: bytes, before: int, error: type[Malformed] | type[MalformedAnswer]) -> int:
    if not value.isdigit() or len(value) > 18:
        raise error("Content-Length is not a plain number (RFC 9110 8.6)")
    if before >= 0:
        raise error("Content-Length stands twice")
    return int(value)


def _why_bad(name: bytes) -> str:
    if name in CONNECTION_FIELDS:
        return f"{name.decode('ascii')} in HTTP/2 (RFC 9113 8.2.2)"
    if name[:1] == b":":
        return "an unknown pseudo-field (RFC 9113 8.3)"
    if _name(name) is None:
        return "a name that is no lower-case token (RFC 9113 8.2.1)"
    return "a value with a control character, or with white space around it (RFC 9113 8.2.1)"


# -- the other way -----------------------------------------------------------------------------------------------------

#: ``:status`` for each number.
STATUS_FIELDS: Final = {status: (b":status", b"%d" % status) for status in range(100, 1000)}


def response_fields(status: int, fields: list[Field]) -> list[Field]:
    """Everything of a response's block; `fields` are end-to-end ones with lower-case names, Content-Length among them."""
    return [STATUS_FIELDS[status], *fields]


def request_fields(method: bytes, scheme: bytes, authority: bytes, path: bytes, fields: list[Field]) -> list[Field]:
    """Everything of a request's block (RFC 9113 8.3.1)."""
    return [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path), *fields]


def connect_fields(
    protocol: bytes, scheme: bytes, authority: bytes, path: bytes, fields: list[Field],
) -> list[Field]:
    """Everything of an extended CONNECT (RFC 8441 4)."""
    return [(b":method", b"CONNECT"), (b":protocol", protocol), (b":scheme", scheme), (b":authority", authority),
            (b":path", path), *fields]


# -- priorities --------------------------------------------------------------------------------------------------------

_URGENCY: Final = re.compile(rb"u=([0-7])").fullmatch


def read_priority(value: bytes) -> tuple[int, bool]:
    """Urgency (0 first … 7 last, 3 where nothing is said) and whether parts are of use (RFC 9218 4); nonsense is ignored."""
    urgency, incremental = 3, False
    for part in value[:64].split(b","):
        part = part.partition(b";")[0].strip(b" \t")
        match = _URGENCY(part)
        if match is not None:
            urgency = int(match[1])
        elif part in (b"i", b"i=?1"):
            incremental = True
        elif part == b"i=?0":
            incremental = False
    return urgency, incremental
