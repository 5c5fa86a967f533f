"""Which requests are in a sample: decided by the request's id alone, so that the access log and the journal agree."""

from __future__ import annotations

from typing import Final
from zlib import crc32

_ALL: Final = 1 << 32
#: Ids count up, and neighbours shall not be neighbours in the sample: an odd factor scatters them (Knuth, 6.4).
_SCATTER: Final = 2_654_435_761


def sampled(request_id: bytes, share: float) -> bool:
    """Whether a request belongs to a sample of `share` (0 to 1) of all; those of a smaller share are among a larger one's."""
    return (crc32(request_id) * _SCATTER & _ALL - 1) < share * _ALL
