"""The admin interface for people: plain HTML from the same values that programs get as JSON.

Pages need no script, no image and nothing from elsewhere, and read well in a text browser.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import Any, Final

HTML: Final = "text/html; charset=utf-8"

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #dfe3e8; --paper: #fff; --band: #f5f7f9;
  --link: #0b57a4; --good: #17663a; --good-bg: #e2f3e8; --warn: #7a4b00; --warn-bg: #fff0d1; --bad: #9b1c1c;
  --bad-bg: #fde4e4 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #9aa5b4; --line: #343c48; --paper: #14181e;
  --band: #1c222a;
  --link: #7db7f5; --good: #7fd6a0; --good-bg: #16351f; --warn: #f0c36d; --warn-bg: #3a2c0c; --bad: #f5a3a3;
  --bad-bg: #451b1b } }
* { box-sizing: border-box }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 }
a { color: var(--link); text-decoration: none } a:hover, a:focus { text-decoration: underline }
header { background: var(--band); border-bottom: 1px solid var(--line); padding: .6em 1.2em; display: flex;
  flex-wrap: wrap; gap: .2em 1.4em;
  align-items: baseline }
header strong { font-size: 1.15em } nav { display: flex; flex-wrap: wrap; gap: 0 1em } nav a[aria-current] { color:
  var(--ink);
  font-weight: 600 }
main { padding: .4em 1.2em 2em; max-width: 100em }
h1 { font-size: 1.35em; margin: .7em 0 .5em } h2 { font-size: 1.05em; margin: 1.6em 0 .4em }
table { border-collapse: collapse; margin: .2em 0; max-width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25em 1em .25em 0; border-bottom: 1px solid var(--line) }
th { font-weight: 600; color: var(--soft) } thead th { border-bottom: 2px solid var(--line); white-space: nowrap }
td table { margin: 0 } td td, td th { border: 0; padding-top: 0 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
code, pre, .m { font-family: ui-monospace, monospace; font-size: .93em } pre { overflow-x: auto; background:
  var(--band); padding: .7em }
.pill { display: inline-block; padding: 0 .55em; border-radius: .8em; font-weight: 600; white-space: nowrap;
  background: var(--band) }
.good { color: var(--good); background: var(--good-bg) } .warn { color: var(--warn); background: var(--warn-bg) }
.bad { color: var(--bad); background: var(--bad-bg) }
.cards { display: flex; flex-wrap: wrap; gap: .8em; margin: .6em 0 } .card { border: 1px solid var(--line);
  border-radius: .5em;
  padding: .6em 1em; min-width: 9em } .card b { display: block; font-size: 1.35em; font-variant-numeric: tabular-nums }
.card > span, .soft { color: var(--soft) }
form { margin: .5em 0; display: flex; flex-wrap: wrap; gap: .5em; align-items: end } td form { margin: 0; display:
  inline-flex }
label { display: flex; flex-direction: column; color: var(--soft) }
input, select, button { font: inherit; height: 2.1em; color: inherit; background: var(--paper); border: 1px solid var(--line);
  border-radius: .3em;
  padding: .2em .5em } button { background: var(--band); cursor: pointer } input[name=url] { width: 32em; max-width:
  90vw }
.told { margin: 0; padding: .4em 1.2em } input, select, button { min-height: 2.1em } .acts { display: flex; gap: .5em }
ul.plain { list-style: none; margin: .2em 0; padding: 0 } ul.plain li { padding: .1em 0 } code, .m { overflow-wrap: break-word }
td.t { white-space: nowrap }
td button { min-height: 0; padding: 0 .6em } h2 a { font-weight: 400; font-size: .9em; margin-left: .5em }
.card b.bad { background: none }
summary { cursor: pointer } details { margin: .2em 0 }
ul.story { list-style: none; padding-left: 1.2em; margin: .1em 0; border-left: 2px solid var(--line) } ul.story > li
  { margin: .25em 0 }
main > ul.story { padding-left: 0; border: 0 }
"""
#: Asks for the page again every few seconds and puts its contents in place, unless somebody reads or writes in it.
_SCRIPT: Final = """
(() => {
  const every = 5000;
  const lost = document.createElement("p");
  lost.className = "bad told";
  lost.role = "status";
  lost.textContent = "The gateway does not answer; what stands here is old.";
  const busy = () => document.hidden || document.querySelector("main details[open]") || getSelection().toString() ||
    ["INPUT", "SELECT", "BUTTON"].includes(document.activeElement.tagName);
  const look = async () => {
    if (!busy()) {
      try {
        const answer = await fetch(location.href, {headers: {Accept: "text/html"}});
        const text = await answer.text();
        if (!busy()) {
          const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main");
          if (fresh) document.querySelector("main").replaceWith(fresh);
        }
        lost.remove();
      } catch (error) { document.querySelector("header").after(lost) }
    }
    timer = setTimeout(look, every);
  };
  let timer = setTimeout(look, every);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      clearTimeout(timer);
      look();
    }
  });
})();
"""


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


#: Only the style and the script above, which are named by their hashes; forms and questions go to ourselves.
CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

#: Path and name of the pages that every page links to.
LINKS: Final = (
    ("/", "overview"), ("/virtual_hosts", "hosts"), ("/clusters", "clusters"), ("/listeners", "listeners"),
    ("/certificates", "certificates"), ("/names", "names"), ("/rollouts", "rollouts"), ("/events", "events"),
    ("/recent", "requests"), ("/explain", "explain"), ("/generations", "generations"), ("/config", "configuration"),
    ("/networks", "networks"), ("/logs", "logs"), ("/metrics", "metrics"), ("/login", "log in"),
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


def page(title: str, body: Iterable[str], path: str = "", *, fresh: bool = False) -> Iterator[bytes]:
    """A whole page in pieces; `body` is HTML already. `path` is its own, for the list of pages; a `fresh` one keeps so."""
    links = "".join(f'<a href="{at}"{_HERE if at == path else ""}>{name}</a>\n' for at, name in LINKS)
    yield (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)} - voltgw</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f'<body><header><strong>voltgw</strong><nav aria-label="pages">{links}</nav></header>\n'
        f"<main><h1>{escape(title)}</h1>\n"
    ).encode()
    for piece in body:
        yield piece.encode("utf-8", "replace")
    yield f"</main>{f'<script>{_SCRIPT}</script>' if fresh else ''}</body></html>\n".encode()


def sections(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One section for each thing that has a name, with a table of what is known of it."""
    empty = True
    for item in items:
        empty = False
        named = {key: value for key, value in item.items() if key != "name"}
        yield f"<h2>{escape(str(item.get('name', '')))}</h2>\n{show(named)}\n"
    if empty:
        yield "<p>There are none.</p>\n"


def show(value: Any) -> str:
    """A value as HTML: mappings and lists of mappings as tables, other lists one below the other."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        if not value:
            return "-"
        rows = "".join(f'<tr><th scope="row">{_heading(key)}</th><td>{show(each)}</td></tr>\n' for key, each in value.items())
        return f"<table>{rows}</table>"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if not value:
            return "-"
        if all(isinstance(each, Mapping) for each in value):
            return _table(value)
        return "<br>".join(show(each) for each in value)
    return escape(str(value))


_HERE: Final = ' aria-current="page"'


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(f'<th scope="col">{_heading(column)}</th>' for column in columns)
    lines = "".join(f"<tr>{''.join(f'<td>{show(row.get(column))}</td>' for column in columns)}</tr>\n" for row in rows)
    return f"<table><tr>{head}</tr>\n{lines}</table>"


def _heading(key: object) -> str:
    return escape(str(key).replace("_", " "))
