"""What the ``gateway:`` part of a configuration says of this process, with its defaults filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.config.admin import Anonymous, Role
from voltgw.observe.admin import AdminTls
from voltgw.observe.callers import NOTHING, OPERATE, READ, Callers, user_id
from voltgw.values.address import is_loopback
from voltgw.values.defaults import ADMIN_ADDRESS, ADMIN_PORT, DRAIN_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltgw.config.admin import AdminAddress
    from voltgw.config.model import Config


class StartError(Exception):
    """The gateway cannot be what its configuration wants; the message is for the operator."""


class At:
    """An address of the admin interface; `unix` is a path and goes before the other two."""

    def __init__(self, address: str | None = None, port: int | None = None, unix: str | None = None) -> None:
        self.address = address or ADMIN_ADDRESS
        self.port = ADMIN_PORT if port is None else port
        self.unix = unix


class AdminAt(At):
    """Where the admin interface is, and for whom."""

    def __init__(self, said: AdminAddress | None) -> None:
        super().__init__(*(() if said is None else (said.address, said.port, said.unix)))
        self.names = () if said is None else tuple(name.lower() for name in said.names)
        self.tls: AdminTls | None = None
        if said is not None and said.tls is not None:
            self.tls = AdminTls(said.tls.cert, bytes(said.tls.key.data), said.tls.client_ca)
        self._said = said

    def callers(self, now: Callable[[], float]) -> Callers:
        """Who may do what. Raises KeyError for a user that nobody is."""
        said = self._said
        if said is None:
            return Callers(now)
        anonymous = READ
        if said.anonymous is Anonymous.NOTHING or (said.anonymous is Anonymous.BY_ADDRESS and not is_loopback(self.address)):
            anonymous = NOTHING
        return Callers(
            now, [(each.name, bytes(each.token.data).strip(), _role(each.role)) for each in said.tokens],
            [(each.name, _role(each.role)) for each in said.clients],
            [(user_id(each.user), _role(each.role)) for each in said.users], anonymous)


def _role(role: Role) -> int:
    return OPERATE if role is Role.OPERATE else READ


class AdminConfig:
    """`gateway.admin` and `gateway.monitor` as `AdminService` wants them."""

    def __init__(self, config: Config) -> None:
        admin, monitor = config.gateway.admin, config.gateway.monitor
        self.admin: AdminAt | None = AdminAt(admin)
        self.monitor: At | None = None if monitor is None else At(monitor.address, monitor.port)


def drain_timeout_s(config: Config) -> float:
    """How long a drain may take; 0.0 = it waits for nobody, if the operator says so."""
    timeout_s = config.gateway.drain_timeout_s
    return DRAIN_TIMEOUT_S if timeout_s is None else timeout_s


def other_access_log(old: Config, new: Config) -> bool:
    """Whether `new` wants another access log than `old`; the lines name the site, and where clients are."""
    return (old.gateway.access_log, old.gateway.site_name, old.gateway.geo is None) != (
        new.gateway.access_log, new.gateway.site_name, new.gateway.geo is None)
