"""Which virtual host a name leads to (objects.md 22.1)."""

from __future__ import annotations

from collections.abc import Sequence
from timeit import timeit

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from voltgw.routing.hosts import Domain, HostTable, Rank, read_domain
from voltgw.routing.table import VirtualHost

#: Eight lists of domains, each shared out among virtual hosts A, B, C...
LISTS: tuple[tuple[Sequence[str], ...], ...] = (
    (["foo.com"], ["www.foo.com", "WWW2.Foo.Com."]),                            # exact names only
    (["*.foo.com"], ["*.bar.foo.com"], ["*.com"]),                              # suffix wildcards, longest first
    (["foo.com"], ["*.foo.com"], ["*"]),                                        # exact, wildcard, everything
    (["*-bar.foo.com"], ["*bar.foo.com"], ["*.org"]),                           # wildcards of 2020, inside a label
    (["*-bar.foo.com"], ["*.foo.com"], ["x-bar.foo.com"]),                      # ... come before shorter ones of whole labels
    (["foo.com:8080"], ["foo.com"], ["*:8080"]),                                # with a port
    (["*.foo.com:9090"], ["*.foo.com"], ["*.bar.foo.com"]),                     # wildcards with a port
    (["[2001:DB8::1]"], ["[::1]:8080"], ["192.0.2.1"], ["*.2.1"]),              # addresses
)
#: Host as the codec hands it on, port in Host, -> one letter for each list; "-" = no virtual host. The listener is 8080.
HOSTS: tuple[tuple[bytes, int | None, str], ...] = (
    (b"foo.com", None, "ACA--A--"),
    (b"foo.com", 8080, "ACA--A--"),
    (b"foo.com", 80, "ACA--B--"),
    (b"foo.com", 9090, "ACA--B--"),
    (b"FOO.com", None, "ACA--A--"),
    (b"foo.com.", None, "ACA--A--"),
    (b"foo.com..", None, "--C--C--"),
    (b"www.foo.com", None, "BAB-BCB-"),
    (b"www.foo.com", 80, "BAB-B-B-"),
    (b"www.foo.com", 9090, "BAB-B-A-"),
    (b"www2.foo.com", None, "BAB-BCB-"),
    (b"WWW2.FOO.COM.", None, "BAB-BCB-"),
    (b"a.b.foo.com", None, "-AB-BCB-"),
    (b"a.b.c.d.e.f.foo.com", 9090, "-AB-B-A-"),
    (b".foo.com", None, "-CC--C--"),
    (b"a..foo.com", None, "-AB-BCB-"),
    (b"xfoo.com", None, "-CC--C--"),
    (b"bar.foo.com", None, "-AB-BCB-"),
    (b"a.bar.foo.com", None, "-BBBBCC-"),
    (b"a.bar.foo.com", 9090, "-BBBB-C-"),
    (b"a.b.bar.foo.com", None, "-BBBBCC-"),
    (b"a-bar.foo.com", None, "-ABAACB-"),
    (b"x-bar.foo.com", None, "-ABACCB-"),
    (b"-bar.foo.com", None, "-ABBBCB-"),
    (b"a.b-bar.foo.com", None, "-ABAACB-"),
    (b"abar.foo.com", None, "-ABBBCB-"),
    (b"foo.org", None, "--CC-C--"),
    (b"a.foo.org", 80, "--CC----"),
    (b"org", None, "--C--C--"),
    (b".org", None, "--C--C--"),
    (b"com", None, "--C--C--"),
    (b"example.com", None, "-CC--C--"),
    (b"foo.com.example", None, "--C--C--"),
    (b"", None, "--C--C--"),
    (b".", None, "--C--C--"),
    (b"[2001:db8::1]", None, "--C--C-A"),
    (b"[2001:db8:0:0:0:0:0:1]", 80, "--C----A"),
    (b"[::1]", None, "--C--C-B"),
    (b"[::1]", 80, "--C-----"),
    (b"192.0.2.1", None, "--C--C-C"),
)


def table(*lists: Sequence[str]) -> HostTable:
    """A table of hosts A, B, C... with these domains."""
    return HostTable([(domains, VirtualHost(chr(65 + n), domains=domains)) for n, domains in enumerate(lists)])


def letter(host: VirtualHost | None) -> str:
    return "-" if host is None else host.name


def by_rank(lists: Sequence[Sequence[str]], host: str, port: int) -> str:
    """The rule as the documentation says it, entry by entry: exact, suffix or any, then the longest, then the port."""
    found: list[tuple[int, int, int, str]] = []
    for number, domains in enumerate(lists):
        for text in domains:
            name, _, wanted = text.partition(":")
            if wanted and int(wanted) != port:
                continue
            if name == "*":
                rank = 0
            elif name.startswith("*"):
                rank = 1 if host.endswith(name[1:]) and len(host) > len(name) - 1 else -1
            else:
                rank = 2 if name == host else -1
            if rank >= 0:
                found.append((rank, len(name), bool(wanted), chr(65 + number)))
    return max(found)[-1] if found else "-"


