"""``voltgw import`` of what is broken, hostile or not there: an answer with a place, soon, and never a traceback."""

from __future__ import annotations

import random
import stat
import time
from importlib import import_module
from pathlib import Path
from typing import Final

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.imports.table import FOLDER
from tests.cli.running import Run, run
from voltgw.app.importing.model import MAX_DEPTH, MAX_FILE_BYTES, MAX_NOTES, UnreadableError
from voltgw.app.importing.writer import write
from voltgw.cli.importing import READERS

#: A small whole configuration of each.
SMALL: Final = {
    "nginx": "http { server { listen 8080; location / { proxy_pass http://127.0.0.1:9001; } } }\n",
    "haproxy": "frontend f\n  mode http\n  bind :8080\n  default_backend b\nbackend b\n  mode http\n  server s 127.0.0.1:9001\n",
    "caddy": ":8080 {\n\treverse_proxy 127.0.0.1:9001\n}\n",
    "traefik": "http:\n  routers: {r: {rule: 'PathPrefix(`/`)', service: s, entryPoints: [web]}}\n"
               "  services: {s: {loadBalancer: {servers: [{url: 'http://127.0.0.1:9001'}]}}}\n"}
#: What closes nothing, and where that is said to be.
UNCLOSED: Final = {
    "nginx": ("http {\n  server {\n    listen 80;\n", "2:3"), "haproxy": ("frontend 'f\n", "1:1"),
    "caddy": (":80 {\n\trespond \"hello\n}\n", "2:10"), "traefik": ("http:\n  routers: {r: [\n", "3:1")}
NESTED: Final = {
    "nginx": "a {" * 5000, "haproxy": "frontend f\n  bind :80\n  mode http\n  http-request deny if " + "!{ path /a } " * 5000 + "\n",
    "caddy": ":80 {\n" + "handle {\n" * 5000, "traefik": "http: " + "[" * 5000}
ITSELF: Final = {"nginx": ("include self.conf;\n", "includes itself"), "caddy": ("import self.conf\n", "imports are too many")}


class BrokenCase(SynchronousTestCase):
    """Base: files of one's own."""

    def file(self, text: str | bytes, name: str = "self.conf") -> str:
        """Its path."""
        folder = Path(self.mktemp())
        folder.mkdir()
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def imported(self, language: str, text: str | bytes, *options: str) -> Run:
        """What becomes of it, with the folder taken out of messages."""
        path = self.file(text)
        done = run(["import", language, path, *options])
        return Run(done.status, done.out, done.err.replace(path, "self.conf"))


