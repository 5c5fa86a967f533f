"""The pages of the admin interface that people look at most: what matters first, words for states, reasons for troubles.

Each function makes HTML of the same facts that programs get as JSON. Long lists are cut into pages and can be narrowed down.
"""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final
from urllib.parse import quote, urlencode

from voltgw.observe.pages import show

#: Things on one page.
PER_PAGE: Final = 100
#: Endpoints of one cluster that are shown.
MOST_ENDPOINTS: Final = 500
#: What may be decided for a rollout.
DECISIONS: Final = ("approve", "pause", "resume", "promote", "rollback", "restart")
_SOON_S: Final = 14 * 24 * 3600

Cell = tuple[str, str]                      # class of the cell, HTML


def pill(word: str, kind: str = "") -> str:
    """A state, as a word with a colour: ``good``, ``warn``, ``bad``."""
    return f'<span class="pill {kind}">{escape(word)}</span>'


def number(value: float) -> Cell:
    """A number, to the right."""
    return "n", f"{value:,}" if isinstance(value, int) else f"{value:g}"


def text(value: object) -> Cell:
    """Words."""
    return "", escape(str(value)) if value not in (None, "") else '<span class="soft">-</span>'


def code(value: object) -> Cell:
    """An address, an id."""
    return "m", escape(str(value)) if value not in (None, "") else '<span class="soft">-</span>'


def moment(value: str) -> Cell:
    """A time, which stays on its line."""
    return "m t", escape(value)


def html(value: str) -> Cell:
    """What is HTML already."""
    return "", value


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], caption: str = "") -> Iterator[str]:
    """A table; a column whose name ends with ``#`` has numbers."""
    head = "".join(f'<th scope="col"{_N if name.endswith("#") else ""}>{escape(name.rstrip("#"))}</th>' for name in columns)
    yield f'<table>{f"<caption>{escape(caption)}</caption>" if caption else ""}<thead><tr>{head}</tr></thead><tbody>\n'
    empty = True
    for row in rows:
        empty = False
        cells = (f'<td class="{kind}">{cell}</td>' if kind else f"<td>{cell}</td>" for kind, cell in row)
        yield f"<tr>{''.join(cells)}</tr>\n"
    if empty:
        yield f'<tr><td colspan="{len(columns)}" class="soft">There are none.</td></tr>\n'
    yield "</tbody></table>\n"


_N: Final = ' class="n"'


def act(path: str, word: str, **fields: str) -> str:
    """A button that changes something."""
    return f'<form method="post" action="{path}?{escape(urlencode(fields))}"><button>{escape(word)}</button></form>'


def narrowed(
    things: Iterable[Any], wanted: str, page: int, path: str, names: str, shown: Callable[[list[Any]], Iterable[str]],
) -> Iterator[str]:
    """Those of one page in which `wanted` stands, below a form that asks for others.

    For those that are passed over nothing comes out, but a piece: whoever sends this can pause at each.
    """
    words = wanted.lower()
    here: list[Any] = []
    more, passed = False, page * PER_PAGE
    for each in things:
        if not words or words in str(each).lower():
            if len(here) == PER_PAGE:
                more = True
                break
            if passed:
                passed -= 1
            else:
                here.append(each)
        yield ""
    links = ""
    for there, label, there_is in ((page - 1, "earlier", page > 0), (page + 1, "more", more)):
        if there_is:
            links += f' <a href="{path}?{escape(urlencode({"q": wanted, "page": there}))}">{label}</a>'
    yield (f'<form action="{path}" role="search"><label>{escape(names)} with<input name="q" value="{escape(wanted)}"></label>'
           f"<button>show</button>{links}</form>\n")
    yield from shown(here)


# -- pages -----------------------------------------------------------------------------------------------------------------


