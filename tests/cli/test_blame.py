"""``voltgw blame``."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from shutil import which

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.cli.running import Run, run
from voltgw.control.generations import GenerationStore, Text


class BlameCase(SynchronousTestCase):
    """A folder with a configuration, and what it said before."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.file = self.folder / "voltgw.yaml"

    def text(self, api: str = "/api", redirect: str = "/new", more: str = "") -> str:
        """One host: what is below `api` goes to another pool, /old is redirected."""
        return (f"gateway: {{data_dir: {self.folder}/data}}\nload_balancers:\n"
                "- {name: shop, listen: '127.0.0.1:8080', origins: ['127.0.0.1:1'], routes: [{path: "
                f"{api}, to: api}}, {{path: /old, redirect: {redirect}}}]}}\n"
                f"- {{name: api, listen: '127.0.0.1:8081', origins: ['127.0.0.1:2']}}\n{more}")

    def blame(self, url: str, *more: str) -> Run:
        """Run it."""
        return run(["blame", str(self.file), "GET", url, *more])


class KeptTests(BlameCase):
    """By the generations that are kept."""

    def keep(self, *texts: str) -> None:
        """These have served, in this order; the last one stands in the file, too."""
        store = GenerationStore(str(self.folder / "data"))
        for number, text in enumerate(texts):
            store.add(1_700_000_000.0 + number, f"digest {number}", [Text("voltgw.yaml", str(self.file), "", "", True, text)])
        self.file.write_text(texts[-1], encoding="utf-8")

    def test_the_change_is_found(self) -> None:
        """Not the latest change, but the one that this request has noticed."""
        self.keep(self.text("/api"), self.text("/api/v2"), self.text("/api/v2", "/newer"))
        done = self.blame("http://a:8080/api/x")
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertIn("now:    forwarded, host default/shop, route shop/2, cluster default/shop", done.out)
        self.assertIn("before: forwarded, host default/shop, route shop/0, cluster default/api", done.out)
        self.assertIn("changed by number 2 (2023-11-14T22:13:21Z, voltgw.yaml)", done.out)
        self.assertIn("number 1 (2023-11-14T22:13:20Z, voltgw.yaml) decided otherwise", done.out)
        self.assertIn("clusters: default/api -> default/shop", done.out)
        found = json.loads(self.blame("http://a:8080/old", "--json").out)
        self.assertEqual((found["since"].partition(" (")[0], found["before"]["name"].partition(" (")[0]), ("number 3", "number 2"))
        self.assertIn("the client gets now: location: http://a:8080/newer", found["differs"])

    def test_what_was_always_so(self) -> None:
        """Status 1, and how far back that is."""
        self.keep(self.text("/api"), self.text("/api/v2"))
        done = self.blame("http://a:8080/cart")
        self.assertEqual(done.status, 1)
        self.assertIn("no earlier configuration decides otherwise; 2 were asked, back to number 1", done.out)

    def test_an_edit_that_does_not_serve_yet(self) -> None:
        """The file itself is to blame."""
        self.keep(self.text("/api"))
        self.file.write_text(self.text("/api/v2"), encoding="utf-8")
        done = self.blame("http://a:8080/api/x")
        self.assertEqual(done.status, 0)
        self.assertIn("changed by the file as it is;\nnumber 1 ", done.out)

    def test_a_line_that_moved_is_no_change(self) -> None:
        """Places in files take no part."""
        self.keep(self.text(), "# a comment\n\n" + self.text(more="# and more\n"))
        self.assertEqual(self.blame("http://a:8080/api/x").status, 1)

    def test_one_that_cannot_be_used_any_more(self) -> None:
        """It is passed over by name."""
        self.keep(self.text("/api"), self.text("/api").replace("redirect", "rredirect"), self.text("/api/v2"))
        done = self.blame("http://a:8080/api/x")
        self.assertEqual(done.status, 0)
        self.assertIn("number 1 (", done.out.partition("decided otherwise")[0].splitlines()[-1])
        self.assertIn("not asked: number 2 (2023-11-14T22:13:21Z, voltgw.yaml): it cannot be used any more", done.out)

    def test_nothing_is_kept(self) -> None:
        """It says what would help."""
        self.file.write_text(self.text(), encoding="utf-8")
        done = self.blame("http://a:8080/")
        self.assertEqual(done.status, 2)
        self.assertIn("no generation is kept in", done.err)
        self.file.write_text(self.text().partition("\n")[2], encoding="utf-8")
        self.assertIn("names no gateway.data_dir", self.blame("http://a:8080/").err)

    def test_what_cannot_be_asked(self) -> None:
        """A question that is none, and a file with errors."""
        self.keep(self.text())
        self.assertEqual(self.blame("nonsense").status, 2)
        self.file.write_text("load_balancers: 7", encoding="utf-8")
        self.assertEqual(self.blame("http://a:8080/").status, 2)


