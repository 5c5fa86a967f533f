"""``python -m voltgw.worker FD``: the process of one worker. Control processes start it; nobody else does.

It reads what it is to serve from the Unix socket that it was started with. SIGTERM drains and ends it. When the control
process is gone it serves on with what it knows.
"""

from __future__ import annotations

import gc
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger, LogLevel, globalLogBeginner

from voltgw.app import worker_messages as say
from voltgw.app.settings import StartError
from voltgw.app.worker_report import LogToControl
from voltgw.app.worker_service import WorkerGateway, level_of, taken
from voltgw.config.collector import without_collector
from voltgw.errors import ConfigErrors
from voltgw.net.passing import Channel
from voltgw.observe.log import ProcessLog
from voltgw.registry import RegistryError
from voltgw.tap import keep_tidy, real_deps

if TYPE_CHECKING:
    from voltgw.app.deps import Deps
    from voltgw.app.orphans import Orphan

#: It could not serve what it was told to; the control process has heard why.
FAILED_STATUS: Final = 1


class Process:
    """One worker's process."""

    _log = Logger()

    def __init__(self, deps: Deps, sock: socket.socket) -> None:
        reactor = self.reactor = deps.reactor
        self._deps = deps
        self.gateway: WorkerGateway | None = None
        self.orphan: Orphan | None = None
        self.failed = False
        self.log = LogToControl(ProcessLog(2, "text", "info"))
        self.channel = Channel(reactor, sock, self._received, self._alone)
        self.log.channel = self.channel
        self._rendezvous = ""
        self._ending = False
        reactor.addSystemEventTrigger("before", "shutdown", self._shutdown)

    def _received(self, data: bytes, fds: list[int]) -> None:
        message = say.unpacked(data)
        if isinstance(message, say.Start):
            self._start(message, fds)
        elif self.gateway is not None:
            self.gateway.told(message, fds)
        elif isinstance(message, say.Drain):
            self.end()

    def _start(self, message: say.Start, fds: list[int]) -> None:
        self._rendezvous = message.rendezvous
        self.log.least = max(level_of(message.log_level), LogLevel.warn)    # that we serve, control says
        gc.disable()
        try:
            gateway = WorkerGateway(self._deps, message, taken(fds), self.channel, self.end)
            gateway.on_level = self._level
            gateway.privilegedStartService()
        except (ConfigErrors, RegistryError, StartError, OSError) as error:
            problems = [each.message for each in error.problems] if isinstance(error, ConfigErrors) else [str(error)]
            self.channel.send(say.answer("failed", problems=problems[:20]))
            self._cannot()
            return
        except Exception as error:          # a bug: who only logged it would be waited for without end
            self._log.failure("this worker could not be made")
            self.channel.send(say.answer("failed", problems=[f"{type(error).__name__}: {error}"[:1000]]))
            self._cannot()
            return
        finally:
            gc.enable()
        self.gateway = gateway
        garbage = keep_tidy(gateway)
        with without_collector():
            gateway.startService()
        garbage.start()

    def _cannot(self) -> None:
        self.failed = True
        self.end()

    def _level(self, level: str) -> None:
        self.log.least = level_of(level)

    def end(self) -> None:
        """Drain, then end."""
        if self._ending:
            if self.gateway is not None:
                self.gateway.abandon()
            return
        self._ending = True
        self.reactor.callLater(0, self.reactor.stop)

    def _shutdown(self) -> Any:
        if self.orphan is not None:
            self.orphan.stop()
        return self.gateway.stopService() if self.gateway is not None else None

    def _alone(self, why: str) -> None:
        """The control process is gone."""
        if self.gateway is None or self._ending:
            self.end()
            return
        self._log.warn("worker {number}: the control process is gone ({why}); serving on with generation {generation}",
                       number=self.gateway.number + 1, why=why, generation=self.gateway.generation, event="worker.alone")
        self.gateway.alone()
        from voltgw.app.orphans import Orphan

        self.orphan = Orphan(self.reactor, self.gateway, self._rendezvous, self.end)
        self.orphan.start()


def main(arguments: list[str]) -> int:
    """Run until it has ended; the exit status."""
    # What is typed at a terminal goes to all processes of it: the control process says what is to become of it.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    sock = socket.socket(fileno=int(arguments[0]))
    sock.set_inheritable(False)
    deps = real_deps()
    process = Process(deps, sock)
    globalLogBeginner.beginLoggingTo([process.log], redirectStandardIO=False)
    deps.reactor.callWhenRunning(_signals, deps.reactor, process)
    process.channel.start()
    deps.reactor.run()
    return FAILED_STATUS if process.failed else 0


def _signals(reactor: Any, process: Process) -> None:
    """Replace the reactor's own handlers."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(process.end))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
