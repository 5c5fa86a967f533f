"""How many connections this process can hold: descriptors are raised to what the system allows, then divided."""

from __future__ import annotations

import resource
from typing import Final

from voltgw.values.defaults import RESERVED_FDS

#: An unlimited or absurdly high limit is not worth more than this many descriptors.
MOST_FDS: Final = 1 << 20
#: One client address may hold one in so many of the connections that may be open at once…
SOURCE_SHARE: Final = 4
#: …unless it is one of these, or `gateway.trusted_sources` says otherwise.
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one; the limit that now holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FDS if hard == resource.RLIM_INFINITY else min(hard, MOST_FDS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MOST_FDS if soft == resource.RLIM_INFINITY else soft


def most_clients(open_files: int) -> int:
    """Client connections that may be open before accepting pauses, with so many descriptors.

    Each may need a second one, for its endpoint: so it is half of what is not reserved.
    """
    return max((open_files - min(RESERVED_FDS, open_files // 2)) // 2, 1)
