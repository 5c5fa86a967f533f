"""Reading the configuration that a gateway serves, at once or in steps."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import balancer, balancers
from voltgw.app.load import Loader, TextLoader, at_once
from voltgw.config.load import checked, load
from voltgw.errors import ConfigErrors, Severity

#: An object with a field that is not acted on, which is a warning.
_IGNORED = "objects:\n- {kind: site, metadata: {name: s}, spec: {voltgw: {}, public_ip: 192.0.2.1}}\n"


class LoaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = Path(self.mktemp()).absolute()
        self.loader = Loader(str(self.file), {"ORIGIN": "127.0.0.1:9001"})

    def write(self, text: str) -> None:
        """Its file."""
        self.file.write_text(text, encoding="utf-8")

    def test_as_check_reads_it(self) -> None:
        """What comes out, warnings and all, is what ``voltgw check`` gets."""
        self.write(balancers(balancer("a", "8080", "${ORIGIN}")) + _IGNORED)
        found = at_once(self.loader)
        wanted = checked(load(str(self.file), environ={"ORIGIN": "127.0.0.1:9001"}))
        self.assertEqual((found.digest, found.objects, found.warnings), (wanted.digest, wanted.objects, wanted.warnings))
        self.assertEqual([(problem.severity, problem.source[:7]) for problem in found.warnings], [(Severity.WARNING, "- {kind")])

    def test_errors_between_objects(self) -> None:
        """They are raised together with those of single files' warnings, each with its line."""
        self.write(_IGNORED + "- {kind: cluster, metadata: {name: c}, spec: {endpoints: [none]}}\n")
        problems = self.assertRaises(ConfigErrors, at_once, self.loader).problems
        self.assertEqual([(problem.severity.value, problem.place.line) for problem in problems], [("error", 3), ("warning", 2)])
        self.assertIn("endpoints: [none]", problems[0].source)

    def test_an_object_at_a_time(self) -> None:
        """Checking stops after each object, so that it can be spread over many turns."""
        self.write(balancers(*(balancer(f"n{number}", f"127.0.0.1:{number}", "127.0.0.1:1") for number in range(1, 31))))
        steps = self.loader.steps()
        count = 0
        while True:
            try:
                next(steps)
            except StopIteration:
                break
            count += 1
        self.assertGreater(count, 90)

    def test_read_again(self) -> None:
        """An unchanged file gives the same objects; a changed one is read, and so is one that was broken in between."""
        self.write(balancers(balancer("a", "8080", "127.0.0.1:1")))
        first = at_once(self.loader)
        [cluster] = first.of("cluster").values()
        self.assertIs(next(iter(at_once(self.loader).of("cluster").values())), cluster)
        self.write("nonsense: 1\n")
        self.assertRaises(ConfigErrors, at_once, self.loader)
        self.write(balancers(balancer("a", "8080", "127.0.0.1:2")))
        second = at_once(self.loader)
        self.assertNotEqual(second.digest, first.digest)
        self.assertEqual([endpoint.spec.port for endpoint in second.of("endpoint").values()], [2])


class TextLoaderTests(SynchronousTestCase):
    def test_errors_have_places(self) -> None:
        """A mistake in what stands in no file is told with the name that it was given."""
        problems = self.assertRaises(ConfigErrors, at_once, TextLoader("nonsense: 1\n", "<command line>")).problems
        self.assertEqual(str(problems[0].place), "<command line>:1:1")

    def test_read_again(self) -> None:
        """It never changes."""
        loader = TextLoader(balancers(balancer("a", "8080", "127.0.0.1:1")), "<demo>")
        self.assertEqual(at_once(loader).digest, at_once(loader).digest)
