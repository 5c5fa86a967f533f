"""nginx's redirects: the URLs and paths of ``return`` and ``rewrite``, with their variables."""

from __future__ import annotations

import re

from voltgw.app.importing.model import Match, Redirect
from voltgw.app.importing.nginx_level import Level
from voltgw.app.importing.nginx_values import variables
from voltgw.app.importing.words import literal_tail


def redirection(
    status: int, text: str, match: Match, level: Level, *, rewriting: bool = False, pattern: str = "",
) -> Redirect | None:
    """The redirect to a URL or path with variables, None where it cannot be said."""
    made = Redirect(status)
    found = re.fullmatch(r"(\$scheme|https?)://([^/$?#]+|\$(?:host|http_host|server_name))(:\$server_port|:\d+)?(.*)", text)
    rest = text
    if found is not None:
        made.scheme = None if found[1] == "$scheme" else found[1]
        name = found[2] + (found[3] or "" if found[3] != ":$server_port" else "")
        if name.startswith("$server_name"):
            name = level.values.get("server_name", "") + name.removeprefix("$server_name")
        if not name.startswith(("$host", "$http_host")):
            made.host = name
        elif found[3] and found[3] != ":$server_port":
            return None
        rest = found[4]
    elif not text.startswith(("/", "$request_uri", "$uri")):
        return None
    if re.fullmatch(r"/?\$(request_uri|uri(\$is_args\$args)?)", rest):
        made.keep_query = rest.rpartition("$")[2] != "uri" or rewriting
        return made
    if rewriting and re.fullmatch(r"/?\$1", rest) and pattern in ("^(.*)$", "^(.*)", "^/(.*)$", "^/(.*)"):
        return made
    made.keep_query = rewriting
    query = re.fullmatch(r"(.*?)\$is_args\$args", rest)
    if query is not None:
        rest, made.keep_query = query[1], True
    captured = re.fullmatch(r"([^$]*)\$1", rest)
    if captured is not None and rewriting and match.how == "prefix":
        made.prefix = captured[1] or "/"
        return made
    if captured is not None and match.how == "regex" and (literal := literal_tail(f"^{match.path}")) is not None:
        match.how, match.path = "prefix", literal
        made.prefix = captured[1] or "/"
        return made
    if variables(rest) or "$" in rest:
        return None
    made.path = rest or "/"
    return made
