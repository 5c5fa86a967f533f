"""How far long work is."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run
from voltgw.cli.progress import Progress


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        """It is."""
        return True


class ProgressTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.terminal = Terminal()

    def shown(self) -> list[str]:
        """Each line that was written over the one before."""
        return [each.removesuffix("\x1b[K") for each in self.terminal.getvalue().split("\r")[1:]]

    def test_a_bar(self) -> None:
        """From half a second on, ten times a second at most; it is taken away at the end."""
        with Progress("work", 200, to=self.terminal, clock=self.clock.seconds) as progress:
            for done in range(0, 200, 10):
                progress.at(done, f"{done} lines")
                self.clock.advance(0.0625)
        lines = self.shown()
        self.assertEqual(lines[0], f"work [{'=' * 12}>{' ' * 17}] 40 % 80 lines")
        self.assertEqual(len(lines), 7)
        self.assertEqual(lines[-1], "")

    def test_nobody_knows_how_much_there_is(self) -> None:
        """Then it only counts."""
        with Progress("work", None, to=self.terminal, clock=self.clock.seconds) as progress:
            self.clock.advance(1)
            progress.at(7, "7 lines")
        self.assertEqual(self.shown(), ["work 7 lines", ""])

    def test_more_than_all(self) -> None:
        """A file that grows while it is read is not more than whole."""
        with Progress("work", 10, to=self.terminal, clock=self.clock.seconds) as progress:
            self.clock.advance(1)
            progress.at(15)
        self.assertEqual(self.shown()[0], f"work [{'=' * 30}] 100 %")

    def test_where_it_is_not_shown(self) -> None:
        """Where there is no terminal, or nobody wants it, or all is over soon."""
        plain = io.StringIO()
        for to, quiet, after in ((plain, False, 1.0), (self.terminal, True, 1.0), (self.terminal, False, 0.4)):
            with Progress("work", 10, quiet=quiet, to=to, clock=self.clock.seconds) as progress:
                self.clock.advance(after)
                progress.at(5)
        self.assertEqual((plain.getvalue(), self.terminal.getvalue()), ("", ""))

    def test_after_an_error(self) -> None:
        """The line is taken away as well."""
        with contextlib.suppress(OSError), Progress("work", 10, to=self.terminal, clock=self.clock.seconds) as progress:
            self.clock.advance(1)
            progress.at(5)
            raise OSError
        self.assertEqual(self.shown()[-1], "")


class CommandTests(SynchronousTestCase):
    def test_replay(self) -> None:
        """Its line stands on standard error alone, and not with --quiet."""
        folder = Path(self.mktemp())
        folder.mkdir()
        file = folder / "voltgw.yaml"
        file.write_text("load_balancers:\n- {name: shop, listen: '127.0.0.1:8080', origins: ['127.0.0.1:1']}\n",
                        encoding="utf-8")
        log = folder / "access.log"
        log.write_text(json.dumps({"scheme": "http", "method": "GET", "original_authority": "a", "original_path": "/",
                                   "req_params": "", "user_agent": "", "src_ip": "192.0.2.7",
                                   "listener": "127.0.0.1:8080"}) + "\n",
                       encoding="utf-8")
        with mock.patch("voltgw.cli.progress._FIRST_S", 0.0), mock.patch("tests.cli.running.io.StringIO", Terminal):
            done = run(["replay", str(log), str(file), str(file)])
            quiet = run(["replay", "-q", str(log), str(file), str(file)])
        self.assertIn("replay [", done.err)
        self.assertIn("1 requests, 0 elsewhere", done.err)
        self.assertEqual((quiet.err, quiet.out), ("", done.out))
