"""``twistd voltgw``: options, the service, and the only import of the reactor.

Configuration errors are shown all at once on standard error, and the process ends with status 2 before anything is bound.
"""

from __future__ import annotations

import gc
import hashlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IReactorCore
from twisted.logger import ILogObserver, Logger, globalLogBeginner
from twisted.python import usage
from twisted.python.components import Componentized

from voltgw.app.deps import Deps
from voltgw.app.garbage import Garbage
from voltgw.app.handover import VARIABLE, ask, socket_path
from voltgw.app.load import Loader, TextLoader, at_once
from voltgw.app.service import GatewayService
from voltgw.app.settings import StartError
from voltgw.app.systemd import Systemd
from voltgw.config.collector import without_collector
from voltgw.config.show import report
from voltgw.errors import ConfigErrors
from voltgw.net.inherited import Inherited, descriptors_of
from voltgw.observe.log import ProcessLog
from voltgw.registry import RegistryError

#: Most data-plane processes.
MAX_WORKERS: Final = 1024
#: Exit status: the configuration has errors…
CONFIG_STATUS: Final = 2
#: …or it could not be put to work (a port is taken).
START_STATUS: Final = 1


class StartFailed(SystemExit, Exception):
    """Ends the process with `START_STATUS`.

    It is an Exception, too, because twistd catches those: it then removes its pid file and, when it has become a daemon,
    tells the process that waits for it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(START_STATUS)
        self.message = message

    def __str__(self) -> str:
        return self.message


class Options(usage.Options):
    """Options of ``twistd voltgw``."""

    synopsis = "[options]"
    longdesc = "A gateway that balances, routes and explains."
    optParameters = [  # noqa: RUF012  # Twisted reads it from the class
        ["config", "c", None, "The configuration file (required)."],
        ["workers", None, None, "Data-plane processes (0 = one process for everything)."],
    ]
    optFlags = [  # noqa: RUF012  # likewise
        ["no-touch-addresses", None, "Add no VIP to an interface, whatever the configuration says."],
        ["takeover", None, "Take the place of the process that serves this configuration, on its sockets."],
    ]

    def postOptions(self) -> None:
        """Called by Twisted. Raises UsageError."""
        if self["config"] is None:
            raise usage.UsageError("--config FILE is required")
        count = self["workers"]
        if count is not None and not (count.isdecimal() and int(count) <= MAX_WORKERS):
            raise usage.UsageError(f"--workers takes a number from 0 to {MAX_WORKERS}")


def makeService(options: Mapping[str, Any]) -> MultiService:
    """The service of one gateway. Ends the process with status 2 when the configuration has errors."""
    path = os.path.abspath(options["config"])       # twistd changes the working folder when it becomes a daemon
    twistd = getattr(options, "parent", None)
    process_log = _own_log(twistd)
    gateway = make_gateway(Loader(path, os.environ), process_log, takeover=bool(options.get("takeover")))
    if twistd is not None and not twistd.get("nodaemon") and gateway.runtime.config.gateway.log is None:
        gateway.logs.process = process_log = None       # twistd writes it to its own file
    gateway.touch_addresses = not options.get("no-touch-addresses")
    gateway.rendezvous = rendezvous_of(path)
    if options.get("workers") is not None:
        gateway.worker_count = int(options["workers"])
    user = _later_user(getattr(options, "parent", None))
    gateway.user = 0 if user is None else user[0]
    return Gateway(gateway, process_log, user)


def _later_user(twistd: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """User and group as whom we shall run, where twistd gives up root for that."""
    uid = None if twistd is None else twistd.get("uid")
    if twistd is None or not uid or os.geteuid() != 0:
        return None
    gid = twistd.get("gid")
    return uid, os.getgid() if gid is None else gid


def rendezvous_of(path: str) -> str:
    """What the workers of the configuration at `path` are called where they wait for a control process."""
    return f"voltgw-workers/{hashlib.sha256(os.path.realpath(path).encode()).hexdigest()[:24]}"


def _own_log(twistd: Mapping[str, Any] | None) -> ProcessLog | None:
    """The process log, unless an option of twistd names a place for it; a daemon has it where the configuration says."""
    if twistd is None or any(twistd.get(key) for key in ("logger", "logfile", "syslog")):
        return None
    return ProcessLog("-" if twistd.get("nodaemon") else os.devnull)


class Gateway(MultiService):
    """The parent of everything that runs: turns failures of the start into an exit status, and signals into calls.

    What concerns the whole process (signals, the garbage collector) is settled here: a `GatewayService` alone leaves the
    process that it runs in as it is.
    """

    _log = Logger()

    def __init__(self, gateway: GatewayService, process_log: ProcessLog | None = None,
                 user: tuple[int, int] | None = None) -> None:
        """`process_log` is what twistd shall write to, `user` as whom (user, group) we run once it has given up root."""
        super().__init__()
        self.gateway = gateway
        self._process_log = process_log
        self._user = user
        self._systemd = Systemd(gateway, os.environ)
        gateway.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        """Called by Twisted, which looks in the application for its log right afterwards."""
        if self._process_log is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._process_log)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Called by Twisted before it gives up privileges, and after it has become a daemon. Raises `StartFailed`."""
        # Whoever finds us listening may ask for a reload at once: it comes when the reactor runs, and does not end the process.
        signal.signal(signal.SIGHUP, lambda *_: self.gateway.deps.reactor.callFromThread(self.gateway.reload))
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:     # log rotation must not end us before the reactor runs;
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)           # the files were opened just now
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        try:
            with without_collector():       # what is made now stays, too
                super().privilegedStartService()
        except StartError as error:
            print(f"voltgw: {error}", file=sys.stderr)
            raise StartFailed(str(error)) from None
        if self._user is not None:
            self.gateway.keep_binder(*self._user)

    def startService(self) -> None:
        """Called by Twisted."""
        garbage = keep_tidy(self.gateway)
        with without_collector():
            super().startService()
        garbage.start()
        reactor = self.gateway.deps.reactor
        reactor.callWhenRunning(Signals(reactor, self.gateway).install)
        reactor.callWhenRunning(self._systemd.start)

    def stopService(self) -> Deferred[Any]:
        """Called by Twisted. The gateway drains first; what lives beside it goes on until that is over."""
        Service.stopService(self)
        self._systemd.stop()
        done = maybeDeferred(self.gateway.stopService)
        done.addErrback(lambda failure: self._log.failure("the gateway could not be stopped in order", failure))
        done.addCallback(lambda result: self._systemd.end())
        others = [service for service in self if service is not self.gateway]
        done.addCallback(lambda result: DeferredList([maybeDeferred(service.stopService) for service in others]))
        return done


