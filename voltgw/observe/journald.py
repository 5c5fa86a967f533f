"""Messages as journald's own protocol has them ("Native Journal Protocol"): fields in a datagram, or in a sealed memfd.

Each has MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, and fields of ours that begin with ``VOLTGW_``; so ``journalctl
VOLTGW_STATUS=503`` finds what it says.
"""

from __future__ import annotations

import array
import fcntl
import os
import re
import socket
import struct
from typing import Final

from voltgw.observe.messages import Message

#: Where journald listens.
SOCKET: Final = "/run/systemd/journal/socket"
#: Most bytes of one field.
MAX_FIELD: Final = 64 * 1024

_NOT_IN_NAMES: Final = re.compile(r"[^A-Z0-9_]").sub
#: Names of fields are no longer than this, and ours have `_PREFIX` (journald drops others).
_MAX_NAME: Final = 64
_PREFIX: Final = "VOLTGW_"
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class Native:
    """The fields of a message as bytes; `kind` (``access``, ``process``) stands in VOLTGW_LOG."""

    def __init__(self, identifier: str, kind: str) -> None:
        self._rest = _field("SYSLOG_IDENTIFIER", identifier) + _field("VOLTGW_LOG", kind)

    def __call__(self, message: Message, /) -> bytes:
        """The bytes of one message."""
        own = b"".join(_field(_PREFIX + _NOT_IN_NAMES("_", name.upper())[:_MAX_NAME - len(_PREFIX)], value)
                       for name, value in message.fields.items())
        return b"%sPRIORITY=%d\n%s%s" % (_field("MESSAGE", message.text), message.severity, self._rest, own)


def send_large(sock: socket.socket, data: bytes) -> None:
    """Send what is too long for a datagram: as the descriptor of a sealed memfd, in a datagram of its own. Raises OSError."""
    fd = os.memfd_create("voltgw-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        sock.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]).tobytes())], socket.MSG_DONTWAIT)
    finally:
        os.close(fd)


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")[:MAX_FIELD]
    if b"\n" in data:
        return b"%s\n%s%s\n" % (name.encode("ascii"), struct.pack("<Q", len(data)), data)
    return b"%s=%s\n" % (name.encode("ascii"), data)
