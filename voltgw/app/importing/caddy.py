"""The Caddyfile: sites, and their directives in the order in which Caddy runs them.

Caddy runs a chain: some directives change the request or the answer and pass it on, others answer. Here each way through the
chain becomes a rule of its own, the ones with more conditions first.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field, replace
from typing import Final

from voltgw.app.importing.caddy_matchers import ANYTHING, Matcher, by_path, named
from voltgw.app.importing.caddy_proxy import edits, proxy
from voltgw.app.importing.caddy_words import Directive, read
from voltgw.app.importing.model import (
    Asking,
    Certificates,
    Edit,
    Forward,
    Gateway,
    Host,
    Listen,
    Match,
    Place,
    Redirect,
    Reply,
    Rule,
    UnreadableError,
    Verdict,
)
from voltgw.app.importing.narrowing import all_of
from voltgw.app.importing.words import Files, size
from voltgw.app.importing.writer import is_address

#: The order in which directives run, wherever they stand.
_ORDER: Final = (
    "tracing", "map", "vars", "fs", "root", "header", "copy_response_headers", "request_body", "redir", "method", "rewrite",
    "uri",
    "try_files", "basicauth", "basic_auth", "forward_auth", "request_header", "encode", "push", "templates", "invoke", "handle",
    "handle_path", "route", "abort", "error", "copy_response", "respond", "metrics", "reverse_proxy", "php_fastcgi",
    "file_server",
    "acme_server")
#: Of a site, but no part of its chain.
_SETTINGS: Final = frozenset((
    "tls", "log", "bind", "import", "log_skip", "skip_log", "log_append", "log_name", "push", "tracing", "root"))
#: Rules that one site may become.
_MOST_RULES: Final = 512


def translate(names: list[str]) -> Gateway:
    """The configuration in a Caddyfile and what it imports. Raises UnreadableError."""
    if len(names) > 1:
        raise UnreadableError(Place(names[1], 1, 1), "give the main file alone; it imports the others")
    sites, files = read(names[0])
    if not sites:
        raise UnreadableError(Place(names[0], 1, 1), "no site stands here")
    return _Caddy(files).translate(sites)


@dataclass(slots=True)
class _Way:
    """A way through the chain, so far."""

    matches: list[Match] = field(default_factory=lambda: [Match()])
    request: list[Edit] = field(default_factory=list)
    response: list[Edit] = field(default_factory=list)
    stripped: str = ""                              # taken from the front of the path
    regex: tuple[str, str] | None = None
    prefix: str | None = None                       # put in front of the path
    fixed: str | None = None                        # put in the place of the path
    query: str | None = None
    users: str | None = None
    asks: Asking | None = None
    most_body_bytes: int | None = None
    closed: bool = False

    def where(self, matches: list[Match]) -> _Way | None:
        """The same where one of `matches` holds, too; None where that is never. Raises ValueError."""
        found = all_of([self.matches, matches])
        return replace(self, matches=found, request=list(self.request), response=list(self.response)) if found else None

    @property
    def changed(self) -> bool:
        """Whether later matchers see another path than the client's, beyond what is taken from its front."""
        return self.regex is not None or self.prefix is not None or self.fixed is not None


