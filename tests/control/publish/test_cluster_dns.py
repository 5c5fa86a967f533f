"""A zone in the DNS server of a cluster: what is ours is kept between marks, and no byte of what is not is touched."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.control.publish.scripted import error_of, result, says, scripted
from voltgw.control.publish import corefile
from voltgw.control.publish.cluster_api import Cluster
from voltgw.control.publish.cluster_dns import ClusterDnsRegistrar, CoreDns, Form, KubeDns
from voltgw.control.publish.names import Act, Change, Refused, Vip, Wanted, decide

ZONE = "apps.example.com"
WANTED = Wanted(ZONE, (Vip("192.0.2.1", 53), Vip("2001:db8::1", 5353)))
#: As kubeadm makes it.
KUBEADM = """\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
"""


def parsed(text: str) -> dict[str, list[list[str]]]:
    """A Corefile read by the grammar of its manual, and by another hand than ours: lines of words, braces at the ends of lines."""
    servers: dict[str, list[list[str]]] = {}
    key, depth = "", 0
    for line in text.splitlines():
        words = re.sub(r"(^|\s)#.*", "", line).split()
        if not words:
            continue
        if depth == 0:
            assert words[-1] == "{", line
            key, depth = " ".join(words[:-1]), 1
            assert key not in servers, f"{key} is defined twice"
            servers[key] = []
        elif words == ["}"]:
            depth -= 1
        else:
            if depth == 1:
                servers[key].append([word for word in words if word != "{"])
            depth += words[-1] == "{"
    assert depth == 0
    return servers


class CorefileTests(SynchronousTestCase):
    def test_a_block_comes_changes_and_goes(self) -> None:
        """The server block stands beside the others, as the manual's grammar reads it; afterwards every byte is as it was."""
        first = corefile.put(KUBEADM, "me", ZONE, corefile.rendered(ZONE, ["192.0.2.1"]))
        both = corefile.put(first, "you", "other.example", corefile.rendered("other.example", ["[2001:db8::1]:5353"]))
        again = corefile.put(both, "me", ZONE, corefile.rendered(ZONE, ["192.0.2.1", "192.0.2.2:54"]))
        servers = parsed(again)
        self.assertEqual(list(servers), [".:53", f"{ZONE}:53", "other.example:53"])
        self.assertEqual(servers[f"{ZONE}:53"], [["errors"], ["cache", "30"], ["forward", ".", "192.0.2.1", "192.0.2.2:54"]])
        self.assertEqual(servers[".:53"], parsed(KUBEADM)[".:53"])
        self.assertEqual({zone: (block.owner, block.shown) for zone, block in corefile.blocks(again).items()},
                         {ZONE: ("me", ("192.0.2.1", "192.0.2.2:54")), "other.example": ("you", ("[2001:db8::1]:5353",))})
        self.assertEqual(corefile.without(corefile.without(again, ZONE), "other.example"), KUBEADM)
        self.assertEqual(corefile.without(first, "nobody.example"), first)
        self.assertEqual(corefile.without(corefile.put(KUBEADM[:-1], "me", ZONE, "x {\n}\n"), ZONE), KUBEADM)

    def test_zones_of_others(self) -> None:
        """Keys in each of their spellings; other ports and protocols are no matter; what is ours does not count."""
        text = KUBEADM + (
            "import custom/*.server\n(snip) {\n errors\n}\nA.example. b.example:53,dns://c.example {\n  log { # x {\n  class all\n } \n}\n"
            'tls://d.example e.example:5353\nf.example {\n respond "a } b { \\" c"\n}\n10.0.0.0/8 {\n whoami\n}\n')
        text = corefile.put(text, "me", ZONE, corefile.rendered(ZONE, ["192.0.2.1"]))
        self.assertEqual(corefile.foreign_zones(text), {"", "a.example", "b.example", "c.example", "f.example", "10.0.0.0/8"})

    def test_what_cannot_be_read(self) -> None:
        """Braces and quotations that do not end, words outside; marks without each other, or twice."""
        for text in (". {\n errors\n", "}\n", "example.com\nforward . 192.0.2.1\n", '. {\n respond "x\n}\n'):
            self.assertRaises(ValueError, corefile.foreign_zones, text)
        good = corefile.put("", "me", ZONE, corefile.rendered(ZONE, ["192.0.2.1"]))
        for text in (good.replace("# END", "# FIN"), good.replace("# BEGIN", "# START"), good + good, good.replace("    errors", "# BEGIN voltgw x y")):
            self.assertRaises(ValueError, corefile.blocks, text)


