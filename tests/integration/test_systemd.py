"""The gateway as a service of systemd: what it is told on a notify socket, the sockets that it hands over, and the units."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port, until

_ROOT = Path(__file__).resolve().parents[2]
#: Opens a socket as systemd does (descriptor 3), and becomes the gateway.
_ACTIVATED = """
import os, socket, sys
sock = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="voltgw.socket")
os.execv(sys.executable, [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", *sys.argv[2:]])
"""


class Manager(threading.Thread):
    """Listens where systemd would."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.path = f"{self.folder}/notify"
        self.said: list[list[str]] = []
        self.stored: dict[str, int] = {}
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(self.path)
        self._sock.settimeout(0.1)
        self._over = threading.Event()

    def run(self) -> None:
        """Called by the thread."""
        while not self._over.is_set():
            try:
                data, fds, _, _ = socket.recv_fds(self._sock, 8192, 10)
            except TimeoutError:
                continue
            lines = data.decode().splitlines()
            self.said.append(lines)
            for fd in fds:
                self.stored[next(line for line in lines if line.startswith("FDNAME="))] = fd

    def end(self) -> None:
        """Listen no more."""
        self._over.set()
        self.join()
        self._sock.close()
        for fd in self.stored.values():
            os.close(fd)
        shutil.rmtree(self.folder)

    def count(self, line: str) -> int:
        """How often a line has come that begins so."""
        return sum(each.startswith(line) for lines in list(self.said) for each in lines)

    def place(self, line: str) -> int:
        """In which message it came first."""
        return next(place for place, lines in enumerate(list(self.said)) if any(each.startswith(line) for each in lines))


class SystemdTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Somebody who listens."""
        self.manager = Manager()
        self.manager.start()
        self.addCleanup(self.manager.end)
        self.port = free_port()

    def start(self, command: list[str] | None = None, **environ: str) -> Gateway:
        """A gateway with such an environment."""
        for name, value in {"NOTIFY_SOCKET": self.manager.path, **environ}.items():
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name, None)
        return Gateway(self, f"""
gateway: {{admin: {{port: ADMIN}}, drain_timeout: 1s, restart_socket: {self.manager.folder}/restart}}
load_balancers:
- {{name: shop, listen: "127.0.0.1:{self.port}", origins: ["127.0.0.1:9"]}}
""", command=command)

    def test_what_is_told(self) -> None:
        """Ready when /ready is; alive twice in the time that is wanted; reloading and ready again; the sockets to keep;
        who takes our place; stopping.
        """
        manager = self.manager
        gateway = self.start(WATCHDOG_USEC="500000", FDSTORE="16")
        until("it says that it is ready", lambda: manager.count("READY=1"))
        self.assertEqual(gateway.admin("/ready").status, 200)
        until("it says that it is alive", lambda: manager.count("WATCHDOG=1") >= 3)
        until("its socket is kept", lambda: manager.stored)
        (kept,) = manager.stored.values()
        with socket.socket(fileno=os.dup(kept)) as sock:
            self.assertEqual(sock.getsockname(), ("127.0.0.1", self.port))
        gateway.write(gateway.file.read_text().replace("1s", "2s"))
        gateway.reload()
        until("it is ready again", lambda: manager.count("READY=1") == 2)
        self.assertEqual(manager.count("RELOADING=1"), 1)
        self.assertEqual(manager.count("MONOTONIC_USEC="), 1)
        until("its line says which", lambda: manager.count("STATUS=generation 2, 1 listeners"))
        gateway.process.send_signal(signal.SIGUSR2)
        until("the next one is", lambda: manager.count("READY=1") == 3)
        pid = int(next(each for lines in manager.said for each in lines if each.startswith("MAINPID="))[8:])
        self.assertNotEqual(pid, gateway.process.pid)
        self.assertEqual((gateway.wait_exit(), manager.count("STOPPING=1")), (0, 0))
        os.kill(pid, signal.SIGTERM)
        until("it says that it stops", lambda: manager.count("STOPPING=1"))
        until("it has ended", lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text())

    def listened(self) -> bool:
        """Whether a connection can be had."""
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def test_activation(self) -> None:
        """The socket that systemd hands over is the listener's: who came before the gateway ran is answered."""
        gateway = self.start(["-c", _ACTIVATED, str(self.port), "-n", "--pidfile=", "voltgw", "--config", "voltgw.yaml"])
        until("somebody listens", self.listened)
        self.assertEqual(ask(self.port).status, 502)        # nobody is behind it; but it is ours that says so
        gateway.wait_ready()
        self.assertIn("voltgw_inherited_sockets 1.0", gateway.admin("/metrics").body.decode())


class UnitTests(SynchronousTestCase):
    def test_verified(self) -> None:
        """systemd finds nothing wrong with the units."""
        program = shutil.which("systemd-analyze")
        if program is None:
            raise SkipTest("systemd-analyze is not installed")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for name in ("voltgw.service", "voltgw.socket"):
            text = (_ROOT / "etc" / name).read_text(encoding="utf-8")
            (folder / name).write_text(text.replace("/opt/voltgw/bin/voltgw", "/bin/true").replace(
                "/opt/voltgw/bin/twistd", "/bin/true"), encoding="utf-8")
        done = subprocess.run([program, "verify", "--man=no", str(folder / "voltgw.service"), str(folder / "voltgw.socket")],
                              capture_output=True, text=True, check=False, timeout=30)
        said = [line for line in done.stderr.splitlines() if "voltgw" in line]
        self.assertEqual(said, [], done.stderr)

    def test_user_and_folders(self) -> None:
        """The files for a user of its own make that and its folders, in a root of the test's."""
        programs = [shutil.which(name) for name in ("systemd-sysusers", "systemd-tmpfiles")]
        if None in programs or os.geteuid() != 0:
            raise SkipTest("systemd-sysusers and systemd-tmpfiles, and root, are needed")
        root = Path(self.mktemp()).absolute()
        (root / "etc").mkdir(parents=True)
        for program, arguments, name in zip(programs, ([], ["--create"]), ("sysusers", "tmpfiles"), strict=True):
            subprocess.run([str(program), f"--root={root}", *arguments, str(_ROOT / "etc" / f"voltgw.{name}")],
                           check=True, capture_output=True, timeout=30)
        user = next(line for line in (root / "etc/passwd").read_text().splitlines() if line.startswith("voltgw:"))
        found = {name: (root / name).stat() for name in ("run/voltgw", "var/lib/voltgw", "var/log/voltgw")}
        self.assertEqual({str(each.st_uid) for each in found.values()}, {user.split(":")[2]})
        self.assertEqual(found["var/lib/voltgw"].st_mode & 0o777, 0o700)
