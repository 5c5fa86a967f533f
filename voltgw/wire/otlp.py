"""OpenTelemetry's protocol, as far as traces need it: spans out, the collector's answer in.

The messages are those of ``opentelemetry/proto/trace/v1/trace.proto`` and ``collector/trace/v1/trace_service.proto``
(https://github.com/open-telemetry/opentelemetry-proto, 1.x), whose field numbers stand beside each of them. Ids are octets,
times are nanoseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from voltgw.wire.protobuf import fields, fixed32, fixed64, message, number, octets, varint

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Span.SpanKind.
INTERNAL: Final = 1
SERVER: Final = 2
CLIENT: Final = 3
#: Status.StatusCode.
ERROR: Final = 2
#: SpanFlags: whether the parent is in another program is known, and it is.
_KNOWN_PARENT: Final = 0x100
_REMOTE_PARENT: Final = 0x200
#: Longest text that a value has.
MAX_TEXT: Final = 1024
#: Longest words of a collector that are kept.
_MAX_WORDS: Final = 256

Value = str | int | bool
_keys: dict[str, bytes] = {}                # keys of attributes as they are written: a few dozen, all of them ours


def attribute(key: str, value: Value) -> bytes:
    """A KeyValue (key 1, value 2) with an AnyValue (string 1, bool 2, int 3); long text is cut. `key` is one of ours."""
    named = _keys.get(key)
    if named is None:
        named = _keys[key] = octets(1, key.encode("ascii"))
    if isinstance(value, str):
        text = value[:MAX_TEXT].encode("utf-8", "replace")
        size = len(text)
        if size < 126:                      # both lengths in one octet
            return b"%b\x12%c\n%c%b" % (named, size + 2, size, text)
        said = message(1, text)
    elif isinstance(value, bool):
        said = b"\x10\x01" if value else b"\x10\x00"       # one of several may be 0: it is written all the same
    else:
        said = b"\x18" + varint(value)
    return named + message(2, said)


def attributes(field: int, values: Mapping[str, Value]) -> bytes:
    """A repeated field of attributes."""
    return b"".join([message(field, attribute(key, value)) for key, value in values.items()])


def event(when_ns: int, name: str, values: Mapping[str, Value]) -> bytes:
    """A Span.Event: time 1, name 2, attributes 3."""
    return fixed64(1, when_ns) + octets(2, name.encode("utf-8")) + attributes(3, values)


def span(
    trace_id: bytes, span_id: bytes, parent_id: bytes, name: str, kind: int, start_ns: int, end_ns: int,
    values: Mapping[str, Value], *, state: bytes = b"", error: str | None = None, events: Iterable[bytes] = (),
    trace_flags: int = 1, remote: bool = False,
) -> bytes:
    """A Span: ids 1, 2 and 4, trace_state 3, name 5, kind 6, times 7 and 8, attributes 9, events 11, status 15, flags 16.

    `error` None leaves the status unset; else it is an error, with these words. `remote`: the parent is another program's.
    """
    flags = trace_flags | _KNOWN_PARENT | (_REMOTE_PARENT if remote else 0)
    status = b"" if error is None else message(15, octets(2, error[:MAX_TEXT].encode("utf-8", "replace")) + number(3, ERROR))
    return b"".join((
        octets(1, trace_id), octets(2, span_id), octets(3, state), octets(4, parent_id),
        octets(5, name[:MAX_TEXT].encode("utf-8", "replace")), number(6, kind), fixed64(7, start_ns), fixed64(8, end_ns),
        attributes(9, values), b"".join(message(11, each) for each in events), status, fixed32(16, flags)))


def export_request(resource: bytes, scope: bytes, spans: Sequence[bytes]) -> bytes:
    """An ExportTraceServiceRequest with one ResourceSpans (resource 1, scope_spans 2) of one ScopeSpans (scope 1, spans 2)."""
    scoped = message(1, scope) + b"".join(message(2, each) for each in spans)
    return message(1, message(1, resource) + message(2, scoped))


def resource(values: Mapping[str, Value]) -> bytes:
    """A Resource: attributes 1."""
    return attributes(1, values)


def scope(name: str, version: str) -> bytes:
    """An InstrumentationScope: name 1, version 2."""
    return octets(1, name.encode("utf-8")) + octets(2, version.encode("utf-8"))


def partial_success(answer: bytes) -> tuple[int, str]:
    """How many spans the collector has not taken, and why: partial_success 1 (rejected_spans 1, error_message 2).

    Raises ValueError for what is no ExportTraceServiceResponse.
    """
    rejected, words = 0, ""
    for field, value in fields(answer):
        if field == 1 and isinstance(value, bytes):
            for inner, said in fields(value):
                if inner == 1 and isinstance(said, int):
                    rejected = said if said < 1 << 63 else 0
                elif inner == 2 and isinstance(said, bytes):
                    words = _text(said)
    return rejected, words


def problem(answer: bytes) -> str:
    """What a google.rpc.Status says (message 2), with which collectors answer what they refuse; "" for anything else."""
    try:
        for field, value in fields(answer):
            if field == 2 and isinstance(value, bytes):
                return _text(value)
    except ValueError:
        return ""
    return ""


def _text(said: bytes) -> str:
    """Words of somebody else's, fit for a line of a log."""
    text = said[:_MAX_WORDS].decode("utf-8", "replace")
    return "".join([each if each.isprintable() else " " for each in text])
