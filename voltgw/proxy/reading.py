"""How much of a body is read at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.net.stream import MAX_READ_BYTES

if TYPE_CHECKING:
    from voltgw.interfaces import StreamTransport

#: Largest read while bytes are only counted and passed on. With what may wait already (`BUFFER_HIGH_WATER_BYTES`) it is all
#: that one direction holds for a slow peer, which must stay under 256 KiB.
BULK_READ_BYTES: Final = 128 * 1024
#: A body of known length, of which more than this is to come, is read in larger pieces.
LONG_BODY_BYTES: Final = MAX_READ_BYTES


def read_in_bulk(transport: StreamTransport, bulk: bool) -> None:
    """Read larger pieces while they are only counted and passed on, or the usual ones again."""
    read_at_most(transport, BULK_READ_BYTES if bulk else MAX_READ_BYTES)


def read_at_most(transport: StreamTransport, size: int) -> None:
    """Read no more than `size` octets at once. A transport that is not ours reads as it likes."""
    limit = getattr(transport, "read_at_most", None)
    if limit is not None:
        limit(size)
