"""What a route does with a request that it takes: redirect it, answer it, or change its target before it is sent on."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from voltgw.routing.problems import at
from voltgw.routing.regex.pattern import Rewrite
from voltgw.values.reply import Reply
from voltgw.wire.path import BadTarget, literal_path, literal_query, normal_path, written_path

if TYPE_CHECKING:
    from voltgw.config.objects.route import RouteDestinationList, RouteDirectResponse, RouteRedirect
    from voltgw.routing.match import Clause
    from voltgw.values.head import RequestHead

Answer: TypeAlias = "Callable[[RequestHead, Asked], Reply]"
TargetRewrite: TypeAlias = "Callable[[RequestHead], bytes]"
#: path -> path; raises `BadTarget` where the result may not be sent.
_PathRewrite: TypeAlias = "Callable[[bytes], bytes]"
#: query -> query.
_QueryRewrite: TypeAlias = "Callable[[bytes | None], bytes | None]"

_DEFAULT_PORTS: Final = {b"http": 80, b"https": 443}
_AUTHORITY: Final = re.compile(r"(?:[A-Za-z0-9\-._~]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_not_in_url: Final = re.compile(rb"[^\x21-\x7e]").sub
_dots: Final = re.compile(rb"%2[Ee]").sub
_HTML: Final = re.compile(rb"\s*<(?:!doctype\s+html|html|head|body|h[1-6]|p|div)\b", re.IGNORECASE)


class Asked(Protocol):
    """What an answer may know besides the head: an `Exchange` has it."""

    @property
    def scheme(self) -> bytes:
        """By what scheme the client asked, ``http`` or ``https``."""


# -- redirects ---------------------------------------------------------------------------------------------------------

def redirect(spec: RouteRedirect, clause: Clause, *, normalised: bool = True) -> Answer:
    """The redirect of objects.md 5.5 for requests that match by `clause`. Raises ValueError.

    A host that is kept keeps the port that the client named, unless the scheme changes: no port speaks both. The Location is
    an absolute URL of printable ASCII whatever the request held, so it can neither add a header nor lead to another host.
    """
    status = spec.response_code or 301
    if not 300 <= status <= 399 or status == 304:
        with at("response_code"):
            raise ValueError(f"{status} does not redirect; 301, 302, 303, 307 and 308 do")
    wanted = (spec.proto_redirect or "incoming-proto").encode("ascii")
    keep_scheme = wanted == b"incoming-proto"
    port = spec.port_redirect or None
    host: bytes | None = None
    if spec.host_redirect:
        with at("host_redirect"):
            host = _authority(spec.host_redirect)
        if port is not None and re.search(rb":[0-9]+\Z", host):
            host = host.rpartition(b":")[0]     # port_redirect says it more exactly
    target = _redirect_target(spec, clause, normalised)

    def answer(head: RequestHead, asked: Asked) -> Reply:
        try:
            path = target(head)
        except BadTarget:
            return Reply(400, flag="DPE", detail="path_rewrite_escape", negotiate=True)
        scheme = asked.scheme if keep_scheme else wanted
        authority = host
        shown_port = port
        if authority is None:
            authority = head.host
            if shown_port is None and scheme == asked.scheme:
                shown_port = head.port
        if not authority:                       # HTTP/1.0 without Host: all that can be said is a path
            location = b"/." + path if path.startswith(b"//") else path
        elif shown_port is None or shown_port == _DEFAULT_PORTS.get(scheme):
            location = b"%b://%b%b" % (scheme, authority, path)
        else:
            location = b"%b://%b:%d%b" % (scheme, authority, shown_port, path)
        return Reply(status, [(b"location", _not_in_url(_escape, location))])

    return answer


def _redirect_target(spec: RouteRedirect, clause: Clause, normalised: bool) -> TargetRewrite:
    """Path, query and fragment of the new location."""
    change_query = _query_rewrite(
        replace=spec.replace_params, remove=spec.remove_all_params or spec.all_params, name="replace_params")
    if spec.path_redirect:
        with at("path_redirect"):
            text, hash_mark, fragment = spec.path_redirect.partition("#")
            text, mark, query_text = text.partition("?")
            path = normal_path(literal_path(text))
            own_query = literal_query(query_text) if mark else None
            end = (hash_mark + fragment).encode("utf-8")
        if own_query is not None:
            fixed = b"%b?%b%b" % (path, own_query, end)
            return lambda head: fixed           # it brings a query of its own

        def replaced(head: RequestHead) -> bytes:
            query = head.query if change_query is None else change_query(head.query)
            return path + end if query is None else b"%b?%b%b" % (path, query, end)

        return replaced

    change_path: _PathRewrite | None = None
    if spec.prefix_rewrite:
        with at("prefix_rewrite"):
            change_path = _prefix_rewrite(spec.prefix_rewrite, clause, normalised)

    def kept(head: RequestHead) -> bytes:
        path = head.path if change_path is None else change_path(head.path)
        query = head.query if change_query is None else change_query(head.query)
        return path if query is None else b"%b?%b" % (path, query)

    return kept


# -- direct responses --------------------------------------------------------------------------------------------------

def direct_response(spec: RouteDirectResponse, most_bytes: int | None = None) -> Answer:
    """The answer of objects.md 5.6; a body over `most_bytes` (None = no such limit) is refused. Raises ValueError."""
    status = spec.response_code or 200
    if not 200 <= status <= 599:
        with at("response_code"):
            raise ValueError(f"{status} ends no request; a direct response has a status from 200 to 599")
    if spec.response_body_encoded is not None:
        name, body = "response_body_encoded", spec.response_body_encoded
    else:
        name, body = "response_body", _literal_body(spec.response_body or "")
    if most_bytes is not None and len(body) > most_bytes:
        with at(name):
            raise ValueError(f"the body has {len(body)} bytes; max_direct_response_body_size allows {most_bytes}")
    fields = [(b"content-type", _content_type(body))] if body else []

    def answer(head: RequestHead, asked: Asked) -> Reply:
        return Reply(status, fields.copy(), body)

    return answer


def _literal_body(text: str) -> bytes:
    """The bytes of ``response_body``: real files also have the ``string:///`` form there (objects.md 1.4)."""
    encoded = text.removeprefix("string:///")
    if encoded != text:
        try:
            return base64.b64decode(encoded, validate=True)
        except ValueError:
            pass                                # it only looks like one
    return text.encode("utf-8")


