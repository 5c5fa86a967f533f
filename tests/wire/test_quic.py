"""Connection ids of QUIC packets (RFC 8999)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.wire.quic import MAX_ID_BYTES, Ids, long_ids, short_id

#: The client Initial of RFC 9001 appendix A.2, and the server's answer (A.3), as far as their ids go.
CLIENT_INITIAL = bytes.fromhex("c300000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11")
SERVER_INITIAL = bytes.fromhex("cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a")
#: Its Retry (A.4), and the short header with an empty id of appendix A.5.
RETRY = bytes.fromhex("ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba")
SHORT = bytes.fromhex("4cfe4189655e5cd55c41f69080575d7999c25a5bfb")


class IdsTests(SynchronousTestCase):
    def test_the_examples_of_the_specification(self) -> None:
        """RFC 9001 appendix A."""
        client, server = bytes.fromhex("8394c8f03e515708"), bytes.fromhex("f067a5502a4262b5")
        self.assertEqual(long_ids(CLIENT_INITIAL), Ids(client, b""))
        self.assertEqual(long_ids(SERVER_INITIAL), Ids(b"", server))
        self.assertEqual(long_ids(RETRY), Ids(b"", server))
        self.assertIsNone(long_ids(SHORT))
        self.assertEqual((short_id(SHORT, 0), short_id(SHORT, 4)), (b"", SHORT[1:5]))
        self.assertIsNone(short_id(CLIENT_INITIAL, 8))

    def test_cut_anywhere(self) -> None:
        """No id is read beyond the end of a datagram."""
        data = b"\xc0\0\0\0\1\x08destinat\x03src"
        for end in range(len(data)):
            self.assertIsNone(long_ids(data[:end]), end)
        self.assertEqual(long_ids(data), Ids(b"destinat", b"src"))
        self.assertIsNone(short_id(b"\x40abc", 4))

    def test_ids_that_are_too_long(self) -> None:
        """Of a version that we know nothing of."""
        for first, second in ((MAX_ID_BYTES + 1, 0), (0, MAX_ID_BYTES + 1)):
            data = b"\xc0\0\0\0\1" + bytes((first,)) + b"x" * first + bytes((second,)) + b"y" * second
            self.assertIsNone(long_ids(data))

    @examples(100)
    @given(st.binary(max_size=64))
    def test_anything(self, data: bytes) -> None:
        """Whatever comes is read, or is not; what is read stands in it."""
        found = long_ids(memoryview(data))
        if found is not None:
            self.assertTrue(data[6:].startswith(found.destination))
            self.assertIn(found.source, data)