def overview(
    facts: Mapping[str, Any], started_s: float, requests: Mapping[str, int], latest: Sequence[Mapping[str, Any]], *,
    operates: bool,
) -> Iterator[str]:
    """How it is, in one look; `latest` are events, the oldest first."""
    if facts["draining"]:
        state = pill("draining", "warn")
    else:
        state = pill("ready", "good") if facts["ready"] else pill("not ready", "bad")
    process = facts["process"]
    cards = (
        (state, f"up {duration(started_s)}"),
        (f"{sum(requests.values()):,}", "requests"),
        (f"{requests['4xx']:,}", "of them 4xx"),
        (f"{requests['5xx']:,}", "of them 5xx"),
        (f"{process.get('open_streams', 0):,.0f}", "connections"),
        (f"{facts['listeners']['bound']} of {facts['listeners']['all']}", "listeners bound"),
        (f"{facts['clusters']['with_ready_endpoints']} of {facts['clusters']['all']}", "clusters with ready endpoints"),
        (str(facts["generation"]), "generation"),
    )
    yield '<div class="cards">' + "".join(f'<div class="card"><b>{top}</b><span>{escape(below)}</span></div>'
                                          for top, below in cards) + "</div>\n"
    if facts["overload"]["now"]:
        yield f'<p>{pill("short of something", "warn")} {escape("; ".join(map(str, facts["overload"]["now"])))}</p>\n'
    if facts["missing"]:
        yield "<h2>What is missing</h2>\n<ul>" + "".join(f"<li>{escape(each)}</li>" for each in facts["missing"]) + "</ul>\n"
    if facts["last_reload_error"]:
        yield f'<h2>The last reload was refused</h2>\n<pre>{escape(facts["last_reload_error"])}</pre>\n'
    yield "<h2>Why would a request be answered so?</h2>\n" + explain_form({})
    if operates:
        yield "<p>" + act("/reload", "read the configuration again") + "</p>\n"
    yield '<h2>What has happened lately <a href="/events">all</a></h2>\n'
    yield from events(latest)
    if facts.get("workers"):
        yield "<h2>Workers</h2>\n" + show(facts["workers"])
    rest = {key: value for key, value in facts.items() if key not in (
        "ready", "missing", "draining", "generation", "last_reload_error", "listeners", "clusters", "workers", "process")}
    short = {key: value for key, value in rest.items() if not isinstance(value, Mapping | list)}
    yield f"<h2>More</h2>\n{show(short)}\n"
    for key, value in rest.items():
        if isinstance(value, Mapping | list):
            yield f"<details><summary>{escape(key.replace('_', ' '))}</summary>{show(value)}</details>\n"
    yield f"<details><summary>numbers of the process</summary>{show(process)}</details>\n"


def clusters(found: Sequence[Mapping[str, Any]], *, operates: bool) -> Iterator[str]:
    """Each cluster, and of its endpoints who is out and why."""
    yield from table(
        ("cluster", "state", "endpoints#", "requests#", "under way#", "waiting#", "failed connects#", "retries#", "refused#",
         "scheduler"),
        ((html(f'<a href="#{quote(each["cluster"])}">{escape(each["cluster"])}</a>'), html(cluster_state(each)),
          ("n", f'{each["ready"]} of {len(each["endpoints"])}'), number(each["counters"]["requests"]), number(each["active"]),
          number(each["pending"]), number(each["counters"]["connect_failures"]), number(each["counters"]["retries"]),
          number(each["counters"]["overflow"]), text(each["scheduler"])) for each in found))
    for each in found:
        yield f'<h2 id="{quote(each["cluster"])}">{escape(each["cluster"])} {cluster_state(each)}</h2>\n'
        yield from table(
            ("endpoint", "state", "why", "requests#", "5xx#", "under way#", "connections#", "weight#",
             *(("",) if operates else ())),
            (_endpoint(each, one, operates=operates) for one in each["endpoints"][:MOST_ENDPOINTS]))
        if len(each["endpoints"]) > MOST_ENDPOINTS:
            yield f'<p class="soft">and {len(each["endpoints"]) - MOST_ENDPOINTS} more; as JSON it has them all</p>\n'
        rest = {key: value for key, value in each.items() if key not in ("cluster", "endpoints", "events")}
        yield f"<details><summary>all of it</summary>{show(rest)}</details>\n"
        if each["events"]:
            rows = ((number(event["ago_s"]), code(event["endpoint"]), text(event["state"]), text(event["reason"]))
                    for event in each["events"])
            yield "<details><summary>what has happened</summary>" + "".join(
                table(("seconds ago#", "endpoint", "became", "why"), rows)) + "</details>\n"


def _endpoint(cluster: Mapping[str, Any], one: Mapping[str, Any], *, operates: bool) -> list[Cell]:
    kind, word = ("good", "ready") if one["ready"] else ("bad", one["health"] if one["health"] == "unhealthy" else "out")
    if one["ready"] and one["health"] == "unknown" and cluster["checks"]:
        kind, word = "warn", "not known yet"
    where = one["endpoint"] if not one["hostname"] else f"{one['endpoint']} ({one['hostname']})"
    cells = [code(where), html(pill(word, kind)), text(one["why"]), number(one["requests"]), number(one["status"]["5xx"]),
             number(one["active"]), number(one["connections"]), number(one["weight"])]
    if operates:
        fields = {"endpoint": one["endpoint"], "cluster": cluster["cluster"]}
        held = one["order"] is not None
        cells.append(html(act("/endpoints/undrain", "let it serve", **fields) if held
                          else act("/endpoints/drain", "drain", **fields)))
    return cells


