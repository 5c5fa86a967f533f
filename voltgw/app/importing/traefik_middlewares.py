"""Traefik's middlewares: what they make of the rule of a router."""

from __future__ import annotations

import base64
import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from voltgw.app.importing.model import (
    Asking,
    Condition,
    Edit,
    Forward,
    Gateway,
    Limit,
    Match,
    Pool,
    Redirect,
    Rule,
    Secure,
    Server,
)
from voltgw.app.importing.narrowing import all_of
from voltgw.app.importing.traefik_words import Tree
from voltgw.app.importing.words import literal_tail, seconds

#: Chains that may stand in each other.
_MOST_DEEP: Final = 8
#: The patterns of redirectRegex that are read: a scheme, a host, a path.
_FROM: Final = re.compile(r"\^?(https\??|http)://((?:[A-Za-z0-9_-]|\\?\.)+|\(\.\*\)|\(\[\^/\]\+\)|\[\^/\]\+|\.\*)(/.*)?")


@dataclass(slots=True)
class Made:
    """What the middlewares of a router make: rules (of which the last is its own), who may, whether answers are compressed."""

    rules: list[Rule]
    prefixes: tuple[str, ...] = ()
    compress: bool = False


class Middlewares:
    """All middlewares of the files."""

    def __init__(self, gateway: Gateway, middlewares: dict[str, Tree], absolute: Callable[[str], str]) -> None:
        self._gateway = gateway
        self._middlewares = middlewares
        self._absolute = absolute

    def apply(self, rule: Rule, names: list[Tree], secure: bool, depth: int = 0, made: Made | None = None) -> Made:
        """The rule behind some middlewares, in order."""
        made = made or Made([rule])
        for each in names:
            name = each.text().removesuffix("@file")
            found = self._middlewares.get(name)
            if found is None:
                self._gateway.notes.left_out(each.place, f"middleware {name}",
                                             "it is not in these files; answered 403 until then")
                made.rules[-1].close()
                continue
            for kind, options in found.items():
                if kind.lower() == "chain":
                    if depth >= _MOST_DEEP:
                        self._gateway.notes.left_out(options.place, f"chain {name}",
                                                     "it refers to too many others, or to itself")
                    else:
                        self.apply(rule, options.get("middlewares").list(), secure, depth + 1, made)
                    continue
                action = getattr(self, f"_{kind.lower()}", None)
                try:
                    if action is None:
                        raise ValueError("voltgw has nothing of this name")
                    action(made, options, name, secure)
                except ValueError as error:
                    self._gateway.notes.left_out(options.place, f"{kind} of middleware {name}", str(error))
                    if kind.lower() in ("forwardauth", "digestauth", "ipallowlist", "ipwhitelist", "plugin"):
                        made.rules[-1].close()
        return made

    # -- paths --------------------------------------------------------------------------------------------------------

    def _strip(self, made: Made, pattern: str, put: str) -> None:
        action = made.rules[-1].action
        if not isinstance(action, Forward):
            return
        if action.regex_rewrite is not None:
            before, text = action.regex_rewrite
            if put != "/" and text == "/" and pattern == "^/":      # strip, then add
                action.regex_rewrite = (before, put)
                return
            raise ValueError("a rule changes its path once: write one `regex_rewrite`")
        action.regex_rewrite = (pattern, put)

    def _stripprefix(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        prefixes = [each.text().rstrip("/") for each in options.get("prefixes").list()]
        either = "|".join(re.escape(each) for each in prefixes)
        self._strip(made, f"^{either}/?" if len(prefixes) == 1 else f"^(?:{either})/?", "/")
        if len(prefixes) == 1:
            made.rules[-1].request.append(Edit("X-Forwarded-Prefix", prefixes[0]))
        else:
            self._gateway.notes.differs(options.place, f"stripPrefix of middleware {name}",
                                        "X-Forwarded-Prefix is not sent, which of several it was is not known")

    def _stripprefixregex(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        patterns = [each.text() for each in options.get("regex").list()]
        if len(patterns) != 1 or not patterns[0].startswith(("/", "^/")):
            raise ValueError("one pattern is taken from the front")
        self._strip(made, f"^{patterns[0].removeprefix('^').rstrip('/')}/?", "/")
        self._gateway.notes.differs(options.place, f"stripPrefixRegex of middleware {name}", "X-Forwarded-Prefix is not sent")

    def _addprefix(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        self._strip(made, "^/", options.get("prefix").text().rstrip("/") + "/")

    def _replacepath(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        self._strip(made, "^.*$", options.get("path").text())
        made.rules[-1].request.append(Edit("X-Replaced-Path", "%PATH%"))

    def _replacepathregex(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        self._strip(made, options.get("regex").text(), re.sub(r"\$\{?(\d)\}?", r"\\\1", options.get("replacement").text()))
        made.rules[-1].request.append(Edit("X-Replaced-Path", "%PATH%"))

    # -- redirects ----------------------------------------------------------------------------------------------------

    def _redirect(self, made: Made, action: Redirect, permanent: bool, matches: list[Match] | None = None) -> None:
        """Two rules: other methods than GET keep theirs, as Traefik has it."""
        rule = made.rules[-1]
        taken = rule.matches if matches is None else matches
        entries = taken or [Match()]
        gets = [replace(match, methods=("GET",)) for match in entries if not match.methods or "GET" in match.methods]
        made.rules[-1:] = [
            *([Rule(gets, replace(action, status=301 if permanent else 302), response=list(rule.response))] if gets else []),
            Rule(taken, replace(action, status=308 if permanent else 307), response=list(rule.response)),
            *([rule] if matches is not None and matches != rule.matches else [])]

    def _redirectscheme(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        scheme, port = options.get("scheme").text(), options.get("port").text()
        if secure is (scheme == "https"):
            return                                      # it is asked by this scheme already
        if port not in ("", "443" if scheme == "https" else "80"):
            raise ValueError("a redirect to another port has a fixed host: write `host_redirect`")
        self._redirect(made, Redirect(302, scheme), options.get("permanent").flag())

    def _redirectregex(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        pattern, target = options.get("regex").text(), re.sub(r"\$\{(\d)\}", r"$\1", options.get("replacement").text())
        found = _FROM.fullmatch(pattern)
        put = re.fullmatch(r"(https?)://([^/$]+|\$1)(/[^$]*)?(?:\$(\d))?", target)
        if found is None or put is None:
            raise ValueError("redirects from one host, or one prefix, to another are read: write a rule")
        fixed = re.fullmatch(r"(?:[A-Za-z0-9_-]|\\?\.)+", found[2]) is not None
        path = found[3] or ""
        literal = literal_tail(f"^{path}") if path else "/"
        if literal is None:
            raise ValueError("redirects from one host, or one prefix, to another are read: write a rule")
        action = Redirect(302, put[1], None if put[2] == "$1" else put[2])
        if put[4]:
            action.prefix = None if put[3] in (None, "/") and literal == "/" else put[3] or "/"
        else:
            action.path, action.keep_query = put[3] or "/", False
        asked = Match("prefix" if literal != "/" else "any", literal, headers=(Condition(
            "host", "regex", found[2].replace("\\.", ".").replace(".", r"\.") + "(?::[0-9]+)?"),) if fixed else ())
        narrowed = all_of([made.rules[-1].matches or [Match()], [asked]])
        if narrowed:
            self._redirect(made, action, options.get("permanent").flag(), narrowed)

    # -- headers, bodies, answers -------------------------------------------------------------------------------------

    def _headers(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        rule = made.rules[-1]
        for key, value in options.get("customRequestHeaders").items():
            if key.lower() == "host":
                if isinstance(rule.action, Forward):
                    rule.action.host = value.text()
            else:
                rule.request.append(Edit(key, value.text().replace("%", "%%") or None))
        for key, value in options.get("customResponseHeaders").items():
            rule.response.append(Edit(key, value.text().replace("%", "%%") or None))
        age = options.get("stsSeconds").number()
        if age and (secure or options.get("forceSTSHeader").flag()):
            rule.response.append(Edit("Strict-Transport-Security", f"max-age={age}" + (
                "; includeSubDomains" if options.get("stsIncludeSubdomains").flag() else "") + (
                "; preload" if options.get("stsPreload").flag() else "")))
        for key, header, text in (
                ("frameDeny", "X-Frame-Options", "DENY"), ("contentTypeNosniff", "X-Content-Type-Options", "nosniff"),
                ("browserXssFilter", "X-XSS-Protection", "1; mode=block")):
            if options.get(key).flag():
                rule.response.append(Edit(header, text))
        for key, header in (
                ("customFrameOptionsValue", "X-Frame-Options"), ("contentSecurityPolicy", "Content-Security-Policy"),
                ("referrerPolicy", "Referrer-Policy"), ("permissionsPolicy", "Permissions-Policy"),
                ("featurePolicy", "Feature-Policy"), ("customBrowserXSSValue", "X-XSS-Protection")):
            if options.get(key).text():
                rule.response.append(Edit(header, options.get(key).text().replace("%", "%%")))
        for key, value in options.items():
            if key.lower().startswith(("accesscontrol", "addvary")):
                self._gateway.notes.left_out(value.place, f"{key} of middleware {name}", "write a `cors_policy` into the rule")
            elif key.lower() in ("allowedhosts", "sslredirect", "sslhost", "hostsproxyheaders", "sslproxyheaders"):
                self._gateway.notes.left_out(value.place, f"{key} of middleware {name}", "write a rule")

    def _basicauth(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        rule = made.rules[-1]
        file = options.get("usersFile").text()
        lines = [each.text() for each in options.get("users").list()]
        rule.users = self._absolute(file) if file else "string:///" + base64.b64encode("\n".join(lines).encode()).decode()
        rule.realm = options.get("realm").text() or "traefik"
        rule.keep_credential = not options.get("removeHeader").flag()
        if options.get("headerField").text():
            self._gateway.notes.left_out(options.place, f"headerField of middleware {name}", "say `user_header`")

    def _ipallowlist(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        if options.get("ipStrategy").there:
            self._gateway.notes.left_out(options.place, f"ipStrategy of middleware {name}",
                                         "say `trusted_hops` of the virtual host")
        listed = tuple(str(ipaddress.ip_network(each.text(), strict=False)) for each in options.get("sourceRange").list())
        made.prefixes = listed if not made.prefixes else tuple(each for each in made.prefixes if each in listed)

    _ipwhitelist = _ipallowlist

    def _ratelimit(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        average, burst = options.get("average").number(), max(1, options.get("burst").number(1))
        if not average:
            return
        period = seconds(options.get("period").text() or "1s")
        unit = {1.0: "SECOND", 60.0: "MINUTE", 3600.0: "HOUR"}.get(period)
        if unit is None or average > 8192:
            raise ValueError("a limit is so many a second, minute or hour, at most 8192")
        times = min(100, max(1, math.ceil(burst / average)))
        if times * average != burst:
            self._gateway.notes.differs(options.place, f"rateLimit of middleware {name}",
                                        f"{times * average} requests at once, not {burst}")
        limit = Limit(name, average, unit, times)
        self._gateway.limits[name] = limit
        made.rules[-1].limit = name

    def _retry(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        action = made.rules[-1].action
        if isinstance(action, Forward):
            action.retries = min(8, max(0, options.get("attempts").number(1) - 1))
            action.retry_on = ("connect-failure", "reset")

    def _compress(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        made.compress = True

    def _buffering(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        made.rules[-1].most_body_bytes = options.get("maxRequestBodyBytes").number() or None
        if options.get("retryExpression").there:
            self._gateway.notes.left_out(options.place, f"retryExpression of middleware {name}", "write a `retry_policy`")

    def _forwardauth(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        found = re.fullmatch(r"(https?)://(\[[0-9A-Fa-f:]+\]|[^:/\[\]]+)(?::(\d{1,5}))?(/[!-~]*)?",
                             options.get("address").text())
        if found is None:
            raise ValueError("its address is no URL; answered 403 until then")
        default = 443 if found[1] == "https" else 80
        port = int(found[3]) if found[3] else default
        pool = Pool(f"{name}-asked", [Server(found[2].strip("[]"), port)])
        if found[1] == "https":
            ca = options.get("tls", "ca").text()
            pool.tls = Secure(not options.get("tls", "insecureSkipVerify").flag(), self._absolute(ca) if ca else None)
        made.rules[-1].asks = Asking(self._gateway.add_pool(pool), found[4] or "/",
                                     found[2] + (f":{port}" if port != default else ""),
                                     tuple(each.text() for each in options.get("authResponseHeaders").list()))
        for key in ("authResponseHeadersRegex", "addAuthCookiesToResponse", "authRequestHeaders", "forwardBody"):
            if options.get(key).there:
                self._gateway.notes.left_out(options.get(key).place, f"{key} of middleware {name}", "see `forward_auth`")

    def _digestauth(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        raise ValueError("use basic authentication over TLS; answered 403 until then")

    def _inflightreq(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        raise ValueError("say `circuit_breaker: {max_requests: N}` of the cluster")

    def _circuitbreaker(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        raise ValueError("say `outlier_detection` of the cluster")

    def _errors(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        raise ValueError("write `custom_errors` of the virtual host")

    def _contenttype(self, made: Made, options: Tree, name: str, secure: bool) -> None:
        """Content types are never guessed anyway."""
