"""Fields that carry a trace from one program to the next: W3C Trace Context (levels 1 and 2) and Zipkin's B3, both forms.

W3C: https://www.w3.org/TR/trace-context-2/, sections 3.2 (traceparent) and 3.3 (tracestate). B3:
https://github.com/openzipkin/b3-propagation. What does not follow the rules is as good as not there, so that whoever reads it
begins a trace of their own (section 3.2.2.5, 4.3 of W3C).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.values.trace import B3, W3C

if TYPE_CHECKING:
    from voltgw.values.head import Field

#: Every field that one of the formats has, in lower case.
TRACE_FIELDS: Final = frozenset((
    b"traceparent", b"tracestate", b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid", b"x-b3-sampled",
    b"x-b3-flags",
))
#: Bits of trace-flags (3.2.2.5): whether the sender may have recorded the trace; whether its id is random (level 2).
SAMPLED: Final = 1
RANDOM: Final = 2
#: Most list-members of tracestate (3.3.1.1), and most characters that are passed on (3.3.1.5); members longer than `LONG`
#: are the first to go.
MAX_MEMBERS: Final = 32
MAX_STATE: Final = 512
LONG: Final = 128

_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
#: Keys as level 2 has them, which takes those of level 1 as well; values without "," and "=", the last character no space.
_MEMBER: Final = re.compile(rb"[a-z0-9][a-z0-9_\-*/@]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
_HEX: Final = re.compile(rb"[0-9a-fA-F]+")
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16
_YES: Final = frozenset((b"1", b"true"))
_NO: Final = frozenset((b"0", b"false"))


class Context(NamedTuple):
    """What a caller has said of the trace that its request belongs to.

    `trace_id` (32 digits) and `parent_id` (16) are lower-case hexadecimal; both are b"" where a caller of B3 has only said
    whether to record. `sampled` None leaves that to us. `debug` (B3) asks to record whatever the rules are. `random` says that
    the id is known to be random (level 2). `state` is the tracestate to pass on, b"" = none.
    """

    trace_id: bytes
    parent_id: bytes
    sampled: bool | None
    debug: bool = False
    random: bool = False
    state: bytes = b""


def read(fields: Iterable[Field], formats: Sequence[str]) -> Context | None:
    """The context in `fields` (names in lower case) by the first of `formats` in which there is one; None = there is none."""
    said: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        if name in TRACE_FIELDS:
            said.setdefault(name, []).append(value.strip(b" \t"))
    if not said:
        return None
    for each in formats:
        found = _read_w3c(said) if each == W3C else _read_b3(said) if each == B3 else _read_b3_multi(said)
        if found is not None:
            return found
    return None


def write(
    formats: Iterable[str], trace_id: bytes, span_id: bytes, sampled: bool, *, random: bool = True, debug: bool = False,
    state: bytes = b"",
) -> list[Field]:
    """The fields that tell the next program of a trace, in `formats`; `span_id` is the span that it is called by."""
    fields: list[Field] = []
    for each in formats:
        if each == W3C:
            flags = (SAMPLED if sampled else 0) | (RANDOM if random else 0)
            fields.append((b"traceparent", b"00-%b-%b-%02x" % (trace_id, span_id, flags)))
            if state:
                fields.append((b"tracestate", state))
        elif each == B3:
            fields.append((b"b3", b"%b-%b-%b" % (trace_id, span_id, b"d" if debug else b"1" if sampled else b"0")))
        else:
            fields += ((b"x-b3-traceid", trace_id), (b"x-b3-spanid", span_id))
            fields.append((b"x-b3-flags", b"1") if debug else (b"x-b3-sampled", b"1" if sampled else b"0"))
    return fields


# -- W3C ---------------------------------------------------------------------------------------------------------------


def _read_w3c(said: dict[bytes, list[bytes]]) -> Context | None:
    parents = said.get(b"traceparent", ())
    if len(parents) != 1:
        return None                         # several are as bad as none: nobody knows which one holds
    match = _PARENT.fullmatch(parents[0])
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more is not None) or trace_id == _NO_TRACE or parent_id == _NO_SPAN:
        return None                         # a later version may have more behind it (3.2.4), this one has not
    bits = int(flags, 16)
    return Context(trace_id, parent_id, bool(bits & SAMPLED), random=bool(bits & RANDOM),
                   state=bounded_state(said.get(b"tracestate", ())))


def bounded_state(lines: Sequence[bytes]) -> bytes:
    """The tracestate of several lines, joined and within its bounds; b"" where one member is none, or there are too many.

    Beyond `MAX_STATE` characters, members longer than `LONG` go first, then those at the end (3.3.1.5).
    """
    if not lines:
        return b""
    members = [member for line in lines for each in line.split(b",") if (member := each.strip(b" \t"))]
    if len(members) > MAX_MEMBERS or not all(map(_MEMBER.fullmatch, members)):
        return b""
    size = sum(map(len, members)) + len(members) - 1
    for number in range(len(members) - 1, -1, -1):
        if size <= MAX_STATE:
            break
        if len(members[number]) > LONG:
            size -= len(members.pop(number)) + 1
    while size > MAX_STATE:
        size -= len(members.pop()) + 1
    return b",".join(members)


# -- B3 ----------------------------------------------------------------------------------------------------------------


def _read_b3(said: dict[bytes, list[bytes]]) -> Context | None:
    values = said.get(b"b3", ())
    if len(values) != 1:
        return None
    parts = values[0].split(b"-")
    if len(parts) == 1:
        decided = _sampled(parts[0])
        return None if decided is None else Context(b"", b"", *decided)
    if len(parts) > 4:
        return None
    decided = _sampled(parts[2]) if len(parts) > 2 else (None, False)
    if decided is None or (len(parts) > 3 and _span_id(parts[3]) is None):
        return None
    return _b3_context(parts[0], parts[1], *decided)


def _read_b3_multi(said: dict[bytes, list[bytes]]) -> Context | None:
    def one(name: bytes) -> bytes:
        values = said.get(name, ())
        return values[0] if len(values) == 1 else b""

    if one(b"x-b3-flags") == b"1":
        decided: tuple[bool | None, bool] = (True, True)
    else:
        decided = _sampled(one(b"x-b3-sampled")) or (None, False)
    trace_id, span_id = one(b"x-b3-traceid"), one(b"x-b3-spanid")
    if trace_id or span_id:
        return _b3_context(trace_id, span_id, *decided)
    return None if decided[0] is None else Context(b"", b"", *decided)


def _sampled(value: bytes) -> tuple[bool | None, bool] | None:
    if value == b"d":
        return True, True
    if value in _YES:
        return True, False
    return (False, False) if value in _NO else None


def _b3_context(trace_id: bytes, span_id: bytes, sampled: bool | None, debug: bool) -> Context | None:
    span = _span_id(span_id)
    if span is None or len(trace_id) not in (16, 32) or _HEX.fullmatch(trace_id) is None:
        return None
    trace = trace_id.lower().rjust(32, b"0")    # an id of 64 bits is one of 128 that begins with zeros
    return None if trace == _NO_TRACE else Context(trace, span, sampled, debug)


def _span_id(value: bytes) -> bytes | None:
    if len(value) != 16 or _HEX.fullmatch(value) is None or value == _NO_SPAN:
        return None
    return value.lower()
