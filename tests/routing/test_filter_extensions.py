"""Filters of installed packages: found by name, built with their options, run among the others."""

from __future__ import annotations

import importlib
import shutil
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.routing.support import Clusters, RouteObject, answer, exchange
from tests.routing.test_table import rule
from voltgw.config.objects.extensions import FilterUse, HostExtension, RouteExtension
from voltgw.config.objects.route import RouteSpec, RouteType
from voltgw.config.objects.virtual_host import VirtualHostSpec
from voltgw.config.values import FrozenMap
from voltgw.errors import ConfigError, ConfigErrors, Place
from voltgw.interfaces import IFilterFactory
from voltgw.registry import FILTERS, Registry
from voltgw.routing.problems import BuildErrors
from voltgw.routing.route import VirtualHost
from voltgw.routing.table import build_host
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Reply

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example-filter"


@implementer(IFilterFactory)
class Note:
    """A factory whose filters write down what runs, in the field ``seen`` of request and response."""

    name = "note"
    built = 0

    def options(self, raw: object, place: object) -> object:
        """The text to write; ``bug`` is one of ours, ``wrong`` one of the operator's, ``places`` two of them."""
        if raw == "bug":
            raise KeyError("oops")
        if raw == "wrong":
            raise ValueError("that is wrong")
        if raw == "places":
            assert isinstance(place, Place)
            raise ConfigErrors((ConfigError("VG0101", place, "one"), ConfigError("VG0102", place, "two")))
        return raw

    def build(self, options: object) -> object:
        """Something that has both methods, or what the options ask for."""
        if options == "nothing":
            return object()
        if options == "trouble":
            raise RuntimeError("cannot")
        type(self).built += 1
        return _Note(str(options).encode())


class _Note:
    def __init__(self, text: bytes) -> None:
        self.text = text

    def request(self, exchanged: Exchange) -> None:
        exchanged.request.fields.append((b"seen", self.text))

    def response(self, exchanged: Exchange) -> None:
        assert exchanged.response is not None
        exchanged.response.fields.append((b"seen", self.text))


class NoFactory:
    """Has a name and takes options, but builds nothing."""

    name = "lame"

    def options(self, raw: object, place: object) -> object:
        return raw


REGISTRY = Registry({FILTERS: {"note": f"{__name__}:Note", "lame": f"{__name__}:NoFactory"}}, lambda group: ())


def use(*texts: object, name: str = "note") -> tuple[FilterUse, ...]:
    return tuple(FilterUse(name=name, options=text) for text in texts)


def host(
    of_host: Iterable[FilterUse] = (), of_object: Iterable[FilterUse] = (), of_rule: Iterable[FilterUse] = (), *,
    registry: Registry = REGISTRY, rules: tuple[RouteType, ...] = (),
) -> VirtualHost:
    """A host with these filters at each level."""
    spec = VirtualHostSpec(domains=("*",), voltgw=HostExtension(filters=tuple(of_host)))
    one = rule(voltgw=RouteExtension(filters=tuple(of_rule)))
    routes = RouteSpec(routes=(one, *rules), voltgw=RouteExtension(filters=tuple(of_object)))
    return build_host("shop", spec, [RouteObject("r", routes)], Clusters(), registry=registry,
                      place=lambda *path: Place(f"host.yaml:{'.'.join(map(str, path))}", 1))


def seen(made: VirtualHost) -> tuple[list[bytes], list[bytes]]:
    """What ran for a request of the first route, and for its answer."""
    exchanged = exchange(response=answer())
    for request_filter in made.routes[0].request_filters:
        request_filter(exchanged)
    for response_filter in made.routes[0].response_filters:
        response_filter(exchanged)
    assert exchanged.response is not None
    return ([value for name, value in exchanged.request.fields if name == b"seen"],
            [value for name, value in exchanged.response.fields if name == b"seen"])


class OrderTests(SynchronousTestCase):
    def test_levels(self) -> None:
        """The host's, the object's, the rule's, each in its order; answers pass them the other way."""
        self.assertEqual(seen(host(use("a", "b"), use("c"), use("d", "e"))),
                         ([b"a", b"b", b"c", b"d", b"e"], [b"e", b"d", b"c", b"b", b"a"]))

    def test_built_once_where_it_is_named(self) -> None:
        """Rules share the filters of their host and their object."""
        Note.built = 0
        host(use("a"), use("b"), use("c"), rules=(rule(), rule()))
        self.assertEqual(Note.built, 3)

    def test_labels(self) -> None:
        """Explain is told each filter with its place."""
        labels = host(use("a"), use("b"), use("c", "d")).routes[0].filters
        self.assertEqual([(label.name, label.place.file) for label in labels], [
            ("note", "host.yaml:voltgw.filters.0"), ("note", "r.yaml:voltgw.filters.0"),
            ("note", "r.yaml:routes.0.voltgw.filters.0"), ("note", "r.yaml:routes.0.voltgw.filters.1")])

    def test_without_a_registry(self) -> None:
        """Whoever hands none in is given the installed packages."""
        spec = VirtualHostSpec(domains=("*",), voltgw=HostExtension(filters=use("x", name="surely-not-installed")))
        error = self.assertRaises(BuildErrors, build_host, "shop", spec, [], Clusters())
        self.assertEqual([problem.code for problem in error.problems], ["VG0302"])