def make_gateway(loader: Loader | TextLoader, process_log: ProcessLog | None = None, *,
                 takeover: bool = False) -> GatewayService:
    """A gateway of the configuration that `loader` reads. Ends the process with status 2 when that has errors.

    With `takeover` (or when the process that serves has started us for that) it takes that one's place; with status 1 where
    there is none that lets it. What systemd hands over is used, too.
    """
    predecessor = None
    takeover = bool(os.environ.pop(VARIABLE, "")) or takeover
    gc.disable()                            # what is read now stays: going over it meanwhile would take longer than reading
    try:
        config = at_once(loader)
        if takeover:
            path = socket_path(config)
            if not path:
                raise StartError("taking over needs gateway.restart_socket, or gateway.data_dir")
            predecessor = ask(path)
        deps = real_deps(predecessor.inherited if predecessor is not None else Inherited())
        adopt_from_environment(deps.inherited)
        gateway = GatewayService(deps, config, loader, process_log, predecessor)
    except ConfigErrors as errors:
        print(report(errors.problems), file=sys.stderr)
        raise SystemExit(CONFIG_STATUS) from None
    except RegistryError as error:
        print(f"voltgw: {error}", file=sys.stderr)
        raise SystemExit(CONFIG_STATUS) from None
    except StartError as error:
        print(f"voltgw: {error}", file=sys.stderr)
        raise StartFailed(str(error)) from None
    finally:
        gc.enable()
    if config.warnings:
        print(report(config.warnings), file=sys.stderr)
    return gateway


def adopt_from_environment(inherited: Inherited) -> None:
    """Take in the sockets that systemd hands over (sd_listen_fds(3)). Raises StartError for what is no socket to listen on."""
    environ: Any = os.environ
    try:
        for fd, _ in descriptors_of(environ, os.getpid()):
            inherited.offer_bound(fd)
    except (ValueError, OSError) as error:
        raise StartError(f"what systemd hands over cannot be used: {error}") from error


