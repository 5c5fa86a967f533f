"""Protocol Buffers by hand: the examples of its documentation, there and back, and what is no message."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.security.ext_authz import check_response
from voltgw.wire.protobuf import fields, message, number, octets, varint


class EncodingTests(SynchronousTestCase):
    def test_the_examples_of_the_documentation(self) -> None:
        """150 as field 1, ``testing`` as field 2, a message inside as field 3, -2 in ten octets."""
        self.assertEqual(number(1, 150), bytes.fromhex("089601"))
        self.assertEqual(octets(2, b"testing"), bytes.fromhex("120774657374696e67"))
        self.assertEqual(message(3, number(1, 150)), bytes.fromhex("1a03089601"))
        self.assertEqual(varint(-2), bytes.fromhex("feffffffffffffffff01"))
        self.assertEqual((number(1, 0), octets(1, b""), message(1, b"")), (b"", b"", b"\x0a\x00"))

    def test_fields_of_every_kind(self) -> None:
        """Numbers, octets, and those of four and eight octets."""
        data = bytes.fromhex("089601 1203616263 1d01020304 210102030405060708 d03e01")
        self.assertEqual(list(fields(data)), [
            (1, 150), (2, b"abc"), (3, b"\1\2\3\4"), (4, bytes(range(1, 9))), (1002, 1)])

    def test_what_is_no_message(self) -> None:
        """Cut, endless, without a number, of groups."""
        for data in ("08", "0a05616263", "ff" * 11, "00", "0b", "0d010203", "0affffffffffffffffff01"):
            self.assertRaises(ValueError, list, fields(bytes.fromhex(data)))

    @given(st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 2 ** 64 - 1) | st.binary(min_size=1, max_size=40)), max_size=8))
    @examples(150)
    def test_there_and_back(self, pairs: list[tuple[int, int | bytes]]) -> None:
        """What is written is read."""
        data = b"".join(number(field, value) if isinstance(value, int) else octets(field, value) for field, value in pairs)
        self.assertEqual(list(fields(data)), pairs)


class CheckTests(SynchronousTestCase):
    """Answers of an authorizer."""

    def header(self, name: bytes, value: bytes) -> bytes:
        """A HeaderValueOption."""
        return message(2, message(1, octets(1, name) + octets(2, value)))

    def test_headers_that_may_not_be_set(self) -> None:
        """Host, framing, pseudo-headers, names and values that no line can carry: left out."""
        data = b"".join(self.header(name, value) for name, value in (
            (b"X-User", b" ada "), (b"Host", b"evil"), (b"content-length", b"5"), (b":path", b"/x"), (b"a b", b"x"),
            (b"x-line", b"a\r\nX-Admin: yes"), (b"", b"x"), (b"x-empty", b"")))
        self.assertEqual(check_response(message(1, b"") + message(3, data)).headers, ((b"x-user", b"ada"), (b"x-empty", b"")))

    def test_statuses(self) -> None:
        """A refusal without a status, or with one that is none, is 403; an empty answer lets pass, as its code is 0."""
        for status, shown in ((0, 403), (401, 401), (302, 302), (99, 403), (1000, 403)):
            check = check_response(message(1, number(1, 7)) + message(2, message(1, number(1, status))))
            self.assertEqual((check.code, check.status), (7, shown))
        self.assertEqual(check_response(b"").code, 0)

    @given(st.binary(max_size=80))
    @examples(300)
    def test_anything(self, data: bytes) -> None:
        """It is read, or refused as no message."""
        try:
            check_response(data)
        except ValueError as error:
            self.assertTrue(str(error))
