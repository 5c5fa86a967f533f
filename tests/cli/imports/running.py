"""Five configurations of one proxy, running beside one gateway with what they were imported as."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.imports.table import Case
from tests.cli.running import run
from tests.integration.gateway import Gateway, until
from tests.servers import Server

_START_TIMEOUT_S: Final = 20.0
#: What of a row says how it is answered.
EXPECTED: Final = ("status", "origin", "path", "location", "sent", "got", "body", "host_seen", "said", "refused", "failed")


class ImportedTests(SynchronousTestCase):
    """Base: a subclass names its `language`, its `names`, and how the original is started."""

    language: ClassVar[str] = ""
    names: ClassVar[tuple[str, ...]] = ()
    originals: ClassVar[bool] = True

    def start(self, case: Case) -> Server:
        """Start the original on `case.original`."""
        raise NotImplementedError

    def all_of_them(self) -> None:
        """Start the originals and import them all into one gateway, each in a namespace of its own; then ask."""
        folder = Path(tempfile.mkdtemp(prefix="vg-import-")).resolve()
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o755)                     # workers of the originals may be another user
        imported = folder / "imported"
        cases: list[Case] = []
        servers: list[Server] = []
        self.errors: dict[str, str] = {}
        for name in self.names:
            case = Case(self.language, name, folder / name)
            cases.append(case)
            self.addCleanup(case.stop)
            server = self.start(case) if self.originals else None
            if server is not None:
                servers.append(server)
            source = case.folder / case.source.name
            source.write_text(case.text(case.imported), encoding="utf-8")
            (imported / name).mkdir(parents=True)
            done = run(["import", self.language, str(source), "-q", "-o", str(imported / name / "gateway.yaml")])
            self.assertEqual(done.status, 0, done.err)
            self.errors[name] = done.err.replace(f"{case.folder}/", "")
        gateway = Gateway(self, (
            f"gateway: {{admin: {{address: 127.0.0.1, port: ADMIN}}, access_log: {{path: access.log}}}}\n"
            f"include: [{{path: {imported}/*/, namespace: from-folder}}]\n"))
        gateway.wait_ready()
        problems = []
        for case, server in zip(cases, servers, strict=False):
            wait_listening(case, server)
        for case in cases:
            problems += [f"{case.name}: {problem}" for problem in self.problems(case)]
        self.assertEqual(problems, [], "\n" + "\n".join(problems))

    def problems(self, case: Case) -> Iterator[str]:
        """Rows that the two answer differently, or otherwise than they say; notes that the table does not expect."""
        after = case.answers(case.imported)
        before = case.answers(case.original) if self.originals else after
        for row, old, new in zip(case.rows, before, after, strict=True):
            shown = json.dumps(row)
            choices = row.get("origin")
            if isinstance(choices, list):           # any of them
                for seen in (old, new):
                    if seen.get("origin") not in choices:
                        yield f"{shown}: not one of these: {seen}"
                    seen["origin"] = choices
            if new != old:
                yield f"{shown}:\n    imported {new}\n    original {old}"
                continue
            for key in EXPECTED:
                if key in row and new.get("host" if key == "host_seen" else key) != row[key]:
                    yield f"{shown}: {key} is otherwise in both: {new}"
        said = self.errors[case.name].splitlines()
        wanted = [*(f"left out: {one}" for one in case.left_out), *(f"differs: {one}" for one in case.differs)]
        for line in wanted:
            if not any(line in one for one in said):
                yield f"{line!r} is not among {said}"
        for line in said:
            if not any(one in line for one in wanted):
                yield f"it says {line!r}"


def launch(test: SynchronousTestCase, name: str, command: list[str], folder: Path, environ: dict[str, str] | None = None) -> Server:
    """Start a server that binds its ports itself."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True, env={**os.environ, **(environ or {})})
    server = Server(name, 0, process, log)
    test.addCleanup(server.stop)
    return server


def wait_listening(case: Case, server: Server) -> None:
    """Until the original takes connections on all its ports of TCP."""
    for port, kind in case.listens.items():
        def there(port: int = port) -> bool:
            if not server.running:
                raise AssertionError(f"{case.name}: {server.log()}")
            try:
                socket.create_connection(("127.0.0.1", case.original[port]), 1).close()
            except OSError:
                return False
            return True

        if kind == "udp":
            time.sleep(0.05)                    # it binds them with the others, and says nothing
        else:
            until(f"{case.name} listens on {port}", there, _START_TIMEOUT_S)