def real_deps(inherited: Inherited | None = None) -> Deps:
    """The world as it is; `inherited` are sockets that were open before us."""
    from twisted.internet import reactor  # importing it installs it: only when a gateway is made

    return Deps(
        reactor=reactor, monotonic=time.monotonic, wall=time.time, random=random.Random(),
        resolver=reactor.nameResolver,      # type: ignore[attr-defined]  # every reactor of today has one
        environ=os.environ, inherited=inherited or Inherited(),
    )


def keep_tidy(gateway: GatewayService) -> Garbage:
    """Have the cycle collector leave alone what is there to stay: when everything is warm, and around reloads.

    The gateway shows what it does, once it is started.
    """
    garbage = gateway.garbage = Garbage(gateway.loop.clock, gateway.deps.monotonic)
    warm = gateway.on_warm

    def tidy_when_warm() -> None:
        if warm is not None:
            warm()
        garbage.stays()

    gateway.on_warm = tidy_when_warm
    gateway.on_reload, gateway.on_reloaded = garbage.reload_begins, garbage.reloaded
    return garbage


def run(loader: Loader | TextLoader | Callable[[Any], TextLoader], *, access_log_to_stdout: bool = False,
        started: Callable[[GatewayService], None] | None = None,
        children: Callable[[Any], list[Any]] | None = None, log_level: str = "info", touch_addresses: bool = True,
        takeover: bool = False) -> int:
    """Serve in the foreground until a signal ends it; the exit status.

    `loader` may be a function of the reactor. `started` is called once the gateway serves. `children(reactor)` gives services
    that live beside the gateway and end after it. With `access_log_to_stdout` requests are written to standard output where
    the configuration does not say otherwise. Without `touch_addresses` no VIP is added to an interface.
    """
    process_log = ProcessLog(2, "text", log_level)
    globalLogBeginner.beginLoggingTo([process_log], redirectStandardIO=False)
    from twisted.internet import reactor  # importing it installs it: only when a gateway is made

    made = loader if isinstance(loader, (Loader, TextLoader)) else loader(reactor)
    gateway = make_gateway(made, process_log, takeover=takeover)
    if isinstance(made, Loader):
        gateway.rendezvous = rendezvous_of(made.path)
    gateway.access_log_to_stdout = access_log_to_stdout
    gateway.touch_addresses = touch_addresses
    parent = Gateway(gateway)
    for child in children(reactor) if children is not None else []:
        child.setServiceParent(parent)
    parent.privilegedStartService()
    parent.startService()
    core: Any = IReactorCore(reactor)
    core.addSystemEventTrigger("before", "shutdown", parent.stopService)
    if started is not None:
        core.callWhenRunning(started, gateway)
    core.run()
    process_log.close()
    return 0


class Signals:
    """SIGHUP reloads, SIGUSR1 opens log files anew, SIGUSR2 starts a process that takes our place, SIGQUIT stops at once;
    SIGTERM and SIGINT drain and stop, and a second one waits for nobody.
    """

    def __init__(self, reactor: Any, gateway: GatewayService) -> None:
        self._reactor = reactor
        self._gateway = gateway
        self._stopping = False
        self._rotate: Any = None

    def install(self) -> None:
        """Replace the reactor's own handlers, which it has installed by the time that it runs."""
        self._gateway.handover.gave_way = self._gateway.on_failed = self.stop
        self._rotate = signal.getsignal(signal.SIGUSR1)     # twistd's own, where it writes the process log to a file
        for number, call in ((signal.SIGHUP, self._gateway.reload), (signal.SIGTERM, self.stop), (signal.SIGINT, self.stop),
                             (signal.SIGQUIT, self.stop_now), (signal.SIGUSR1, self.reopen_logs),
                             (signal.SIGUSR2, self._gateway.handover.respawn)):
            signal.signal(number, lambda *_, call=call: self._reactor.callFromThread(call))

    def reopen_logs(self) -> None:
        """Open the log files by their names again."""
        self._gateway.logs.reopen()
        if callable(self._rotate):
            self._rotate(signal.SIGUSR1, None)

    def stop(self) -> None:
        """The first time: drain, then end. The second time: end."""
        if self._stopping or not self._gateway.running:
            self._gateway.abandon()
            return
        self._stopping = True
        self._reactor.stop()

    def stop_now(self) -> None:
        """End."""
        self._gateway.abandon()
        self.stop()