class RegistrarTests(SynchronousTestCase):
    """`ClusterDnsRegistrar`."""

    def setUp(self) -> None:
        self.one: dict[str, Any] = {"metadata": {"name": "coredns", "resourceVersion": "7", "annotations": {"theirs": "x"}},
                                    "data": {"Corefile": KUBEADM, "other": "theirs"}}
        self.status = {"GET": 200, "PUT": 200}
        self.written: list[str] = []

    def registrar(self, form: Form, owner: str = "me") -> ClusterDnsRegistrar:
        """With one ConfigMap behind it."""
        def script(method: str, url: str, body: bytes) -> Any:
            self.assertEqual(url, f"http://api/api/v1/namespaces/kube-system/configmaps/{form.map}")
            if self.status[method] != 200:
                return says(self.status[method], {"message": "no"})
            if method == "PUT":
                said = json.loads(body)
                if said["metadata"]["resourceVersion"] != self.one["metadata"]["resourceVersion"]:
                    return says(409, {"message": "the object has been modified"})
                self.one = said
                self.written.append(body.decode())
                said["metadata"]["resourceVersion"] += "1"
            return says(200, self.one)

        return ClusterDnsRegistrar(Cluster(scripted(script), "http://api", dict), form, owner)

    def round(self, registrar: ClusterDnsRegistrar, wanted: Wanted | None = WANTED) -> Any:
        """One look, and what is done about the zone."""
        held = result(registrar.observe([ZONE])).held[ZONE]
        decided = decide(ZONE, wanted, None if wanted is None else registrar.content(wanted), held, registrar.owner)
        if isinstance(decided, Change):
            return decided.act, result(registrar.apply([decided]))[0]
        return decided

    def test_a_life(self) -> None:
        """Both servers: made once, repaired, left in peace while it is right, taken out; the rest of the ConfigMap is as before."""
        forms: tuple[Form, ...] = (CoreDns(), KubeDns())
        stubs = {"stubDomains": '{"acme.local": ["1.2.3.4"]}', "upstreamNameservers": '["8.8.8.8"]'}
        for form, key, before in ((forms[0], "Corefile", self.one["data"]), (forms[1], "stubDomains", stubs)):
            self.one = {"metadata": {"resourceVersion": "7", "annotations": {"theirs": "x"}}, "data": dict(before)}
            registrar = self.registrar(form)
            self.assertEqual(self.round(registrar), (Act.CREATE, None))
            said = self.one["data"][key]
            self.assertIn("[2001:db8::1]:5353", said)
            self.assertEqual(result(registrar.observe([])).held[ZONE].shown, ("192.0.2.1", "2001:db8::1"))
            self.assertIsNone(self.round(registrar))
            self.one["data"][key] = said.replace("192.0.2.1", "192.0.2.66")
            self.assertEqual(self.round(registrar), (Act.REPLACE, None))
            self.assertEqual(self.one["data"][key], said)
            self.assertIsInstance(self.round(self.registrar(form, "you")), Refused)
            self.assertEqual(self.round(registrar, None), (Act.REMOVE, None))
            self.assertEqual(self.one["metadata"]["annotations"], {"theirs": "x"})
            left = {name: json.loads(value) if name == "stubDomains" else value for name, value in self.one["data"].items()}
            self.assertEqual(left, {name: json.loads(value) if name == "stubDomains" else value for name, value in before.items()})

    def test_the_first_stub_domain(self) -> None:
        """There was none: none is left."""
        self.one["data"] = {}
        registrar = self.registrar(KubeDns())
        self.round(registrar)
        self.assertEqual(json.loads(self.one["data"]["stubDomains"]), {ZONE: ["192.0.2.1", "[2001:db8::1]:5353"]})
        self.round(registrar, None)
        self.assertEqual(self.one["data"], {})

    def test_a_zone_of_somebody_else(self) -> None:
        """It is left alone, and said."""
        for form, data in ((CoreDns(), {"Corefile": KUBEADM + "Apps.Example.com {\n whoami\n}\n"}),
                           (KubeDns(), {"stubDomains": json.dumps({ZONE: ["1.2.3.4"]})})):
            self.one["data"] = data
            refused = self.round(self.registrar(form))
            self.assertIn("without our mark", refused.why)
        self.assertEqual(self.written, [])

    def test_somebody_else_writes_meanwhile(self) -> None:
        """What was read before is not written over it; the next round does it."""
        registrar = self.registrar(CoreDns())
        held = result(registrar.observe([ZONE])).held[ZONE]
        self.one = {**self.one, "metadata": {**self.one["metadata"], "resourceVersion": "8"}}
        self.assertIn("modified", str(error_of(registrar.apply([Change(Act.CREATE, ZONE, WANTED, held)]))))
        self.assertEqual(self.round(registrar), (Act.CREATE, None))

    def test_what_is_not_allowed_or_not_there(self) -> None:
        """Reading, writing; another DNS server; a Corefile that is none, and JSON that is none."""
        registrar = self.registrar(CoreDns())
        self.status["GET"] = 403
        self.assertTrue(error_of(registrar.observe([ZONE])).credentials)
        self.status["GET"] = 404
        self.assertIn("there is no ConfigMap coredns", str(error_of(registrar.observe([ZONE]))))
        self.status.update(GET=200, PUT=403)
        self.assertEqual(self.round(registrar), (Act.CREATE, Refused("it answers 403: no")))
        for form, data in ((CoreDns(), {"Corefile": ". {"}), (CoreDns(), {}), (CoreDns(), None), (KubeDns(), {"stubDomains": "[1]"}),
                           (KubeDns(), {"stubDomains": "{"})):
            self.one["data"] = data
            self.assertIn("cannot be read", str(error_of(self.registrar(form).observe([ZONE]))))