class HostTableTests(SynchronousTestCase):
    """`HostTable`."""

    def test_forty_hosts_in_eight_lists(self) -> None:
        """Exact, then the longest wildcard, of whole labels or not, then ``*``; never just the first."""
        self.assertEqual((len(HOSTS), len(LISTS)), (40, 8))
        tables = [table(*lists) for lists in LISTS]
        for host, port, wanted in HOSTS:
            self.assertEqual("".join(letter(t.choose(host, port, 8080)) for t in tables), wanted, (host, port))

    _NAMES = st.lists(st.sampled_from(["a", "b", "a-b"]), min_size=1, max_size=4).map(".".join)
    _DOMAINS = st.tuples(st.sampled_from(["", "*.", "*-", "*b."]), _NAMES, st.sampled_from(["", ":80", ":81"])).map("".join)

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.one_of(_DOMAINS, st.sampled_from(["*", "*:80"])), max_size=8, unique=True),
           st.lists(_NAMES, min_size=4, max_size=4))
    def test_any_table(self, domains: list[str], names: list[str]) -> None:
        """The look-up decides as the documented rank does, and `exact` never says anything else, whatever the port."""
        hosts = table(*([domain] for domain in domains))
        for name in names:
            host = name.encode("ascii")
            for port, listener in ((None, 80), (None, 81), (80, 81), (81, 80), (443, 80)):
                found = hosts.choose(host, port, listener)
                self.assertEqual(letter(found), by_rank([[d] for d in domains], name, port or listener))
                if host in hosts.exact:
                    self.assertIs(hosts.exact[host], found)

    def test_exact_leaves_out_names_with_ports(self) -> None:
        """`exact` holds a name only if no entry has that name with a port: only then the port cannot change the answer."""
        hosts = table(["a.com", "b.com"], ["b.com:8080"], ["c.com:8080"], ["*.com:8080", "*:8080"])
        self.assertEqual({name: host.name for name, host in hosts.exact.items()}, {b"a.com": "A"})
        self.assertEqual(letter(hosts.choose(b"b.com", None, 8080)), "B")
        self.assertEqual(letter(hosts.choose(b"b.com", 80, 8080)), "A")
        self.assertEqual(letter(hosts.choose(b"c.com", None, 8080)), "C")
        self.assertEqual(letter(hosts.choose(b"c.com", None, 80)), "-")
        self.assertEqual(letter(hosts.choose(b"a.com", 8080, 8080)), "A")

    def test_duplicates(self) -> None:
        """Two hosts with one domain are refused, and the message names both and how each wrote it."""
        for first, second in (("a.com", "A.com."), ("*.a.com", "*.A.com"), ("*", "*"), ("a.com:80", "A.COM:80"),
                              ("[::1]", "[0:0::1]"), ("*-x.a.com", "*-X.a.com")):
            error = self.assertRaises(ValueError, table, [first], [second])
            for part in (repr(first), "default/A", repr(second), "default/B"):
                self.assertIn(part, str(error))

    def test_one_host_may_repeat_itself(self) -> None:
        """The same domain twice in one host, in two spellings, changes nothing."""
        hosts = table(["a.com", "A.com."])
        self.assertEqual(len(hosts.entries), 1)

    def test_no_hosts(self) -> None:
        """A table of nothing takes nobody."""
        self.assertIsNone(HostTable([]).choose(b"a.com", None, 80))

    def test_endless_names(self) -> None:
        """A name longer than any can be costs nothing and is taken by ``*`` alone."""
        hosts = table(["*.a"], ["*-b"], ["*"])
        name = b"a." * 30_000 + b"a"
        self.assertEqual(letter(hosts.choose(name, None, 80)), "C")
        self.assertEqual(letter(hosts.choose(b"x." * 125 + b"a", None, 80)), "A")
        self.assertLess(min(timeit(lambda: hosts.choose(name, None, 80), number=1) for _ in range(5)), 0.01)

    def test_ten_thousand_hosts_cost_as_much_as_one(self) -> None:
        """A look-up asks once per label, however many hosts there are."""
        few = table(["*.a.com"])
        many = HostTable([([f"*.h{n}.com", f"h{n}.com"], VirtualHost(f"h{n}")) for n in range(10_000)])

        def cost(hosts: HostTable, name: bytes) -> float:
            return min(timeit(lambda: hosts.choose(name, None, 80), number=500) for _ in range(5))

        self.assertLess(cost(many, b"x.h777.com"), 5 * cost(few, b"x.a.com"))


