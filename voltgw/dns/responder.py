"""A message comes, an answer goes: what an authoritative server says to what it is asked; no sockets.

The order of the checks is that of RFC 1035 4.1.1, 6891 6.1.3, 7873 5.2 and 8482; the table of docs/dns.rst has them by case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from voltgw.dns.cookies import Cookies
from voltgw.dns.rates import ResponseRates, Verdict, packed
from voltgw.dns.signing import Busy, Signer
from voltgw.dns.transfers import Transfers, soa_alone
from voltgw.dns.tsig import Keyring, Seal, Unverified
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
    NOTAUTH,
    NOTIMP,
    OPTION_KEEPALIVE,
    QUERY,
    RCODE_NAMES,
    REFUSED,
    TC,
    TYPE_NAMES,
    Malformed,
    Query,
    Sections,
    Unanswerable,
    error_option,
    option,
    read_query,
    refusal,
    subnet_option,
    truncated,
    write_answer,
)

#: Takes a message that is an answer itself, from an address and a port; True when it was waited for.
Heard = Callable[[bytes, str, int], bool]
#: Types and codes that have no name here.
OTHER: Final = "other"


class DnsCounters:
    """What the server has done since the process began."""

    __slots__ = ("_answers", "_queries", "asked", "codes", "dropped", "limited", "notifies", "signatures", "slipped",
                 "transfers", "truncated", "unverified")

    def __init__(self) -> None:
        self._queries: Counter[tuple[str, str]] = Counter()
        self._answers: Counter[str] = Counter()
        self.asked: dict[str, list[int]] = {}                   # by UDP, by type: not yet in `queries`
        self.codes = [0] * 16                                   # by RCODE: not yet in `answers`
        self.truncated = 0
        self.limited = 0                    # not sent, for the rate of their network
        self.slipped = 0                    # truncated, for the rate of their network
        self.dropped: Counter[str] = Counter()                  # never answered, by reason
        self.transfers: Counter[str] = Counter()                # asked for by TCP: full, current, refused, busy
        self.signatures = 0                 # made for answers of signed zones
        self.notifies: Counter[str] = Counter()                 # sent, unsent, answered, refused, given_up
        self.unverified: Counter[str] = Counter()               # signed by TSIG, and not well, by its error

    @property
    def queries(self) -> Counter[tuple[str, str]]:
        """By (udp | tcp, type)."""
        for kind, cell in self.asked.items():
            if cell[0]:
                self._queries["udp", kind] += cell[0]
                cell[0] = 0
        return self._queries

    @property
    def answers(self) -> Counter[str]:
        """By RCODE."""
        for rcode, count in enumerate(self.codes):
            if count:
                self._answers[RCODE_NAMES.get(rcode, OTHER)] += count
                self.codes[rcode] = 0
        return self._answers

    def cell(self, kind: int) -> list[int]:
        """Where queries of a type by UDP are counted one by one."""
        return self.asked.setdefault(TYPE_NAMES.get(kind, OTHER), [0])


class Responder:
    """Answers from `zones`, which may be replaced at any time.

    `rates` limits what goes out by UDP to whom we do not know by a cookie; None: nothing does. `idle_s` is what TCP clients
    are told that their connections may idle. `keyring` has the keys of clients that sign, `transfers` says who may fetch a
    zone (None: nobody); both may be replaced, too.
    """

    def __init__(
        self, zones: Zones, cookies: Cookies, rates: ResponseRates | None = None, *, keyring: Keyring | None = None,
        transfers: Transfers | None = None, heard: Heard | None = None, idle_s: float = 30.0,
        counters: DnsCounters | None = None,
    ) -> None:
        self.zones = zones
        self.counters = DnsCounters() if counters is None else counters
        self.cookies = cookies
        self.rates = rates
        self.keyring = Keyring((), lambda: 0.0) if keyring is None else keyring
        self.transfers = transfers
        self.signers: Mapping[bytes, Signer] = {}       # of signed zones, by their apex
        self._heard = heard
        self._keepalive = option(OPTION_KEEPALIVE, int(idle_s * 10).to_bytes(2, "big"))

    def respond(self, data: bytes, peer: str, tcp: bool = False, port: int = 0, read: Query | None = None) -> bytes | None:
        """The answer to one message from `peer` (an address) and its port; None: there is none. `read` is the query in it, if
        somebody has read it before.
        """
        counters = self.counters
        try:
            query = read_query(data) if read is None else read
            kind = query.kind
            if tcp:
                counters.queries["tcp", TYPE_NAMES.get(kind, OTHER)] += 1
            else:
                counters.cell(kind)[0] += 1
            address = packed(peer)
            known, options, seal = tcp, b"", None
            if query.tsig:
                seal = self.keyring.verify(data, query)
                known = True
                query.size -= seal.room
            if query.opt:
                if query.version:
                    return self._send(query, refusal(query, BADVERS), BADVERS, address, known, b"", seal)
                if query.cookie:
                    good, options = self.cookies.look(query, address)
                    known = known or good
                if tcp and query.keepalive:
                    options += self._keepalive
            if query.opcode != QUERY:
                return self._send(query, refusal(query, NOTIMP, options), NOTIMP, address, known, b"", seal)
            if query.klass not in (IN, ANY_CLASS):
                return self._send(query, refusal(query, REFUSED, options), REFUSED, address, known, b"", seal)
            if kind in (AXFR, IXFR):
                return self._version(query, peer, address, known, options, seal)
            found = self.zones.answer(query, peer)
            if found is None:
                options += error_option(EDE_NOT_AUTHORITATIVE)
                return self._send(query, refusal(query, REFUSED, options), REFUSED, address, known, b"", seal)
            sections, scope = found
            if query.dnssec and self.signers:
                sections = self._signed(query, sections, known)
            if query.subnet is not None:
                options += subnet_option(query.subnet, scope)
            limit = query.size if not tcp else MAX_TCP_BYTES if seal is None else MAX_TCP_BYTES - seal.room
            answer = write_answer(query, sections, limit, options)
            return self._send(query, answer, sections.flags & 0xF, address, known, options, seal)
        except Malformed as bad:
            return self._send(None, bad.answer, FORMERR, packed(peer), tcp)
        except Busy:
            return self._send(query, truncated(query, options), 0, address, known, options, seal)
        except Unverified as false:
            counters.unverified[str(false)] += 1
            return self._send(None, false.answer, NOTAUTH, packed(peer), tcp)
        except Unanswerable as none:
            if self._heard is None or not self._heard(data, peer, port):
                counters.dropped[str(none)] += 1
            return None

    def respond_all(self, data: bytes, peer: str) -> Iterator[bytes]:
        """The answers to one message that came by TCP: several where a zone is handed over (RFC 5936)."""
        query = None
        if self.transfers is not None:
            try:
                query = read_query(data)
                if query.opcode == QUERY and query.kind in (AXFR, IXFR):
                    seal = self.keyring.verify(data, query) if query.tsig else None
                    messages = self.transfers.messages(query, self.zones, peer, seal)
                    if messages is not None:
                        self.counters.queries["tcp", TYPE_NAMES[query.kind]] += 1
                        self.counters.answers[RCODE_NAMES[0]] += 1
                        return messages
            except (Malformed, Unanswerable, Unverified):
                pass                        # `respond` says what there is to say
        answer = self.respond(data, peer, True, read=query)
        return iter(()) if answer is None else iter((answer,))

    def _signed(self, query: Query, sections: Sections, known: bool) -> Sections:
        zone = self.zones.zone_of(query.name)
        signer = self.signers.get(zone.apex) if zone is not None else None
        if zone is None or signer is None:
            return sections
        before = signer.signatures
        try:
            return signer.signed(zone, query, sections, known)
        finally:
            self.counters.signatures += signer.signatures - before

    def _version(
        self, query: Query, peer: str, address: bytes, known: bool, options: bytes, seal: Seal | None,
    ) -> bytes | None:
        """A transfer is refused here; IXFR by UDP tells a secondary which version there is (RFC 1995 2)."""
        zone = self.zones.zones.get(query.name)
        if query.kind == IXFR and zone is not None and self.transfers is not None \
                and self.transfers.allowed(query.name, peer, seal) is not None:
            answer = write_answer(query, soa_alone(zone), query.size, options)
            return self._send(query, answer, 0, address, known, options, seal)
        return self._send(query, refusal(query, REFUSED, options), REFUSED, address, known, options, seal)

    def _send(
        self, query: Query | None, answer: bytes, rcode: int, address: bytes, known: bool, options: bytes = b"",
        seal: Seal | None = None,
    ) -> bytes | None:
        counters = self.counters
        if not known and self.rates is not None:
            verdict = self.rates.take(address)
            if verdict is not Verdict.SEND:
                if verdict is Verdict.DROP or query is None:
                    counters.limited += 1
                    return None
                counters.slipped += 1
                answer = truncated(query, options)
        if answer[2] & TC >> 8 and len(answer) > HEADER_BYTES:
            counters.truncated += 1
        if rcode < len(counters.codes):
            counters.codes[rcode] += 1
        else:
            counters.answers[RCODE_NAMES.get(rcode, OTHER)] += 1
        return answer if seal is None else seal.sign(answer)
