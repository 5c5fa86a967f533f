"""Configurations that have served, as the text of their files said them: for looking back, comparing and going back.

One file for each lies in ``generations/`` below the gateway's data folder, readable by its owner alone, and is written as a
whole or not at all. What files only refer to (certificates, keys, variables of the environment) is not in it.

    generations/00000012.generation     a line of JSON about it, then the texts, compressed
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from voltgw.control.kept import keep, kept

#: So many are kept…
MOST: Final = 32
#: …unless they take more than this together; the newest is kept in any case.
MOST_BYTES: Final = 256 * 1024 * 1024
#: Largest text of all files of one together: four times the largest file that is read at all.
MOST_TEXT: Final = 256 * 1024 * 1024
#: Longest first line.
_MOST_HEAD: Final = 16_384
_VERSION: Final = 1
_ENDING: Final = ".generation"


class NotKept(Exception):
    """A generation cannot be written or read; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Text:
    """One file of a configuration: what people call it, where it lies, and what an include said of it ("" = nothing)."""

    name: str
    path: str
    kind: str
    namespace: str
    main: bool
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of its bytes in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Generation:
    """What is known of one without reading its texts. `wall` is when it began to serve, in seconds since the epoch."""

    number: int
    wall: float
    digest: str
    files: int
    main: str

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class GenerationStore:
    """The files below `folder`, which is made when something is first kept there. Everything raises `NotKept`."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder) / "generations"

    def all(self) -> list[Generation]:
        """Those that can be read, the newest first."""
        found: list[Generation] = []
        for number in self._numbers():
            try:
                found.append(self.head(number))
            except NotKept:
                pass                        # a damaged one is named when somebody asks for it
        return found

    def head(self, number: int) -> Generation:
        """What is known of one."""
        return self._head(number, self._read(number, _MOST_HEAD))

    def texts(self, number: int) -> list[Text]:
        """Its files, the main one first."""
        data = self._read(number, MOST_TEXT)
        self._head(number, data)
        try:
            unpack = zlib.decompressobj()
            packed = unpack.decompress(data.partition(b"\n")[2], MOST_TEXT)
            if not unpack.eof:
                raise ValueError("it ends too early")
            return [Text(**each) for each in json.loads(packed)]
        except (ValueError, TypeError, RecursionError, zlib.error) as error:
            raise NotKept(f"{self._path(number)} is damaged") from error

    def add(self, wall: float, digest: str, texts: Sequence[Text]) -> int:
        """Keep one more, and its number; the oldest leave. One that is the newest already is not kept twice."""
        numbers = self._numbers()
        newest = next(iter(self.all()), None)
        if newest is not None and (newest.digest == digest or self._says(newest.number, texts)):
            return newest.number            # the digest tells also of files to which the texts only refer
        number = max(numbers, default=0) + 1
        head = {"version": _VERSION, "number": number, "wall": wall, "digest": digest, "files": len(texts),
                "main": next((each.name for each in texts if each.main), "")[:1024]}
        packed = zlib.compress(json.dumps([asdict(each) for each in texts]).encode("utf-8", "surrogatepass"), 6)
        try:
            keep(self._path(number), json.dumps(head).encode() + b"\n" + packed)
            self._forget([number, *numbers])
        except OSError as error:
            raise NotKept(f"{self._path(number)} cannot be written: {error.strerror}") from error
        return number

    def _says(self, number: int, texts: Sequence[Text]) -> bool:
        """Whether a kept one has these texts."""
        try:
            return self.texts(number) == list(texts)
        except NotKept:
            return False                    # a damaged one says nothing

    def _forget(self, numbers: Sequence[int]) -> None:
        """Remove the oldest of `numbers` (newest first) that are too many or too large. Raises OSError."""
        total = 0
        for place, number in enumerate(numbers):
            path = self._path(number)
            total += path.stat().st_size
            if place and (place >= MOST or total > MOST_BYTES):
                path.unlink(missing_ok=True)

    def _numbers(self) -> list[int]:
        try:
            names = [path.name.removesuffix(_ENDING) for path in self._folder.iterdir() if path.name.endswith(_ENDING)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise NotKept(f"{self._folder} cannot be read: {error.strerror}") from error
        return sorted((int(name) for name in names if name.isascii() and name.isdigit()), reverse=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08}{_ENDING}"

    def _read(self, number: int, most: int) -> bytes:
        try:
            data = kept(self._path(number), most)
        except OSError as error:
            raise NotKept(f"{self._path(number)} cannot be read: {error.strerror}") from error
        if data is None:
            raise NotKept(f"there is no generation {number} in {self._folder}")
        return data

    def _head(self, number: int, data: bytes) -> Generation:
        try:
            said = json.loads(data.partition(b"\n")[0])
            if said["version"] != _VERSION:
                raise NotKept(f"{self._path(number)} was written by another version")
            return Generation(number, float(said["wall"]), str(said["digest"]), int(said["files"]), str(said["main"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise NotKept(f"{self._path(number)} is damaged") from error
