"""A message comes, an answer goes: what an authoritative server says to what it is asked; no sockets.

The order of the checks is that of RFC 1035 4.1.1, 6891 6.1.3, 7873 5.2 and 8482; the table of docs/dns.rst has them by case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from voltgw.dns.cookies import Cookies
from voltgw.dns.rates import ResponseRates, Verdict, packed
from voltgw.routing.zone import Zones
from voltgw.wire.dnsmsg import (
    ANY_CLASS,
    AXFR,
    BADVERS,
    EDE_NOT_AUTHORITATIVE,
    FORMERR,
    HEADER_BYTES,
    IN,
    IXFR,
    MAX_TCP_BYTES,
    NOTIMP,
    OPTION_KEEPALIVE,
    QUERY,
    RCODE_NAMES,
    REFUSED,
    TC,
    TYPE_NAMES,
    Malformed,
    Query,
    Unanswerable,
    error_option,
    option,
    read_query,
    refusal,
    subnet_option,
    truncated,
    write_answer,
)

#: Answers a whole zone, or refuses: (message, query, peer) -> messages of TCP.
Transfer = Callable[[bytes, Query, str], list[bytes]]
_OTHER: Final = "other"


class DnsCounters:
    """What the server has done since the process began."""

    __slots__ = ("answers", "dropped", "limited", "queries", "slipped", "truncated")

    def __init__(self) -> None:
        self.queries: Counter[tuple[str, str]] = Counter()      # (udp | tcp, type)
        self.answers: Counter[str] = Counter()                  # by RCODE
        self.truncated = 0
        self.limited = 0                    # not sent, for the rate of their network
        self.slipped = 0                    # truncated, for the rate of their network
        self.dropped: Counter[str] = Counter()                  # never answered, by reason


class Responder:
    """Answers from `zones`, which may be replaced at any time.

    `rates` limits what goes out by UDP to whom we do not know by a cookie; None: nothing does. `idle_s` is what TCP clients
    are told that their connections may idle.
    """

    def __init__(
        self, zones: Zones, cookies: Cookies, rates: ResponseRates | None = None, transfer: Transfer | None = None,
        idle_s: float = 30.0, counters: DnsCounters | None = None,
    ) -> None:
        self.zones = zones
        self.counters = DnsCounters() if counters is None else counters
        self._cookies = cookies
        self._rates = rates
        self._transfer = transfer
        self._keepalive = option(OPTION_KEEPALIVE, int(idle_s * 10).to_bytes(2, "big"))

    def respond(self, data: bytes, peer: str, tcp: bool = False) -> bytes | None:
        """The answer to one message from `peer` (an address); None: there is none."""
        counters = self.counters
        try:
            query = read_query(data)
            kind = query.kind
            counters.queries["tcp" if tcp else "udp", TYPE_NAMES.get(kind, _OTHER)] += 1
            address = packed(peer)
            known, options = tcp, b""
            if query.opt:
                if query.version:
                    return self._send(query, refusal(query, BADVERS), BADVERS, address, known)
                if query.cookie:
                    good, options = self._cookies.look(query, address)
                    known = known or good
                if tcp and query.keepalive:
                    options += self._keepalive
            if query.opcode != QUERY:
                return self._send(query, refusal(query, NOTIMP, options), NOTIMP, address, known)
            if query.klass not in (IN, ANY_CLASS) or kind in (AXFR, IXFR):
                return self._send(query, refusal(query, REFUSED, options), REFUSED, address, known)
            found = self.zones.answer(query, peer)
            if found is None:
                options += error_option(EDE_NOT_AUTHORITATIVE)
                return self._send(query, refusal(query, REFUSED, options), REFUSED, address, known)
            sections, scope = found
            if query.subnet is not None:
                options += subnet_option(query.subnet, scope)
            answer = write_answer(query, sections, MAX_TCP_BYTES if tcp else query.size, options)
            return self._send(query, answer, sections.flags & 0xF, address, known, options)
        except Malformed as bad:
            return self._send(None, bad.answer, FORMERR, packed(peer), tcp)
        except Unanswerable as none:
            counters.dropped[str(none)] += 1
            return None

    def respond_all(self, data: bytes, peer: str) -> list[bytes]:
        """The answers to one message that came by TCP: several where a zone is handed over (RFC 5936)."""
        if self._transfer is not None:
            try:
                query = read_query(data)
            except (Malformed, Unanswerable):
                pass                        # `respond` says what there is to say
            else:
                if query.opcode == QUERY and query.kind in (AXFR, IXFR):
                    self.counters.queries["tcp", TYPE_NAMES[query.kind]] += 1
                    return self._transfer(data, query, peer)
        answer = self.respond(data, peer, True)
        return [] if answer is None else [answer]

    def _send(
        self, query: Query | None, answer: bytes, rcode: int, address: bytes, known: bool, options: bytes = b"",
    ) -> bytes | None:
        counters = self.counters
        if not known and self._rates is not None:
            verdict = self._rates.take(address)
            if verdict is not Verdict.SEND:
                if verdict is Verdict.DROP or query is None:
                    counters.limited += 1
                    return None
                counters.slipped += 1
                answer = truncated(query, options)
        if answer[2] & TC >> 8 and len(answer) > HEADER_BYTES:
            counters.truncated += 1
        counters.answers[RCODE_NAMES.get(rcode, _OTHER)] += 1
        return answer