class ReadDomainTests(SynchronousTestCase):
    """`read_domain`."""

    def test_what_domains_mean(self) -> None:
        """Rank, key and port; case and one trailing dot do not count."""
        for text, domain in (
                ("Foo.COM.", Domain(Rank.EXACT, b"foo.com", None)),
                ("foo.com:8080", Domain(Rank.EXACT, b"foo.com", 8080)),
                ("*.foo.com:1", Domain(Rank.LABELS, b".foo.com", 1)),
                ("*-bar.foo.com", Domain(Rank.PART, b"-bar.foo.com", None)),
                ("*", Domain(Rank.ANY, b"", None)),
                ("*:65535", Domain(Rank.ANY, b"", 65535)),
                ("[2001:DB8:0::1]:443", Domain(Rank.EXACT, b"[2001:db8::1]", 443)),
                ("localhost", Domain(Rank.EXACT, b"localhost", None))):
            self.assertEqual(read_domain(text), domain)

    def test_what_is_no_domain(self) -> None:
        """A name that no request can have is refused, so that no host waits for it in vain."""
        for text in ("", ".", "*.", "a..b", ".a.com", "a b", "a.com/x", "bücher.de", "a.*.com", "**.com", "*.*.com", "a.com:0",
                     "a.com:65536", "a.com:x", "a.com:", "[::1", "[::g]", "[1.2.3.4]", "::1", "http://a.com", "a\n.com",
                     "a." * 130 + "com"):
            self.assertRaises(ValueError, read_domain, text)


class FollowingTests(SynchronousTestCase):
    """`HostTable.following`."""

    def follow(self, table: HostTable, hosts: Sequence[VirtualHost]) -> tuple[HostTable, int]:
        """The table of other hosts, and in how many steps it was made."""
        steps, count = table.following([(host.domains, host) for host in hosts]), 1
        while True:
            try:
                next(steps)
            except StopIteration as done:
                made: HostTable = done.value
                return made, count
            count += 1

    _TEXTS = st.sampled_from(["a.com", "a.com:80", "b.com", "*.com", "*.com:80", "*-a.com", "*b.com", "*", "*:80", "[::1]", "c.com:81"])

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.lists(st.lists(_TEXTS, max_size=3), max_size=4), min_size=2, max_size=4), st.data())
    def test_it_is_the_table_made_anew(self, rounds: list[list[list[str]]], data: st.DataObject) -> None:
        """However often hosts come, go and stay: the same answers and entries as a table of the last ones, or the same refusal."""
        table, hosts = HostTable(()), list[VirtualHost]()
        for number, lists in enumerate(rounds):
            staying = [host for host in hosts if data.draw(st.booleans())]
            hosts = [*staying, *(VirtualHost(f"{number}-{n}", domains=domains) for n, domains in enumerate(lists))]
            pairs = [(host.domains, host) for host in hosts]
            before = (table.entries, dict(table.exact))
            try:
                fresh = HostTable(pairs)
            except ValueError:
                self.assertRaises(ValueError, self.follow, table, hosts)
                self.assertEqual((table.entries, table.exact), before)
                hosts = [host for host in hosts if host in {entry.host for entry in table.entries}]
                continue
            followed, _ = self.follow(table, hosts)
            self.assertEqual(([(e.text, e.host) for e in followed.entries], followed.exact),
                             ([(e.text, e.host) for e in fresh.entries], fresh.exact))
            self.assertEqual((table.entries, table.exact), before)
            for name in (b"a.com", b"b.com", b"x.com", b"x-a.com", b"xb.com", b"c.com", b"[::1]", b"other"):
                for port in (None, 80, 81):
                    self.assertIs(followed.choose(name, port, 82), fresh.choose(name, port, 82))
            table = followed

    def test_the_same_hosts(self) -> None:
        """Nothing is made: it is the very same table."""
        hosts = [VirtualHost("a", domains=["a.com"]), VirtualHost("b", domains=["*.b.com"])]
        table, _ = self.follow(HostTable(()), hosts)
        self.assertIs(self.follow(table, hosts)[0], table)
        self.assertIsNot(self.follow(table, hosts[::-1])[0], table)

    def test_one_of_ten_thousand(self) -> None:
        """It is made in few steps, since nothing is read again but the one that changed."""
        hosts = [VirtualHost(f"h{n}", domains=[f"h{n}.com", f"*.h{n}.com"]) for n in range(10_000)]
        table, steps = self.follow(HostTable(()), hosts)
        self.assertGreater(steps, 600)
        other = VirtualHost("h7", domains=["other.com"])
        followed, steps = self.follow(table, [other if host.name == "h7" else host for host in hosts])
        self.assertLess(steps, 25)
        self.assertIs(followed.choose(b"other.com", None, 80), other)
        self.assertIsNone(followed.choose(b"h7.com", None, 80))
        kept = {id(entry) for entry in table.entries}
        self.assertEqual([entry.text for entry in followed.entries if id(entry) not in kept], ["other.com"])
