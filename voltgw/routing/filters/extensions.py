"""Filters of installed packages, asked for by name: ``voltgw: {filters: [{name: …, options: …}]}``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from voltgw.errors import ConfigErrors
from voltgw.interfaces import IFilterFactory
from voltgw.registry import FILTERS, Registry, RegistryError
from voltgw.routing.problems import NO_EXTENSION, ProblemError, at

if TYPE_CHECKING:
    from voltgw.config.objects.extensions import FilterUse
    from voltgw.interfaces import RequestFilter, ResponseFilter
    from voltgw.routing.problems import Placer, Step


class Named(NamedTuple):
    """One filter in use; either half may be missing. `path` leads to where it is asked for."""

    name: str
    request: RequestFilter | None
    response: ResponseFilter | None
    path: tuple[Step, ...]


def named_filters(uses: Sequence[FilterUse], registry: Registry, placer: Placer, *path: Step) -> tuple[Named, ...]:
    """The filters of one list, which stands at `path` of an object whose places `placer` knows.

    Raises `ProblemError` with the way from the object, or the `ConfigErrors` of the filter's own check of its options.
    """
    made = []
    for number, use in enumerate(uses):
        with at(*path, number):
            made.append(_made(use, registry, placer, (*path, number)))
    return tuple(made)


def _made(use: FilterUse, registry: Registry, placer: Placer, path: tuple[Step, ...]) -> Named:
    with at("name"):
        factory = _factory(use.name, registry)
    with at("options"):
        # a third party's code: whatever it raises is a mistake of the operator's or its own, and has a place
        options = _called(use.name, "these options", factory.options, use.options, placer(*path, "options"))
        built = _called(use.name, "being built", factory.build, options)
    request = getattr(built, "request", None)
    response = getattr(built, "response", None)
    with at("name"):
        if not callable(request) and not callable(response):
            raise ValueError(f"filter {use.name!r} has built {built!r}, which has no method request and none called response")
    return Named(
        use.name, cast("RequestFilter | None", request if callable(request) else None),
        cast("ResponseFilter | None", response if callable(response) else None), path)


def _factory(name: str, registry: Registry) -> Any:
    try:
        factory = registry.find(FILTERS, name)
    except RegistryError as error:
        raise ProblemError(str(error), code=NO_EXTENSION) from error
    try:
        verifyObject(IFilterFactory, factory, tentative=True)
    except Invalid as error:
        raise ProblemError(f"{name!r} is not a factory of filters: {error}", code=NO_EXTENSION) from error
    return factory


def _called(name: str, what: str, function: Callable[..., object], *arguments: object) -> object:
    try:
        return function(*arguments)
    except (ConfigErrors, ValueError):
        raise
    except Exception as error:              # whatever a third party's code may raise
        raise ProblemError(f"filter {name!r} fails on {what}: {type(error).__name__}: {error}") from error
