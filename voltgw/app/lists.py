"""Sets of addresses (ip_prefix_set) and the lists in files that they have, read once, in steps, for all hosts that use them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from voltgw.errors import ConfigError, ConfigErrors
from voltgw.routing.problems import CODE, ProblemError
from voltgw.security.addresses import Prefixes
from voltgw.security.geo import Database, Geo
from voltgw.security.rates import local_store

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.bgp_asn_set import BgpAsnSetSpec
    from voltgw.config.objects.ip_prefix_set import IpPrefixSetSpec
    from voltgw.config.values import Ref
    from voltgw.security.rates import NewStore

#: Contents of files -> the prefixes in them.
Lists: TypeAlias = Mapping[bytes, Prefixes]


class Known(NamedTuple):
    """By what gates know a client: lists of addresses, where addresses are (None: there is no database), what users owe."""

    lists: Lists
    geo: Geo | None = None
    new_store: NewStore = local_store


def opening_geo(config: Config, before: Config, known: Geo | None) -> Generator[None, None, Geo | None]:
    """The databases that the gateway names, in steps; the ones of `before` if those are the same. Raises `ConfigErrors`."""
    said = config.gateway.geo
    if said is None:
        return None
    if known is not None and said == before.gateway.geo:
        return known
    try:
        databases: list[Database] = []
        for path in (said.database, said.asn_database):
            if path is not None:
                databases.append((yield from Database.opening(path)))
        return Geo(tuple(databases))
    except ValueError as error:
        raise ConfigErrors((ConfigError(CODE, config.gateway_place, f"gateway.geo: {error}"),)) from error


def reading_lists(config: Config, known: Lists) -> Generator[None, None, dict[bytes, Prefixes]]:
    """Every list of a configuration, those of `known` as they are. Raises `ConfigErrors` with the lines that are wrong."""
    made: dict[bytes, Prefixes] = {}
    problems: list[ConfigError] = []
    for one in config.of("ip_prefix_set").values():
        data = one.spec.voltgw.file if one.spec.voltgw is not None else None
        if data is None or data in made:
            continue
        if data in known:
            made[data] = known[data]
            continue
        try:
            made[data] = yield from Prefixes.reading(data)
        except ValueError as error:
            problems.append(ConfigError(CODE, one.place("voltgw", "file"), f"the file of {one.title}, {error}"))
    if problems:
        raise ConfigErrors(tuple(problems))
    return made


def systems_of(config: Config, ref: Ref, namespace: str) -> tuple[int, ...]:
    """The autonomous systems of a set. Raises ValueError when there is no such set in service."""
    found: Object[BgpAsnSetSpec] | None = config.find("bgp_asn_set", ref, namespace)
    if found is None:
        raise ProblemError(f'there is no bgp_asn_set "{ref.name}" in service, so whom it lists is not known')
    return found.spec.as_numbers


def prefixes_of(config: Config, ref: Ref, namespace: str, lists: Lists) -> Prefixes:
    """The prefixes of a set. Raises ValueError when there is no such set in service: whom it lists is then not known."""
    found: Object[IpPrefixSetSpec] | None = config.find("ip_prefix_set", ref, namespace)
    if found is None:
        raise ProblemError(f'there is no ip_prefix_set "{ref.name}" in service, so whom it lists is not known')
    spec = found.spec
    data = spec.voltgw.file if spec.voltgw is not None else None
    return Prefixes(
        (*spec.prefix, *(each.ipv4_prefix for each in spec.ipv4_prefixes if each.ipv4_prefix is not None),
         *(each.ipv6_prefix for each in spec.ipv6_prefixes if each.ipv6_prefix is not None)),
        () if data is None else (lists[data],))
