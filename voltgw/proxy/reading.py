"""How much of a body is read at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.net.stream import BULK_READ_BYTES, MAX_READ_BYTES

if TYPE_CHECKING:
    from voltgw.interfaces import StreamTransport

#: A body of known length, of which more than this is to come, is read in larger pieces.
LONG_BODY_BYTES: Final = MAX_READ_BYTES


def read_in_bulk(transport: StreamTransport, bulk: bool) -> None:
    """Read larger pieces while they are only counted and passed on, or the usual ones again.

    A transport that is not ours reads as it likes.
    """
    read_at_most = getattr(transport, "read_at_most", None)
    if read_at_most is not None:
        read_at_most(BULK_READ_BYTES if bulk else MAX_READ_BYTES)