class _Caddy:
    """One Caddyfile."""

    def __init__(self, files: Files) -> None:
        self.gateway = Gateway()
        self.notes = self.gateway.notes
        self.files = files
        self.http_port, self.https_port = 80, 443
        self.redirects = self.tls_by_itself = True
        self.named: dict[str, Directive] = {}
        self.host = Host("", [], [])
        self.count = 0

    def translate(self, sites: list[Directive]) -> Gateway:
        """Every site."""
        if sites and sites[0].name == "" and sites[0].block is not None:
            self._global(sites[0].block)
            sites = sites[1:]
        if sites and all(each.block is None or not _is_address(each.name) for each in sites) and _is_address(sites[0].name):
            first = sites[0]
            sites = [Directive(first.name, first.args, first.place, sites[1:])] if first.block is None else sites
        plain: list[str] = []
        secure: list[str] = []
        for each in sites:
            self._site(each, plain, secure)
        names = [name for name in dict.fromkeys(secure) if name not in plain]
        if self.redirects and names:
            for start in range(0, len(names), 32):
                self.gateway.hosts.append(Host(
                    self.gateway.free_name("to-https"), names[start:start + 32], [Listen(self.http_port)],
                    [Rule([], Redirect(308, "https"))], remark="Caddy sends clients of these sites to HTTPS."))
        return self.gateway

    def _global(self, options: list[Directive]) -> None:
        for each in options:
            first = each.args[0] if each.args else ""
            if each.name == "email":
                self.gateway.acme_email = first
            elif each.name in ("http_port", "https_port") and first.isdigit():
                setattr(self, each.name, int(first))
            elif each.name == "auto_https":
                self.redirects = False
                self.tls_by_itself = first != "off"
            elif each.name in ("order", "acme_ca", "acme_dns", "on_demand_tls", "local_certs", "layer4", "events",
                               "default_sni",
                               "acme_ca_root", "acme_eab"):
                self.notes.left_out(each.place, each.text(),
                                    "see `gateway.acme`" if "acme" in each.name else "voltgw has nothing like it")

    # -- sites --------------------------------------------------------------------------------------------------------

    def _site(self, site: Directive, plain: list[str], secure: list[str]) -> None:
        block = site.block or []
        keys = [key for word in (site.name, *site.args) for key in word.split(",") if key]
        groups: dict[tuple[int, bool], list[str]] = {}
        tls = next((each for each in reversed(block) if each.name == "tls"), None)
        for key in keys:
            found = re.fullmatch(r"(?:(https?)://)?(\[[^\]]+\]|[^:/]*)(?::(\d+|\{[^}]*\}))?(/.*)?", key)
            if found is None or found[3] and not found[3].isdigit():
                self.notes.left_out(site.place, f"site {key}", "this is no address")
                continue
            scheme, name, port, path = found[1], found[2], found[3], found[4]
            if path and path not in ("/", "/*"):
                self.notes.left_out(site.place, f"site {key}", "a site has no path: write `handle` into it")
                continue
            is_secure = scheme == "https" or scheme is None and (
                port is not None and int(port) == self.https_port or tls is not None
                or self.tls_by_itself and bool(name) and (port is None or int(port) != self.http_port))
            chosen = int(port) if port else self.https_port if is_secure else self.http_port
            groups.setdefault((chosen, is_secure), []).append(name)
        for (port_number, is_secure), names in groups.items():
            domains = ["*" if name in ("", "*") else name for name in names]
            own = [domain for domain in domains if domain != "*"]
            (secure if is_secure else plain).extend(own)
            host = Host(self.gateway.free_name((own or [f"port-{port_number}"])[0].replace("*.", "") + (
                "-http" if not is_secure and len(groups) > 1 else "")), domains[:33], self._listens(block, port_number),
                remark=f"{site.place}")
            host.pass_server_header = True
            self.host, self.count = host, 0
            if is_secure:
                host.tls = self._tls(site, tls, own)
                host.default = "*" in domains
            self.named = {each.name: each for each in block if each.name.startswith("@")}
            host.rules = self._chain(self._sorted(block, ""), _Way())
            if host.verdicts:
                host.verdicts.append(Verdict(None, (), True))
            self.gateway.hosts.append(host)

    def _listens(self, block: list[Directive], port: int) -> list[Listen]:
        bound = [arg for each in block if each.name == "bind" for arg in each.args]
        return [Listen(port, address) for address in bound if is_address(address)] or [Listen(port)]

    def _tls(self, site: Directive, directive: Directive | None, names: list[str]) -> Certificates:
        made = Certificates()
        args = directive.args if directive is not None else []
        if len(args) == 2:
            made.pairs.append((self.files.absolute(args[0]), self.files.absolute(args[1])))
        elif args[:1] == ["internal"] or not args and any(
                name == "localhost" or is_address(name.strip("[]")) for name in names):
            self.notes.left_out((directive or site).place, "a certificate of Caddy's own CA", "make one with `voltgw pki`")
        elif len(args) == 1 and "@" in args[0]:
            self.gateway.acme_email = args[0]
        for each in (directive.block or []) if directive is not None else []:
            if each.name == "protocols":
                versions = {"tls1.2": "TLSv1_2", "tls1.3": "TLSv1_3"}
                made.least = versions.get(each.args[0]) if each.args and each.args[0] != "tls1.2" else None
                made.most = versions.get(each.args[1]) if len(each.args) > 1 and each.args[1] != "tls1.3" else None
            elif each.name == "client_auth":
                mode = each.last("mode")
                files = [one for one in each.block or [] if one.name in ("trusted_ca_cert_file", "trust_pool")]
                if files and files[0].args:
                    made.client_ca = self.files.absolute(files[0].args[-1])
                    made.client_optional = mode is not None and mode.args[:1] in (["request"], ["verify_if_given"])
                else:
                    self.notes.left_out(each.place, each.text(), "name the file of the clients' CA")
            elif each.name not in ("ciphers", "curves", "alpn", "issuer", "renewal_window_ratio", "key_type"):
                self.notes.left_out(each.place, f"tls {each.text()}", "see `gateway.acme` and `tls_parameters`")
        return made

    # -- the chain ----------------------------------------------------------------------------------------------------

    def _matcher(self, directive: Directive, stripped: str) -> tuple[Matcher, list[str]]:
        """The matcher of a directive, and its other words. Raises ValueError."""
        args = directive.args
        if not args:
            return ANYTHING, args
        if args[0] == "*":
            return ANYTHING, args[1:]
        if args[0].startswith("@"):
            found = self.named.get(args[0])
            if found is None:
                raise ValueError(f"there is no matcher {args[0]}")
            return named(found, stripped), args[1:]
        if args[0].startswith("/") and (directive.name not in ("rewrite", "redir") or len(args) > 1):
            if directive.name == "redir" and len(args) == 2 and (args[1].isdigit() or args[1] in ("permanent", "temporary",
                                                                                                  "html")):
                return ANYTHING, args
            return by_path(args[0], stripped), args[1:]
        return ANYTHING, args

    def _sorted(self, block: list[Directive], stripped: str) -> list[Directive]:
        """Directives in the order in which Caddy runs them."""
        known = [each for each in block if not each.name.startswith("@") and each.name not in _SETTINGS]

        placed: list[tuple[Directive, int, Matcher]] = []
        for each in known:
            position = _ORDER.index(each.name.replace("handle_path", "handle")) if each.name in _ORDER else len(_ORDER)
            try:
                matcher, _ = self._matcher(each, stripped)
            except (ValueError, IndexError):
                matcher = ANYTHING
            index = len(placed)
            while index and _before((position, matcher), placed[index - 1][1:]):
                index -= 1
            placed.insert(index, (each, position, matcher))
        return [each for each, _, _ in placed]

    def _chain(self, directives: list[Directive], way: _Way) -> list[Rule]:
        """The rules for what runs through `directives` on one way."""
        if not directives:
            return self._answered(way, Reply(200))
        directive, rest = directives[0], directives[1:]
        try:
            matcher, args = self._matcher(directive, "" if way.changed else way.stripped)
            if way.changed and not matcher.anything:
                matcher = replace(matcher, holds=_seen(matcher.holds, way), fails=_seen(matcher.fails, way))
            return self._step(directive, args, matcher, rest, way)
        except (ValueError, IndexError) as error:
            self.notes.left_out(directive.place, directive.text(), str(error) or "it is not complete")
            return self._chain(rest, way)

    def _step(self, directive: Directive, args: list[str], matcher: Matcher, rest: list[Directive], way: _Way) -> list[Rule]:
        made: list[Rule] = []
        if matcher.sources is not None:
            return [*self._by_source(directive, args, matcher, way), *self._chain(rest, way)]
        if matcher.anything:
            return self._taken(directive, args, rest, way)
        inside = way.where(matcher.holds) if matcher.holds else None
        if inside is None:
            return self._chain(rest, way)
        if matcher.fails:
            outside = inside.where(matcher.fails)
            if outside is not None:
                made += self._chain(rest, outside)
        made += self._taken(directive, args, rest, inside)
        if inside.matches != way.matches:
            made += self._chain(rest, way)
        self.count = max(self.count, len(made))
        if self.count > _MOST_RULES:
            raise UnreadableError(directive.place, f"the conditions of this site make more than {_MOST_RULES} rules")
        return made

    def _by_source(self, directive: Directive, args: list[str], matcher: Matcher, way: _Way) -> list[Rule]:
        """A directive that looks at the client's address: only refusals can be said."""
        status = next((int(arg) for arg in args if re.fullmatch(r"[1-5]\d\d", arg)), 200)
        if directive.name not in ("respond", "abort", "error") or directive.name == "respond" and not 400 <= status < 500:
            raise ValueError("routes are not chosen by the client's address: write a `service_policy`")
        if matcher.fails:
            raise ValueError("an address and `not`")
        if status != 403 or len(args) > 1:
            self.notes.differs(directive.place, directive.text(), "who is refused by address is answered 403, without a body")
        for match in all_of([way.matches, matcher.holds]):
            self.host.verdicts.append(Verdict(match if match != Match() else None, matcher.sources or (), False,
                                              matcher.outside))
        return []

    def _taken(self, directive: Directive, args: list[str], rest: list[Directive], way: _Way) -> list[Rule]:
        """What a directive does with what it takes."""
        name = directive.name
        if name in ("handle", "handle_path"):
            others = [each for each in rest if each.name not in ("handle", "handle_path")]
            inner = way
            if name == "handle_path":
                prefix = directive.args[0].rstrip("*").rstrip("/") if directive.args else ""
                inner = replace(way, stripped=way.stripped + prefix)
            self._more_names(directive)
            return self._chain([*self._sorted(directive.block or [], inner.stripped), *others], inner)
        if name == "route":
            self._more_names(directive)
            return self._chain([*(each for each in directive.block or [] if not each.name.startswith("@")), *rest], way)
        if name == "redir":
            return self._answered(way, self._redirect(args))
        if name in ("respond", "error"):
            return self._answered(way, self._reply(directive, args))
        if name == "abort":
            self.notes.differs(directive.place, "abort", "the connection is not cut: the answer is 403")
            return self._answered(way, Reply(403))
        if name == "reverse_proxy":
            return self._forwarded(directive, args, way)
        if name in ("file_server", "php_fastcgi", "metrics", "acme_server"):
            self.notes.left_out(directive.place, directive.text(),
                                "origins speak HTTP, and there are no files: put a web server behind; until then it is 404")
            return self._answered(way, Reply(404))
        self._changed(directive, args, way := replace(way, request=list(way.request), response=list(way.response)))
        return self._chain(rest, way)

    def _more_names(self, directive: Directive) -> None:
        self.named |= {each.name: each for each in directive.block or [] if each.name.startswith("@")}

    def _changed(self, directive: Directive, args: list[str], way: _Way) -> None:
        """A directive that passes the request on. Raises ValueError."""
        name, block = directive.name, directive.block or []
        if name in ("header", "request_header"):
            lines = [args] if args else []
            lines += [[each.name, *each.args] for each in block if each.name not in ("defer", "match")]
            for line in lines:
                made = edits(line, answer=name == "header")
                if name == "header":
                    way.response += made
                elif made[0].name.lower() == "host":
                    raise ValueError("say `header_up Host` in reverse_proxy")
                else:
                    way.request += made
        elif name == "request_body":
            for each in block:
                if each.name == "max_size":
                    way.most_body_bytes = _bytes(each.args[0])
        elif name == "encode":
            if way.matches != [Match()]:
                raise ValueError("answers of a whole site are compressed, or none")
            kinds = [*args, *(each.name for each in block)]
            found = tuple({"gzip": "gzip", "zstd": "zstd", "br": "br"}[each] for each in kinds if each in ("gzip", "zstd",
                                                                                                           "br"))
            self.host.compress = found or ("zstd", "gzip")
        elif name in ("basicauth", "basic_auth"):
            way.users = _users(block)
        elif name == "forward_auth":
            way.asks = self._asking(directive, args)
            way.closed = way.asks is None
        elif name == "uri":
            self._uri(args, way)
        elif name == "rewrite":
            self._rewrite(args, way)
        else:
            raise ValueError("write `custom_errors` of the host" if name == "handle_errors" else "nothing has this name")

    def _asking(self, directive: Directive, args: list[str]) -> Asking | None:
        block = directive.block or []
        forward, _, _ = proxy(self.gateway, replace(directive, block=[
            each for each in block if each.name not in ("uri", "copy_headers")]), args, self.files.absolute)
        if forward is None:
            return None
        path = next((each.args[0] for each in block if each.name == "uri" and each.args), "/")
        copied = [word for each in block if each.name == "copy_headers" for word in (*each.args,
                                                                                     *(one.name for one in each.block or []))]
        for word in copied:
            if ">" in word:
                self.notes.left_out(directive.place, f"copy_headers {word}", "a header keeps its name")
        return Asking(forward.pools[0][0], path, forward.host, tuple(word for word in copied if ">" not in word))

    def _uri(self, args: list[str], way: _Way) -> None:
        kind, *words = args
        if way.changed:
            raise ValueError("a rule changes its path once")
        if kind == "strip_prefix":
            way.stripped += "/" + words[0].strip("/")
        elif kind == "strip_suffix":
            way.regex = (f"{re.escape(words[0])}$", "")
        elif kind in ("replace", "path_regexp"):
            if kind == "replace" and len(words) > 2:
                raise ValueError("all places of a text are replaced")
            pattern = words[0] if kind == "path_regexp" else re.escape(words[0])
            way.regex = (pattern, re.sub(r"\$\{?(\d)\}?", r"\\\1", words[1]))
        else:
            raise ValueError("voltgw has nothing like it")

    def _rewrite(self, args: list[str], way: _Way) -> None:
        text = args[-1]
        if way.changed:
            raise ValueError("a rule changes its path once")
        path, mark, query = text.partition("?")
        tail = re.fullmatch(r"(/[^{}]*?)?\{(uri|path|http\.request\.uri|http\.request\.uri\.path)\}", path)
        if mark and query not in ("{query}", "{http.request.uri.query}"):
            if "{" in query:
                raise ValueError("a query is fixed, or the request's own")
            way.query = query
        if tail is not None:
            way.prefix = (tail[1] or "").rstrip("/") or None
        elif "{" in path or not path.startswith("/"):
            raise ValueError("a new path is fixed, or the request's own behind a fixed one")
        else:
            way.fixed = path

    # -- answers --------------------------------------------------------------------------------------------------------

    def _answered(self, way: _Way, action: Redirect | Reply) -> list[Rule]:
        matches = [] if Match() in way.matches else way.matches
        rule = Rule(matches, action, response=list(way.response), users=way.users, asks=way.asks)
        if way.closed:
            rule.close()
        return [rule]

    def _redirect(self, args: list[str]) -> Redirect:
        code = args[1] if len(args) > 1 else "302"
        status = {"permanent": 301, "temporary": 302, "html": 302}.get(code) or (int(code) if code.isdigit() else 302)
        found = re.fullmatch(r"(?:(https?|\{scheme\})://([^/{}]+|\{host(?:port)?\}|\{http\.request\.host(?:port)?\}))?(/[^{}]*?|)"
                             r"(\{(?:uri|http\.request\.uri|path)\})?", args[0])
        if found is None:
            raise ValueError("a redirect is fixed, or has the request's own path at its end")
        made = Redirect(status, None if found[1] in (None, "{scheme}") else found[1])
        if found[2] and not found[2].startswith("{"):
            made.host = found[2]
        if found[4]:
            made.keep_query = "path" not in found[4]
            if found[3].rstrip("/"):
                made.prefix = found[3].rstrip("/") + "/"
        else:
            made.path, made.keep_query = found[3] or "/", False
        return made

    def _reply(self, directive: Directive, args: list[str]) -> Reply:
        status, body = 200 if directive.name == "respond" else 500, ""
        words = list(args)
        if words and re.fullmatch(r"[1-5]\d\d", words[-1]):
            status = int(words.pop())
        if words and directive.name == "respond":
            body = words[0]
        for each in directive.block or []:
            if each.name == "body" and each.args:
                body = each.args[0]
        if "{" in body and re.search(r"\{[a-z][\w.]*\}", body):
            raise ValueError("a body has no placeholders")
        return Reply(status, body,
                     "text/plain; charset=utf-8" if body and not body.lstrip().startswith(("{", "[", "<")) else None)

    def _forwarded(self, directive: Directive, args: list[str], way: _Way) -> list[Rule]:
        forward, request, response = proxy(self.gateway, directive, args, self.files.absolute)
        if forward is None:
            return self._answered(way, Reply(502))
        made: list[Rule] = []
        for match in way.matches:
            rule = Rule([] if match == Match() else [match], replace(forward), [*way.request, *request],
                        [*way.response, *response],
                        way.users, most_body_bytes=way.most_body_bytes, asks=way.asks)
            self._path(rule, match, way)
            if way.closed:
                rule.close()
            if made and made[-1].action == rule.action and made[-1].matches and rule.matches:
                made[-1].matches += rule.matches
            else:
                made.append(rule)
        return made

    def _path(self, rule: Rule, match: Match, way: _Way) -> None:
        """What the endpoint is asked for."""
        action = rule.action
        assert isinstance(action, Forward)
        action.query = way.query
        stripped = way.stripped
        if way.fixed is not None:
            action.regex_rewrite = ("^.*$", way.fixed)
        elif way.regex is not None and not stripped:
            action.regex_rewrite = way.regex
        elif stripped or way.prefix is not None:
            put = way.prefix or ""
            if match.how in ("prefix", "exact") and match.path.startswith(f"{stripped}/") and way.regex is None:
                action.prefix_rewrite = put + match.path[len(stripped):]
            elif way.regex is None:
                action.regex_rewrite = (f"^{re.escape(stripped)}/?", f"{put}/")
            else:
                self.notes.left_out(Place("", 0, 0), "two changes of one path", "write a `regex_rewrite` that does both")


