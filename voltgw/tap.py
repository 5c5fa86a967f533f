"""``twistd voltgw``: options, the service, and the only import of the reactor.

Configuration errors are shown all at once on standard error, and the process ends with status 2 before anything is bound.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorCore
from twisted.logger import globalLogBeginner
from twisted.python import usage

from voltgw.app.deps import Deps
from voltgw.app.load import Loader, TextLoader, at_once
from voltgw.app.service import GatewayService, StartError
from voltgw.config.show import report
from voltgw.errors import ConfigErrors
from voltgw.observe.log import ProcessLog
from voltgw.registry import RegistryError

#: Exit status: the configuration has errors…
CONFIG_STATUS = 2
#: …or it could not be put to work (a port is taken).
START_STATUS = 1


class Options(usage.Options):
    """Options of ``twistd voltgw``."""

    synopsis = "[options]"
    longdesc = "A gateway that balances, routes and explains."
    optParameters = [  # noqa: RUF012  # Twisted reads it from the class
        ["config", "c", None, "The configuration file (required)."],
        ["workers", None, None, "Data-plane processes (0 = one process for everything)."],
    ]

    def postOptions(self) -> None:
        """Called by Twisted. Raises UsageError."""
        if self["config"] is None:
            raise usage.UsageError("--config FILE is required")
        if self["workers"] not in (None, "0"):
            raise usage.UsageError("--workers is not supported yet: this version serves with one process")


def makeService(options: Mapping[str, Any]) -> MultiService:
    """The service of one gateway. Ends the process with status 2 when the configuration has errors."""
    path = os.path.abspath(options["config"])       # twistd changes the working folder when it becomes a daemon
    return Gateway(make_gateway(Loader(path, os.environ)))


class Gateway(MultiService):
    """The parent of everything that runs: turns failures of the start into an exit status, and signals into calls."""

    def __init__(self, gateway: GatewayService) -> None:
        super().__init__()                
        self.gateway = gateway
        gateway.setServiceParent(self)    

    def privilegedStartService(self) -> None:
        """Called by Twisted before it gives up privileges."""
        try:
            super().privilegedStartService()  
        except StartError as error:
            print(f"voltgw: {error}", file=sys.stderr)
            raise SystemExit(START_STATUS) from None

    def startService(self) -> None:
        """Called by Twisted."""
        super().startService()            
        reactor = self.gateway.deps.reactor
        reactor.callWhenRunning(_handle_signals, reactor, self.gateway)


def make_gateway(loader: Loader | TextLoader, process_log: ProcessLog | None = None) -> GatewayService:
    """A gateway of the configuration that `loader` reads. Ends the process with status 2 when that has errors."""
    from twisted.internet import reactor    # importing it installs it: only when a gateway is made

    deps = Deps(
        reactor=reactor, monotonic=time.monotonic, wall=time.time, random=random.Random(),
        resolver=reactor.nameResolver,      # type: ignore[attr-defined]  # every reactor of today has one
        environ=os.environ,
    )
    try:
        config = at_once(loader)
        gateway = GatewayService(deps, config, loader, process_log)
    except ConfigErrors as errors:
        print(report(errors.problems), file=sys.stderr)
        raise SystemExit(CONFIG_STATUS) from None
    except RegistryError as error:
        print(f"voltgw: {error}", file=sys.stderr)
        raise SystemExit(CONFIG_STATUS) from None
    if config.warnings:
        print(report(config.warnings), file=sys.stderr)
    return gateway


def run(loader: Loader | TextLoader | Callable[[Any], TextLoader], *, access_log_to_stdout: bool = False,
        started: Callable[[GatewayService], None] | None = None,
        children: Callable[[Any], list[Any]] | None = None, log_level: str = "info") -> int:
    """Serve in the foreground until a signal ends it; the exit status.

    `loader` may be a function of the reactor. `started` is called once the gateway serves. `children(reactor)` gives services
    that live beside the gateway and start first. With `access_log_to_stdout` requests are written to standard output where
    the configuration does not say otherwise.
    """
    process_log = ProcessLog(2, "text", log_level)
    globalLogBeginner.beginLoggingTo([process_log], redirectStandardIO=False)
    from twisted.internet import reactor    # importing it installs it: only when a gateway is made

    made = loader if isinstance(loader, (Loader, TextLoader)) else loader(reactor)
    gateway = make_gateway(made, process_log)
    gateway.access_log_to_stdout = access_log_to_stdout
    process_log.set_level(gateway.runtime.config.gateway.log_level.value)
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


def _handle_signals(reactor: Any, gateway: GatewayService) -> None:
    """SIGHUP reloads, SIGQUIT stops at once; SIGTERM and SIGINT stop (Twisted's own handlers), a second one does not wait."""
    def on(number: int, call: Callable[[], object]) -> None:
        signal.signal(number, lambda *_: reactor.callFromThread(call))

    def stop_now() -> None:
        gateway.abandon()
        if gateway.running:
            reactor.stop()

    def stop() -> None:
        if gateway.draining and not gateway.running:
            gateway.abandon()               # the second time: wait for nobody
        elif reactor.running:
            reactor.stop()

    on(signal.SIGHUP, gateway.reload)
    on(signal.SIGQUIT, stop_now)
    on(signal.SIGTERM, stop)
    on(signal.SIGINT, stop)
