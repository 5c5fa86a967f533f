"""Lists of addresses in files: what a file may say, and what a new one touches."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from random import Random
from time import perf_counter

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import makings, objects
from tests.security.making import REST, asks, chain_of, host, host_of, service_policy, verdict
from voltgw.app.build import Runtime, build
from voltgw.app.load import Loader, at_once
from voltgw.config.objects.ip_prefix_set import ListFile
from voltgw.errors import ConfigErrors
from voltgw.security.addresses import MOST_COPIED, Prefixes, number_of


def read(data: bytes) -> Prefixes:
    """A file, read in one go."""
    steps = Prefixes.reading(data)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            made: Prefixes = done.value
            return made


class FileTests(SynchronousTestCase):
    def test_what_a_file_may_say(self) -> None:
        """Addresses and prefixes of both versions, remarks, empty lines."""
        made = read(b"# whom we do not know\n192.0.2.0/24\n\n 198.51.100.7 ; a remark\r\n2001:db8::/32#another\n::ffff:203.0.113.0/120\n"
                    b"10.1.2.3/8  SBL123")
        self.assertEqual(len(made), 5)
        for address, listed in (("192.0.2.9", True), ("198.51.100.7", True), ("198.51.100.8", False), ("2001:db8:1::", True),
                                ("2001:db9::", False), ("203.0.113.5", True), ("::ffff:192.0.2.1", True), ("10.200.0.1", True), ("x", False)):
            self.assertIs(made.holds(number_of(address)), listed, address)

    def test_what_is_neither(self) -> None:
        """It is named with its line; nothing of the list counts then."""
        for line in (b"192.0.2.0/33", b"192.0.2", b"2001:db8::/129", b"10.0.0.0/-1", b"10.0.0.0/", b"x/8", b"::ffff:1.2.3.4/20"):
            error = self.assertRaises(ValueError, read, b"10.0.0.1\n" + line + b"\n")
            self.assertIn("line 2", str(error))

    def test_against_the_standard_library(self) -> None:
        """Random prefixes and addresses: the same answers as `ipaddress` gives."""
        random = Random(5)
        texts = [f"{ipaddress.ip_address(random.getrandbits(32))}/{random.randint(4, 32)}" for _ in range(200)]
        texts += [f"{ipaddress.IPv6Address(random.getrandbits(128))}/{random.randint(4, 128)}" for _ in range(200)]
        networks = [ipaddress.ip_network(text, strict=False) for text in texts]
        made = Prefixes(texts)
        for number in range(3000):
            if number % 3:
                address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(random.getrandbits(32))
            else:
                network = random.choice(networks)
                address = network[random.randrange(min(network.num_addresses, 1 << 60))]
            wanted = any(address in network for network in networks if network.version == address.version)
            if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
                continue
            self.assertIs(made.holds(number_of(str(address))), wanted, address)

    def test_a_large_one_in_short_steps(self) -> None:
        """100,000 prefixes, none of whose steps takes long, and which are not copied into each policy that refers to them."""
        data = b"\n".join(b"%d.%d.%d.0/24" % (n >> 16 & 255, n >> 8 & 255, n & 255) for n in range(1 << 16, (1 << 16) + 100_000))
        steps, took = Prefixes.reading(data), []
        while True:
            began = perf_counter()
            try:
                next(steps)
            except StopIteration as done:
                made: Prefixes = done.value
                break
            took.append(perf_counter() - began)
        self.assertEqual(len(made), 100_000)
        self.assertLess(sorted(took)[len(took) // 2], 0.02)
        using = Prefixes(["192.0.2.0/24"], [made])
        self.assertEqual((len(using), using.whole, len(using.keys)), (100_001, False, 1))
        self.assertTrue(using.holds(number_of("1.0.7.9")) and using.holds(number_of("192.0.2.1")))
        self.assertFalse(using.holds(number_of("9.9.9.9")))


class ReloadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.list = self.folder / "blocked.txt"
        self.list.write_text("192.0.2.0/24\n", encoding="utf-8")
        (self.folder / "voltgw.yaml").write_text(objects(
            host(active_service_policies={"policies": ["edge"]}), host("other", domains=["other.example"], no_service_policies={}),
            service_policy("edge", {"deny_list": {"ip_prefix_set": ["blocked"], "default_action_allow": {}}}),
            service_policy("blocked", {"prefix": ["203.0.113.0/24"], "voltgw": {"file": "blocked.txt"}}, "ip_prefix_set"), *REST),
            encoding="utf-8")
        self.loader = Loader(str(self.folder / "voltgw.yaml"), {})

    def load(self, before: Runtime | None = None) -> Runtime:
        """What serves the files as they are now."""
        return build(at_once(self.loader), before, makings())

    def test_a_new_list(self) -> None:
        """The host that uses it judges by it; everything else is the very same object as before, and hits are counted on."""
        before = self.load()
        self.assertEqual([verdict(chain_of(before), asks(address=address)) for address in ("192.0.2.1", "203.0.113.1", "10.0.0.1")],
                         ["deny", "deny", "allow"])
        self.list.write_text("10.0.0.0/8\n", encoding="utf-8")
        after = self.load(before)
        self.assertEqual([verdict(chain_of(after), asks(address=address)) for address in ("192.0.2.1", "203.0.113.1", "10.0.0.1")],
                         ["allow", "deny", "deny"])
        self.assertIsNot(host_of(after), host_of(before))
        self.assertIs(host_of(after, "other"), host_of(before, "other"))
        self.assertEqual(list(after.clusters.values()), list(before.clusters.values()))
        self.assertEqual(sum(row.hits for row in chain_of(after).rows()), 6)
        self.assertEqual([Path(path).name for path in self.loader.referred()], ["blocked.txt"])

    def test_a_list_that_is_wrong(self) -> None:
        """It is refused with its place, and what served goes on."""
        before = self.load()
        self.list.write_text("10.0.0.0/8\nnobody\n", encoding="utf-8")
        error = self.assertRaises(ConfigErrors, self.load, before)
        (problem,) = error.problems
        self.assertIn("line 2: 'nobody' is neither an address nor a prefix", problem.message)
        self.assertEqual(verdict(chain_of(before), asks(address="192.0.2.1")), "deny")

    def test_a_list_that_is_gone(self) -> None:
        """An error, since whom it lists is not known."""
        self.list.unlink()
        error = self.assertRaises(ConfigErrors, self.load)
        self.assertIn("VG0002", {problem.code for problem in error.problems})

    def test_a_large_list(self) -> None:
        """Beyond what is copied, the verdicts are the same."""
        self.list.write_text("\n".join(f"100.{n >> 8}.{n & 255}.0/24" for n in range(MOST_COPIED + 1)), encoding="utf-8")
        made = self.load()
        for address, said in (("100.2.1.9", "deny"), ("203.0.113.1", "deny"), ("99.0.0.1", "allow")):
            self.assertEqual(verdict(chain_of(made), asks(address=address)), said, address)

    def test_it_is_shown_short(self) -> None:
        """`config show` does not print the file."""
        self.assertEqual(ListFile().plain(b"192.0.2.0/24\n"), "(a file of 13 bytes)")
