"""How many connections this process can hold: descriptors are raised to what the system allows, then divided."""

from __future__ import annotations

import resource
from typing import Final

from voltgw.values.defaults import RESERVED_FDS

#: An unlimited or absurdly high limit is not worth more than this many descriptors.
MOST_FDS: Final = 1 << 20


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one; the limit that now holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FDS if hard == resource.RLIM_INFINITY else min(hard, MOST_FDS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MOST_FDS if soft == resource.RLIM_INFINITY else soft


def stream_limit(open_files: int) -> int:
    """Streams (client and endpoint connections together) that may be open before accepting pauses.

    A client connection may need a second descriptor for its endpoint; so accepting stops at half of what is not reserved.
    """
    return max((open_files - min(RESERVED_FDS, open_files // 2)) // 2, 1)
