"""Configurations that are kept, and going back to them."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import balancer
from tests.app.running import GatewayCase
from voltgw.app.generations import kept_loader
from voltgw.app.load import Loader, at_once
from voltgw.control import generations
from voltgw.control.generations import GenerationStore, NotKept, Text


def text(name: str, content: str) -> Text:
    """The text of a main file."""
    return Text(name, f"/etc/{name}", "", "", True, content)


class StoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.store = GenerationStore(str(self.folder))

    def test_there_and_back(self) -> None:
        """Numbers go up, the newest comes first, texts come back as they were, and only the owner can read them."""
        self.assertEqual(self.store.all(), [])
        said = [text("a.yaml", "# caf\u00e9 ${SECRET}\n"), Text("b.yaml", "/b", "route", "ns", False, "")]
        self.assertEqual((self.store.add(1.5, "one", said), self.store.add(2.0, "two", [text("a.yaml", "x")])), (1, 2))
        self.assertEqual([(each.number, each.wall, each.digest, each.files, each.main) for each in self.store.all()],
                         [(2, 2.0, "two", 1, "a.yaml"), (1, 1.5, "one", 2, "a.yaml")])
        self.assertEqual(GenerationStore(str(self.folder)).texts(1), said)
        for path in (self.folder / "generations").iterdir():
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_the_same_again(self) -> None:
        """What is the newest already is not kept twice; what was served before that is."""
        numbers = [self.store.add(1.0, digest, [text("a", digest)]) for digest in ("x", "x", "y", "x")]
        self.assertEqual(numbers, [1, 1, 2, 3])

    def test_a_file_it_refers_to_is_another(self) -> None:
        """The digest is another one, the texts are the same: there is nothing to go back to, and it is not kept twice."""
        numbers = [self.store.add(1.0, digest, [text("a", said)]) for digest, said in (("x", "1"), ("y", "1"), ("z", "2"), ("y", "1"))]
        self.assertEqual(numbers, [1, 1, 2, 3])

    def test_long_names(self) -> None:
        """The first line is read back however long it is written."""
        self.store.add(1.0, "x", [text("\U0001f600" * 2000, "1")])
        self.assertEqual(len(self.store.all()), 1)

    def test_bounds(self) -> None:
        """The oldest leave when there are too many, or when they are too large; the newest stays."""
        self.patch(generations, "MOST", 3)
        for number in range(1, 6):
            self.store.add(1.0, str(number), [text("a", str(number))])
        self.assertEqual([each.number for each in self.store.all()], [5, 4, 3])
        self.patch(generations, "MOST_BYTES", 10)
        self.store.add(1.0, "6", [text("a", "6")])
        self.assertEqual([each.number for each in self.store.all()], [6])

    def test_damaged(self) -> None:
        """It is said of the one that is asked for; the others are read, and numbers go on."""
        for number in range(1, 4):
            self.store.add(1.0, str(number), [text("a", str(number) * 1000)])
        files = sorted((self.folder / "generations").iterdir())
        files[1].write_bytes(files[1].read_bytes()[:-3])
        files[2].write_bytes(b"no JSON\n")
        self.assertEqual([each.number for each in self.store.all()], [2, 1])
        for number, word in ((2, "damaged"), (3, "damaged"), (4, "there is no generation 4")):
            self.assertIn(word, str(self.assertRaises(NotKept, self.store.texts, number)))
        self.assertEqual(self.store.add(1.0, "n", [text("a", "y")]), 4)


class RollbackTests(GatewayCase):
    """A gateway that has served two configurations: each says another origin."""

    async def serve(self) -> None:
        """Start it, and reload it once."""
        self.data = self.folder / "data"
        self.one = self.origin(b"HTTP/1.1 200 One\r\nContent-Length: 2\r\n\r\nok")
        self.two = self.origin(b"HTTP/1.1 200 Two\r\nContent-Length: 2\r\n\r\nok")
        self.start(self.shop(self.one.port), gateway=f"data_dir: {self.data}")
        await self.warm()
        await self.until(lambda: self.gateway.generations.current == 1)
        await self.edit(self.two.port)
        await self.until(lambda: self.gateway.generations.current == 2)

    def shop(self, port: int) -> str:
        """The entry with one origin."""
        return balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{port}")

    async def edit(self, port: int) -> dict[str, Any]:
        """Write another origin into the file, and reload it."""
        self.write(self.shop(port), gateway=f"data_dir: {self.data}")
        return await self.gateway.reload()

    async def test_back_and_on(self) -> None:
        """The one before serves until the file is edited; a reload of the text that was left does not end that."""
        await self.serve()
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 Two")
        result = await self.gateway.rollback()
        self.assertEqual((result["ok"], result["number"], result["differs"], result["generation"]),
                         (True, 1, [str(self.file)], 3))
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 One")
        facts, process = self.gateway.generations_view(), self.gateway.process()
        self.assertEqual((facts["current"], facts["rolled_back"], facts["differs"]), (1, True, [str(self.file)]))
        self.assertEqual((process["kept_generation"], process["rolled_back"], process["rollbacks"]), (1, 1, 1))

        self.assertEqual((await self.gateway.reload())["changes"], [])      # as log rotation asks for
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 One")

        three = self.origin(b"HTTP/1.1 200 Three\r\nContent-Length: 2\r\n\r\nok")
        await self.edit(three.port)
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 Three")
        await self.until(lambda: self.gateway.generations.current == 3)
        self.assertFalse(self.gateway.generations_view()["rolled_back"])

    async def test_a_file_it_refers_to(self) -> None:
        """A renewed file is taken without ending a rollback."""
        await self.serve()
        await self.gateway.rollback(1)
        self.gateway.files.own_changed = False
        result = await self.gateway._reload_for_files()
        self.assertEqual((result["ok"], result["number"], self.gateway.generations.rollbacks), (True, 1, 1))
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 One")

    async def test_a_file_that_came_since(self) -> None:
        """It differs, too: the rollback is in force, and log rotation does not end it."""
        (self.folder / "more").mkdir()
        self.file.write_text(f"gateway: {{admin: {{port: 0}}, data_dir: {self.folder}/data}}\ninclude: [more/]\n", encoding="utf-8")
        one, two = self.folder / "more" / "a.yaml", self.folder / "more" / "b.yaml"
        one.write_text("{kind: endpoint, metadata: {name: a}, spec: {ip: 127.0.0.1, port: 1}}\n", encoding="utf-8")
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.until(lambda: gateway.generations.current == 1)
        two.write_text("{kind: endpoint, metadata: {name: b}, spec: {ip: 127.0.0.1, port: 1}}\n", encoding="utf-8")
        await gateway.reload()
        await self.until(lambda: gateway.generations.current == 2)
        self.assertEqual((await gateway.rollback())["differs"], [str(two)])
        await gateway.reload()
        self.assertEqual((gateway.generations_view()["rolled_back"], list(gateway.runtime.config.of("endpoint"))), (True, [("default", "a")]))

    async def test_what_serves_is_not_kept(self) -> None:
        """Then the last one that is kept is the one before."""
        await self.serve()
        self.gateway.generations.current = 0
        self.assertEqual((await self.gateway.rollback())["number"], 2)

    async def test_forward_again(self) -> None:
        """Going to what the files say ends the rollback."""
        await self.serve()
        await self.gateway.rollback(1)
        result = await self.gateway.rollback(2)
        self.assertEqual((result["number"], result["differs"]), (2, []))
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 Two")
        self.assertFalse(self.gateway.generations_view()["rolled_back"])

    async def test_refused(self) -> None:
        """Where there is no such generation, or it is damaged, the present one serves on and says why."""
        await self.serve()
        self.assertIn("no generation 7", (await self.gateway.rollback(7))["problems"][0])
        path = next(iter(sorted((self.data / "generations").iterdir())))
        path.write_bytes(b"{}\n")
        self.assertIn("damaged", (await self.gateway.rollback(1))["problems"][0])
        self.assertEqual((self.gateway.generation, self.gateway.reloads_rejected), (2, 2))
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 Two")

    async def test_while_it_stops(self) -> None:
        """No thread is begun any more."""
        await self.serve()
        self.gateway.generations.stop()
        self.assertEqual((await self.gateway.rollback(1))["problems"], ["the gateway stops"])

    async def test_none_is_kept(self) -> None:
        """Without a data folder."""
        self.start(self.shop(self.ok_origin().port))
        result = await self.gateway.rollback()
        self.assertIn("data_dir", result["problems"][0])
        self.assertEqual(self.gateway.generations_view()["generations"], [])

    async def test_includes(self) -> None:
        """What includes named then is what comes back, whatever stands in the folder by now; the digest is the same."""
        (self.folder / "objects").mkdir()
        (self.folder / "objects" / "a.yaml").write_text(
            "{kind: endpoint, metadata: {name: a}, spec: {ip: 127.0.0.1, port: 1}}\n", encoding="utf-8")
        self.file.write_text(f"gateway: {{admin: {{port: 0}}, data_dir: {self.folder}/data}}\ninclude: [objects/]\n",
                             encoding="utf-8")
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.until(lambda: gateway.generations.current == 1)
        digest = at_once(Loader(str(self.file), {})).digest
        (self.folder / "objects" / "a.yaml").rename(self.folder / "objects" / "b.yaml")
        kept = at_once(kept_loader(f"{self.folder}/data", 1, {}))
        self.assertEqual((kept.digest, list(kept.of("endpoint"))), (digest, [("default", "a")]))