class MistakeTests(SynchronousTestCase):
    """Each is a problem of the configuration, with its place."""

    def problems(self, *uses: FilterUse) -> list[tuple[str, str, str]]:
        error = self.assertRaises(BuildErrors, host, (), (), uses)
        return [(problem.code, problem.place.file.removeprefix("r.yaml:routes.0.voltgw.filters."), problem.message)
                for problem in error.problems]

    def test_a_name_that_nobody_has(self) -> None:
        """With what may have been meant."""
        self.assertEqual(self.problems(*use("ok"), *use("x", name="nota")), [
            ("VG0302", "1.name", "voltgw.filters: there is no 'nota'; did you mean 'note'?")])

    def test_options(self) -> None:
        """A ValueError at the options; problems with places of their own; a bug in the package is named as one."""
        self.assertEqual(self.problems(*use("wrong")), [("VG0301", "0.options", "that is wrong")])
        self.assertEqual(self.problems(*use("places")), [("VG0101", "0.options", "one"), ("VG0102", "0.options", "two")])
        self.assertEqual(self.problems(*use("bug")), [
            ("VG0301", "0.options", "filter 'note' fails on these options: KeyError: 'oops'")])
        self.assertEqual(self.problems(*use("trouble")), [
            ("VG0301", "0.options", "filter 'note' fails on being built: RuntimeError: cannot")])

    def test_what_is_no_filter(self) -> None:
        """Something that can be called neither for requests nor for answers; a factory that builds nothing."""
        ((code, place, message),) = self.problems(*use("nothing"))
        self.assertEqual((code, place), ("VG0301", "0.name"))
        self.assertIn("no method request", message)
        ((code, place, message),) = self.problems(*use("x", name="lame"))
        self.assertEqual((code, place), ("VG0302", "0.name"))

    def test_the_host_s_are_reported_once(self) -> None:
        """However many routes it has."""
        error = self.assertRaises(BuildErrors, host, use("wrong"), use("wrong"), (), rules=(rule(), rule()))
        self.assertEqual([problem.place.file for problem in error.problems],
                         ["host.yaml:voltgw.filters.0.options", "r.yaml:voltgw.filters.0.options"])


class ExampleTests(SynchronousTestCase):
    """The package in the documentation, installed as any other: it is on the path, and declares an entry point."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        shutil.copy(EXAMPLE / "voltgw_maintenance.py", folder)
        project: dict[str, Any] = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        written = folder / f"voltgw_maintenance-{project['version']}.dist-info"
        written.mkdir()
        written.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8")
        lines = []
        for group, entries in project["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        written.joinpath("entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        self.patch(sys, "path", [str(folder.resolve()), *sys.path])
        importlib.invalidate_caches()
        self.addCleanup(sys.modules.pop, "voltgw_maintenance", None)
        self.registry = Registry()

    def uses(self, **options: object) -> tuple[FilterUse, ...]:
        return (FilterUse(name="maintenance", options=FrozenMap(options)),)

    def test_it_is_found(self) -> None:
        """By the name that the package declares; it provides the interface."""
        self.assertIn("maintenance", self.registry.names(FILTERS))
        verifyObject(IFilterFactory, self.registry.find(FILTERS, "maintenance"))

    def test_it_runs(self) -> None:
        """Strangers are told to come back, those that are admitted pass, and answers are marked."""
        route = host(self.uses(admit=("192.0.2.0/24",), retry_after=60), registry=self.registry).routes[0]
        exchanged = exchange(response=answer())
        self.assertIsNone(route.request_filters[0](exchanged))
        route.response_filters[0](exchanged)
        assert exchanged.response is not None
        self.assertEqual(exchanged.response.fields, [(b"x-maintenance", b"yes")])
        exchanged.client_address = "203.0.113.9"
        reply = route.request_filters[0](exchanged)
        assert isinstance(reply, Reply)
        self.assertEqual((reply.status, reply.fields, reply.flag), (503, [(b"retry-after", b"60")], "MAINT"))

    def test_its_mistakes(self) -> None:
        """They are shown where the options stand."""
        for options, message in (({"admit": ("x",)}, "'x' does not appear to be an IPv4 or IPv6 network"),
                                 ({"retry_after": 0}, "retry_after is a number of seconds"),
                                 ({"admitt": ()}, 'maintenance has no option "admitt"')):
            error = self.assertRaises(BuildErrors, host, self.uses(**options), registry=self.registry)
            self.assertEqual([(problem.place.file, problem.message) for problem in error.problems],
                             [("host.yaml:voltgw.filters.0.options", message)])

    def test_two_owners(self) -> None:
        """A name that another package has already is refused."""
        registry = Registry({FILTERS: {"maintenance": f"{__name__}:Note"}},
                            lambda group: [EntryPoint("maintenance", "voltgw_maintenance:Maintenance", group)])
        error = self.assertRaises(BuildErrors, host, self.uses(), registry=registry)
        self.assertIn("belongs to", error.problems[0].message)
