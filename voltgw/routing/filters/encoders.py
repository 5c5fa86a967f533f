"""Content codings for answers: gzip always, Brotli and Zstandard where the extra ``compress`` is installed.

Levels are those at which the time that is spent stays well below what a network saves; nobody waits for a better one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from voltgw.values.exchange import BodyTransform

GZIP_LEVEL: Final = 5
BROTLI_QUALITY: Final = 4
ZSTANDARD_LEVEL: Final = 3
#: wbits of zlib for a gzip header and trailer around the largest window (RFC 1952).
_GZIP: Final = 31


def _installed(package: str) -> ModuleType | None:
    try:
        return import_module(package)
    except ImportError:
        return None


brotli: Final = _installed("brotli")
zstandard: Final = _installed("zstandard")

#: Makes the transform of one answer. The argument says whether what has come should go on at once (a stream of unknown length),
#: rather than when there is enough of it.
Encoder = Callable[[bool], "BodyTransform"]


class Gzip:
    """RFC 1952, with zlib."""

    __slots__ = ("_compress", "_eager", "_flush")

    def __init__(self, eager: bool) -> None:
        made = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP)
        self._compress = made.compress
        self._flush = made.flush
        self._eager = eager

    def feed(self, data: bytes) -> bytes:
        """Compress some of the body."""
        done = self._compress(data)
        return done + self._flush(zlib.Z_SYNC_FLUSH) if self._eager else done

    def finish(self) -> bytes:
        """The last block and the checksum."""
        return self._flush()


class Brotli:
    """RFC 7932, with the package ``brotli``."""

    __slots__ = ("_eager", "_made")

    def __init__(self, eager: bool) -> None:
        assert brotli is not None               # `encoder` has looked
        self._made: Any = brotli.Compressor(quality=BROTLI_QUALITY)
        self._eager = eager

    def feed(self, data: bytes) -> bytes:
        """Compress some of the body."""
        done: bytes = self._made.process(data)
        return done + self._made.flush() if self._eager else done

    def finish(self) -> bytes:
        """The end of the stream."""
        done: bytes = self._made.finish()
        return done


class Zstandard:
    """RFC 8878, with the package ``zstandard``. The window stays below the 8 MiB of RFC 9659."""

    __slots__ = ("_block", "_eager", "_made")

    def __init__(self, eager: bool) -> None:
        assert zstandard is not None            # `encoder` has looked
        self._made: Any = zstandard.ZstdCompressor(level=ZSTANDARD_LEVEL).compressobj()
        self._block: int = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        self._eager = eager

    def feed(self, data: bytes) -> bytes:
        """Compress some of the body."""
        done: bytes = self._made.compress(data)
        return done + self._made.flush(self._block) if self._eager else done

    def finish(self) -> bytes:
        """The end of the frame."""
        done: bytes = self._made.flush()
        return done


_ENCODERS: Final[Mapping[str, tuple[Encoder, ModuleType | None, str]]] = {
    "gzip": (Gzip, zlib, "zlib"), "br": (Brotli, brotli, "brotli"), "zstd": (Zstandard, zstandard, "zstandard"),
}


def encoder(coding: str) -> Encoder:
    """The encoder of a content coding, by its name in HTTP. Raises ValueError when what it needs is not installed."""
    made, module, package = _ENCODERS[coding]
    if module is None:
        raise ValueError(f"{coding} needs the package {package}, which is not installed (pip install 'voltgw[compress]')")
    return made
