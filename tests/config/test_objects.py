"""Object files of every age and dialect, as people have them, load with the messages that they deserve.

Each folder of ``objects/`` is a configuration: ``main.yaml`` includes the object files beside it, and ``expected.txt`` is what
``voltgw check`` says of it. ``python -m tests.config.test_objects`` writes those anew, to be looked at before they are kept.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from voltgw.cli.check import examine
from voltgw.config.kinds import KINDS, kind_of
from voltgw.config.load import load
from voltgw.config.show import report
from voltgw.errors import ConfigError, ConfigErrors, Severity

OBJECTS: Final = Path(__file__).parent / "objects"
#: What a warning says of the other places that it stands for.
_OTHERS: Final = re.compile(r" \(here and at [0-9]+ other places?\)")
#: Of these only reading all files can know.
_BETWEEN: Final = "VG0109"


def estates() -> list[Path]:
    """The folders."""
    return sorted(path.parent for path in OBJECTS.glob("*/main.yaml"))


def files(estate: Path) -> list[Path]:
    """The object files of a folder."""
    return sorted(path for suffix in ("yaml", "json") for path in estate.rglob(f"*.{suffix}") if path.name != "main.yaml")


def said(estate: Path) -> str:
    """What ``voltgw check --all main.yaml`` says in that folder."""
    before = os.getcwd()
    os.chdir(estate)
    try:
        return report(examine(["main.yaml"])[1], limit=None) + "\n"
    finally:
        os.chdir(before)


def read(path: Path) -> tuple[ConfigError, ...]:
    """What reading a file, and all that it includes, finds wrong."""
    try:
        return load(path, environ={}).warnings
    except ConfigErrors as errors:
        return errors.problems


class ObjectsTests(SynchronousTestCase):
    def test_what_is_said(self) -> None:
        """Each folder: exactly the expected messages, with their places and carets."""
        for estate in estates():
            self.assertEqual(said(estate), (estate / "expected.txt").read_text(encoding="utf-8"), estate.name)

    def test_there_are_many_of_all_sorts(self) -> None:
        """At least 40 files, of 30 kinds, in both languages; most are accepted."""
        found = [file for estate in estates() for file in files(estate)]
        kinds = {kind.name for file in found if (kind := kind_of(file.parent.name)) is not None}
        self.assertGreaterEqual(len(found), 40)
        self.assertGreaterEqual(len(kinds), 30)
        self.assertLessEqual({"virtual_host", "route", "cluster", "endpoint", "advertise_policy", "healthcheck", "http_loadbalancer",
                              "tcp_loadbalancer", "udp_loadbalancer", "origin_pool"}, kinds)
        self.assertTrue(kinds <= set(KINDS))
        self.assertGreaterEqual(sum(file.suffix == ".json" for file in found), 6)
        refused = [estate.name for estate in estates() if ": error[" in (estate / "expected.txt").read_text(encoding="utf-8")]
        self.assertEqual(refused, ["refused-2024"])

    def test_each_alone(self) -> None:
        """A single file, included by its path, is read like the whole folder: the same errors, and no other warnings."""
        for estate in estates():
            main = (estate / "main.yaml").read_text(encoding="utf-8")
            gateway = "".join(re.findall(r"^gateway:.*\n(?:  .*\n)*", main, re.MULTILINE))
            found = read(estate / "main.yaml")
            for file in files(estate):
                folder = Path(self.mktemp())
                folder.mkdir()
                (folder / "main.yaml").write_text(f"{gateway}include: [{file}]\n", encoding="utf-8")
                alone = read(folder / "main.yaml")
                name = str(file.relative_to(estate))
                errors = {(one.place.line, one.code, one.message) for one in alone if one.severity is Severity.ERROR}
                self.assertEqual(errors, {
                    (one.place.line, one.code, one.message) for one in found
                    if one.severity is Severity.ERROR and one.place.file.endswith(name) and one.code != _BETWEEN}, name)
                self.assertLessEqual({_OTHERS.sub("", one.message) for one in alone if one.severity is Severity.WARNING},
                                     {_OTHERS.sub("", one.message) for one in found}, name)


def main() -> None:
    """Write what is said now."""
    for estate in estates():
        (estate / "expected.txt").write_text(said(estate), encoding="utf-8")


if __name__ == "__main__":
    main()