class CommandTests(BrokenCase):
    def test_to_standard_output(self) -> None:
        """The result is a file of voltgw, which `check` takes without a word."""
        for language, text in SMALL.items():
            done = self.imported(language, text)
            self.assertEqual((done.status, done.err), (0, ""), language)
            self.assertIn("Everything that concerns traffic has been translated", done.out)
            checked = run(["check", "--strict", "-q", self.file(done.out, "voltgw.yaml")])
            self.assertEqual(checked, Run(0, "", ""), f"{language}\n{done.out}")

    def test_to_a_file(self) -> None:
        """It is replaced whole, others may read it, and the summary names the next step."""
        path = self.file("before", "voltgw.yaml")
        done = self.imported("nginx", SMALL["nginx"], "-o", path)
        self.assertEqual((done.status, done.out), (0, ""))
        self.assertIn(f"next: voltgw check {path}", done.err)
        self.assertIn("kind: virtual_host", Path(path).read_text())
        self.assertEqual(stat.S_IMODE(Path(path).stat().st_mode), 0o644)
        self.assertEqual([each.name for each in Path(path).parent.iterdir()], ["voltgw.yaml"])

    def test_a_file_that_cannot_be_written(self) -> None:
        """Status 2, with the reason."""
        done = self.imported("nginx", SMALL["nginx"], "-o", "/no/such/folder/voltgw.yaml")
        self.assertEqual(done, Run(2, "", "voltgw import: /no/such/folder/voltgw.yaml cannot be written: No such file or directory\n"))

    def test_what_is_left_out(self) -> None:
        """It is named with its place and with what to do, on standard error and in the result; `--strict` makes it a status."""
        text = "http {\n  server {\n    listen 8080;\n    location / { proxy_pass http://a:1; sub_filter x y; }\n  }\n}\n"
        done = self.imported("nginx", text)
        line = "self.conf:4:41: left out: sub_filter x y: bodies are never changed"
        self.assertEqual((done.status, done.err), (0, f"{line}\n"))
        self.assertEqual(self.imported("nginx", text, "--strict").status, 1)
        self.assertEqual(self.imported("nginx", SMALL["nginx"], "--strict").status, 0)
        self.assertIn("left out: sub_filter x y", done.out.partition("objects:")[0])

    def test_servers_that_are_reached_in_two_ways(self) -> None:
        """A cluster has TLS for all its endpoints or for none: the others are named, and nobody is spoken to in the wrong way."""
        for language, text in (
            ("haproxy", SMALL["haproxy"] + "  server t 127.0.0.1:9443 ssl verify none\n"),
            ("caddy", ":80 {\n\treverse_proxy http://127.0.0.1:9001 https://127.0.0.1:9443\n}\n"),
            ("traefik", SMALL["traefik"].replace("{url: 'http://127.0.0.1:9001'}",
                                                 "{url: 'http://127.0.0.1:9001'}, {url: 'https://127.0.0.1:9443'}")),
        ):
            done = self.imported(language, text)
            self.assertIn("are all reached by TLS, or none is", done.err, language)
            self.assertNotIn("9443", done.out.partition("objects:")[2])
            self.assertNotIn("tls_parameters", done.out)

    def test_refusals_that_are_left_out(self) -> None:
        """The note says what that means."""
        for language, text in (
            ("haproxy", SMALL["haproxy"].replace("  default", "  http-request deny if { sc_http_req_rate(0) gt 100 }\n  default")),
            ("nginx", SMALL["nginx"].replace("location /", "if ($bad_bot) { return 403; } location /")),
        ):
            self.assertIn("nobody is refused by it until you write a rule", self.imported(language, text).err)

    def test_notes_are_bounded(self) -> None:
        """Thousands of unknown directives are counted, and not all shown."""
        done = self.imported("nginx", "http { server { listen 80; " + "".join(f"x{n} y;\n" for n in range(5000)) + "} }")
        self.assertEqual(len(done.err.splitlines()), MAX_NOTES + 1)
        self.assertIn(f"and {5000 - MAX_NOTES} more", done.err)

    def test_secrets_of_the_environment_stay_there(self) -> None:
        """Text that looks like a variable of ours is not one in the result."""
        text = SMALL["nginx"].replace("proxy_pass", "proxy_set_header X-A '%{HOME}'; add_header X-B '${x}$' always; proxy_pass")
        done = self.imported("nginx", text.replace("'${x}$'", "'100%'"))
        self.assertIn("%%{HOME}", done.out)
        made = yaml.safe_load(done.out)
        rules = next(each for each in made["objects"] if each["kind"] == "route")["spec"]["routes"]
        self.assertEqual(rules[0]["response_headers_to_add"], [{"name": "X-B", "value": "100%%", "append": True}])


