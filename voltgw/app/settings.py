"""What the ``gateway:`` part of a configuration says of this process, with its defaults filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.values.defaults import ADMIN_ADDRESS, ADMIN_PORT, DRAIN_TIMEOUT_S

if TYPE_CHECKING:
    from voltgw.config.model import Config


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


def other_access_log(old: Config, new: Config) -> bool:
    """Whether `new` wants another access log than `old`; the lines name the site, and where clients are."""
    return (old.gateway.access_log, old.gateway.site_name, old.gateway.geo is None) != (
        new.gateway.access_log, new.gateway.site_name, new.gateway.geo is None)
