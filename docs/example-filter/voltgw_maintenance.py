"""A filter of one's own: while a site is being worked on, everybody but a few is told to come back later."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from zope.interface import implementer

from voltgw.errors import ConfigError, ConfigErrors, Place
from voltgw.interfaces import IFilterFactory
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Reply


@dataclass(frozen=True)
class Options:
    """What the configuration says, checked."""

    admit: tuple[IPv4Network | IPv6Network, ...]
    retry_after_s: int


class Filter:
    """What runs. It keeps nothing of one exchange: many may be under way at a time."""

    def __init__(self, options: Options) -> None:
        self._admit = options.admit
        self._retry_after = b"%d" % options.retry_after_s

    def request(self, exchange: Exchange) -> Reply | None:
        """None lets the request go on, a Reply ends it."""
        address = ip_address(exchange.client_address)
        if any(address in network for network in self._admit):
            return None
        return Reply(503, [(b"retry-after", self._retry_after)], flag="MAINT", detail="maintenance", negotiate=True)

    def response(self, exchange: Exchange) -> None:
        """Edits the endpoint's answer in place; names of fields are in lower case."""
        if exchange.response is not None:
            exchange.response.fields.append((b"x-maintenance", b"yes"))


@implementer(IFilterFactory)
class Maintenance:
    """What the entry point names."""

    name = "maintenance"

    def options(self, raw: object, place: object) -> Options:
        """Check what stands in the configuration.

        A ValueError is shown at the place of the options; `ConfigErrors` may hold several problems with places of their own.
        """
        if not isinstance(raw, dict):
            raise ValueError("maintenance needs options: {admit: [addresses], retry_after: seconds}")
        unknown = sorted(set(raw) - {"admit", "retry_after"})
        if unknown and isinstance(place, Place):
            raise ConfigErrors(tuple(ConfigError("VG0101", place, f'maintenance has no option "{name}"') for name in unknown))
        seconds = raw.get("retry_after", 300)
        if not isinstance(seconds, int) or seconds < 1:
            raise ValueError("retry_after is a number of seconds")
        return Options(tuple(ip_network(text) for text in raw.get("admit", ())), seconds)

    def build(self, options: object) -> Filter:
        """The filter for options that have been checked."""
        assert isinstance(options, Options)
        return Filter(options)
