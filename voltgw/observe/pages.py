"""The admin interface for people: plain HTML from the same values that programs get as JSON.

Pages need no script, no image and nothing from elsewhere, and read well in a text browser.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import Any, Final

from voltgw.observe.answers import in_parts

HTML: Final = "text/html; charset=utf-8"

_STYLE: Final = """
body { font: 15px/1.45 sans-serif; color: #222; background: #fff; margin: 1.5em auto; padding: 0 1em; max-width: 80em }
nav a { margin-right: 1em }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin: 1.6em 0 .4em }
table { border-collapse: collapse; margin: .2em 0 }
th, td { text-align: left; vertical-align: top; padding: .15em .8em .15em 0; border-bottom: 1px solid #ddd }
th { font-weight: 600 } td table { margin: 0 } td td, td th { border: 0 }
pre { overflow-x: auto }
"""
#: No script, no form, no frame, nothing loaded: only the style above, which is named by its hash.
CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: Path and name of the pages that the overview and every other page link to.
LINKS: Final = (
    ("/", "overview"), ("/listeners", "listeners"), ("/virtual_hosts", "virtual hosts"), ("/clusters", "clusters"),
    ("/names", "names"), ("/networks", "networks"), ("/certificates", "certificates"),
    ("/config", "configuration"), ("/metrics", "metrics"), ("/ready", "ready"),
)


def prefers_html(accept: str) -> bool:
    """Whether the Accept field (RFC 9110 12.5.1) names HTML, and JSON not as much; ``*/*`` gets JSON, as programs do."""
    html = other = 0.0
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if name in ("text/html", "application/xhtml+xml"):
            html = max(html, weight)
        elif name == "application/json":
            other = max(other, weight)
    return html > other


def page(title: str, body: Iterable[str]) -> Iterator[bytes]:
    """A whole page in pieces; `body` is HTML already."""
    links = "".join(f'<a href="{path}">{name}</a>\n' for path, name in LINKS)
    yield (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)} - voltgw</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body><nav>{links}</nav>\n<h1>{escape(title)}</h1>\n"
    ).encode()
    for piece in body:
        yield piece.encode()
    yield b"</body></html>\n"


def sections(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One section for each thing that has a name, with a table of what is known of it."""
    empty = True
    for item in items:
        empty = False
        named = {key: value for key, value in item.items() if key != "name"}
        yield f"<h2>{escape(str(item.get('name', '')))}</h2>\n{show(named)}\n"
    if empty:
        yield "<p>There are none.</p>\n"


def preformatted(value: Mapping[str, Any]) -> Iterator[str]:
    """A deep value as indented JSON."""
    yield "<pre>"
    for piece in in_parts(value):
        yield escape(piece)
    yield "</pre>\n"


def lines_of(text: str) -> Iterator[str]:
    """Text as it is."""
    yield f"<pre>{escape(text)}</pre>\n"


def show(value: Any) -> str:
    """A value as HTML: mappings and lists of mappings as tables, other lists one below the other."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        if not value:
            return "-"
        rows = "".join(f"<tr><th>{_heading(key)}</th><td>{show(each)}</td></tr>\n" for key, each in value.items())
        return f"<table>{rows}</table>"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if not value:
            return "-"
        if all(isinstance(each, Mapping) for each in value):
            return _table(value)
        return "<br>".join(show(each) for each in value)
    return escape(str(value))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(f"<th>{_heading(column)}</th>" for column in columns)
    lines = "".join(f"<tr>{''.join(f'<td>{show(row.get(column))}</td>' for column in columns)}</tr>\n" for row in rows)
    return f"<table><tr>{head}</tr>\n{lines}</table>"


def _heading(key: object) -> str:
    return escape(str(key).replace("_", " "))
