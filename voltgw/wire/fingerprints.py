"""Fingerprints of a ClientHello: which TLS library speaks, whatever it says in User-Agent.

JA3 (https://github.com/salesforce/ja3) keeps the client's order; JA4 (https://github.com/FoxIO-LLC/ja4, the TLS client
part) sorts, since browsers shuffle their extensions. Both leave GREASE (RFC 8701) out.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import md5, sha256
from typing import TYPE_CHECKING, Final

from voltgw.wire.clienthello import ClientHello, is_grease

if TYPE_CHECKING:
    from collections.abc import Iterable

_SNI: Final = 0x0000
_ALPN: Final = 0x0010
_VERSIONS: Final = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}
_NOTHING: Final = "000000000000"


#: Clients are many, TLS libraries few: both fingerprints of the last so many kinds of hello are remembered.
MAX_REMEMBERED: Final = 1024


def fingerprints(hello: ClientHello) -> tuple[str, str]:
    """(JA3, JA4) of a hello."""
    return _fingerprints(hello.version, hello.suites, hello.extensions, hello.alpn[:1], hello.versions, hello.groups,
                         hello.point_formats, hello.signatures)


@lru_cache(MAX_REMEMBERED)
def _fingerprints(
    version: int, suites: tuple[int, ...], extensions: tuple[int, ...], alpn: tuple[bytes, ...], versions: tuple[int, ...],
    groups: tuple[int, ...], point_formats: tuple[int, ...], signatures: tuple[int, ...],
) -> tuple[str, str]:
    kind = ClientHello(version, b"", b"", suites, extensions, "", False, alpn, versions, groups, point_formats, signatures)
    return ja3(kind), ja4(kind)


def _plain(numbers: Iterable[int]) -> list[int]:
    return [number for number in numbers if not is_grease(number)]


def ja3_text(hello: ClientHello) -> str:
    """What JA3 is the MD5 of: version, suites, extensions, groups, point formats, in decimal."""
    lists = (_plain(hello.suites), _plain(hello.extensions), _plain(hello.groups), list(hello.point_formats))
    return ",".join([str(hello.version), *("-".join(map(str, numbers)) for numbers in lists)])


def ja3(hello: ClientHello) -> str:
    """The JA3 fingerprint, 32 hexadecimal digits."""
    return md5(ja3_text(hello).encode("ascii"), usedforsecurity=False).hexdigest()


def ja4(hello: ClientHello) -> str:
    """The JA4 fingerprint of a hello over TCP, such as ``t13d1516h2_8daaf6152771_e5627efa2ab1``."""
    suites = _plain(hello.suites)
    extensions = _plain(hello.extensions)
    versions = _plain(hello.versions)
    first = (
        f"t{_VERSIONS.get(max(versions, default=hello.version), '00')}{'d' if _SNI in extensions else 'i'}"
        f"{min(len(suites), 99):02}{min(len(extensions), 99):02}{_ends(hello.alpn[0]) if hello.alpn else '00'}"
    )
    rest = ",".join(sorted(f"{kind:04x}" for kind in extensions if kind not in (_SNI, _ALPN)))
    signatures = _plain(hello.signatures)
    if signatures:
        rest += "_" + ",".join(f"{number:04x}" for number in signatures)
    return f"{first}_{_digest(','.join(sorted(f'{suite:04x}' for suite in suites)))}_{_digest(rest if extensions else '')}"


def _digest(text: str) -> str:
    return sha256(text.encode("ascii")).hexdigest()[:12] if text else _NOTHING


def _ends(name: bytes) -> str:
    """First and last character of the first protocol; of its hexadecimal form, when they are not letters or digits."""
    ends = name[:1] + name[-1:]
    if ends.isalnum():                      # bytes.isalnum is ASCII only
        return ends.decode("ascii")
    text = name.hex()
    return text[0] + text[-1]
