"""How much of a body is read at once, and what of it nobody reads, since the kernel can take it where it has to go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.net.stream import MAX_READ_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltgw.interfaces import StreamTransport

#: Largest read while bytes are only counted and passed on. With what may wait already (`BUFFER_HIGH_WATER_BYTES`) it is all
#: that one direction holds for a slow peer, which must stay under 256 KiB.
BULK_READ_BYTES: Final = 128 * 1024
#: A body of known length, of which more than this is to come, is read in larger pieces.
LONG_BODY_BYTES: Final = MAX_READ_BYTES


def read_in_bulk(transport: StreamTransport, bulk: bool) -> None:
    """Read larger pieces while they are only counted and passed on; or the usual ones again, and all of them."""
    read_at_most(transport, BULK_READ_BYTES if bulk else MAX_READ_BYTES)
    if not bulk:
        no_more = getattr(transport, "carry_no_more", None)
        if no_more is not None:
            no_more()


def carry(source: StreamTransport, sink: StreamTransport, left: int, told: Callable[[int], None]) -> None:
    """Have the kernel take the `left` octets of a body from `source` to `sink`, where it can and as long as that pays.

    `told` hears of each piece; what is read after all comes as before. Calls for nothing more than larger reads on TLS and on
    transports that are not ours.
    """
    by_kernel = getattr(source, "carry", None)
    if by_kernel is not None:
        by_kernel(sink, left, told)


def read_at_most(transport: StreamTransport, size: int) -> None:
    """Read no more than `size` octets at once. A transport that is not ours reads as it likes."""
    limit = getattr(transport, "read_at_most", None)
    if limit is not None:
        limit(size)
