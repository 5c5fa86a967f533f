"""Which requests are in a sample: decided by the request's id alone, so that the access log and the journal agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:
    from mypy_extensions import i64

_ALL: Final = 1 << 32
_MASK: Final = (1 << 32) - 1
#: Ids count up, and neighbours shall not be neighbours in the sample: an odd factor scatters them (Knuth, 6.4).
_SCATTER: Final = 2_654_435_761


def sampled(request_id: bytes, share: float) -> bool:
    """Whether a request belongs to a sample of `share` (0 to 1) of all; those of a smaller share are among a larger one's."""
    number: i64 = crc32(request_id)         # where it is compiled, the product wraps round above the bits that are asked for
    scattered: int = number * _SCATTER & _MASK
    return scattered < share * _ALL
