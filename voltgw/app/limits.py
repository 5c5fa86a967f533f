"""How many connections this process can hold: descriptors are raised to what the system allows, then divided."""

from __future__ import annotations

import resource
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from voltgw.values.defaults import ADMIN_FDS, RESERVED_FDS

T = TypeVar("T")

#: An unlimited or absurdly high limit is not worth more than this many descriptors.
MOST_FDS: Final = 1 << 20
#: One client address may hold one in so many of the connections that may be open at once…
SOURCE_SHARE: Final = 4
#: …unless it is one of these, or `gateway.trusted_sources` says otherwise.
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one, less what `spare_files` lends; the limit that now holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    all_fds = MOST_FDS if hard == resource.RLIM_INFINITY else min(hard, MOST_FDS)
    wanted = all_fds - _spared(all_fds)
    if soft == resource.RLIM_INFINITY or soft != wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


@contextmanager
def spare_files() -> Iterator[None]:
    """Inside, the descriptors may be taken that `raise_open_files` has kept back: the kernel refuses them to all others.

    What is opened inside stays open afterwards.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        yield
        return
    more = soft + _spared(soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, (more if hard == resource.RLIM_INFINITY else min(more, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def with_spare_files(steps: Generator[None, None, T]) -> Generator[None, None, T]:
    """`steps`, each of them inside `spare_files`: so an operator can still have files read that help."""
    while True:
        try:
            with spare_files():
                next(steps)
        except StopIteration as done:
            value: T = done.value
            return value
        yield


def _spared(files: int) -> int:
    """Descriptors that are kept back of so many."""
    return min(ADMIN_FDS, files // 8)


def most_clients(open_files: int) -> int:
    """Client connections that may be open before accepting pauses, with so many descriptors.

    Each may need a second one, for its endpoint: so it is half of what is not reserved.
    """
    return max((open_files - min(RESERVED_FDS, open_files // 2)) // 2, 1)
