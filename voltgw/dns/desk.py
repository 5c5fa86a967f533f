"""Queries that come in batches by UDP, most of them answered from what is ready: a look at two tables and one copy.

What a client says beside the name (flags, type, and its OPT record with its cookie) is the same in most of its queries. It is
read once, and remembered as a `_Plan` for as long as the `Responder` would say the same to it. What the name has is ready in
the zone. Everything that is not so plain (a signed answer, a client's subnet, TSIG, what does not fit, what is no query) goes
to the responder, which is the one place where it is decided what is said; a test puts the same queries to both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from twisted.logger import Logger

from voltgw.dns.rates import Verdict, packed
from voltgw.dns.responder import Responder
from voltgw.net.batches import IN_BYTES, OUT_BYTES, Slots
from voltgw.wire.dnsmsg import (
    AA,
    ANY_CLASS,
    AXFR,
    HEADER_BYTES,
    IN,
    IXFR,
    QUERY,
    RD,
    TC,
    Malformed,
    Query,
    Sections,
    Unanswerable,
    heads_of,
    opt_record,
    read_query,
)

#: Ways of asking that are remembered, by client; then all are forgotten.
MAX_PLANS: Final = 20_000
#: Of a query over which we fail, in the log.
_SHOWN_BYTES: Final = 300
_FOR_EVER: Final = float("inf")
_COUNTS: Final = (b"\0\1\0\0\0\0\0\0", b"\0\1\0\0\0\0\0\1")    # one question, and nothing else, or one record at the end
_PLAIN_FLAGS: Final = RD | 0x30             # and AD, CD, which ask for nothing of an authoritative server
_CUT_SHORT: Final = Sections(AA | TC, 0, 0, 0, b"")


class _Plan:
    """How one client is answered that asks in one way, until `until` (seconds since 1970)."""

    __slots__ = ("asked", "dnssec", "kind", "known", "limit", "opt", "until", "variant")

    def __init__(self, query: Query, known: bool, options: bytes, until: float, asked: list[int]) -> None:
        self.kind = query.kind
        self.known = known                  # by a cookie of ours
        self.opt = opt_record(query, options) if query.opt else b""
        self.variant = 2 * query.opt + bool(query.flags & RD)       # of `heads_of`
        self.limit = query.size
        self.dnssec = query.dnssec
        self.until = until
        self.asked = asked                  # where it is counted


class Desk:
    """Answers what is in `slots`, a batch at a time, as `responder` would; `post` sends so many answers from a slot on."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, responder: Responder, slots: Slots, post: Callable[[int, int], None]) -> None:
        self._responder = responder
        self._slots = slots
        self._post = post
        self._wall = responder.cookies.wall
        self._plans: dict[bytes, _Plan] = {}
        self._latest = 0.0

    def serve(self, lengths: Sequence[int]) -> None:
        """One batch: how long the datagram in each slot is."""
        responder, slots, plans = self._responder, self._slots, self._plans
        heap, peers, out, sizes = slots.heap, slots.peers, slots.out, slots.sizes
        first_byte, last_byte, step = slots.address.start, slots.address.stop, slots.peer_bytes
        zones, rates, signed, counters = responder.zones, responder.rates, bool(responder.signers), responder.counters
        nodes, codes = zones.nodes, counters.codes
        now = self._wall()
        if now < self._latest:              # the clock has been set back
            plans.clear()
        self._latest = now
        posted = 0
        for slot, length in enumerate(lengths):
            start, peer = slot * IN_BYTES, slot * step
            data = heap[start:start + length]
            end = data.find(0, HEADER_BYTES) + 1
            address = peers[peer + first_byte:peer + last_byte]
            answer: bytes | None = None
            plan = plans.get(data[2:12] + data[end:] + address)
            if plan is not None and now < plan.until and not (plan.dnssec and signed):
                name = data[12:end].lower()
                node = nodes.get(name)
                sections = node.ready.get(plan.kind) if node is not None else None
                if sections is None:
                    sections = zones.plain(name, plan.kind, node)
                if sections is not None:
                    answer = b"".join((data[:2], (sections.heads or heads_of(sections))[plan.variant], data[12:end + 4],
                                       sections.data, plan.opt))
                    if len(answer) > plan.limit:
                        answer = None
                    else:
                        plan.asked[0] += 1
                        if not plan.known and rates is not None and (verdict := rates.take(
                                address if step == 16 else slots.packed(slot))) is not Verdict.SEND:
                            if verdict is Verdict.DROP:
                                counters.limited += 1
                                if slot > posted:
                                    self._post(posted, slot - posted)
                                posted = slot + 1
                                continue
                            counters.slipped += 1
                            counters.truncated += 1
                            answer = b"".join((data[:2], (_CUT_SHORT.heads or heads_of(_CUT_SHORT))[plan.variant],
                                               data[12:end + 4], plan.opt))
                        codes[sections.flags & 0xF] += 1
            if answer is None:
                answer = self._slowly(data, slot, end)
                if answer is None:
                    if slot > posted:
                        self._post(posted, slot - posted)
                    posted = slot + 1
                    continue
            size = len(answer)
            at = slot * OUT_BYTES
            out[at:at + size] = answer
            sizes[2 * slot + 1] = size
        if len(lengths) > posted:
            self._post(posted, len(lengths) - posted)

    def _slowly(self, data: bytes, slot: int, end: int) -> bytes | None:
        """What the responder says; and the next time it may be ready."""
        host, port = self._slots.peer(slot)
        if port == 0:
            return None                     # nobody can be answered there
        responder = self._responder
        query = None
        try:
            query = read_query(data)
        except (Malformed, Unanswerable):
            pass                            # it says so
        try:
            answer = responder.respond(data, host, False, port, query)
        except Exception:                   # the others of the batch have done nothing
            self._log.failure("a query of {host} cannot be answered: {data}", host=host, data=data[:_SHOWN_BYTES].hex())
            return None
        assert answer is None or len(answer) <= OUT_BYTES       # EDNS lets none be longer than MAX_UDP_BYTES
        if query is not None and answer is not None and _is_plain(query, data):
            known, options, until = False, b"", _FOR_EVER
            if query.cookie:
                known, options = responder.cookies.look(query, packed(host))
                until = responder.cookies.steady(query, known)
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            key = data[2:12] + data[end:] + self._slots.peers[self._slots.address_of(slot)]
            self._plans[key] = _Plan(query, known, options, until, responder.counters.cell(query.kind))
        return answer


def _is_plain(query: Query, data: bytes) -> bool:
    return (query.opcode == QUERY and not query.flags & ~_PLAIN_FLAGS and data[4:12] in _COUNTS and not query.tsig
            and query.klass in (IN, ANY_CLASS) and query.kind not in (AXFR, IXFR) and query.subnet is None and not query.version
            and query.opt == (data[11] == 1))
