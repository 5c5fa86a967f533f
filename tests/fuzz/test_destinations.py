"""Destinations at random: what the resolver of this host takes for an address is read as that very address, or refused."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.security.destinations import Guard, literal, plain

_NUMBERS: Final = st.one_of(
    st.integers(0, 300).map(str), st.integers(0, 1 << 33).map(str), st.integers(0, 300).map(lambda number: f"0{number:o}"),
    st.integers(0, 1 << 33).map(lambda number: f"0x{number:x}"), st.sampled_from(["127", "0177", "0x7f", "0", "00", "0x", "08", "1e2", "٣", ""]))
_HOSTS: Final = st.one_of(
    st.lists(_NUMBERS, min_size=1, max_size=5).map(".".join),
    st.text("0123456789abcdefx.-_", max_size=20),
    st.text("0123456789abcdef:.%", max_size=30).map(lambda text: f"[{text}]"),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.ip_addresses(v=4).map(lambda address: f"[::ffff:{address}]"),
    st.ip_addresses(v=4).map(str))


def resolved(host: str) -> str | None:
    """The address that the C library takes a host for without asking anybody, None = it takes it for a name, or nothing."""
    try:
        found = socket.getaddrinfo(host.removeprefix("[").removesuffix("]"), 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return plain(ip_address(str(found[0][4][0]).partition("%")[0]))


class DestinationsAtRandom(SynchronousTestCase):
    @given(_HOSTS)
    @examples(3000)
    def test_as_the_resolver_reads_it(self, host: str) -> None:
        """No spelling is a name to us and an address to whoever connects."""
        wire = host.lower().encode("utf-8")
        try:
            address = literal(wire)
        except ValueError:
            return                          # it is refused: nobody connects
        theirs = resolved(host)
        if address is None:
            self.assertIsNone(theirs, host)
        elif theirs is not None:
            self.assertEqual(address, theirs, host)

    @given(st.ip_addresses(v=4) | st.sampled_from(["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.0.1", "100.64.0.1", "0.0.0.0"]).map(ip_address))
    @examples(800)
    def test_in_the_clothes_of_ipv6(self, address: object) -> None:
        """An address that is refused is refused in every form that a translator or tunnel would undo."""
        guard = Guard()
        text = str(address)
        number = int(ip_address(text))
        refused = bool(guard.refusal(text, 80))
        forms = [f"::ffff:{text}", f"64:ff9b::{text}", f"::ffff:0:{text}", f"2606:4700::5efe:{text}", f"2606:4700::200:5efe:{text}",
                 f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1", f"2001:0:4136:e378:8000:63bf:{~number >> 16 & 0xFFFF:x}:{~number & 0xFFFF:x}"]
        for form in forms:
            self.assertEqual(bool(guard.refusal(str(ip_address(form)), 80)), refused, form)
