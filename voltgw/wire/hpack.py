"""Header compression of HTTP/2 (RFC 7541): blocks to fields and fields to blocks.

Two things make it quick. What a field means to us is found out once, when it enters a table (`FieldCode`), so that a field
that is sent as an index costs a look into a list, however strict the checks are. And the encoder keeps the bytes that stand
for a field, so that a field that it has sent before costs a look into a dictionary.

Nothing here is remembered beyond its connection but static fields, names, and the bytes of fields that name no secret and
are the same for everybody (`_SHARED`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from voltgw.values.head import Field
from voltgw.wire import huffman

#: What a field means to whoever reads the block: 0 nothing special, negative a pseudo-field, positive a special one.
FieldCode = Callable[[bytes, bytes], int]
#: A field and what it means.
Line = tuple[Field, int]

#: Octets of a dynamic table that both sides begin with, and the most that ours ever has (RFC 9113 6.5.2).
TABLE_BYTES: Final = 4096
#: What an entry counts beside its name and value (RFC 7541 4.1).
ENTRY_BYTES: Final = 32
#: A length or index beyond this is no honest one; four octets of continuation hold it.
MAX_INTEGER: Final = 1 << 28

#: RFC 7541 Appendix A; a field's index is its place here, from 1.
STATIC: Final[tuple[Field, ...]] = (
    (b":authority", b""), (b":method", b"GET"), (b":method", b"POST"), (b":path", b"/"), (b":path", b"/index.html"),
    (b":scheme", b"http"), (b":scheme", b"https"), (b":status", b"200"), (b":status", b"204"), (b":status", b"206"),
    (b":status", b"304"), (b":status", b"400"), (b":status", b"404"), (b":status", b"500"), (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"), (b"accept-language", b""), (b"accept-ranges", b""), (b"accept", b""),
    (b"access-control-allow-origin", b""), (b"age", b""), (b"allow", b""), (b"authorization", b""),
    (b"cache-control", b""), (b"content-disposition", b""), (b"content-encoding", b""), (b"content-language", b""),
    (b"content-length", b""), (b"content-location", b""), (b"content-range", b""), (b"content-type", b""),
    (b"cookie", b""), (b"date", b""), (b"etag", b""), (b"expect", b""), (b"expires", b""), (b"from", b""),
    (b"host", b""), (b"if-match", b""), (b"if-modified-since", b""), (b"if-none-match", b""), (b"if-range", b""),
    (b"if-unmodified-since", b""), (b"last-modified", b""), (b"link", b""), (b"location", b""), (b"max-forwards", b""),
    (b"proxy-authenticate", b""), (b"proxy-authorization", b""), (b"range", b""), (b"referer", b""), (b"refresh", b""),
    (b"retry-after", b""), (b"server", b""), (b"set-cookie", b""), (b"strict-transport-security", b""),
    (b"transfer-encoding", b""), (b"user-agent", b""), (b"vary", b""), (b"via", b""), (b"www-authenticate", b""),
)
#: The index of the newest dynamic entry.
_FIRST: Final = len(STATIC) + 1


class BadBlock(ValueError):
    """The octets are no header block; the connection cannot go on (COMPRESSION_ERROR, RFC 7541 2.3.3 and others)."""


class ListTooLarge(ValueError):
    """The block is one, and its table changes were made; but it holds more than its reader takes (RFC 9113 10.5.1)."""


def integer(data: bytes, pos: int, prefix: int) -> tuple[int, int]:
    """What follows a prefix of ones (whose value is `prefix`), and the place behind it (RFC 7541 5.1).

    Raises `BadBlock`, or IndexError where `data` ends.
    """
    value, shift = prefix, 0
    while True:
        octet = data[pos]
        pos += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            break
        shift += 7
        if shift > 28:
            raise BadBlock("an integer is longer than five octets")
    if value > MAX_INTEGER:
        raise BadBlock("an integer is too large")
    return value, pos


def no_code(name: bytes, value: bytes) -> int:
    """The `FieldCode` of those to whom all fields are the same."""
    return 0


class Decoder:
    """Reads the header blocks of one direction of one connection, in order.

    `code_of` says what a field means; it is asked once for each literal and must not raise. `max_list_bytes` is what the
    fields of one block may take, each with `ENTRY_BYTES` (SETTINGS_MAX_HEADER_LIST_SIZE), `max_fields` how many they may be.
    `generation` counts the changes of the table: with the same one, the same block means the same. `literals` is how many
    fields of the last block were literals; the last of these has `literal_kind` as its first octet, and `literal_at` is where
    the length of its value stands.
    """

    __slots__ = ("_code_of", "_limit", "_size", "_table", "generation", "literal_at", "literal_kind", "literals", "max_fields",
                 "max_list_bytes", "never_indexed", "table_bytes")

    def __init__(
        self, code_of: FieldCode = no_code, *, max_list_bytes: int = 64 * 1024, max_fields: int = 256,
        table_bytes: int = TABLE_BYTES, static: Sequence[Line] | None = None,
    ) -> None:
        self._code_of = code_of
        self._table: list[Line] = list(static if static is not None else static_lines(code_of))   # as indexed; [0] is none
        self._size = 0
        self._limit = table_bytes           # what we have announced (SETTINGS_HEADER_TABLE_SIZE)
        self.table_bytes = table_bytes      # what the peer's encoder uses of it
        self.max_list_bytes = max_list_bytes
        self.max_fields = max_fields
        self.generation = 0
        self.never_indexed: list[bytes] = []    # names of fields of the last block that no table may hold (RFC 7541 6.2.3)
        self.literals = self.literal_kind = self.literal_at = 0

    def decode(self, block: bytes) -> tuple[list[Field], list[Line]]:
        """The fields without a code, and those with one, each in order.

        A pseudo-field behind a field without a code has the code `MISPLACED` in place of its own. Raises `BadBlock` or
        `ListTooLarge`.
        """
        try:
            fields, special = self._decode(block)
        except IndexError:
            raise BadBlock("a block that ends within a field, or an index beyond the tables") from None
        except huffman.BadHuffman as error:
            raise BadBlock(str(error)) from None
        count = len(fields) + len(special)
        # No field is larger than the tables, but a literal one, and those are not larger than the block lets them be.
        if len(block) * 2 + count * (_STATIC_MAX + self._size) > self.max_list_bytes or count > self.max_fields:
            size = sum(len(name) + len(value) for name, value in fields) + ENTRY_BYTES * count
            size += sum(len(name) + len(value) for (name, value), _ in special)
            if size > self.max_list_bytes:
                raise ListTooLarge(f"a header list of {size} octets")
            if count > self.max_fields:
                raise ListTooLarge(f"{count} fields")
        return fields, special

    def _decode(self, block: bytes) -> tuple[list[Field], list[Line]]:
        fields: list[Field] = []
        special: list[Line] = []
        add = fields.append
        table = self._table
        if self.never_indexed:
            self.never_indexed = []
        pos = literals = 0
        size = len(block)
        while pos < size:
            octet = block[pos]
            pos += 1
            if octet >= 0x80:
                # 6.1 an indexed field
                if octet == 0xFF:
                    index, pos = integer(block, pos, 0x7F)
                else:
                    index = octet & 0x7F
                line = table[index]
                if not line[1]:
                    add(line[0])
                elif line[1] < 0 and fields:
                    special.append((line[0], MISPLACED))
                elif line[1] == _NO_ENTRY:
                    raise BadBlock("index 0")
                else:
                    special.append(line)
                continue
            if octet >= 0x40:
                index = octet & 0x3F            # 6.2.1 with incremental indexing
                if index == 0x3F:
                    index, pos = integer(block, pos, 0x3F)
            elif octet >= 0x20:
                # 6.3 a change of the table's size, only where a block begins (4.2)
                if fields or special:
                    raise BadBlock("a table size update behind a field")
                index = octet & 0x1F
                if index == 0x1F:
                    index, pos = integer(block, pos, 0x1F)
                self._resize(index)
                continue
            else:
                index = octet & 0x0F            # 6.2.2 without indexing, 6.2.3 never indexed
                if index == 0x0F:
                    index, pos = integer(block, pos, 0x0F)
            if index:
                name = table[index][0][0]
            else:
                length = block[pos]
                pos += 1
                end = pos + (length & 0x7F)
                if length & 0x7F == 0x7F:
                    end, pos = integer(block, pos, 0x7F)
                    end += pos
                if end > size:
                    raise BadBlock("a name is longer than the block")
                name = block[pos:end] if length < 0x80 else _name(block[pos:end])
                pos = end
            literals += 1
            self.literal_kind = octet
            self.literal_at = pos
            length = block[pos]
            pos += 1
            end = pos + (length & 0x7F)
            if length & 0x7F == 0x7F:
                end, pos = integer(block, pos, 0x7F)
                end += pos
            if end > size:
                raise BadBlock("a value is longer than the block")
            value = block[pos:end] if length < 0x80 else huffman.decode(block[pos:end])
            pos = end
            code = self._code_of(name, value)
            field = name, value
            if octet >= 0x40:
                self._insert((field, code))
            elif octet >= 0x10:
                self.never_indexed.append(name)
            if not code:
                add(field)
            elif code < 0 and fields:
                special.append((field, MISPLACED))
            else:
                special.append((field, code))
        self.literals = literals
        return fields, special

    def _insert(self, line: Line) -> None:
        name, value = line[0]
        size = len(name) + len(value) + ENTRY_BYTES
        room = self.table_bytes - size
        table = self._table
        if self._size > room:
            self._evict(room)
            if room < 0:                    # 4.4: larger than the table: it is empty now, and that is no error
                return
        table.insert(_FIRST, line)
        self._size += size
        self.generation += 1

    def _evict(self, room: int) -> None:
        """Drop the oldest entries until the others take no more than `room` octets (4.3, 4.4)."""
        table = self._table
        while self._size > room and len(table) > _FIRST:
            (name, value), _ = table.pop()
            self._size -= len(name) + len(value) + ENTRY_BYTES
        self.generation += 1

    def _resize(self, table_bytes: int) -> None:
        if table_bytes > self._limit:
            raise BadBlock("a table size above the one that was announced")
        self.table_bytes = table_bytes
        self._evict(table_bytes)


#: The code of a pseudo-field that stands behind another field (RFC 9113 8.3).
MISPLACED: Final = 99
_NO_ENTRY: Final = 100
_STATIC_MAX: Final = ENTRY_BYTES + max(len(name) + len(value) for name, value in STATIC)


def static_lines(code_of: FieldCode) -> tuple[Line, ...]:
    """The static table as a `Decoder` wants it; make it once for each `code_of`."""
    return (((b"", b""), _NO_ENTRY), *((field, code_of(*field)) for field in STATIC))


#: Names repeat; these are the ones that came encoded. Bounded; values are never in it.
_names: dict[bytes, bytes] = {}
_MAX_NAMES: Final = 1024
_MAX_NAME_BYTES: Final = 64


def _name(data: bytes) -> bytes:
    name = _names.get(data)
    if name is None:
        name = huffman.decode(data)
        if len(data) <= _MAX_NAME_BYTES:
            if len(_names) >= _MAX_NAMES:
                _names.clear()
            _names[data] = name
    return name


# -- the other way -----------------------------------------------------------------------------------------------------

#: Never indexed, so that nobody can guess them by watching sizes (RFC 7541 7.1.3), and nowhere kept.
SENSITIVE: Final = re.compile(
    rb"(?:(?:proxy-)?authorization|cookie2?|set-cookie2?|.*(?:token|secret|passw|api-?key|credential|jwt|session).*)"
).fullmatch
#: What differs from message to message: a table would only lose better entries to it.
_CHANGING: Final = frozenset((
    b":path", b"age", b"content-length", b"content-range", b"date", b"etag", b"expires", b"if-match", b"if-modified-since",
    b"if-none-match", b"if-range", b"if-unmodified-since", b"last-modified", b"location", b"range", b"referer",
    b"x-request-id", b"x-correlation-id", b"traceparent", b"tracestate", b"x-b3-traceid", b"x-b3-spanid", b"grpc-timeout",
    b"x-amz-cf-id", b"x-amzn-trace-id", b"cf-ray", b"x-runtime", b"x-response-time", b"server-timing", b"x-forwarded-for",
))
#: What is the same in every answer or request of one peer: worth an entry the first time.
_STABLE: Final = frozenset((
    b":authority", b":method", b":scheme", b":status", b"accept", b"accept-encoding", b"accept-language", b"accept-ranges",
    b"access-control-allow-origin", b"alt-svc", b"cache-control", b"content-encoding", b"content-type", b"grpc-accept-encoding",
    b"grpc-status", b"server", b"strict-transport-security", b"te", b"user-agent", b"vary", b"via", b"x-content-type-options",
    b"x-frame-options", b"x-powered-by", b"x-forwarded-proto",
))
#: Changing ones that are the same for everybody, for a second or for ever: their bytes are kept for all connections.
_SHARED: Final = frozenset((b"date", b"content-length", b"age", b"x-forwarded-proto"))
_MAX_SHARED: Final = 4096
_shared: Final[dict[Any, bytes]] = {}
_NEVER: Final = 0x10                    # 6.2.3
_MAX_INDEXED_BYTES: Final = 512
_MAX_SEEN: Final = 64

_static_fields: Final[dict[Any, bytes]] = {field: bytes((0x80 | index,)) for index, field in reversed([*enumerate(STATIC, 1)])}
_static_names: dict[bytes, int] = {name: index for index, (name, _) in reversed([*enumerate(STATIC, 1)])}
#: By name, the octets before a value: without indexing, never indexed. Bounded.
_plain_names: dict[bytes, bytes] = {}
_LENGTHS: Final = tuple(bytes((length,)) for length in range(127))


def packed(value: int, prefix_bits: int, pattern: int) -> bytes:
    """An integer behind the bits of `pattern` (RFC 7541 5.1)."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes((pattern | value,))
    out = bytearray((pattern | most,))
    value -= most
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: bytes, compress: bool = False) -> bytes:
    """A string literal (RFC 7541 5.2); with `compress` in the Huffman code where that is shorter."""
    if compress:
        coded = huffman.encode(value)
        if len(coded) < len(value):
            return packed(len(coded), 7, 0x80) + coded
    return packed(len(value), 7, 0) + value


