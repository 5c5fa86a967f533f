"""``twistd voltgw``: options, exit statuses, signals, and what belongs to the process as a whole."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.python import usage
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import voltgw
from tests.app.making import balancer, balancers
from tests.app.test_garbage import Collector
from tests.control.fakes import FakeLoop
from tests.integration.gateway import PATIENCE_S, free_port, until
from voltgw.app import garbage
from voltgw.app.settings import StartError
from voltgw.cli.remote import ask
from voltgw.tap import CONFIG_STATUS, START_STATUS, Gateway, Options, Signals, StartFailed, makeService

_ROOT: Final = Path(voltgw.__file__).resolve().parents[1]
_TWISTD: Final = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")


class OptionsTests(SynchronousTestCase):
    def test_no_file(self) -> None:
        """The file must be named."""
        self.assertIn("--config", str(self.assertRaises(usage.UsageError, Options().parseOptions, [])))

    def test_workers(self) -> None:
        """A number; anything else is told."""
        for count in ("0", "2", "1024"):
            Options().parseOptions(["--config", "x", "--workers", count])
        for count in ("-1", "1025", "two", "1.5"):
            error = self.assertRaises(usage.UsageError, Options().parseOptions, ["--config", "x", "--workers", count])
            self.assertIn("from 0 to 1024", str(error))

    def test_errors_in_the_configuration(self) -> None:
        """`makeService` shows every error and ends the process with status 2; the collector runs again."""
        file = Path(self.mktemp())
        file.write_text("nonsense: 1\nload_balancers: 2\n", encoding="utf-8")
        said = StringIO()
        self.patch(sys, "stderr", said)
        ended = self.assertRaises(SystemExit, makeService, {"config": str(file)})
        self.assertEqual(ended.code, CONFIG_STATUS)
        self.assertIn(f"{file.absolute()}:1:1: error[", said.getvalue())
        self.assertIn(":2:17: error[", said.getvalue())
        self.assertTrue(gc.isenabled())


class FakeGateway(Service):
    """A gateway that fails, or that takes its time to drain."""

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.drained: Deferred[None] = Deferred()
        self.calls: list[str] = []
        self.on_warm: Callable[[], None] | None = None
        self.on_reload: Callable[[], None] | None = None
        self.on_reloaded: Callable[[], None] | None = None
        self.garbage: Any = None
        self.deps = self
        self.reactor = self
        self.loop = FakeLoop()
        self.monotonic = self.loop.monotonic

    def privilegedStartService(self) -> None:
        """Fail, perhaps."""
        if self.problem:
            raise StartError(self.problem)

    def stopService(self) -> Deferred[None]:
        """Drain."""
        super().stopService()
        return self.drained

    def callWhenRunning(self, call: Callable[[], None]) -> None:
        """Part of the reactor."""
        self.calls.append("when running")

    def callFromThread(self, call: Callable[[], None]) -> None:
        """Part of the reactor."""
        call()

    def reload(self) -> None:
        """Note it."""
        self.calls.append("reload")

    def stop(self) -> None:
        """Part of the reactor."""
        self.calls.append("stop")
        self.running = 0

    def abandon(self) -> None:
        """Wait for nobody."""
        self.calls.append("abandon")


class Beside(Service):
    """What lives beside a gateway."""


def parent_of(gateway: FakeGateway) -> Gateway:
    """The real parent of a fake gateway."""
    made: Any = gateway
    return Gateway(made)


class GatewayTests(SynchronousTestCase):
    def test_it_cannot_start(self) -> None:
        """One line, status 1; and an Exception, so that twistd tidies up behind us."""
        said = StringIO()
        self.patch(sys, "stderr", said)
        ended = self.assertRaises(StartFailed, parent_of(FakeGateway("the port is taken")).privilegedStartService)
        self.assertEqual((said.getvalue(), ended.code, str(ended)),
                         ("voltgw: the port is taken\n", START_STATUS, "the port is taken"))
        self.assertIsInstance(ended, Exception)
        self.assertIsInstance(ended, SystemExit)

    def test_what_lives_beside_it_ends_after_it(self) -> None:
        """The demo's origins listen until the gateway has drained."""
        gateway, beside = FakeGateway(), Beside()
        parent = parent_of(gateway)
        beside.setServiceParent(parent)
        self.patch(garbage, "gc", Collector())
        parent.startService()
        stopped = parent.stopService()
        self.assertEqual((gateway.running, beside.running), (0, 1))
        gateway.drained.callback(None)
        self.assertEqual(beside.running, 0)
        self.successResultOf(stopped)

    def test_a_gateway_that_cannot_stop(self) -> None:
        """Its failure is logged, and what lives beside it is stopped all the same."""
        gateway, beside = FakeGateway(), Beside()
        parent = parent_of(gateway)
        beside.setServiceParent(parent)
        self.patch(garbage, "gc", Collector())
        parent.startService()
        stopped = parent.stopService()
        gateway.drained.errback(RuntimeError("a bug"))
        self.assertEqual(beside.running, 0)
        self.successResultOf(stopped)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_the_collector(self) -> None:
        """What is made at start, at warm-up and by a reload is there to stay, and the gateway shows the collections."""
        gateway = FakeGateway()
        said = Collector()
        self.patch(garbage, "gc", said)
        warm: list[int] = []
        gateway.on_warm = lambda: warm.append(1)
        parent_of(gateway).startService()
        self.assertEqual(said.did, ["threshold", "enable", "freeze"])
        assert gateway.on_warm is not None and gateway.on_reload is not None and gateway.on_reloaded is not None
        gateway.on_warm()
        self.assertEqual((warm, said.did[3:]), ([1], ["freeze"]))
        gateway.on_reload()
        gateway.on_reloaded()
        self.assertEqual(said.did[4:], ["collect 1", "disable", "enable", "freeze"])
        self.assertIsNotNone(gateway.garbage)


