"""The second check of a configuration looks at what has changed, and finds what the first one would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import codes, write
from voltgw.config import check as check_module
from voltgw.config.check import Memory, checking
from voltgw.config.load import Cache, checked_in_steps, load
from voltgw.config.model import Config, Object
from voltgw.config.references import Names, check_references
from voltgw.config.sharing import check_sharing
from voltgw.errors import ConfigError, ConfigErrors


def host(number: int, fields: str = "") -> str:
    """A virtual host with its route, cluster and endpoint."""
    name = f"h{number}"
    return (
        f"- {{kind: virtual_host, metadata: {{name: {name}}}, spec: {{domains: [{name}.example], proxy: HTTP_PROXY, "
        f"advertise_policies: [p], routes: [{name}]{fields}}}}}\n"
        f"- {{kind: route, metadata: {{name: {name}}}, spec: {{routes: [{{route_destination: {{destinations: "
        f"[{{cluster: [{name}]}}]}}}}]}}}}\n"
        f"- {{kind: cluster, metadata: {{name: {name}}}, spec: {{endpoints: [{name}]}}}}\n"
        f"- {{kind: endpoint, metadata: {{name: {name}}}, spec: {{ip: 192.0.2.1, port: 80}}}}\n")


POLICY = "- {kind: advertise_policy, metadata: {name: p}, spec: {address: 127.0.0.1, port: 8080}}\n"


class MemoryCase(SynchronousTestCase):
    """Ten hosts, each in a file of its own; `looked` has the names of the objects that a check looked at."""

    def setUp(self) -> None:
        """Load and check them once."""
        self.folder = Path(self.mktemp())
        self.cache = Cache()
        self.looked: list[str] = []
        self.shared = 0

        def look(config: Config, one: Object[Any], names: Names) -> Any:
            self.looked.append(f"{one.kind} {one.name}")
            return check_references(config, one, names)

        def share(config: Config) -> Any:
            self.shared += 1
            return check_sharing(config)

        self.patch(check_module, "check_references", look)
        self.patch(check_module, "check_sharing", share)
        self.files = {"main": "include: ['h*.yaml']\nobjects:\n" + POLICY,
                      **{f"h{number}": "objects:\n" + host(number) for number in range(10)}}
        self.assertEqual(self.check(), ())
        self.assertEqual((len(self.looked), self.shared), (41, 1))

    def check(self, **files: str) -> tuple[ConfigError, ...]:
        """Problems after these files were written."""
        self.files |= files
        write(str(self.folder), {f"{name}.yaml": text for name, text in self.files.items()})
        self.looked.clear()
        self.shared = 0
        steps = checked_in_steps(load(self.folder / "main.yaml", environ={}, cache=self.cache), self.cache)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                config: Config = done.value
                return config.warnings
            except ConfigErrors as errors:
                return errors.problems


class MemoryTests(MemoryCase):
    def test_nothing_changed(self) -> None:
        """Nothing is looked at."""
        self.assertEqual(self.check(), ())
        self.assertEqual((self.looked, self.shared), ([], 0))

    def test_one_host(self) -> None:
        """Its objects are, and nothing else; who shares its port is as before."""
        self.assertEqual(self.check(h3="objects:\n" + host(3, ", idle_timeout: 1000")), ())
        self.assertEqual((self.looked, self.shared), (["virtual_host h3", "route h3", "cluster h3", "endpoint h3"], 0))

    def test_what_leads_there(self) -> None:
        """Objects that refer to a changed one, or to one that comes or goes, are looked at again."""
        self.check(main=self.files["main"] + "- {kind: endpoint, metadata: {name: e}, spec: {ip: 192.0.2.2, port: 80}}\n",
                   h4="objects:\n" + host(4).replace("endpoints: [h4]", "endpoints: [h4, e]"))
        found = self.check(main=self.files["main"].replace("192.0.2.2", "192.0.2.1"))
        self.assertEqual(codes(found), ["VG0206"])      # now it is the other one, by another name
        self.assertEqual(set(self.looked) - {"advertise_policy p"} - {f"virtual_host h{n}" for n in range(10)},
                         {"endpoint e", "cluster h4"})
        without = self.files["main"].rsplit("- {kind: endpoint", 1)[0]
        self.assertEqual(codes(self.check(main=without)), ["VG0107"])
        self.assertIn("cluster h4", self.looked)

    def test_problems_are_told_again(self) -> None:
        """With the places where they are now."""
        self.check(h5="objects:\n" + host(5).replace("endpoints: [h5]", "endpoints: [h5, h5]"))
        for lines in range(3):
            [found] = self.check(h5="objects:\n" + "#\n" * lines + host(5).replace("endpoints: [h5]", "endpoints: [h5, h5]"))
            self.assertEqual((found.code, found.place.line), ("VG0206", 4 + lines))
        self.check()
        self.assertEqual(self.looked, ["cluster h5"])

    def test_after_an_error(self) -> None:
        """What was good stays so, and the mended objects are looked at."""
        self.assertEqual(codes(self.check(h6="objects:\n" + host(6).replace("routes: [h6]", "routes: [h66]"))), ["VG0107"])
        self.assertEqual(self.check(h6="objects:\n" + host(6)), ())
        self.assertLessEqual(set(self.looked), {"virtual_host h6", "route h6", "cluster h6", "endpoint h6"})

    def test_who_listens_where(self) -> None:
        """Another domain, policy or port, and a host that comes or goes, has all of them compared anew."""
        for text in (host(7).replace("h7.example", "other.example"), host(7).replace("[p]", "[{name: p}, {name: p}]"),
                     host(7).replace("{name: h7}", "{name: h7, disable: true}", 1), host(7) + host(11)):
            self.check(h7="objects:\n" + text)
            self.assertEqual(self.shared, 1, text)
        found = self.check(h7="objects:\n" + host(7).replace("h7.example", "h8.example"))
        self.assertEqual((codes(found), self.shared), (["VG0202"], 1))
        self.assertEqual(codes(self.check()), ["VG0202"])

    def test_the_gateways_part(self) -> None:
        """All depends on it."""
        self.check(main="gateway: {site: paris}\n" + self.files["main"])
        self.assertEqual((len(self.looked), self.shared), (41, 1))

    def test_a_check_that_was_given_up(self) -> None:
        """Nothing of it is believed afterwards."""
        self.files["h9"] = "objects:\n" + host(9, ", idle_timeout: 1000")
        write(str(self.folder), {"h9.yaml": self.files["h9"]})
        config = load(self.folder / "main.yaml", environ={}, cache=self.cache)
        self.looked.clear()
        steps = checking(config, self.cache.memory)
        while not self.looked:
            next(steps)
        del steps
        self.assertEqual(self.check(), ())
        self.assertEqual(len(self.looked), 41)

    def test_steps(self) -> None:
        """One changed object among many costs few steps."""
        config = load(self.folder / "main.yaml", environ={}, cache=self.cache)
        memory = Memory()
        first = sum(1 for _ in checking(config, memory))
        self.assertGreater(first, 41)
        self.assertLess(sum(1 for _ in checking(config, memory)), 5)