class CommitTests(BlameCase):
    """By the commits of a checkout."""

    def setUp(self) -> None:
        super().setUp()
        if which("git") is None:
            raise SkipTest("git is not installed")
        self.git("init", "--quiet")
        self.file = self.folder / "edge" / "voltgw.yaml"
        self.file.parent.mkdir()

    def git(self, *arguments: str) -> str:
        """Run git in the folder, without what its user has set."""
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
               for what, value in (("NAME", "a"), ("EMAIL", "a@example.com"))}
        return subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True,
                              env={**os.environ, **who, "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}).stdout

    def commit(self, subject: str, main: str, included: str = "") -> None:
        """One more state."""
        self.file.write_text(main, encoding="utf-8")
        self.file.with_name("more.yaml").write_text(included, encoding="utf-8")
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", subject)

    def test_the_commit_is_found(self) -> None:
        """Also where the change is in a file that is included; the checkout stays as it is."""
        main = "include: [more.yaml]\n"
        self.commit("Begin", main, self.text("/api").partition("\n")[2])
        self.commit("Send version 2 elsewhere", main, self.text("/api/v2").partition("\n")[2])
        self.commit("Say something else", main, self.text("/api/v2", "/newer").partition("\n")[2])
        before = self.git("status", "--porcelain", "--ignored"), self.git("rev-parse", "HEAD")
        done = self.blame("http://a:8080/api/x", "--git")
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertIn("Send version 2 elsewhere)", done.out.partition("changed by")[2].partition(";")[0])
        self.assertIn("Begin) decided otherwise", done.out)
        self.assertEqual((self.git("status", "--porcelain", "--ignored"), self.git("rev-parse", "HEAD")), before)

    def test_a_file_that_came_later(self) -> None:
        """Commits without it, or with a state that has errors, are passed over."""
        self.file.with_name("other.txt").write_text("x", encoding="utf-8")
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", "Nothing yet")
        self.commit("Begin", self.text("/api"))
        self.commit("Break it", "load_balancers: 7\n")
        self.commit("Mend it", self.text("/api/v2"))
        done = self.blame("http://a:8080/api/x", "--git")
        self.assertEqual(done.status, 0)
        self.assertIn("Mend it", done.out.partition("changed by")[2].partition(";")[0])
        self.assertIn("Break it): it cannot be used any more", done.out)
        self.assertIn("has no voltgw.yaml", self.blame("http://a:8080/cart", "--git").out)

    def test_no_checkout(self) -> None:
        """git says so, and so do we."""
        elsewhere = Path(self.mktemp()).absolute()
        elsewhere.mkdir()
        self.file = elsewhere / "voltgw.yaml"
        self.file.write_text(self.text(), encoding="utf-8")
        self.patch(os, "environ", {**os.environ, "GIT_CEILING_DIRECTORIES": str(elsewhere.parent)})
        done = self.blame("http://a:8080/", "--git")
        self.assertEqual(done.status, 2)
        self.assertIn("not a git repository", done.err)