def _seen(matches: list[Match], way: _Way) -> list[Match]:
    """Matches on the path that `way` has made, as matches on the one that the client asked for. Raises ValueError."""
    made = []
    for match in matches:
        found = _path_before(match, way)
        if found is not None:
            made.append(replace(match, how=found[0], path=found[1]))
    return made


def _path_before(match: Match, way: _Way) -> tuple[str, str] | None:
    """The condition on the former path; None where it never holds."""
    if match.how == "any":
        return "any", "/"
    if way.fixed is not None:
        fits = re.fullmatch(match.path, way.fixed) is not None if match.how == "regex" else (
            way.fixed == match.path if match.how == "exact" else way.fixed.startswith(match.path))
        return ("any", "/") if fits else None
    if way.prefix is None or way.regex is not None:
        raise ValueError("a matcher behind a rewrite")
    if match.how == "regex":
        known = [way.prefix + each.path[len(way.stripped):] for each in way.matches if each.how in ("prefix", "exact")]
        core = match.path.removesuffix(".*")
        if core != match.path and len(known) == len(way.matches) and not re.search(r"[*+?{|$]", core) and all(
                len(core) <= len(one) for one in known):
            every = [re.match(core, one) is not None for one in known]      # what is known of the path decides
            if not any(every):
                return None
            if all(every):
                return "any", "/"
        raise ValueError("a pattern behind a rewrite")
    if match.path.startswith(f"{way.prefix}/"):
        return match.how, way.stripped + match.path[len(way.prefix):]
    if match.how == "prefix" and f"{way.prefix}/".startswith(match.path):
        return "any", "/"
    return None


