"""nginx's locations as rules, in the order in which the first that matches is the one that nginx takes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from voltgw.app.importing.model import (
    Asking,
    Edit,
    Forward,
    Gateway,
    Host,
    Limit,
    Match,
    Redirect,
    Reply,
    Rule,
    Verdict,
)
from voltgw.app.importing.nginx_level import Level, unknown
from voltgw.app.importing.nginx_pools import Pools
from voltgw.app.importing.nginx_redirects import redirection
from voltgw.app.importing.nginx_values import ELSEWHERE, Never, condition, constant, value, variables
from voltgw.app.importing.nginx_words import Directive
from voltgw.app.importing.words import literal_tail, rewrite, seconds, size, whole

#: The largest body where nothing is said.
MAX_BODY_BYTES: Final = 1 << 20
_RETRIES: Final = {"error": ("connect-failure", "reset"), "timeout": ("reset",), "invalid_header": ("reset",),
                   "http_500": ("5xx",), "http_502": ("gateway-error",), "http_503": ("gateway-error",),
                   "http_504": ("gateway-error",), "http_429": ()}
#: Patterns of ``rewrite`` that every path matches.
_ALL: Final = frozenset(("^", "^(.*)$", "^(.*)", "^/(.*)$", ".*", "^/(.*)", "^.*$"))
#: Headers that nginx sets for the next hop itself, or that belong to one connection.
_FRAMING: Final = frozenset((
    "connection", "upgrade", "te", "transfer-encoding", "content-length", "keep-alive", "proxy-connection"))


@dataclass(slots=True)
class Location:
    """A location with the level that it makes."""

    how: str                    # exact, stop (^~), prefix, regex
    path: str
    level: Level
    directive: Directive


class Rules:
    """The rules of the servers of one ``http`` block; `zones` are its limits, None for those that cannot be said."""

    def __init__(self, gateway: Gateway, pools: Pools, absolute: Callable[[str], str]) -> None:
        self.gateway = gateway
        self.notes = gateway.notes
        self.pools = pools
        self.absolute = absolute
        self.zones: dict[str, Limit | None] = {}
        self._all: list[Location] = []              # of the present server
        self._named: dict[str, Directive] = {}      # those that begin with @

    def make(self, host: Host, level: Level, server: Directive, scheme: str, names: list[str]) -> None:
        """Give a host the rules of its server, and say who may."""
        level.values.setdefault("server_name", names[0] if names else "")
        self._named = {each.args[0]: each for each in server.all("location") if len(each.args) == 1 and each.args[0][:1] == "@"}
        self._all = list(self._locations(server.block or [], level))
        locations = self._ordered(self._all)
        access: list[tuple[Rule, Level]] = [(rule, level) for rule in self._early(level, Match(), scheme)]
        ended = bool(access) and not access[-1][0].matches      # a ``return`` of the server: no location is asked
        slashes = {each.path for each in locations if each.how != "regex"}
        for location in () if ended else locations:
            match = Match({"stop": "prefix"}.get(location.how, location.how), location.path)
            if location.how in ("prefix", "stop") and location.path.endswith("/") and location.path != "/" \
                    and location.path[:-1] not in slashes \
                    and (location.level.blocks[0].all("proxy_pass") or location.level.blocks[0].all("grpc_pass")):
                access.append((Rule([Match("exact", location.path[:-1])], Redirect(301, path=location.path)), location.level))
            for rule in self._early(location.level, match, scheme):
                access.append((rule, location.level))
                if rule.matches == [match]:
                    break
            else:
                access.append((self._answered(location, match, scheme), location.level))
        host.rules = [rule for rule, _ in access]
        self._access(host, access)

    def _locations(self, block: list[Directive], level: Level) -> Iterator[Location]:
        for each in block:
            if each.name != "location":
                continue
            how, path = ("prefix", each.args[0]) if len(each.args) == 1 else ("", "")
            if len(each.args) == 2:
                how, path = {"=": "exact", "^~": "stop", "~": "regex", "~*": "regex"}.get(each.args[0], ""), each.args[1]
            elif how and path[:1] in ("=", "~"):
                how, path = ("exact", path[1:]) if path[0] == "=" else ("regex", path.lstrip("~*"))
            if not how or how != "regex" and not path.startswith("/"):
                if not path.startswith("@"):        # `_fallback` looks for those
                    self.notes.left_out(each.place, each.text(), "this is no path")
                continue
            inner = level.inside(each)
            unknown(each.block or [], self.gateway)
            if how == "regex":
                if level.blocks[0].name == "location":
                    self.notes.left_out(each.place, each.text(), "write a regex that has the outer location's path in it")
                    continue
                try:
                    path = whole(path, ignore_case=each.args[0] == "~*")
                except ValueError as error:
                    self.notes.left_out(each.place, each.text(), str(error))
                    continue
            yield Location(how, path, inner, each)
            yield from self._locations(each.block or [], inner)

    def _ordered(self, locations: list[Location]) -> list[Location]:
        """In the order in which the first that matches is the one that nginx takes."""
        prefixes = sorted((each for each in locations if each.how in ("prefix", "stop")), key=lambda each: -len(each.path))
        regexes = [each for each in locations if each.how == "regex"]
        exact = [each for each in locations if each.how == "exact"]
        if not regexes:
            return [*exact, *prefixes]
        early = [each for each in prefixes if each.how == "stop"]
        for stop in early:
            for each in prefixes:
                if each.how == "prefix" and len(each.path) > len(stop.path) and each.path.startswith(stop.path):
                    self.notes.differs(each.directive.place, each.directive.text(), f"it stands in `^~ {stop.path}`: regexes "
                                       "are not asked before it, though nginx would")
        inside = [each for each in prefixes if each.how == "prefix" and any(each.path.startswith(stop.path) for stop in early)]
        first = sorted([*early, *inside], key=lambda each: -len(each.path))
        return [*exact, *first, *regexes, *(each for each in prefixes if each not in first)]

    def _early(self, level: Level, match: Match, scheme: str) -> Iterator[Rule]:
        """What a block answers before it asks anybody: ``return``, ``rewrite`` that redirects, ``if``."""
        for each in level.blocks[0].block or []:
            if each.name == "return":
                yield self._finished(self._return(each, level, match), [] if match == Match() else [match], level)
                return
            if each.name == "rewrite":
                yield from self._rewrite_rule(each, level, match)
            elif each.name == "if":
                yield from self._if(each, level, match, scheme)

    def _if(self, directive: Directive, level: Level, match: Match, scheme: str) -> Iterator[Rule]:
        inner = Level((directive, *level.blocks), level.values)
        try:
            narrowed = condition([constant(arg, level.values) for arg in directive.args], match, scheme)
        except Never:
            return
        except (ValueError, IndexError) as error:
            refuses = any(each.name == "return" and each.args[0][:1] == "4" for each in directive.block or [] if each.args)
            self.notes.left_out(directive.place, directive.text(), "nobody is refused by it until you write a rule: " * refuses
                                + f"{error}; write a rule with another condition")
            return
        matches = [] if narrowed == Match() else [narrowed]
        for each in directive.block or []:
            if each.name == "return":
                yield self._finished(self._return(each, level, narrowed), matches, level)
                return
            if each.name in ("proxy_pass", "grpc_pass"):
                made = self._forward(each, inner, narrowed)
                if made is not None:
                    yield self._finished(made, matches, inner)
                return
            if each.name == "rewrite" and each.args[-1] in ("permanent", "redirect") and narrowed.how == "any":
                yield from self._rewrite_rule(each, level, narrowed)
            else:
                self.notes.left_out(each.place, each.text(), "inside `if` only return, proxy_pass and redirects are read")

    def _return(self, directive: Directive, level: Level, match: Match) -> Redirect | Reply:
        words = [constant(arg, level.values) for arg in directive.args]
        status = int(words[0]) if words and words[0].isdigit() else 302
        text = words[1] if len(words) > 1 else "" if words and words[0].isdigit() else "".join(words[:1])
        if status in (301, 302, 303, 307, 308) and text:
            made = redirection(status, text, match, level)
            if made is None:
                self.notes.left_out(directive.place, directive.text(),
                                    "a redirect has a fixed path, or the request's own, or another prefix")
                return Reply(404)
            return made
        if status == 444:
            self.notes.differs(directive.place, directive.text(), "the connection is not cut: the answer is 403")
            return Reply(403)
        if variables(text):
            self.notes.left_out(directive.place, directive.text(), "a body has no variables")
            text = ""
        if not 200 <= status <= 599:
            status = 404
        kind = level.word("default_type", "text/plain")
        return Reply(status, text, kind if text else None)

    def _rewrite_rule(self, directive: Directive, level: Level, match: Match) -> Iterator[Rule]:
        pattern, target, flag = (*directive.args, "", "", "")[:3]
        target = constant(target, level.values)
        if flag == "break" or flag == "" and match.how != "any":
            return                                  # it changes what is forwarded: `_regex_rewrite`
        leaves = flag in ("permanent", "redirect") or target.startswith(("http://", "https://", "$scheme"))
        literal, exact = literal_tail(pattern), re.fullmatch(r"\^(/(?:[A-Za-z0-9_/~-]|\\[.-])*)\$", pattern)
        if leaves and (literal is not None or exact is not None or pattern in _ALL):
            narrowed = match
            if literal is not None and literal != "/":
                narrowed = replace(match, how="prefix", path=literal)
            elif exact is not None:
                narrowed = replace(match, how="exact", path=exact[1].replace("\\", ""))
            keeps = not target.endswith("?")
            made = redirection(301 if flag == "permanent" else 302, target.removesuffix("?"), narrowed, level, rewriting=True,
                                pattern=pattern)
            if made is not None and (match.how == "any" or narrowed.path.startswith(match.path)):
                made.keep_query = keeps
                yield self._finished(made, [] if narrowed == Match() else [narrowed], level)
                return
        self.notes.left_out(directive.place, directive.text(), "rewrites that redirect one prefix, or with `break` before "
                            "`proxy_pass`, are read; write a rule for others")

    def _answered(self, location: Location, match: Match, scheme: str) -> Rule:
        level, block = location.level, location.level.blocks[0]
        found = next((each for each in block.block or [] if each.name in ("proxy_pass", "grpc_pass")), None)
        if block.all("internal"):
            return Rule([match], Reply(404))
        denied = level.all("allow", "deny")
        if found is None:
            fallback = self._fallback(location, match)
            if fallback is not None:
                return fallback
            if denied and all(each.name == "deny" for each in denied) and denied[-1].args == ["all"]:
                return Rule([match], Reply(403))
            what = next((each for name in ELSEWHERE for each in block.all(name)), location.directive)
            self.notes.left_out(what.place, f"location {' '.join(location.directive.args)}: {what.text()}",
                                "origins speak HTTP, and there are no files: put a web server behind; until then it is 404")
            return Rule([match], Reply(404))
        action = self._forward(found, level, match)
        return self._finished(action if action is not None else Reply(502), [match], level)

    def _fallback(self, location: Location, match: Match) -> Rule | None:
        """What stands behind the files of ``try_files ... @name``: there are no files, so it is asked for everything."""
        tried = location.level.last("try_files")
        named = self._named.get(tried.args[-1]) if tried is not None and tried.args else None
        found = named.last("proxy_pass") if named is not None else None
        if tried is None or named is None or found is None:
            return None
        level = location.level.inside(named)
        action = self._forward(found, level, match)
        self.notes.differs(tried.place, tried.text(), f"there are no files here: {tried.args[-1]} is asked for all of them")
        return self._finished(action if action is not None else Reply(502), [match], level)

    def _forward(self, directive: Directive, level: Level, match: Match) -> Forward | None:
        target = constant(directive.args[0], level.values) if directive.args else ""
        if directive.name == "grpc_pass" and "://" not in target:
            target = f"grpc://{target}"
        found = re.fullmatch(r"(https?|grpcs?)://(unix:[^:]+|[^/]+?):?(/.*)?", target)
        if found is None or variables(found[2]):
            self.notes.left_out(directive.place, directive.text(), "origins are fixed; choose among clusters by rules")
            return None
        scheme, authority, path = found[1], found[2], found[3]
        pool = self.pools.pool(
            authority, level, secure=scheme in ("https", "grpcs"), http2=scheme.startswith("grpc"), place=directive.place)
        made = Forward([(pool, None)], websocket=False)
        if path is not None:
            self._path(directive, made, path, match)
        self._rewritten(made, level, match)
        made.host = authority if not authority.startswith("unix:") else "localhost"
        rules = level.all("proxy_next_upstream")
        if rules:
            self._retries(made, rules[-1], level)
        return made

    def _path(self, directive: Directive, made: Forward, path: str, match: Match) -> None:
        if variables(path):
            tail = re.fullmatch(r"(.*?)\$(?:request_uri|uri(?:\$is_args\$args)?)", path)
            if tail is None or tail[1] not in ("", "/"):
                self.notes.left_out(directive.place, directive.text(), "the path of a forwarded request has no variables")
            return
        if match.how == "regex":
            self.notes.left_out(directive.place, directive.text(), "behind a regex, say `regex_rewrite`")
        else:
            made.prefix_rewrite = path

    def _rewritten(self, made: Forward, level: Level, match: Match) -> None:
        for each in level.blocks[0].all("rewrite"):
            pattern, target, flag = (*each.args, "", "", "")[:3]
            if flag not in ("break", "") or variables(constant(re.sub(r"\$\d", "", target), level.values)):
                continue
            if made.regex_rewrite is not None:
                self.notes.left_out(each.place, each.text(), "a rule has one `regex_rewrite`")
                continue
            if "?" in target:
                self.notes.left_out(each.place, each.text(), "a rewrite does not set the query")
                continue
            try:
                made.regex_rewrite = rewrite(pattern, re.sub(r"\$(\d)", r"\\\1", constant(target, level.values)), [
                    match.path if match.how in ("prefix", "exact") else ""])
            except ValueError as error:
                self.notes.left_out(each.place, each.text(), str(error))

    def _retries(self, made: Forward, directive: Directive, level: Level) -> None:
        if "off" in directive.args:
            made.retries = 0
            return
        conditions = [each for arg in directive.args for each in _RETRIES.get(arg, ())]
        made.retry_on = tuple(dict.fromkeys(conditions))
        tries = level.word("proxy_next_upstream_tries")
        made.retries = max(0, int(tries) - 1) if tries.isdigit() and int(tries) else 1

    # -- what stands around an action -----------------------------------------------------------------------------------

    def _finished(self, action: Forward | Redirect | Reply, matches: list[Match], level: Level) -> Rule:
        """A rule with what its level says of headers, bodies and users."""
        rule = Rule(matches, action)
        if isinstance(action, Forward):
            self._request_headers(rule, action, level)
            self._users(rule, level)
            body = level.blocks[0].last("client_max_body_size")
            if body is not None:
                rule.most_body_bytes = self.size(level, "client_max_body_size", MAX_BODY_BYTES) or 1 << 40
            self._limit(rule, level)
        for each in level.all("add_header"):
            if len(each.args) < 2:
                continue
            text = value(constant(each.args[1], level.values), answer=True)
            if text is None:
                self.notes.left_out(each.place, each.text(), "one of its variables has no counterpart")
                continue
            if each.args[-1] != "always":
                self.notes.differs(each.place, each.text(), "errors have the header, too, as with `always`")
            if text:
                rule.response.append(Edit(each.args[0], text, True))
        for each in level.all("proxy_hide_header"):
            rule.response.append(Edit(each.args[0], None))
        expires = level.last("expires")
        if expires is not None and expires.args and expires.args[0] not in ("off",):
            self._expires(rule, expires)
        return rule

    def _expires(self, rule: Rule, directive: Directive) -> None:
        text = directive.args[-1]
        try:
            age = {"epoch": -1, "max": 315360000}.get(text)
            age = int(seconds(text)) if age is None else age
        except ValueError:
            self.notes.left_out(directive.place, directive.text(), "set Cache-Control by `response_headers_to_add`")
            return
        self.notes.differs(directive.place, directive.text(), "Cache-Control says so, and Expires is not sent")
        rule.response.append(Edit("cache-control", "no-cache" if age < 0 else f"max-age={age}"))

    def _request_headers(self, rule: Rule, action: Forward, level: Level) -> None:
        for each in level.all("grpc_set_header" if level.blocks[0].all("grpc_pass") else "proxy_set_header"):
            if len(each.args) != 2:
                continue
            name, raw = each.args[0], constant(each.args[1], level.values)
            lower = name.lower()
            if lower == "host":
                if raw in ("$host", "$http_host", "$host:$server_port", "$http_host:$server_port"):
                    action.host = None
                elif not variables(raw):
                    action.host = raw
                elif raw not in ("$proxy_host", "$proxy_host:$proxy_port"):
                    self.notes.left_out(each.place, each.text(), "Host is the client's, a fixed one, or the endpoint's")
            elif lower == "upgrade" and "http_upgrade" in raw:
                action.websocket = True
            elif lower in _FRAMING:
                continue
            elif lower == "x-forwarded-for" and raw == "$proxy_add_x_forwarded_for":
                continue                            # as always
            elif raw == "":
                rule.request.append(Edit(name, None))
            elif _answered(level).get(raw.strip("${}")) == lower:
                continue                            # a header of who was asked, under its own name
            else:
                text = value(raw)
                if text is None:
                    self.notes.left_out(each.place, each.text(), "one of its variables has no counterpart")
                else:
                    rule.request.append(Edit(name, text))

    def _users(self, rule: Rule, level: Level) -> None:
        asked = level.last("auth_request")
        if asked is not None and asked.args != ["off"]:
            rule.asks = self._asking(asked, level)
            if rule.asks is None:
                rule.close()
                return
        realm, file = level.word("auth_basic", "off"), level.last("auth_basic_user_file")
        if realm == "off":
            return
        if file is None or variables(file.args[0]):
            self.notes.left_out(level.blocks[0].place, f"auth_basic {realm}", "name a file of users; answered 403 until then")
            rule.close()
            return
        if level.word("satisfy") == "any" and level.all("allow", "deny"):
            self.notes.differs(file.place, "satisfy any", "all users have to log in, from the addresses that are allowed, too")
        rule.users, rule.realm = self.absolute(file.args[0]), constant(realm, level.values)

    def _asking(self, directive: Directive, level: Level) -> Asking | None:
        """Who is asked, by the location that ``auth_request`` names; None (and a note) where that cannot be said."""
        path = directive.args[0] if directive.args else ""
        bare = path.partition("?")[0]
        exact = [each for each in self._all if each.how == "exact" and each.path == bare]
        begins = [each for each in self._all if each.how in ("prefix", "stop") and bare.startswith(each.path)]
        matched = [each for each in self._all if each.how == "regex" and re.fullmatch(each.path, bare)]
        named = exact[0] if exact else max(begins, key=lambda each: len(each.path), default=None)
        if not exact and matched and (named is None or named.how == "prefix"):
            named = matched[0]
        found = named.directive.last("proxy_pass") if named is not None and named.how in ("exact", "prefix", "stop") else None
        forward = self._forward(found, named.level, Match("exact", path)) if found is not None and named is not None else None
        if forward is None or forward.regex_rewrite is not None:
            self.notes.left_out(directive.place, directive.text(),
                                "write `voltgw: {authentication: {forward_auth: ...}}`; answered 403 until then")
            return None
        if named is not None:
            fields = [each.args for each in named.level.all("proxy_set_header") if len(each.args) == 2]
            hosts = [value for name, value in fields if name.lower() == "host"]
            if hosts:
                forward.host = None if variables(hosts[-1]) else hosts[-1]
        self.notes.differs(directive.place, directive.text(),
                           "the question has the request in X-Forwarded-Method, -Proto, -Host and "
                           "-Uri; the body of a refusal goes to the client")
        if forward.prefix_rewrite is not None and named is not None and named.how != "exact":
            path = forward.prefix_rewrite + path.removeprefix(named.path)
        elif forward.prefix_rewrite is not None:
            path = forward.prefix_rewrite
        return Asking(forward.pools[0][0], path, forward.host, tuple(dict.fromkeys(_answered(level).values())),
                      ("www-authenticate",))

    def _limit(self, rule: Rule, level: Level) -> None:
        for each in level.all("limit_req")[:1]:
            facts = dict(arg.split("=", 1) for arg in each.args if "=" in arg)
            limit = self.zones.get(facts.get("zone", ""))
            if limit is None:
                if facts.get("zone", "") not in self.zones:
                    self.notes.left_out(each.place, each.text(), "no such zone is declared")
                continue
            burst = facts.get("burst", "0")
            times = math.ceil((int(burst) + 1) / limit.total) if burst.isdigit() else 1
            made = replace(limit, burst=min(100, max(1, times)))
            made.name = limit.name if times <= 1 else f"{limit.name}-burst-{burst}"
            self.gateway.limits[made.name] = made
            rule.limit = made.name
            self.notes.differs(each.place, each.text(), "what is too much is answered 429 at once, and not delayed")

    def _access(self, host: Host, rules: list[tuple[Rule, Level]]) -> None:
        """Who may: the rules' own lists, in the order in which rules are asked."""
        if not any(level.all("allow", "deny") for _, level in rules):
            return
        for rule, level in rules:
            match = rule.matches[0] if rule.matches else None
            for each in level.all("allow", "deny") if isinstance(rule.action, Forward) else ():
                who = each.args[0] if each.args else ""
                if who.startswith("unix:"):
                    self.notes.left_out(each.place, each.text(), "clients of Unix sockets count as 127.0.0.1")
                    continue
                host.verdicts.append(Verdict(match, () if who == "all" else (who,), each.name == "allow"))
            host.verdicts.append(Verdict(match, (), True))
        if host.rules and host.rules[-1].matches:
            host.verdicts.append(Verdict(None, (), True))

    def size(self, level: Level, name: str, default: int) -> int | None:
        """The bytes that a directive says, None = any number, `default` where it is not there."""
        found = level.last(name)
        if found is None:
            return default
        try:
            return size(found.args[0]) or None
        except (ValueError, IndexError):
            self.notes.left_out(found.place, found.text(), "this is no size")
            return default


def _answered(level: Level) -> dict[str, str]:
    """Variables that ``auth_request_set`` takes from headers of who was asked, with the names of these."""
    return {each.args[0].lstrip("$"): each.args[1].removeprefix("$upstream_http_").replace("_", "-").lower()
            for each in level.all("auth_request_set") if len(each.args) == 2 and each.args[1].startswith("$upstream_http_")}