def cluster_state(each: Mapping[str, Any]) -> str:
    """One word for a cluster."""
    if not each["endpoints"]:
        return pill("no endpoints", "bad")
    if not each["any_ready"]:
        return pill("down", "bad")
    if each["panic"]:
        return pill("panic", "bad")
    if each["ready"] < len(each["endpoints"]):
        return pill("in part", "warn")
    return pill("up", "good") if each["warm"] else pill("begins", "warn")


def hosts(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Virtual hosts and their routes."""
    yield from table(
        ("virtual host", "proxy", "domains", "listens", "requests#", "routes", "stands at"),
        ((text(f"{each['namespace']}/{each['name']}"), text(each["proxy"]), html(_lines(each["domains"])),
          html(_lines(each["listeners"]) or pill("nowhere", "warn")),
          number(sum(route["requests"] for route in each["routes"])), html(_routes(each["routes"])),
          code(each["place"])) for each in found))


def _routes(routes: Sequence[Mapping[str, Any]]) -> str:
    lines = "".join(
        f'<li><span class="m">{escape(each["name"])}</span> to '
        f'{escape(", ".join(name or "nowhere" for name in each["clusters"]) or "no cluster")}'
        f' <span class="soft">requests: {each["requests"]:,}; {escape(each["place"])}</span></li>\n'
        for each in routes[:PER_PAGE])
    more = f'<li class="soft">and {len(routes) - PER_PAGE} more</li>' if len(routes) > PER_PAGE else ""
    return f'<details><summary>{len(routes)}</summary><ul class="plain">{lines}{more}</ul></details>'


def listeners(found: Sequence[Mapping[str, Any]], now: float) -> Iterator[str]:
    """What is listened on, and the certificates there."""
    yield from table(
        ("listener", "protocol", "kind", "state", "connections#", "open#", "turned away#", "virtual hosts", "certificates"),
        ((code(each["name"]), text(each["protocol"]), text(each["kind"]),
          html(pill("listens", "good") if each["bound"] else f'{pill("does not", "bad")} {escape(each["problem"])}'),
          number(each["counters"]["accepted"]), number(each["counters"]["open"]),
          number(each["counters"]["refused_source"] + sum(each["counters"]["datagrams_dropped"].values())),
          html(_lines(list(each["virtual_hosts"])[:20])),
          html("<br>".join(f'{escape(", ".join(one["names"][:3]))} {days_left(one["ends"], now)}'
                           for one in each["certificates"]) or "-")) for each in found))
    for each in found:
        yield f'<details><summary>all of {escape(each["name"])}</summary>{show(each)}</details>\n'


def days_left(ends: str, now: float) -> str:
    """How long a certificate holds; `ends` as ``2026-01-31T12:00:00Z``."""
    left = timegm(time.strptime(ends, "%Y-%m-%dT%H:%M:%SZ")) - now
    kind = "bad" if left <= 0 else "warn" if left < _SOON_S else "good"
    return pill("has ended" if left <= 0 else f"{left / 86400:.0f} days", kind)


def certificates(shown: Iterable[Mapping[str, Any]], fetched: Iterable[Mapping[str, Any]], now: float) -> Iterator[str]:
    """Those that listeners show, the one that ends first before the others; then how fetching goes."""
    found: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for listener in shown:
        for each in listener["certificates"]:
            found.setdefault(each["fingerprint"], (each, []))[1].append(listener["name"])
        yield ""
    yield from table(("names", "left", "ends", "listeners", "virtual hosts", "fingerprint"), (
        (html(_lines(each["names"][:8])), html(days_left(each["ends"], now)), moment(each["ends"]), html(_lines(names[:8])),
         html(_lines(each["virtual_hosts"][:8])), code(each["fingerprint"][:16]))
        for each, names in sorted(found.values(), key=lambda one: str(one[0]["ends"]))))
    yield f"<h2>Fetched from a CA</h2>\n{show(list(fetched))}\n"


def events(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What has happened, the newest first."""
    kinds = {"error": "bad", "critical": "bad", "warn": "warn"}
    yield from table(
        ("time", "level", "kind", "what"),
        ((moment(each["time"]), html(pill(each["level"], kinds.get(each["level"], ""))),
          html(f'<a href="/events?kind={quote(each["kind"])}">{escape(each["kind"])}</a>'), text(each["message"]))
         for each in reversed(found)))


def recent(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Past requests; each leads to why it was answered so."""
    yield ('<form action="/why"><label>id of a request<input name="id" size="40"></label><button>why?</button></form>\n'
           '<p class="soft">All errors and one in a hundred of the rest are remembered.</p>\n')
    yield from table(
        ("time", "client", "request", "status", "flag", "endpoint", "route", ""),
        ((code(each.get("time")), code(each.get("client")),
          code(f"{each['method']} {each.get('authority') or ''}{each['target']}"), html(_status(each["status"])),
          text(each.get("flag")), code(each.get("endpoint")), text(each.get("route")),
          html(f'<a href="/why?id={quote(each["request_id"])}">why?</a>')) for each in found))


def _status(status: int) -> str:
    return pill(str(status or "none"), "bad" if status >= 500 or not status else "warn" if status >= 400 else "good")


def generations(facts: Mapping[str, Any], *, operates: bool) -> Iterator[str]:
    """Configurations that are kept."""
    if facts["problem"]:
        yield f'<p>{pill("not kept", "bad")} {escape(facts["problem"])}</p>\n'
    if facts["differs"]:
        yield (f'<p>{pill("rolled back", "warn")} these files say something else on disk: '
               f'{escape(", ".join(facts["differs"]))}</p>\n')
    rows = []
    for each in facts["generations"]:
        serves = each["number"] == facts["current"]
        main = escape(each["main"]) + (f' {pill("serves", "good")}' if serves else "")
        row = [number(each["number"]), code(each["time"]), html(main),
               number(each["files"]), code(each["digest"][:12])]
        if operates:
            row.append(html("" if serves else act("/rollback", "serve this one", number=str(each["number"]))))
        rows.append(row)
    yield from table(("number#", "since", "file", "files#", "digest", *([""] if operates else [])), rows)


def rollouts(found: Sequence[Mapping[str, Any]], *, operates: bool) -> Iterator[str]:
    """How far each is, why, and what was measured."""
    if not found:
        yield "<p>There are none.</p>\n"
    for each in found:
        name = each["rollout"]
        steps = ", ".join(f"{step:g} %" for step in each["steps"])
        yield (f'<h2>{escape(name)} {pill(each["phase"])}</h2>\n<p>{escape(each["why"])}</p>\n'
               f'<p class="soft">{each["weight_percent"]:g} % of the requests go to the candidate; the steps: {escape(steps)}'
               "</p>\n")
        yield from table(("version", "subset", "requests#", "failures#", "errors in %#", "p50 ms#", "p95 ms#", "p99 ms#"), (
            [text(side), code(each[side]), *map(number, _tally(each["counted"].get(side) or {}))]
            for side in ("baseline", "candidate")))
        if operates:
            yield '<div class="acts">' + "".join(act(f"/rollouts/{word}", word, name=name) for word in DECISIONS) + "</div>\n"
        yield from table(("time", "what has happened"), (
            (code(event["time"]), text(event["event"])) for event in reversed(each["events"])))


def _tally(counted: Mapping[str, Any]) -> Iterator[float]:
    yield counted.get("requests", 0)
    yield counted.get("failures", 0)
    yield round(counted.get("error_percent") or 0.0, 2)
    latency = counted.get("latency_ms") or {}
    for name in ("p50", "p95", "p99"):
        yield latency.get(name) or 0.0


def config(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is in force, and where each value comes from."""
    for each in found:
        yield f'<h2>{escape(each["name"])} <code class="soft">{escape(each["place"])}</code></h2>\n'
        yield from table(("field", "value", "stands at"), (
            (code(path), code(value), code(place)) for path, value, place in each["values"]))


def explain_form(asked: Mapping[str, str]) -> str:
    """Where a question is put."""
    def value(name: str) -> str:
        return escape(asked.get(name, ""))

    methods = "".join(f"<option{' selected' if each == asked.get('method', 'GET') else ''}>{each}</option>"
                      for each in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "-"))
    return (f'<form action="/explain"><label>method<select name="method">{methods}</select></label>'
            f'<label>URL<input name="url" value="{value("url")}" placeholder="http://shop.example.com/cart" required></label>'
            f'<label>header<input name="header" value="{value("header")}" placeholder="x-canary: always"></label>'
            f'<label>from<input name="from" value="{value("from")}" placeholder="203.0.113.9" size="16"></label>'
            "<button>explain</button></form>\n")


def story(decisions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Decisions one after another, with what led to each."""
    yield '<ul class="story">'
    for each in decisions:
        place = f' <code class="soft">{escape(each["place"])}</code>' if each.get("place") else ""
        why = f' <span class="soft">because</span> {escape(each["why"])}' if each.get("why") else ""
        yield f'<li>{escape(each["about"].rstrip(":"))}: <strong>{escape(str(each["outcome"]))}</strong>{why}{place}'
        if each.get("steps"):
            yield from story(each["steps"])
        yield "</li>\n"
    yield "</ul>\n"


def _lines(values: Sequence[str]) -> str:
    return "<br>".join(f'<span class="m">{escape(value)}</span>' for value in values)


def duration(seconds: float) -> str:
    """``3 d 4 h``, ``12 min``."""
    minutes = int(seconds) // 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min"
