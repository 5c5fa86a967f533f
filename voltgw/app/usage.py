"""What this process uses of memory and descriptors, and how much of both it may use."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

from twisted.logger import Logger

#: Limits of a control group at or above this are none (v1 writes a number near 2**63).
_NO_LIMIT: Final = 1 << 60
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
#: Where the kernel does not say how many descriptors are open (before Linux 6.2), they are counted; up to so many at each look.
_MOST_COUNTED: Final = 4096


class Usage:
    """Reads /proc, by a descriptor that stays open: what it is asked for most is when there is no other left.

    Raises OSError when /proc cannot be read at all.
    """

    _log = Logger()

    def __init__(self, proc: str = "/proc/self") -> None:
        self._fds = f"{proc}/fd"
        self._statm = os.open(f"{proc}/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._counted = 0
        self._skipped = 0
        self._trim = _malloc_trim()

    def close(self) -> None:
        """Read no more."""
        if self._statm >= 0:
            os.close(self._statm)
            self._statm = -1

    def memory_bytes(self) -> int:
        """Memory of the process that is in RAM (resident set), shared pages included."""
        return int(os.pread(self._statm, 128, 0).split()[1]) * _PAGE_BYTES

    def files(self) -> int:
        """Descriptors that are open."""
        size = os.stat(self._fds).st_size
        if size:
            return size                     # Linux 6.2 and later
        if self._counted > _MOST_COUNTED and self._skipped < 9:
            self._skipped += 1              # going over thousands of names takes milliseconds: not at every look
            return self._counted
        self._skipped = 0
        try:
            self._counted = len(os.listdir(self._fds))
        except OSError:                     # there is none left to open the folder with
            self._counted = 1 << 30
        return self._counted

    def trim(self) -> None:
        """Give memory back to the system that was freed, but that the C library keeps. Some milliseconds."""
        if self._trim is not None:
            self._trim(0)


def _malloc_trim() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None                         # another C library than glibc


def host_memory_bytes() -> int:
    """The memory of this host."""
    return os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES


def group_memory_bytes(proc: str = "/proc/self", root: str = "/sys/fs/cgroup") -> int | None:
    """The smallest memory limit of our control group and those above it; None = there is none.

    Both versions of control groups are looked at. In a container only its own group can be seen, as the root.
    """
    try:
        lines = Path(proc, "cgroup").read_text("utf-8").splitlines()
    except OSError:
        return None
    limits: list[int] = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            folder, name = Path(root), "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = Path(root, "memory"), "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        for depth in range(len(parts) + 1):
            limit = _number(folder.joinpath(*parts[:depth], name))
            if limit is not None and limit < _NO_LIMIT:
                limits.append(limit)
    return min(limits, default=None)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdigit() else None