def _content_type(body: bytes) -> bytes:
    """What a body that says nothing of itself is likely to be; a response header edit can say otherwise."""
    if _HTML.match(body):
        return b"text/html; charset=utf-8"
    if body.lstrip()[:1] in (b"{", b"["):
        try:
            json.loads(body)
        except ValueError:
            pass                                # it only looks like JSON
        else:
            return b"application/json"
    return b"text/plain; charset=utf-8"


# -- what is sent on ---------------------------------------------------------------------------------------------------

def target_rewrite(spec: RouteDestinationList, clause: Clause, *, normalised: bool = True) -> TargetRewrite | None:
    """The target for the endpoint, for requests that match by `clause`; None when it stays as it is. Raises ValueError.

    The function raises `BadTarget` when the new path would leave the prefix that was put in, or the root.
    """
    change_path: _PathRewrite | None = None
    if spec.prefix_rewrite:
        with at("prefix_rewrite"):
            change_path = _prefix_rewrite(spec.prefix_rewrite, clause, normalised)
    elif spec.regex_rewrite is not None:
        with at("regex_rewrite"):
            rewrite = Rewrite(spec.regex_rewrite.pattern, spec.regex_rewrite.substitution or "")
        change_path = _regex_rewrite(rewrite, normalised)
    change_query: _QueryRewrite | None = None
    if spec.query_params is not None:
        with at("query_params"):
            change_query = _query_rewrite(
                replace=spec.query_params.replace_params, remove=spec.query_params.remove_all_params,
                name="replace_params")
    if change_path is None and change_query is None:
        return None

    def rewritten(head: RequestHead) -> bytes:
        path = head.path if change_path is None else change_path(head.path)
        query = head.query if change_query is None else change_query(head.query)
        return path if query is None else b"%b?%b" % (path, query)

    return rewritten


def host_rewrite(spec: RouteDestinationList) -> bytes | None:
    """The Host to send, None to leave it. Raises ValueError."""
    if not spec.host_rewrite:
        return None
    with at("host_rewrite"):
        if spec.auto_host_rewrite:
            raise ValueError("host_rewrite and auto_host_rewrite exclude each other")
        return _authority(spec.host_rewrite)


def _prefix_rewrite(text: str, clause: Clause, normalised: bool) -> _PathRewrite:
    """Puts `text` in the place of what `clause` matched."""
    if not text.startswith("/"):
        raise BadTarget("must begin with a slash")
    new = normal_path(literal_path(text))
    replaced = clause.replaced
    if replaced is None:
        return lambda path: new
    segments = clause.segments
    floor = sum(map(bool, new.split(b"/")))     # segments that stay, though more may be added to the last one

    def change(path: bytes) -> bytes:
        rest = path[replaced:]
        if segments and rest:
            # Whole segments were matched, so whole segments are put together: neither "//" nor a word of two halves.
            if new.endswith(b"/"):
                rest = rest.removeprefix(b"/")
            elif not rest.startswith(b"/"):
                rest = b"/" + rest
        path = new + rest
        normal = normal_path(path, above_root=False)
        _stay_below(path, floor)
        return normal if normalised else path

    return change


def _stay_below(path: bytes, floor: int) -> None:
    """Refuse a path whose dot segments take away any of its first `floor` segments, even if it comes back to others.

    Empty segments do not count, since some servers drop them before they resolve dot segments: what is not refused stays below
    the prefix in both readings.
    """
    if b"/." not in path and b"/%2" not in path:
        return                                  # no segment begins with a dot
    depth = 0
    for segment in _dots(b".", path).split(b"/"):
        if segment == b"..":
            depth -= 1
            if depth < floor:
                raise BadTarget("leads out of the prefix that was put in" if floor else "leads above the root")
        elif segment not in (b"", b"."):
            depth += 1


def _regex_rewrite(rewrite: Rewrite, normalised: bool) -> _PathRewrite:
    def change(path: bytes) -> bytes:
        path = rewrite(path)
        normal = normal_path(path, above_root=False)
        _stay_below(path, 0)
        return normal if normalised else written_path(path)

    return change


def _query_rewrite(*, replace: str | None, remove: bool, name: str) -> _QueryRewrite | None:
    if replace:
        with at(name):
            new = literal_query(replace.removeprefix("?"))
        return lambda query: new
    if remove:
        return lambda query: None
    return None


def _authority(text: str) -> bytes:
    if _AUTHORITY.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a host name or address with an optional port")
    return text.encode("ascii")


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
