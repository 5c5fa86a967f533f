"""Words and names of files in other proxies' configurations that no honest one has."""

from __future__ import annotations

from pathlib import Path

from tests.cli.imports.test_broken import BrokenCase
from tests.cli.running import run


class HostileTextTests(BrokenCase):
    def test_control_characters(self) -> None:
        """What is quoted of the file makes no terminal do anything, and leaves the result a file that can be read."""
        text = b'http { server { listen 80; no\x1b[31mthing "x\x1b\ny: 1"; location / { return 200 "a\x1bb"; } } }\n'
        source = self.file(text)
        made = str(Path(source).with_suffix(".yaml"))
        done = run(["import", "nginx", source, "-o", made])
        self.assertEqual(done.status, 0)
        self.assertIn(r"left out: no\x1b[31mthing x\x1b\ny: 1: ", done.err)
        self.assertTrue(all(each.isprintable() for each in done.err.splitlines()), done.err)
        checked = run(["check", made])
        self.assertEqual(checked.status, 0, checked.out)

    def test_names_of_files(self) -> None:
        """A NUL in the name of a file is an error at its place."""
        for language, text, place in (("nginx", 'include "a\0b";\n', "1:1"), ("nginx", 'include "a\0*";\n', "1:1"),
                                      ("caddy", "import a\0b\n", "1:1")):
            done = self.imported(language, text)
            self.assertEqual((done.status, done.err.strip()), (
                2, f"voltgw import: self.conf:{place}: no file has a name with a NUL in it"), language)

    def test_an_error_with_control_characters(self) -> None:
        """Nor do errors."""
        done = self.imported("nginx", 'include "/nowhere/\x1b]0;m";\n')
        self.assertEqual(done.status, 2)
        self.assertIn(r"/nowhere/\x1b]0;m cannot be read", done.err)
