"""DNS probe: a question that must be answered with an expected code and, if told so, an expected address.

It is asked over UDP, or over TCP with the two octets of length before each message (RFC 1035 4.2.2). What comes and is no
answer to the question is passed over a few times, as a resolver does: it may be somebody else's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from zope.interface import implementer

from voltgw.control.probes.run import ProbeRun
from voltgw.interfaces import IFactory
from voltgw.wire.dnsanswer import BadAnswer, read_answer, write_question
from voltgw.wire.dnsmsg import RCODE_NAMES, TYPES, name_of

#: Datagrams that are no answer; the next one is a failure.
MAX_STRAYS: Final = 8
_RCODES: Final = {name: code for code, name in RCODE_NAMES.items()}


@dataclass(frozen=True, slots=True)
class DnsOptions:
    """`name` in wire form; `address` None = no answer of an address is asked for."""

    name: bytes
    kind: int
    rcode: int = 0
    address: IPv4Address | IPv6Address | None = None
    over_tcp: bool = False


class DnsRun(ProbeRun):
    """One question over UDP."""

    __slots__ = ("_identity", "_options", "_strays")

    datagrams = True

    def __init__(self, options: DnsOptions) -> None:
        super().__init__()
        self._options = options
        self._identity = secrets.randbits(16)       # not to be guessed by who forges answers
        self._strays = 0

    def connected(self) -> None:
        """Ask."""
        self.transport.write(self.target.first + self._question())

    def dataReceived(self, data: bytes) -> None:
        """A message."""
        self._heard(data)

    def _question(self) -> bytes:
        return write_question(self._identity, self._options.name, self._options.kind)

    def _heard(self, message: bytes) -> None:
        options = self._options
        try:
            answer = read_answer(message, self._identity, options.name, options.kind)
        except BadAnswer as error:
            self._strays += 1
            if self._strays > MAX_STRAYS or not self.datagrams:
                self.verdict(False, f"no answer to the question: {error}")
            return
        code = RCODE_NAMES.get(answer.rcode, f"RCODE {answer.rcode}")
        if answer.rcode != options.rcode:
            self.verdict(False, f"answered {code}, not {RCODE_NAMES[options.rcode]}")
        elif options.address is None:
            self.verdict(True, f"answered {code}")
        elif options.address in answer.addresses:
            self.verdict(True, f"answered {code} with {options.address}")
        else:
            found = ", ".join(map(str, answer.addresses[:4])) or "no address"
            cut = " in a truncated answer" if answer.truncated else ""
            self.verdict(False, f"answered {found}{cut}, not {options.address}")


class DnsTcpRun(DnsRun):
    """One question over TCP."""

    __slots__ = ("_so_far",)

    datagrams = False

    def __init__(self, options: DnsOptions) -> None:
        super().__init__(options)
        self._so_far = b""

    def connected(self) -> None:
        """Ask."""
        question = self._question()
        self.transport.write(len(question).to_bytes(2, "big") + question)

    def dataReceived(self, data: bytes) -> None:
        """Part of a message, which has at most 65,535 octets."""
        if self._over:
            return
        self._so_far += data
        size = int.from_bytes(self._so_far[:2], "big") + 2
        if len(self._so_far) >= max(size, 2):
            self._heard(self._so_far[2:size])

    def ended(self) -> str:
        """The endpoint has closed."""
        return "the connection was closed before the answer was complete"


class DnsProbe:
    """The probe with its options."""

    def __init__(self, options: DnsOptions) -> None:
        self._options = options

    def prepare(self, hostname: str, address: str, port: int) -> Callable[[], ProbeRun]:
        """Nothing depends on the endpoint."""
        return partial(DnsTcpRun if self._options.over_tcp else DnsRun, self._options)


@implementer(IFactory)
class Dns:
    """The factory; its options are `dns_query_health_check` of ``voltgw:``."""

    name = "dns"

    def options(self, raw: Any, place: object) -> DnsOptions:
        """From a `DnsHealthCheck` (`Any`, because the interface takes whatever an extension reads). Raises ValueError."""
        return DnsOptions(
            name_of(raw.query_name), TYPES[raw.query_type.value], _RCODES[raw.expected_rcode.value],
            None if raw.expected_address is None else ip_address(raw.expected_address), raw.over_tcp)

    def build(self, options: DnsOptions) -> DnsProbe:
        """The probe."""
        return DnsProbe(options)


FACTORY: Final = Dns()
