"""``gateway.port_map`` binds another port than the objects name: lint, explain and the gateway itself go by the same one."""

from __future__ import annotations

from tests.app.making import config, host, objects, policy, runtime
from tests.app.test_listening import ListeningCase
from tests.config.pem import TODAY
from voltgw.app.dry import dry_build, dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.lint import lint
from voltgw.app.question import read_question


def answer(name: str, status: int) -> str:
    """A route that answers by itself: on the port that was named with `status`, on any other with 500."""
    return (f"- {{kind: route, metadata: {{name: {name}}}, spec: {{routes: ["
            f"{{match: [{{incoming_port: {{port: 80}}}}], route_direct_response: {{response_code: {status}}}}}, "
            f"{{route_direct_response: {{response_code: 500}}}}]}}}}\n")


class PortMapTests(ListeningCase):
    def text(self, bound: int) -> str:
        """Two hosts of one name: one with the port that the objects name, one without any."""
        return objects(
            host("named", routes="[a]", domains='["shop.example:80"]'), host("bound", routes="[b]", domains=f'["shop.example:{bound}"]'),
            host("bare", routes="[c]", domains='["shop.example"]'), policy("p", "address: 127.0.0.1, port: 80"),
            answer("a", 201), answer("b", 202), answer("c", 203), gateway=f"port_map: {{80: {bound}}}")

    def status(self, authority: str) -> int:
        """What the gateway answers to a request with this Host."""
        client = self.connect(self.port)
        client.sendall(f"GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        return int(self.hear(client).split(b" ", 2)[1])

    def explained(self, authority: str) -> tuple[str, int | None]:
        """The virtual host and status that are told for the same request."""
        made = Explainer(dry_runtime(config(self.text(self.port))))
        told = made.explain(read_question("GET", f"http://127.0.0.1:{self.port}/", [f"Host: {authority}"]))
        return str(told.virtual_host), told.status

    def test_all_agree(self) -> None:
        """The port of a domain, and of a match, is the one that objects name; lint calls the host that this leaves over."""
        self.serve(runtime(self.text(self.port)).listeners)
        for authority, name, status in (("shop.example", "default/named", 201), ("shop.example:80", "default/named", 201),
                                        (f"shop.example:{self.port}", "default/bound", 202)):
            self.assertEqual(self.status(authority), status, authority)
            self.assertEqual(self.explained(authority), (name, status), authority)
        made = config(self.text(self.port))
        found = [one.message for one in lint(made, dry_build(made), TODAY) if one.code == "VG0304"]
        self.assertEqual(len(found), 1, found)
        self.assertIn("domain shop.example of virtual_host default/bare is never chosen", found[0])
