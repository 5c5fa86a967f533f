"""What HTTP probes ask and which answers are good, in whichever version of HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from voltgw import __version__
from voltgw.control.probes.response import MAX_BODY_BYTES

#: What a probe sends beside Host and Connection unless `headers` replaces or `request_headers_to_remove` drops it.
DEFAULT_FIELDS: Final = ((b"user-agent", b"voltgw-health/" + __version__.encode()), (b"accept", b"*/*"))
#: Fields by which a configuration could break the framing of the request; they are ours alone.
FRAMING: Final = frozenset((b"connection", b"content-length", b"transfer-encoding", b"upgrade", b"expect", b"te"))



class Statuses(Protocol):
    """Some status codes: a range, or any other container of numbers."""

    def __contains__(self, status: int, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """What to send and what to expect; `host` b"" = the endpoint's own name, `expected` b"" = any body.

    With `version_2` the question is asked in HTTP/2.
    """

    path: bytes
    host: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    removed: frozenset[bytes] = frozenset()
    statuses: tuple[Statuses, ...] = ((200,),)
    expected: bytes = b""
    version_2: bool = False

    def fits(self, status: int) -> bool:
        """Whether an answer with this status may be a good one."""
        return any(status in statuses for statuses in self.statuses)

    def fields(self, host: bytes) -> list[tuple[bytes, bytes]]:
        """The fields of the request, Host first or where the configuration has it; those of framing are left out."""
        given = {name.lower() for name, _ in self.headers}
        fields = [] if b"host" in given else [(b"host", host)]
        fields += [each for each in DEFAULT_FIELDS if each[0] not in given and each[0] not in self.removed]
        fields += [(name, value) for name, value in self.headers if name.lower() not in FRAMING]
        return fields

    def verdict(self, status: int, found: bool, body_bytes: int) -> tuple[bool, str]:
        """What an answer says; `found`: the expected bytes were in the `body_bytes` that came, or that were looked at."""
        if not self.fits(status):
            return False, f"status {status}"
        if not self.expected:
            return True, f"status {status}"
        if found:
            return True, f"status {status} and the expected bytes"
        if body_bytes >= MAX_BODY_BYTES:
            return False, f"status {status}, but not the expected bytes in the body's first {MAX_BODY_BYTES}"
        return False, f"status {status}, but not the expected bytes in the body"
