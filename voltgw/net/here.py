"""Whether an address is one of this host: a socket that listens on every address answers there."""

from __future__ import annotations

import errno
import socket


class Here:
    """All addresses of this host, as a container: they come and go, so the kernel is asked. Costs some microseconds."""

    __slots__ = ()

    def __contains__(self, address: object) -> bool:
        """Whether a socket may be bound to it, which is so of our own addresses only."""
        if not isinstance(address, str):
            return False
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            socket.inet_pton(family, address)       # a name would be looked up, and that blocks
        except (OSError, UnicodeError, ValueError):
            return False
        try:
            with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
                probe.bind((address, 0))
        except OSError as error:
            # whatever else goes wrong (no descriptor is left, say): then it is not known, and counts as ours
            return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL, errno.ENODEV)
        return True


#: The only one that is needed.
HERE = Here()
