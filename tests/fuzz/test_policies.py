"""Paths at random against rules about paths, and origins of several kinds that read what has passed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from tests.security.credentials import ADA, basic, gated, judged
from tests.security.making import asks, chain_of, host, service_policy, serving, verdict
from voltgw.errors import ProxyError
from voltgw.security.policies import Chain
from voltgw.values.exchange import Exchange

#: What attackers write paths of.
_PIECES: Final = st.sampled_from([
    "/", "//", "admin", "public", "ADMIN", "x", ".", "..", "%2e", "%2E%2e", "%2F", "%2f", "%5C", "\\", ";", ";a=b", "%3B", "%61dmin", "?",
    "%25", "%252e", "%20", "a.css", "~", "%00", "#", "é", "%c3%a9", "..;", "/..", "/../", "/./", "..%2f", "..%5c"])
_TARGETS: Final = st.lists(_PIECES, min_size=1, max_size=9).map(lambda pieces: "/" + "".join(pieces)) | st.text(
    st.sampled_from("/.;%25cCfFeEaAdmin\\x?"), max_size=24).map(lambda text: "/" + text)


def _resolved(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


def _merged(path: str) -> str:
    return re.sub("/+", "/", path)


#: How origins find out what a path means.
ORIGINS: Final[dict[str, Callable[[str], str]]] = {
    "takes it as it is": lambda path: path,
    "decodes": unquote,
    "decodes and resolves": lambda path: _resolved(unquote(path)),
    "nginx": lambda path: _resolved(_merged(unquote(path))),
    "Tomcat": lambda path: _resolved(_merged(unquote(re.sub(";[^/]*", "", path)))),
    "decodes, then takes parameters off": lambda path: _resolved(_merged(re.sub(";[^/]*", "", unquote(path)))),
    "IIS": lambda path: _resolved(_merged(unquote(path).replace("\\", "/"))),
}


def chain(*rules: dict[str, Any]) -> Chain:
    """A chain of one policy with these rules."""
    listed = [{"metadata": {"name": f"r{number}"}, "spec": rule} for number, rule in enumerate(rules)]
    return chain_of(serving(host(active_service_policies={"policies": ["p0"]}), service_policy("p0", {"rule_list": {"rules": listed}})))


def asked(target: str) -> Exchange | None:
    """A request for a target, None if it is none."""
    try:
        return asks(target)
    except ProxyError:
        return None


def below(path: str, start: str) -> bool:
    """Whether a path is this one, or below it."""
    return path == start or path.startswith(start + "/")


class PathsAtRandom(SynchronousTestCase):
    def setUp(self) -> None:
        """Rules that refuse, rules that let pass, and routes of which one asks for a password."""
        self.no_admin = chain({"action": "DENY", "path": {"prefix_values": ["/admin"], "transformers": ["NORMALIZE_PATH", "LOWER_CASE"]}},
                              {"action": "ALLOW"})
        self.public = chain({"action": "ALLOW", "path": {"prefix_values": ["/public/"], "exact_values": ["/public"]}})
        forward = {"route_destination": {"destinations": [{"cluster": [{"name": "c"}]}]}}
        route = service_policy("r", {"routes": [
            {**forward, "match": [{"path": {"prefix": "/admin"}}], "voltgw": {"authentication": {"basic": basic(ADA)}}}, forward]}, "route")
        self.asking = gated(None, route)

    @given(_TARGETS)
    @examples(700)
    def test_nobody_gets_where_a_rule_refuses(self, target: str) -> None:
        """Whatever is let pass, no origin takes for /admin; the tables and the rules one by one agree."""
        exchange = asked(target)
        if exchange is None:
            return
        said = verdict(self.no_admin, exchange)
        reply, _ = self.no_admin.rehearse(exchange)
        self.assertEqual(said, "allow" if reply is None else "deny")
        path = exchange.request.path.decode("ascii")
        if said == "allow":
            for name, read in ORIGINS.items():
                self.assertFalse(read(path).lower().startswith("/admin"), f"{name}: {path}")

    @given(_TARGETS)
    @examples(700)
    def test_only_what_is_public(self, target: str) -> None:
        """Whatever is let pass, every origin that resolves dot segments at all takes for something below /public."""
        exchange = asked(target)
        if exchange is None:
            return
        said = verdict(self.public, exchange)
        self.assertEqual(said, "allow" if self.public.rehearse(exchange)[0] is None else "deny")
        path = exchange.request.path.decode("ascii")
        if said == "allow":
            for name, read in ORIGINS.items():
                self.assertTrue(below(read(path), "/public") or name == "takes it as it is", f"{name}: {path}")

    @given(_TARGETS)
    @examples(700)
    def test_nobody_gets_past_a_password(self, target: str) -> None:
        """What passes without one, no origin takes for a path of the route that asks for it."""
        exchange = asked(target)
        if exchange is None or judged(self.asking, exchange) is not None:
            return
        path = exchange.request.path.decode("ascii")
        for name, read in ORIGINS.items():
            self.assertFalse(read(path).startswith("/admin"), f"{name}: {path}")
