"""``voltgw replay``."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import balancer, balancers
from tests.app.running import GatewayCase
from tests.cli.running import Run, run
from voltgw.cli import replay


def line(path: str, *, method: str = "GET", query: str = "", agent: str = "curl/8", authority: str = "shop.example") -> str:
    """What the access log says of a request."""
    return json.dumps({"scheme": "http", "method": method, "original_authority": authority, "original_path": path,
                       "req_params": query, "user_agent": agent, "src_ip": "192.0.2.7", "listener": "127.0.0.1:8080"}) + "\n"


class ReplayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.old = self.config("old.yaml", "/api")
        self.new = self.config("new.yaml", "/api/v2")

    def config(self, name: str, path: str, status: str = "/new") -> str:
        """One host: something below `path` goes to another pool, and /old is redirected."""
        file = self.folder / name
        file.write_text(
            "load_balancers:\n- {name: shop, listen: '127.0.0.1:8080', origins: ['127.0.0.1:1'], routes: [{path: "
            f"{path}, to: api}}, {{path: /old, redirect: {status}}}]}}\n- {{name: api, listen: '127.0.0.1:8081', origins: "
            "['127.0.0.1:2']}\n", encoding="utf-8")
        return str(file)

    def replay(self, *lines: str, files: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> Run:
        """Run it on these lines."""
        log = self.folder / "access.log"
        log.write_text("".join(lines), encoding="utf-8")
        return run(["replay", str(log), *(files or (self.old, self.new)), *more])

    def test_some_go_elsewhere(self) -> None:
        """They are counted by what becomes of them, with an example; lines of connections and rubbish are not asked about."""
        done = self.replay(line("/api"), line("/api", query="a=b"), line("/api"), line("/api/v2/x"), line("/cart"), line("/old"),
                           '{"connection_state": "CLOSED"}\n', "rubbish\n", more=("--json",))
        found = json.loads(done.out)
        self.assertEqual((done.status, done.err), (1, ""))
        self.assertEqual([found[key] for key in ("requests", "distinct", "other_lines", "different", "more")], [6, 5, 2, 3, 0])
        (change,) = found["changes"]
        self.assertEqual((change["requests"], change["first"]), (3, "GET http://shop.example/api"))
        self.assertIn("cluster default/api", change["before"])
        self.assertIn("cluster default/shop", change["after"])

    def test_none_does(self) -> None:
        """The status says so, too."""
        done = self.replay(line("/api/v2/x"), line("/old"), line("/cart"))
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertIn("0 of 3 requests (3 distinct) would go elsewhere; 0 lines", done.out)

    def test_bounds(self) -> None:
        """Neither distinct requests nor different changes make it grow; the counts stay right."""
        self.patch(replay, "MOST_REMEMBERED", 2)
        self.patch(replay, "MOST_CHANGES", 0)
        lines = [line(f"/api/{number % 4}") for number in range(12)]
        done = self.replay(*lines)
        self.assertEqual(done.status, 1)
        self.assertIn("12  in further changes\n12 of 12 requests", done.out)

    def test_lines_that_are_none(self) -> None:
        """Nested without end, too long (once, and not once for each piece), no text: counted, and what comes behind is read."""
        done = self.replay("[" * 200_000 + "\n", "x" * (3 << 20) + "\n", line("/"))
        self.assertIn("2 lines", done.out)
        self.assertIn("of 1 requests", done.out)

    def test_wrong(self) -> None:
        """A log that is not there, a configuration with errors, nothing to compare with."""
        (self.folder / "bad.yaml").write_text("nonsense: 1\n", encoding="utf-8")
        for files, word in (((str(self.folder / "bad.yaml"), self.new), "nonsense"), ((self.new,), "data_dir"),
                            ((self.old, self.new, self.new), "NEW is needed")):
            done = self.replay(line("/"), files=files)
            self.assertEqual((done.status, word in done.err), (2, True), done)
        self.assertEqual(run(["replay", str(self.folder / "none.log"), self.old, self.new]).status, 2)


class RealLogTests(GatewayCase):
    async def test_what_a_gateway_wrote(self) -> None:
        """Its own configuration answers the same; one without its listener does not."""
        log = self.folder / "access.log"
        self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.ok_origin().port}"),
                   gateway=f"access_log: {{path: {log}, format: json}}")
        await self.warm()
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")
        await self.until(lambda: log.exists() and log.read_bytes().endswith(b"\n"))
        same = run(["replay", str(log), str(self.file), str(self.file)])
        self.assertEqual((same.status, same.out.partition(" would")[0]), (0, "0 of 1 requests (1 distinct)"))
        other = self.folder / "other.yaml"
        other.write_text(balancers(balancer("shop", "127.0.0.1:1", "127.0.0.1:2")), encoding="utf-8")
        moved = run(["replay", str(log), str(self.file), str(other)])
        self.assertEqual(moved.status, 1)
        self.assertIn("was: forwarded, host default/shop, route", moved.out)
        self.assertIn("new: no listener", moved.out)