def _before(one: tuple[int, Matcher], other: tuple[int, Matcher]) -> bool:
    """Whether one directive runs before another that stands before it: by kind, by the longer path, with a matcher."""
    if one[0] != other[0]:
        return one[0] < other[0]
    path, theirs = one[1].path, other[1].path
    if path and theirs:
        return len(path) < len(theirs) if path.rstrip("*") == theirs.rstrip("*") else len(path) > len(theirs)
    return not one[1].anything and other[1].anything


def _is_address(text: str) -> bool:
    return re.fullmatch(r"(https?://)?(\[[^\]]+\]|[\w.*-]*)(:\d+)?(/.*)?,?", text) is not None and (
        "." in text or ":" in text or text in ("localhost", "localhost,", "*")) and text not in _ORDER


def _users(block: list[Directive]) -> str:
    lines = []
    for each in block:
        secret = each.args[0]
        if not secret.startswith("$"):
            secret = base64.b64decode(secret).decode("ascii")
        lines.append(f"{each.name}:{secret}")
    return "string:///" + base64.b64encode("\n".join(lines).encode()).decode()


def _bytes(text: str) -> int:
    """Caddy's sizes: MB is a million, MiB a power of two. Raises ValueError."""
    found = re.fullmatch(r"(\d+)([kmgKMG])[bB]", text)
    if found is not None:
        return int(found[1]) * (1000, 1000**2, 1000**3)["kmg".index(found[2].lower())]
    return size(text)
