"""An example for every code: files with the mistake, what ``voltgw check`` says of them, and what to do.

They stand in ``mistakes/CODE.txt``: what to do; each file after a line ``--- NAME``; and after ``--- says`` the exact output.
A name may be followed by an encoding in parentheses, ``--- says`` by the day on which it is said, and certificates are
described instead of shown: ``--- shop.crt: certificate for NAMES, DAY to DAY, key shop.key``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from voltgw.config.codes import CODES

FOLDER: Final = Path(__file__).parent / "mistakes"
#: The file that is checked.
MAIN: Final = "voltgw.yaml"
_PART: Final = re.compile(r"^--- ([^\s:,]+)(?: \(([\w-]+)\))?(?:(?:: |, on )(.+))?\n", re.MULTILINE)


class Part(NamedTuple):
    """A file of an example; `note` says what stands in it where `text` does not."""

    name: str
    encoding: str
    note: str
    text: str


class Mistake(NamedTuple):
    """What to do about a code, and an example: its files, what is said of them, and on which day ("" = any)."""

    remedy: str
    files: tuple[Part, ...]
    says: str
    day: str


def mistake(code: str) -> Mistake:
    """The example of a code; raises OSError when there is none."""
    remedy, *parts = _PART.split((FOLDER / f"{code}.txt").read_text(encoding="utf-8"))
    files = [Part(name, encoding or "utf-8", note or "", text)
             for name, encoding, note, text in zip(*(parts[start::4] for start in range(4)), strict=True)]
    *shown, says = files
    return Mistake(" ".join(remedy.split()), tuple(shown), says.text, says.note)


def explain(code: str) -> str | None:
    """All that there is to say of a code: title, paragraph, what to do, the example; None when there is no such code."""
    name = code.upper()
    found = CODES.get(name)
    if found is None:
        return None
    example = mistake(name)
    parts = [f"{name}: {found.title}", found.text, f"What to do: {example.remedy}"]
    for file in example.files:
        if file.text:
            parts += [f"{called(file)}:", _indented(file.text)]
        else:
            parts.append(f"{called(file)}.")
    parts += [f"{said(example)}:", _indented(example.says)]
    return "\n\n".join(parts)


def called(file: Part) -> str:
    """What a file of an example is called."""
    encoding = f" (saved as {file.encoding})" if file.encoding != "utf-8" else ""
    return f"{file.name}{encoding}" if file.text else f"{file.name}: {file.note}"


def said(example: Mistake) -> str:
    """What comes before the output."""
    return f"`voltgw check {MAIN}` says" + (f" on {example.day}" if example.day else "")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.rstrip("\n").split("\n"))
