"""What the admin pages show of what serves, one thing after another: there may be ten thousand of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from voltgw.config.schema import plain_message
from voltgw.config.show import plain_object

if TYPE_CHECKING:
    from voltgw.app.build import Runtime
    from voltgw.app.listening import AnyBound
    from voltgw.config.model import Config, Object
    from voltgw.control.membership import Membership
    from voltgw.routing.route import Route

#: Names or problems that are said one by one; of the others only how many there are.
MOST: Final = 20
#: Characters of a value of the configuration on a page.
MOST_TEXT: Final = 2000


def some(texts: list[str], what: str, most: int = MOST) -> list[str]:
    """The first ones, and how many more there are of `what` ("clusters")."""
    return texts if len(texts) <= most else [*texts[:most], f"{len(texts) - most} more {what}"]


def virtual_hosts(runtime: Runtime, bound: Iterable[AnyBound]) -> Iterator[dict[str, Any]]:
    """Every virtual host with its domains, listeners and routes."""
    listeners: dict[int, list[str]] = {}
    for each in bound:
        for host in each.plan.hosts:
            listeners.setdefault(id(host), []).append(each.name)
    for host in (*runtime.hosts.values(), *(forward.host for forward in runtime.forwards.values())):
        yield {
            "name": host.name, "namespace": host.namespace, "proxy": host.proxy, "domains": list(host.domains),
            "place": str(host.place), "listeners": listeners.get(id(host), []),
            "routes": [{
                "name": route.name, "place": str(route.place), "requests": sum(route.counters.status),
                "clusters": [each.cluster.name if each.cluster is not None else None for each in route.destinations],
            } for route in host.routes],
        }


def clusters(memberships: Iterable[Membership]) -> Iterator[dict[str, Any]]:
    """Every cluster with every endpoint and its reasons."""
    for membership in memberships:
        yield membership.describe()


def routes(runtime: Runtime) -> Iterator[Route]:
    """Every live route."""
    for host in runtime.hosts.values():
        yield from host.routes
    for forward in runtime.forwards.values():
        yield from forward.host.routes


def effective(config: Config) -> dict[str, Any]:
    """`voltgw.config.show.effective`, whose objects are made as they are asked for."""
    return {
        "gateway": plain_message(config.gateway),
        "objects": (plain_object(one) for objects in config.objects.values() for one in objects.values() if not one.lowered),
    }


def places(config: Config) -> Iterator[dict[str, Any]]:
    """Every object with where it and its values stand; what is made of friendly forms stands where they do."""
    gateway = plain_message(config.gateway)
    yield {"name": "gateway", "place": str(config.gateway_place), "values": [
        (name, _text(value), "") for name, value in gateway.items()]}
    for objects in config.objects.values():
        for one in objects.values():
            yield {"name": f'{one.kind} "{one.full_name}"', "place": str(one.place()), "values": Values(one)}


class Values:
    """The fields of an object with their places, worked out as they are asked for."""

    __slots__ = ("_object",)

    def __init__(self, one: Object[Any]) -> None:
        self._object = one

    def __repr__(self) -> str:
        return ""

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        for name, value in plain_object(self._object)["spec"].items():
            yield name, _text(value), str(self._object.place(name))


def _text(value: object) -> str:
    said = json.dumps(value, ensure_ascii=False, default=str)
    return said if len(said) <= MOST_TEXT else f"{said[:MOST_TEXT]}..."
