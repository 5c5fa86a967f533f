"""Files that outlive the process: replaced as a whole or not at all, and still there after a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def keep(path: Path, data: bytes) -> None:
    """Put `data` there, for the owner's eyes alone: a reader finds the old file or the new one, and so does whoever comes after
    a crash. The folder is made if it is not there. Raises OSError.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(descriptor, 0o600)        # whatever one of a crash had
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest):]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(new, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)                    # the new name itself is an entry of the folder
        finally:
            os.close(folder)
    except OSError:
        try:
            os.unlink(new)
        except OSError:
            pass                            # it was never made, or the disk is beyond that; the first error is what counts
        raise


def kept(path: Path, most_bytes: int) -> bytes | None:
    """The first `most_bytes` of what is there, None where nothing is. Raises OSError."""
    try:
        with path.open("rb") as file:
            return file.read(most_bytes)
    except FileNotFoundError:
        return None
