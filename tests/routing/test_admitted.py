"""What a TLS connection may ask for, seen from what has let its client in; and Host against the server name."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from voltgw.config.objects.policies import DomainNameList
from voltgw.config.objects.virtual_host import VirtualHostSpec
from voltgw.routing.admitted import AdmittedTable
from voltgw.routing.filters.strict_sni import strict_sni
from voltgw.routing.hosts import HostTable
from voltgw.routing.route import VirtualHost
from voltgw.values.reply import Reply


class _Client:
    def __init__(self, sni: str) -> None:
        self.sni = sni


class _Request:
    def __init__(self, host: bytes) -> None:
        self.host = host


class _Exchange:
    def __init__(self, sni: str, host: bytes) -> None:
        self.client, self.request = _Client(sni), _Request(host)


class AdmittedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.mine, self.theirs = VirtualHost("mine", domains=["*.a.example"]), VirtualHost("theirs", domains=["x.a.example"])
        self.whole = HostTable([(host.domains, host) for host in (self.mine, self.theirs)])

    def test_hosts_of_the_group(self) -> None:
        """They are found as ever."""
        table = AdmittedTable(self.whole, [self.mine])
        self.assertIs(table.choose(b"y.a.example", None, 443), self.mine)
        self.assertIs(AdmittedTable(self.whole, [self.theirs]).exact[b"x.a.example"], self.theirs)

    def test_hosts_of_others(self) -> None:
        """A name that another host has answers 421, also where a wildcard of the group would take it."""
        table = AdmittedTable(self.whole, [self.mine])
        self.assertNotIn(b"x.a.example", table.exact)
        found = table.choose(b"x.a.example", None, 443)
        assert found is not None and found.only is not None and found.only.answer is not None
        self.assertEqual((found.name, found.namespace), ("theirs", "default"))
        anything: Any = None
        self.assertEqual(found.only.answer(anything, anything).status, 421)
        self.assertIs(table.choose(b"x.a.example", None, 443), found)

    def test_names_that_nobody_has(self) -> None:
        """Nobody, or the default host, but only for connections of its own group."""
        self.assertIsNone(AdmittedTable(self.whole, [self.mine]).choose(b"z.example", None, 443))
        self.assertIs(AdmittedTable(self.whole, [self.mine], self.mine).choose(b"z.example", None, 443), self.mine)
        self.assertIsNone(AdmittedTable(self.whole, [self.theirs], self.mine).choose(b"z.example", None, 443))


class StrictTests(SynchronousTestCase):
    def status(self, spec: VirtualHostSpec, sni: str, host: bytes) -> int:
        """What a request gets; 0 = it goes on."""
        check = strict_sni(spec)
        assert check is not None
        exchange: Any = _Exchange(sni, host)
        reply = check(exchange)
        return reply.status if isinstance(reply, Reply) else 0

    def test_not_asked_for(self) -> None:
        """It costs nothing."""
        self.assertIsNone(strict_sni(VirtualHostSpec(domains=("a.example",))))

    def test_the_same_name(self) -> None:
        """Only that one; a connection without a server name has none that could be the same."""
        spec = VirtualHostSpec(domains=("*.example",), enable_strict_sni_host_header_check=True)
        for sni, host, status in (("a.example", b"a.example", 0), ("a.example", b"b.example", 421), ("", b"a.example", 421),
                                  ("", b"", 421)):
            self.assertEqual(self.status(spec, sni, host), status, (sni, host))

    def test_additional_domains(self) -> None:
        """They are taken on any connection of the host, exact or by wildcard."""
        spec = VirtualHostSpec(domains=("*.example",), additional_domains=DomainNameList(domains=("b.example", "*.c.example")))
        for host, status in ((b"a.example", 0), (b"b.example", 0), (b"x.c.example", 0), (b"c.example", 421), (b"d.example", 421)):
            self.assertEqual(self.status(spec, "a.example", host), status, host)
