"""``voltgw config show``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run
from tests.config.making import GOOD, write


class ShowTests(SynchronousTestCase):
    def file(self, source: str) -> str:
        """The path of a file."""
        return str(write(self.mktemp(), {"voltgw.yaml": source}) / "voltgw.yaml")

    def test_what_was_understood(self) -> None:
        """Objects as they are, nothing else."""
        done = run(["config", "show", self.file(GOOD)])
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertIn("- kind: virtual_host\n", done.out)
        self.assertNotIn("#", done.out)

    def test_effective(self) -> None:
        """With the origin of every value."""
        path = self.file(GOOD)
        done = run(["config", "show", "--effective", path])
        self.assertEqual(done.status, 0)
        self.assertRegex(done.out, rf"connection_timeout: 500ms +# {path}:38:25\n")
        self.assertRegex(done.out, r"# http_idle_timeout: 5m +# built-in\n")

    def test_errors(self) -> None:
        """Go to standard error; nothing is printed."""
        done = run(["config", "show", self.file("gatewy: {}")])
        self.assertEqual((done.status, done.out), (2, ""))
        self.assertIn("error[VG0101]", done.err)

    def test_warnings(self) -> None:
        """Go to standard error, too, so that the output can be kept."""
        done = run(["config", "show", self.file("{kind: tunnel, metadata: {name: a}}")])
        self.assertEqual(done.status, 0)
        self.assertIn("warning[VG0117]", done.err)
        self.assertIn("kind: tunnel", done.out)

    def test_no_action(self) -> None:
        """``config`` alone is a wrong command line."""
        self.assertEqual(run(["config"]).status, 2)