class EarlySignalTests(SynchronousTestCase):
    def test_a_reload_before_the_reactor_runs(self) -> None:
        """SIGHUP between the first socket and the first turn of the reactor asks for a reload; by default it would end us."""
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        gateway = FakeGateway()
        parent_of(gateway).privilegedStartService()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(gateway.calls, ["reload"])


class SignalsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = FakeGateway()
        self.gateway.running = 1
        made: Any = self.gateway
        self.signals = Signals(made, made)

    def test_once(self) -> None:
        """The first SIGTERM or SIGINT stops the reactor, which drains."""
        self.signals.stop()
        self.assertEqual(self.gateway.calls, ["stop"])

    def test_twice(self) -> None:
        """The second one waits for nobody; it need not wait until the first one was heard everywhere."""
        self.signals.stop()
        self.gateway.running = 1            # two signals in one turn: nothing has been stopped yet
        self.signals.stop()
        self.signals.stop()
        self.assertEqual(self.gateway.calls, ["stop", "abandon", "abandon"])

    def test_quit(self) -> None:
        """SIGQUIT does not even wait the first time; after SIGTERM it ends the waiting."""
        self.signals.stop_now()
        self.assertEqual(self.gateway.calls, ["abandon", "stop"])
        self.signals.stop_now()
        self.assertEqual(self.gateway.calls[2:], ["abandon", "abandon"])

    def test_it_stops_already(self) -> None:
        """When something else has stopped the reactor, stopping it again would be an error."""
        self.gateway.running = 0
        self.signals.stop()
        self.assertEqual(self.gateway.calls, ["abandon"])


class DaemonTests(SynchronousTestCase):
    """twistd as service managers of old run it."""

    def setUp(self) -> None:
        self.folder = Path(mkdtemp())       # not trial's own folder, which is for its user alone
        self.addCleanup(rmtree, self.folder)
        self.folder.chmod(0o755)
        self.port = free_port()
        (self.folder / "voltgw.yaml").write_text(
            "gateway: {admin: {unix: admin.sock}, access_log: access.log}\n"
            + balancers(balancer("shop", f"127.0.0.1:{self.port}", "127.0.0.1:1")), encoding="utf-8")

    def twistd(self, *options: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run it to the end of the process that we started."""
        return subprocess.run(
            [*_TWISTD, *options, "voltgw", "--config", "voltgw.yaml"], cwd=folder or self.folder, timeout=PATIENCE_S, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONPATH": str(_ROOT)})

    def ready(self) -> bool:
        """Whether it says so."""
        try:
            return ask(str(self.folder / "admin.sock"), "GET", "/ready")[0] == 200
        except OSError:
            return False

    def end(self, pid: int) -> None:
        """Stop it, and wait until it is gone."""
        def gone() -> bool:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            return False

        if not gone():
            os.kill(pid, signal.SIGTERM)
            until("it has ended", gone)

    def test_a_daemon(self) -> None:
        """It serves from another process and another working folder; a second one on the same port tells why it cannot."""
        run = self.folder / "run"
        run.mkdir()
        done = self.twistd("--rundir", str(run), "--pidfile", str(self.folder / "pid"))
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        pid = int((self.folder / "pid").read_text())
        self.addCleanup(self.end, pid)
        until("it is ready", self.ready)
        self.assertTrue((self.folder / "access.log").exists())
        other = self.folder / "other"
        other.mkdir()
        config = (self.folder / "voltgw.yaml").read_text()
        (other / "voltgw.yaml").write_text(config, encoding="utf-8")
        failed = self.twistd("--pidfile", "pid", folder=other)
        self.assertEqual(failed.returncode, 1)
        self.assertIn(f"cannot listen on 127.0.0.1:{self.port}", failed.stdout)
        until("its pid file is gone", lambda: not (other / "pid").exists())
        self.assertEqual(sorted(os.listdir(other)), ["access.log", "twistd.log", "voltgw.yaml"])
        log = (other / "twistd.log").read_text()
        self.assertIn("address already in use", log)
        self.assertNotIn("Traceback", log)
        self.end(pid)
        self.assertFalse((self.folder / "pid").exists())
        self.assertNotIn("Traceback", (self.folder / "twistd.log").read_text())

    def test_giving_up_privileges(self) -> None:
        """Ports are bound and files opened as root; it serves, reloads and ends as somebody else."""
        if os.getuid() != 0:
            raise SkipTest("only root can become somebody else")
        paths = [_ROOT / "voltgw", Path(sys.executable).absolute().parent, self.folder]
        if not all(parent.stat().st_mode & 0o5 == 0o5 for path in paths for parent in (path, *path.parents)):
            raise SkipTest("this checkout can only be read by its owner")
        done = self.twistd("--pidfile", "pid", "--uid", "65534", "--gid", "65534", "--umask", "022")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        pid = int((self.folder / "pid").read_text())
        self.addCleanup(self.end, pid)
        until("it is ready", self.ready)
        self.assertEqual(os.stat(f"/proc/{pid}").st_uid, 65534)
        status, result = ask(str(self.folder / "admin.sock"), "POST", "/reload")
        self.assertEqual((status, result["changes"]), (200, []))
        self.end(pid)
        log = (self.folder / "twistd.log").read_text()
        self.assertIn("stopped", log)
        self.assertNotIn("Traceback", log)
