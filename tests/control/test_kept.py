"""Files that are replaced as a whole, and the state of rollouts in one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from voltgw.control.kept import keep, kept
from voltgw.control.rollouts import Damaged, RolloutStore


class KeptTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def test_written_and_read(self) -> None:
        """In a folder that is made, for its owner alone."""
        path = self.folder / "inside" / "file"
        self.assertIsNone(kept(path, 10))
        keep(path, b"one")
        keep(path, b"two")
        self.assertEqual(kept(path, 10), b"two")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(path.parent), ["file"])

    def test_the_folder_is_written_too(self) -> None:
        """After a power cut the new name is there: file and folder are flushed, the folder after the name was given."""
        said: list[str] = []
        real_fsync, real_replace = os.fsync, os.replace

        def fsync(fd: int) -> None:
            said.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
            real_fsync(fd)

        def replace(old: Path, new: Path) -> None:
            said.append("name")
            real_replace(old, new)

        self.patch(os, "fsync", fsync)
        self.patch(os, "replace", replace)
        keep(self.folder / "file", b"x")
        self.assertEqual(said, ["file", "name", "folder"])

    def test_a_full_disk(self) -> None:
        """The old file stays, and nothing half-written beside it."""
        path = self.folder / "file"
        keep(path, b"old")

        def full(fd: int, data: object) -> int:
            raise OSError(28, "No space left on device")

        self.patch(os, "write", full)
        self.assertRaises(OSError, keep, path, b"new")
        self.assertEqual(path.read_bytes(), b"old")
        self.assertEqual(os.listdir(self.folder), ["file"])


class RolloutStoreTests(SynchronousTestCase):
    def test_states(self) -> None:
        """What was written is read, and nothing where nothing was."""
        store = RolloutStore(self.mktemp())
        self.assertEqual(store.read(), {})
        store.write({"default/shop": {"step": 1}})
        self.assertEqual(store.read(), {"default/shop": {"step": 1}})

    def test_damage(self) -> None:
        """It is said which file it is."""
        store = RolloutStore(self.mktemp())
        store.write({})
        for text in ("", "{", "[]", '{"version": 2, "rollouts": {}}', '{"version": 1}', '{"version": 1, "rollouts": {"a": 1}}',
                     '{"version": 1, "rollouts": []}', "[" * 100_000):
            store.path.write_text(text, encoding="utf-8")
            self.assertIn(str(store.path), str(self.assertRaises(Damaged, store.read)), text[:40])
        store.path.unlink()
        store.path.mkdir()
        self.assertIn("cannot be read", str(self.assertRaises(Damaged, store.read)))
