"""``voltgw plan``."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import balancer, balancers
from tests.app.running import GatewayCase
from tests.cli.running import Run, run
from voltgw.control.generations import GenerationStore, Text


class PlanTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)

    def write(self, name: str, *entries: str, gateway: str = "") -> str:
        """A file of `balancer` entries."""
        path = self.folder / name
        path.write_text((f"gateway: {{{gateway}}}\n" if gateway else "") + balancers(*entries), encoding="utf-8")
        return str(path)

    def plan(self, *arguments: str) -> Run:
        """Run it."""
        return run(["plan", *arguments])

    def test_two_files(self) -> None:
        """Objects and their fields, and what becomes of listeners and clusters."""
        old = self.write("old.yaml", balancer("a", "127.0.0.1:8080", "127.0.0.1:1"), balancer("b", "127.0.0.1:8081", "127.0.0.1:2"))
        new = self.write("new.yaml", balancer("a", "127.0.0.1:8080", "127.0.0.1:3"), balancer("c", "127.0.0.1:8082", "127.0.0.1:2"),
                         gateway="log_level: debug")
        done = self.plan(old, new)
        self.assertEqual((done.status, done.err), (0, ""))
        for line in ("  gateway.log_level", "  listeners opened: 127.0.0.1:8082", "  listeners closed: 127.0.0.1:8081",
                     "  virtual hosts added: default/c", "  clusters changed: default/a", "  clusters removed: default/b"):
            self.assertIn(f"{line}\n", done.out)
        self.assertIn('virtual_host "b" removed', done.out)
        self.assertIn("kept as they are: 1 listeners, 0 clusters", done.out)
        facts = json.loads(self.plan(old, new, "--json").out)
        self.assertIn("listeners opened: 127.0.0.1:8082", facts["reload"])

    def test_the_same(self) -> None:
        """Comments are no change."""
        old, new = (self.write(name, balancer("a", "127.0.0.1:8080", "127.0.0.1:1")) for name in ("old.yaml", "new.yaml"))
        with open(new, "a", encoding="utf-8") as file:
            file.write("# a comment\n")
        done = self.plan(old, new)
        self.assertEqual((done.status, done.out), (0, f"{new} says what {old} says\n"))

    def test_the_newest_that_is_kept(self) -> None:
        """Without OLD; or another one by its number."""
        data = self.folder / "data"
        new = self.write("new.yaml", balancer("a", "127.0.0.1:8080", "127.0.0.1:3"), gateway=f"data_dir: {data}")
        done = self.plan(new)
        self.assertEqual(done.status, 2)
        self.assertIn("no generation is kept", done.err)
        store, text = GenerationStore(str(data)), Path(new).read_text(encoding="utf-8")
        store.add(1.0, "one", [Text("new.yaml", new, "", "", True, text.replace(":8080", ":8081"))])
        store.add(2.0, "two", [Text("new.yaml", new, "", "", True, text)])
        self.assertEqual(self.plan(new).out, f"{new} says what number 2 says\n")
        self.assertIn("listeners closed: 127.0.0.1:8081", self.plan(new, "--generation", "1").out)
        self.assertIn("there is no generation 3", self.plan(new, "--generation", "3").err)

    def test_wrong(self) -> None:
        """Errors of either file, no folder to look in, and three files."""
        good = self.write("good.yaml", balancer("a", "127.0.0.1:8080", "127.0.0.1:1"))
        bad = self.write("bad.yaml", balancer("a", "127.0.0.1:8080", "nonsense:x"))
        for arguments, word in (((good, bad), "bad.yaml:"), ((bad, good), "bad.yaml:"), ((good,), "data_dir"),
                                ((good, good, good), "NEW is needed")):
            done = self.plan(*arguments)
            self.assertEqual((done.status, word in done.err), (2, True), done)


class LiveTests(GatewayCase):
    """``--live``."""

    async def test_a_running_gateway(self) -> None:
        """What it serves is what is compared with, and its latest requests are put to both."""
        origin = self.ok_origin()
        self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}"), gateway=f"data_dir: {self.folder}/data")
        self.gateway.journal.share = 1.0
        await self.warm()
        await self.until(lambda: self.gateway.generations.current == 1)
        for _ in range(2):
            self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")
        await self.until(lambda: self.gateway.recent(9))
        admin = self.gateway.admin.addresses[0]
        new = self.folder / "new.yaml"
        new.write_text(self.file.read_text(encoding="utf-8").replace(
            "origins:", "routes: [{path: /, redirect: /new}], origins:"), encoding="utf-8")
        done = await deferToThread(run, ["plan", "--live", "--admin", admin, str(new)])
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertIn("from number 1 to ", done.out)
        self.assertIn("of the latest 2 requests that the gateway remembers, 1 would go elsewhere", done.out)
        self.assertIn("      new: answered, host default/shop, route shop/0, status 301", done.out)
        same = await deferToThread(run, ["plan", "--live", "--admin", admin, str(self.file), "--json"])
        self.assertEqual(json.loads(same.out)["recent"], {"requests": 2, "elsewhere": []})

    async def test_nothing_is_kept(self) -> None:
        """It says so; and when nobody answers, that."""
        self.start(balancer("shop", f"127.0.0.1:{self.port}", "127.0.0.1:1"))
        await self.warm()
        done = await deferToThread(run, ["plan", "--live", "--admin", self.gateway.admin.addresses[0], str(self.file)])
        self.assertEqual(done.status, 1)
        self.assertIn("is not kept (it has no data_dir)", done.err)
        self.assertEqual((await deferToThread(run, ["plan", "--live", "--admin", "1", str(self.file)])).status, 3)