class BrokenTests(BrokenCase):
    def test_what_is_not_there(self) -> None:
        """Status 2, with the file."""
        for language in READERS:
            done = run(["import", language, "/no/such/file"])
            self.assertEqual(done, Run(2, "", "voltgw import: /no/such/file:1:1: /no/such/file cannot be read: "
                                              "No such file or directory\n"))

    def test_what_is_empty(self) -> None:
        """Nothing to import is no success."""
        for language in READERS:
            self.assertEqual(self.imported(language, "").status, 2, language)
            self.assertEqual(self.imported(language, "# nothing but a remark\n").status, 2, language)

    def test_what_is_not_text(self) -> None:
        """A certificate, a picture, a program."""
        for language in READERS:
            done = self.imported(language, b"\n\n\x7fELF\xff\xfe")
            self.assertEqual((done.status, done.err), (2, "voltgw import: self.conf:3:1: this is not UTF-8 text\n"), language)

    def test_what_is_not_closed(self) -> None:
        """The place is where it began, or where it is missed."""
        for language, (text, place) in UNCLOSED.items():
            done = self.imported(language, text)
            self.assertEqual(done.status, 2, language)
            self.assertIn(f"self.conf:{place}: ", done.err)

    def test_what_nests_without_end(self) -> None:
        """It is refused, or left out, at once."""
        for language, text in NESTED.items():
            began = time.monotonic()
            done = self.imported(language, text)
            self.assertLess(time.monotonic() - began, 5.0)
            self.assertIn("self.conf:", done.err, language)
            self.assertNotIn("Traceback", done.err)
        self.assertIn(f"more than {MAX_DEPTH} deep", self.imported("nginx", NESTED["nginx"]).err)

    def test_what_includes_itself(self) -> None:
        """A circle is seen where it closes."""
        for language, (text, words) in ITSELF.items():
            done = self.imported(language, text)
            self.assertEqual(done.status, 2)
            self.assertIn(words, done.err)
        done = self.imported("caddy", "(a) {\n\timport a\n\timport a\n}\n:80 {\n\timport a\n}\n")
        self.assertEqual(done.status, 2)
        self.assertIn("a snippet imports itself", done.err)

    def test_what_is_too_large(self) -> None:
        """Neither bytes nor words without end; nor aliases that multiply."""
        for language in READERS:
            self.assertIn("has more than", self.imported(language, b"#" * (MAX_FILE_BYTES + 1)).err)
        self.assertIn("words", self.imported("nginx", "a b;\n" * 600_000).err)
        laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)) + "http: *j\n"
        began = time.monotonic()
        self.assertEqual(self.imported("traefik", laughs).status, 2)
        self.assertLess(time.monotonic() - began, 20.0)

    def test_templates(self) -> None:
        """Traefik runs Go templates in its files; nobody does that here."""
        done = self.imported("traefik", "http:\n  routers:\n    a: {rule: \"Host(`{{ env \\\"X\\\" }}`)\"}\n")
        self.assertEqual(done, Run(2, "", "voltgw import: self.conf:3:22: Go templates are not run: write what they would give\n"))


class ShreddedTests(BrokenCase):
    def test_shreds_of_real_configurations(self) -> None:
        """Cut anywhere, with words missing or doubled: a result that is YAML, or a refusal; nothing else, ever."""
        chance = random.Random(1)
        results = {True: 0, False: 0}
        for language in READERS:
            translate = import_module(READERS[language]).translate
            for source in sorted((FOLDER / language).iterdir()):
                if ".table." in source.name:
                    continue
                text = source.read_text(encoding="utf-8")
                for _ in range(3):
                    name = self.file(shredded(text, chance), source.name)
                    try:
                        gateway = translate([name])
                    except UnreadableError as error:
                        self.assertIn(source.name, str(error))
                        results[False] += 1
                        continue
                    made = yaml.safe_load(write(gateway, language, [source.name]))
                    self.assertIn("objects", made)
                    results[True] += 1
        self.assertGreater(min(results.values()), 8, results)


def shredded(text: str, chance: random.Random) -> str:
    """`text` with something wrong."""
    kind = chance.randrange(4)
    if kind == 0:
        return text[:chance.randrange(len(text))]
    words = text.split(" ")
    for _ in range(chance.randrange(1, 6)):
        index = chance.randrange(len(words))
        if kind == 1:
            words[index] = ""
        elif kind == 2:
            words.insert(index, words[chance.randrange(len(words))])
        else:
            word = words[index]
            if word:
                at = chance.randrange(len(word))
                words[index] = word[:at] + chance.choice("{};\"'!()%$[]*\\ \n") + word[at + 1:]
    return " ".join(words)