def _literal(name: bytes, bits: int, pattern: int) -> bytes:
    index = _static_names.get(name)
    return packed(index, bits, pattern) if index else bytes((pattern,)) + text(name, True)


def _plain(name: bytes) -> bytes:
    """The octets before the value of a field that is not indexed, or never."""
    octets = _literal(name, 4, _NEVER if SENSITIVE(name) else 0)
    if len(_plain_names) >= _MAX_NAMES:
        _plain_names.clear()
    if len(name) <= _MAX_NAME_BYTES:
        _plain_names[name] = octets
    return octets


class Encoder:
    """Writes the header blocks of one direction of one connection, in order.

    Names must be in lower case already. A field enters the table when its name is one of those whose values stay, or when it
    is sent a second time; nothing is ever pushed out of the table for it, so an origin that sends ever new values does not
    make us churn. Values that are sent once are not Huffman-coded: that costs more than the octets are worth.
    """

    __slots__ = ("_entries", "_indexed", "_seen", "_size", "_update", "table_bytes")

    def __init__(self, table_bytes: int = TABLE_BYTES) -> None:
        self.table_bytes = table_bytes
        # What the table holds, as it is to be sent, by its fields. (Any: a compiled module would make each pair anew.)
        self._indexed: dict[Any, bytes] = {}
        self._entries: list[Field] = []                 # the same, oldest first
        self._seen: dict[Field, None] = {}              # sent once, so far
        self._size = 0
        self._update: tuple[int, ...] = ()              # table sizes to announce before the next block (4.2)

    def resize(self, table_bytes: int) -> None:
        """The peer's decoder gives the table another size; more than `TABLE_BYTES` is not used."""
        table_bytes = min(table_bytes, TABLE_BYTES)
        if table_bytes == self.table_bytes and not self._update:
            return
        lowest = min((*self._update, table_bytes))
        self._update = (lowest, table_bytes) if lowest < table_bytes else (table_bytes,)
        self.table_bytes = table_bytes
        if self._size > lowest:
            while self._entries and self._size > lowest:
                name, value = self._entries.pop(0)
                self._size -= len(name) + len(value) + ENTRY_BYTES
            self._renumber()

    def encode(self, fields: Iterable[Field], never: Sequence[bytes] = ()) -> bytes:
        """The block of `fields`; those with names in `never` came never-indexed and stay so (RFC 7541 6.2.3)."""
        indexed = self._indexed
        pieces: list[bytes] = []
        if self._update:
            pieces += [packed(size, 5, 0x20) for size in self._update]
            self._update = ()
        pairs: Iterable[Any] = fields
        for each in pairs:
            piece = indexed.get(each)
            if piece is None:
                piece = _static_fields.get(each)
                if piece is None:
                    piece = _shared.get(each)
            if piece is None:
                field: Field = each
                name, value = field
                if never and name in never:
                    piece = _literal(name, 4, _NEVER) + text(value)
                else:
                    piece = self._literal(field)
                    indexed = self._indexed         # an entry more moves the others
            elif never and each[0] in never:
                piece = _literal(each[0], 4, _NEVER) + text(each[1])
            pieces.append(piece)
        return b"".join(pieces)

    def _literal(self, field: Field) -> bytes:
        """A field that stands in no table; perhaps it enters one."""
        name, value = field
        if name in _CHANGING:
            if name in _SHARED:
                return _share(field)
        elif name in _STABLE:
            if len(name) + len(value) <= _MAX_INDEXED_BYTES:
                return self._index(field)
        elif len(value) <= _MAX_INDEXED_BYTES and not (_plain_names.get(name) or _plain(name))[0] & _NEVER:
            seen = self._seen
            if field in seen:
                del seen[field]
                return self._index(field)
            if len(seen) >= _MAX_SEEN:
                seen.clear()
            seen[field] = None
        octets = _plain_names.get(name) or _plain(name)
        length = len(value)
        if length < 127:
            return b"%b%b%b" % (octets, _LENGTHS[length], value)
        return octets + text(value)

    def _index(self, field: Field) -> bytes:
        name, value = field
        size = len(name) + len(value) + ENTRY_BYTES
        if self._size + size > self.table_bytes:
            return _literal(name, 4, 0) + text(value)
        self._size += size
        self._entries.append(field)
        self._renumber()
        return _literal(name, 6, 0x40) + text(value, True)

    def _renumber(self) -> None:
        """Every new entry moves the indexes of the others (RFC 7541 2.3.3)."""
        newest = _FIRST + len(self._entries) - 1
        self._indexed = {field: packed(newest - place, 7, 0x80) for place, field in enumerate(self._entries)}


def _share(field: Field) -> bytes:
    name, value = field
    octets = (_plain_names.get(name) or _plain(name)) + text(value, True)
    if len(_shared) >= _MAX_SHARED:
        _shared.clear()
    if len(value) <= _MAX_NAME_BYTES:
        _shared[field] = octets
    return octets
