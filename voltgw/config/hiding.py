"""Takes secrets out of lines of configuration files before somebody is shown them below an error.

A line may hold more than what is wrong with it. Hidden is what stands behind ``string:///``, and the value of a key whose name
says that it is a secret: rather too much than too little, for whoever wants to see the line has the file.
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "***"

_INLINE: Final = re.compile(r"(?P<kept>string:///)(?P<secret>[A-Za-z0-9+/=_-]+)")
_NAMED: Final = re.compile(
    r"""(?P<kept>(?i:\b[\w-]{0,60}(?:secret|token|passw(?:or)?d|passphrase|private_key|api_key|hmac|\bjwks|credentials?)\b["']?\s*:\s+))"""
    r"""(?P<secret>'(?:[^']|'')*'?|"(?:[^"\\]|\\.)*"?|[^\s,{}\[\]&*|>#][^,{}\[\]]*)""")
_PEM: Final = re.compile(r"(?P<kept>-----BEGIN [A-Z ]*PRIVATE KEY-----)(?P<secret>.+)")
#: What says where a secret is, and is none itself.
_REFERENCE: Final = re.compile(r"""["']?(?:file:|env:|\$|string:///|https?://)|["']?\*{3}|(?:true|false|null|[0-9]{1,5})\s*$""")


def hidden(line: str, column: int) -> tuple[str, int]:
    """The line without secrets, and where what stood at `column` (from 1) stands now; within a secret, where that begins."""
    for pattern in (_INLINE, _PEM, _NAMED):
        pieces: list[str] = []
        at = moved = 0
        for match in pattern.finditer(line):
            start, end = match.span("secret")
            if pattern is _NAMED and _REFERENCE.match(match["secret"]) is not None:
                continue
            pieces += [line[at:start], HIDDEN]
            if column - 1 >= end:
                moved += len(HIDDEN) - (end - start)
            elif column - 1 > start:
                moved += start - (column - 1)
            at = end
        if pieces:
            line, column = "".join((*pieces, line[at:])), column + moved
    return line, column
