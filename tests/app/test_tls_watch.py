"""Files that are renewed in place."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from voltgw.app.tls_watch import PERIOD_S, STEP, FileWatch


class FileWatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.own = self.write("voltgw.yaml", b"a")
        self.certificate = self.write("a.crt", b"one")
        self.reloads = 0
        self.outcome: dict[str, Any] = {"ok": True}
        self.read: dict[str, str] = {}
        self.config: dict[str, str] = {}
        self.note()
        self.watch = FileWatch(self.clock, lambda: self.read, lambda: self.config, self.reload)
        self.watch.start()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.addCleanup(self.watch.stop)

    def write(self, name: str, data: bytes) -> str:
        """Replace a file as tools do."""
        new = self.folder / ".new"
        new.write_bytes(data)
        os.replace(new, self.folder / name)
        return str(self.folder / name)

    def note(self) -> None:
        """What a load would know afterwards."""
        self.read = {self.certificate: hashlib.sha256(Path(self.certificate).read_bytes()).hexdigest()}
        self.config = {self.own: hashlib.sha256(Path(self.own).read_bytes()).hexdigest()}

    def reload(self) -> Deferred[dict[str, Any]]:
        """As the gateway's."""
        self.reloads += 1
        self.note()
        return succeed(self.outcome)

    def look(self, rounds: int = 1) -> None:
        """Let so many rounds pass."""
        for _ in range(rounds):
            self.clock.pump([PERIOD_S, 0.01, 0.01])

    def test_nothing_changes(self) -> None:
        """Nobody reloads, also when a file was only touched."""
        self.look(3)
        os.utime(self.certificate)
        self.look(3)
        self.assertEqual(self.reloads, 0)

    def test_a_new_certificate(self) -> None:
        """One reload, and no other."""
        self.write("a.crt", b"two")
        self.look(4)
        self.assertEqual((self.reloads, self.watch.taken, self.watch.refused), (1, 1, 0))

    def test_one_that_is_refused(self) -> None:
        """It is not tried again until something else changes."""
        self.outcome = {"ok": False}
        self.write("a.crt", b"bad")
        self.look(4)
        self.assertEqual((self.reloads, self.watch.refused), (1, 1))
        self.outcome = {"ok": True}
        self.write("a.crt", b"good")
        self.look(4)
        self.assertEqual(self.reloads, 2)

    def test_an_edit_that_nobody_has_reloaded(self) -> None:
        """The certificate waits: half an edit does not go live with it."""
        self.write("voltgw.yaml", b"half an edit")
        self.write("a.crt", b"two")
        self.look(4)
        self.assertEqual((self.reloads, self.watch.refused), (0, 1))
        self.reload()
        self.look(4)
        self.assertEqual(self.reloads, 1)

    def test_a_file_that_is_gone(self) -> None:
        """Whoever replaces it by removing it first is not punished."""
        os.unlink(self.certificate)
        self.look(3)
        self.assertEqual(self.reloads, 0)
        self.write("a.crt", b"two")
        self.look(3)
        self.assertEqual(self.reloads, 1)

    def test_many_files(self) -> None:
        """A few at a time."""
        self.read = {str(self.folder / f"{n}"): "x" for n in range(4 * STEP)}
        self.clock.advance(PERIOD_S)
        (call,) = self.clock.getDelayedCalls()
        self.assertLess(call.getTime() - self.clock.seconds(), PERIOD_S / 10)
