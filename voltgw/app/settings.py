"""What the ``gateway:`` part of a configuration says of this process, with its defaults filled in."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from voltgw.observe.access import AccessLog
from voltgw.values.defaults import ADMIN_ADDRESS, ADMIN_PORT, DRAIN_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from voltgw.config.model import Config
    from voltgw.interfaces import Journal
    from voltgw.observe.access import Explain, Find


class StartError(Exception):
    """The gateway cannot be what its configuration wants; the message is for the operator."""


class At:
    """An address of the admin interface; `unix` is a path and goes before the other two."""

    def __init__(self, address: str | None = None, port: int | None = None, unix: str | None = None) -> None:
        self.address = address or ADMIN_ADDRESS
        self.port = ADMIN_PORT if port is None else port
        self.unix = unix


class AdminConfig:
    """`gateway.admin` and `gateway.monitor` as `AdminService` wants them."""

    def __init__(self, config: Config) -> None:
        admin, monitor = config.gateway.admin, config.gateway.monitor
        self.admin: At | None = At() if admin is None else At(admin.address, admin.port, admin.unix)
        self.monitor: At | None = None if monitor is None else At(monitor.address, monitor.port)


def drain_timeout_s(config: Config) -> float:
    """How long a drain may take; 0.0 = it waits for nobody, if the operator says so."""
    timeout_s = config.gateway.drain_timeout_s
    return DRAIN_TIMEOUT_S if timeout_s is None else timeout_s


def open_access_log(
    config: Config, clock: IReactorTime, wall: Callable[[], float], *, to_stdout: bool, journal: Journal | None = None,
    explain: Explain | None = None, find: Find | None = None,
) -> AccessLog | None:
    """The access log that the configuration wants; None = it wants none.

    With `to_stdout` it wants text on standard output where it says nothing. `journal`, `explain` and `find` are the log's own.
    Raises StartError when it cannot be written.
    """
    wanted = config.gateway.access_log
    if wanted is not None and wanted.path is not None:
        path, format = wanted.path, wanted.format.value
    elif to_stdout:
        path, format = "-", "text"
    else:
        return None
    try:
        return AccessLog(
            path, format, clock, wall, site=config.gateway.site_name, hostname=socket.gethostname(), journal=journal,
            explain=explain, explain_share=(wanted.explain if wanted is not None else None) or 0.0, find=find)
    except OSError as error:
        raise StartError(f"gateway.access_log: {path} cannot be written: {error.strerror}") from error


def other_access_log(old: Config, new: Config) -> bool:
    """Whether `new` wants another access log than `old`; the lines name the site, and where clients are."""
    return (old.gateway.access_log, old.gateway.site_name, old.gateway.geo is None) != (
        new.gateway.access_log, new.gateway.site_name, new.gateway.geo is None)
