"""Files that are renewed in place."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from voltgw.app.load import Loader, at_once
from voltgw.app.tls_watch import PERIOD_S, QUIET_S, STEP, STEP_S, FileWatch
from voltgw.errors import ConfigErrors


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


class OwnFilesTests(SynchronousTestCase):
    """``gateway: {watch: true}``: a `Loader` on real files, looked at every half second."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.folder = Path(self.mktemp()).absolute()
        (self.folder / "objects").mkdir(parents=True)
        self.main = self.folder / "voltgw.yaml"
        self.main.write_text("include: [objects/]\n")
        self.loader = Loader(str(self.main), {})
        self.reloads: list[bool] = []
        self.watched = True
        at_once(self.loader)
        self.watch = FileWatch(self.clock, self.loader.referred, self.loader.own, self.reload, watched=lambda: self.watched,
                               named=self.loader.named)
        self.watch.start()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.addCleanup(self.watch.stop)

    def reload(self) -> Deferred[dict[str, Any]]:
        """As the gateway's."""
        try:
            at_once(self.loader)
        except ConfigErrors:
            self.reloads.append(False)
        else:
            self.reloads.append(True)
        return succeed({"ok": self.reloads[-1]})

    def look(self, rounds: int = 1) -> None:
        """Let so many rounds pass."""
        for _ in range(rounds):
            self.clock.pump([QUIET_S, STEP_S, STEP_S])

    def endpoint(self, name: str, port: int = 1) -> str:
        """A file with one object."""
        return f"{{kind: endpoint, metadata: {{name: {name}}}, spec: {{ip: 127.0.0.1, port: {port}}}}}\n"

    def test_nothing_changes(self) -> None:
        """Nobody reloads, whether a file was touched or an editor has left its backup."""
        os.utime(self.main)
        (self.folder / "objects" / ".a.yaml.swp").write_text("x")
        (self.folder / "objects" / "a.yaml~").write_text("x")
        self.look(6)
        self.assertEqual(self.reloads, [])

    def test_not_unless_asked_for(self) -> None:
        """An edit waits for SIGHUP where nobody has asked for the watch."""
        self.watched = False
        self.main.write_text("include: [objects/]\n# edited\n")
        self.clock.pump([PERIOD_S] * 4)
        self.assertEqual(self.reloads, [])

    def test_in_place_and_by_rename(self) -> None:
        """Each edit is one reload."""
        self.main.write_text("include: [objects/]\n# edited\n")
        self.look(6)
        self.assertEqual(self.reloads, [True])
        (self.folder / ".new").write_text("include: [objects/]\n# again\n")
        os.replace(self.folder / ".new", self.main)
        self.look(6)
        self.assertEqual(self.reloads, [True, True])

    def test_files_come_and_go(self) -> None:
        """An included folder is as good as the file that includes it, also where it was empty before."""
        one = self.folder / "objects" / "a.yaml"
        one.write_text(self.endpoint("a"))
        self.look(6)
        self.assertEqual(self.reloads, [True])
        self.assertIn(str(one), self.loader.own())
        one.unlink()
        self.look(6)
        self.assertEqual(self.reloads, [True, True])
        self.assertNotIn(str(one), self.loader.own())

    def test_kubernetes(self) -> None:
        """A volume that is swapped by its ``..data`` link: names and times of what stands in the folder stay."""
        folder = self.folder / "objects"
        for number in (1, 2):
            (folder / f"..{number}").mkdir()
            (folder / f"..{number}" / "a.yaml").write_text(self.endpoint("a", number))
        (folder / "..data").symlink_to("..1")
        (folder / "a.yaml").symlink_to("..data/a.yaml")
        self.look(6)
        self.assertEqual(self.reloads, [True])
        (folder / "..new").symlink_to("..2")
        os.replace(folder / "..new", folder / "..data")
        self.look(6)
        self.assertEqual(self.reloads, [True, True])

    def test_a_file_that_is_being_written(self) -> None:
        """It is taken when two looks have found the same, not before."""
        for number in range(5):
            with self.main.open("a") as file:
                file.write(f"# line {number}\n")
            self.look()
            self.assertEqual(self.reloads, [])
        self.look()
        self.assertEqual(self.reloads, [True])

    def test_a_bad_one(self) -> None:
        """It is refused once; what mends it is taken, also if that is the old text."""
        good = self.main.read_text()
        for bad in ("nonsense: [\n", "nonsense: 1\n", "\xff"):
            self.main.write_bytes(bad.encode("latin-1"))
            self.look(10)
            self.assertEqual(self.reloads, [False])
            self.main.write_text(good)
            self.look(10)
            self.assertEqual(self.reloads, [False, True])
            self.reloads.clear()
        self.assertEqual((self.watch.taken, self.watch.refused), (6, 3))

    def test_last_good_ones(self) -> None:
        """A bad file whose last good objects stay brings about one reload, not one every half second."""
        one = self.folder / "objects" / "a.yaml"
        one.write_text(self.endpoint("a"))
        self.main.write_text("include: [{path: objects/, on_error: keep_last}]\n")
        self.look(6)
        one.write_text("nonsense: [\n")
        self.look(10)
        self.assertEqual(self.reloads, [True, True])
        one.write_text(self.endpoint("a", 2))
        self.look(10)
        self.assertEqual(self.reloads, [True, True, True])

    def test_a_main_file_that_is_away(self) -> None:
        """Nothing is done until it is there again."""
        text = self.main.read_text()
        self.main.unlink()
        self.look(6)
        self.assertEqual(self.reloads, [])
        self.main.write_text(text + "# edited\n")
        self.look(6)
        self.assertEqual(self.reloads, [True])
