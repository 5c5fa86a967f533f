"""The example of every code: checked, it says exactly what the documentation shows.

``python -m tests.config.test_mistakes`` writes anew what is said, to be looked at before it is kept.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from twisted.trial.unittest import SynchronousTestCase

from tests.config.pem import TODAY, certificate_pem, key_pem, new_key
from voltgw.cli.check import examine
from voltgw.config.codes import CODES
from voltgw.config.mistake import FOLDER, MAIN, Mistake, mistake
from voltgw.config.show import report

_CERTIFICATE = re.compile(r"certificate for (.+), (\S+) to (\S+), key (\S+)")
_KEY = "certificate key"


def lay_out(example: Mistake, folder: Path) -> None:
    """Write the files of an example; certificates and keys are made as it describes them."""
    keys: dict[str, EllipticCurvePrivateKey] = {}
    for file in example.files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        described = _CERTIFICATE.fullmatch(file.note)
        if described is not None:
            names, begins, ends, key = described.groups()
            keys[key] = new_key()
            first, last = ((_day(day) - TODAY) // timedelta(days=1) for day in (begins, ends))
            path.write_bytes(certificate_pem(names.split(", "), keys[key], begins=first, ends=last))
            (folder / key).write_bytes(key_pem(keys[key]))
        elif file.note == _KEY:
            path.write_bytes(key_pem(new_key()))
        else:
            path.write_bytes(file.text.encode(file.encoding))


def _day(text: str) -> datetime:
    """Noon of a day."""
    return datetime.fromisoformat(text).replace(hour=12, tzinfo=UTC)


def says(example: Mistake, folder: Path) -> str:
    """What ``voltgw check`` says of an example."""
    lay_out(example, folder)
    before = os.getcwd()
    os.chdir(folder)
    try:
        return report(examine([MAIN], _day(example.day) if example.day else None)[1]) + "\n"
    finally:
        os.chdir(before)


class MistakeTests(SynchronousTestCase):
    def test_what_is_said(self) -> None:
        """Message, place, source line and caret of each example are those that its page shows, and the code is among them."""
        for code in CODES:
            example = mistake(code)
            folder = Path(self.mktemp())
            folder.mkdir()
            self.assertEqual(says(example, folder), example.says, code)
            self.assertIn(f"[{code}]: ", example.says)

    def test_every_code_has_one(self) -> None:
        """And there are none of codes that are gone."""
        self.assertEqual({path.stem for path in FOLDER.glob("*.txt")}, set(CODES))

    def test_what_to_do_is_a_sentence(self) -> None:
        """At least."""
        for code in CODES:
            self.assertRegex(mistake(code).remedy, r"^[A-Z].{10,}\.$", code)


def main() -> None:
    """Write what is said now."""
    for code in sys.argv[1:] or CODES:
        with tempfile.TemporaryDirectory() as folder:
            text = says(mistake(code), Path(folder))
        path = FOLDER / f"{code}.txt"
        head, line, _ = path.read_text(encoding="utf-8").rpartition("\n--- says")
        day = mistake(code).day
        path.write_text(f"{head}{line}{f', on {day}' if day else ''}\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
