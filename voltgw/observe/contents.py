"""What the admin interface has to say, page by page; how it is asked and sent is `voltgw.observe.site`'s business."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from voltgw.observe import log_pages, objects_api, people
from voltgw.observe.answers import JSON, Answer, json_answer, json_list, json_parts
from voltgw.observe.metrics import exposition
from voltgw.observe.pages import HTML, page, prefers_html, sections, show
from voltgw.observe.places import Served, addresses, targets
from voltgw.values.compiling import slots_of

if TYPE_CHECKING:
    from twisted.web.server import Request

    from voltgw.interfaces import GatewayView, ListenerView
    from voltgw.observe.metrics import GatewayCollector

_HOW_TO_EXPLAIN: Final = (
    "ask /explain?url=http://shop.example.com/cart; method=POST, header=x-canary:%20always (again and again), "
    "from=203.0.113.9 and listener=127.0.0.1:8080 may stand beside it"
)
#: Events on the overview.
_LATEST: Final = 8
#: Longest text to look for in a list.
_MOST_WANTED: Final = 200
#: Past requests in one answer, when nobody says how many, and at most.
_USUAL_RECENT: Final = 100
_MOST_RECENT: Final = 1000
_HOW_TO_ASK_WHY: Final = "ask /why?id=ID; the id stands in the access log, in error pages and in X-Request-Id"

Serve = Callable[["Request"], "Answer | Deferred[Answer]"]


@dataclass(frozen=True, slots=True)
class Page:
    """What is served at one path; an `act` changes something and is asked for by POST, everything else by GET.

    One with `below` is at all paths that begin with its own, too; a `known` one is only for who has shown something.
    """

    serve: Serve
    act: bool = False
    below: bool = False
    known: bool = False


class Pages:
    """The pages of one gateway; `all` is what the admin interface has, `monitor` the part that may be public."""

    _log = Logger()

    def __init__(self, view: GatewayView, collector: GatewayCollector, wall: Callable[[], float]) -> None:
        self._wall = wall
        self.served: list[Served] = []      # where these pages are, once that is known
        self._view = view
        self._collector = collector
        self.monitor: Mapping[bytes, Page] = {
            b"/ready": Page(self._ready), b"/live": Page(self._live), b"/metrics": Page(self._metrics),
            b"/sd": Page(self._targets),
        }
        self.all: Mapping[bytes, Page] = {
            **self.monitor,
            b"/": Page(self._overview), b"/clusters": Page(self._clusters), b"/listeners": Page(self._listeners),
            b"/virtual_hosts": Page(self._virtual_hosts), b"/names": Page(self._names),
            b"/networks": Page(self._networks),
            b"/certificates": Page(self._certificates),
            b"/config": Page(self._config),
            b"/explain": Page(self._explain), b"/why": Page(self._why),
            b"/recent": Page(self._recent),
            b"/addresses": Page(self._addresses), b"/login": Page(self._login, known=True),
            objects_api.NAMESPACES: Page(self._namespaces), objects_api.CONFIG: Page(self._objects, below=True),
            b"/generations": Page(self._generations), b"/rollback": Page(self._rollback, act=True),
            b"/events": Page(self._events), b"/logs": Page(self._logs), b"/logs/level": Page(self._log_level, act=True),
            b"/logs/reopen": Page(self._reopen_logs, act=True),
            b"/reload": Page(self._reload, act=True), b"/drain": Page(self._drain, act=True),
            b"/rollouts": Page(self._rollouts), b"/workers": Page(self._workers),
            **{b"/rollouts/" + act: Page(self._rollout, act=True)
               for act in map(str.encode, people.DECISIONS)},
            **{b"/endpoints/" + act: Page(self._order, act=True) for act in (b"drain", b"undrain", b"eject", b"weight")},
        }

    # -- questions -------------------------------------------------------------------------------------------------

    def _ready(self, request: Request) -> Answer:
        ready, missing = self._is_ready()
        facts: dict[str, Any] = {"ready": ready, "missing": missing}
        overload = self._view.overload_facts()["now"]
        if overload:                        # it may be sent traffic all the same: others may have as much to do
            facts["overload"] = overload
        return _facts(request, "ready" if ready else "not ready", facts, 200 if ready else 503)

    def _live(self, request: Request) -> Answer:
        return _facts(request, "live", {"live": True})

    def _metrics(self, request: Request) -> Answer:
        content_type, pieces = exposition(self._collector, _field(request, b"accept"))
        return Answer(200, content_type, pieces)

    def _targets(self, request: Request) -> Answer:
        here = request.getHost()
        return json_answer(targets(self.served, here.host if isinstance(here, IPv4Address | IPv6Address) else ""))

    def _addresses(self, request: Request) -> Answer:
        return _facts(request, "addresses", {"addresses": addresses(self.served)})

    def _overview(self, request: Request) -> Answer:
        view = self._view
        ready, missing = self._is_ready()
        listeners = view.listeners()
        clusters = list(view.cluster_objects())
        facts: dict[str, Any] = {
            "version": view.version, "started": _utc(view.started_wall), "ready": ready, "missing": missing,
            "draining": view.draining, "generation": view.generation, "reloads_rejected": view.reloads_rejected,
            "last_reload_error": view.last_reload_error,
            "listeners": {"all": len(listeners), "bound": sum(each.bound for each in listeners)},
            "clusters": {"all": len(clusters), "with_ready_endpoints": sum(bool(each.any_ready) for each in clusters)},
            "overload": view.overload_facts(), "process": view.process(),
        }
        workers = view.workers_view()
        if workers:
            facts["workers"] = [{name: each[name] for name in ("worker", "state", "pid", "respawns")} for each in workers]
        geo = view.geo()
        if geo is not None:
            facts["geo"] = geo
        publishing = view.publishing()
        if publishing is not None:
            facts["registries"] = publishing.registries()
        access = self._collector.access
        if access is not None:
            facts["access_log"] = access.view()
        traces = view.telemetry().traces
        if traces is not None:
            facts["traces"] = traces
        if _wants_html(request):
            latest = self._view.events.view()["events"][-_LATEST:]
            body = people.overview(facts, self._wall() - view.started_wall, self._requests(), latest,
                                   operates=_operates(request))
            return Answer(200, HTML, page("overview", body, "/", fresh=True))
        return _facts(request, "voltgw", facts)

    def _requests(self) -> dict[str, int]:
        """How many there were, by class of their status."""
        counts = dict.fromkeys(("none", "1xx", "2xx", "3xx", "4xx", "5xx"), 0)
        for route in self._view.route_objects():
            for name, count in zip(counts, route.counters.status, strict=True):
                counts[name] += count
        return counts

    def _clusters(self, request: Request) -> Answer:
        if _wants_html(request):
            return self._narrowed(request, "clusters", self._view.clusters(),
                                  partial(people.clusters, operates=_operates(request)))
        return _things(request, "clusters", self._view.clusters())

    def _narrowed(
        self, request: Request, title: str, things: Iterable[Any], shown: Callable[[list[Any]], Iterator[str]],
    ) -> Answer:
        """``?q=`` and ``?page=`` of a long list, as a page."""
        number = _argument(request, b"page")
        path = request.path.decode("ascii")
        asked = int(number) if number.isdecimal() and len(number) < 8 else 0
        body = people.narrowed(things, _argument(request, b"q")[:_MOST_WANTED], asked, path, title, shown)
        return Answer(200, HTML, page(title, body, path, fresh=True))

    def _rollouts(self, request: Request) -> Answer:
        found = self._view.rollouts_view()
        if _wants_html(request):
            body = people.rollouts(found, operates=_operates(request))
            return Answer(200, HTML, page("rollouts", body, "/rollouts", fresh=True))
        return _things(request, "rollouts", found)

    def _workers(self, request: Request) -> Answer:
        return _things(request, "workers", self._view.workers_view())

    def _listeners(self, request: Request) -> Answer:
        if _wants_html(request):
            return self._narrowed(request, "listeners", map(_listener, self._view.listeners()),
                                  lambda found: people.listeners(found, self._wall()))
        return _things(request, "listeners", [_listener(each) for each in self._view.listeners()])

    def _virtual_hosts(self, request: Request) -> Answer:
        if _wants_html(request):
            return self._narrowed(request, "virtual hosts", self._view.virtual_hosts(), people.hosts)
        return _things(request, "virtual_hosts", self._view.virtual_hosts())

    def _networks(self, request: Request) -> Answer:
        return _facts(request, "networks", dict(self._view.network_facts()))

    def _names(self, request: Request) -> Answer:
        facts = self._view.names()
        return _facts(request, "names", {**facts, "names": list(facts["names"])})

    def _certificates(self, request: Request) -> Answer:
        """Those that are fetched; the others stand with their listeners, for people here, too."""
        if _wants_html(request):
            body = people.certificates(map(_listener, self._view.listeners()), self._view.certificates(), self._wall())
            return Answer(200, HTML, page("certificates", body, "/certificates", fresh=True))
        return _things(request, "certificates", self._view.certificates())

    def _config(self, request: Request) -> Answer:
        if _wants_html(request):
            return self._narrowed(request, "configuration", self._view.config_places(), people.config)
        return json_parts(self._view.effective_config())

    def _login(self, request: Request) -> Answer:
        """A browser has asked its user for a token: from now on it shows that to all pages."""
        return Answer(303, HTML, (), ((b"Location", b"/"),))

    def _namespaces(self, request: Request) -> Answer:
        return objects_api.namespaces(self._view.published_objects())

    def _objects(self, request: Request) -> Answer:
        """``?report_fields`` has a list tell the specs, too."""
        fields = [each.partition(b"=")[0] for each in request.uri.partition(b"?")[2].split(b"&")]   # it needs no value
        found = objects_api.objects(self._view.published_objects(), request.path, specs=b"report_fields" in fields)
        return found if isinstance(found, Answer) else refuse(request, 404, found)

    def _explain(self, request: Request) -> Answer:
        """``?url=`` with ``method=`` (GET), ``header=`` (any number), ``from=`` and ``listener=``."""
        url = _argument(request, b"url")
        if not url:
            if _wants_html(request):
                return Answer(200, HTML, page("explain", [people.explain_form({})], "/explain"))
            return refuse(request, 400, _HOW_TO_EXPLAIN)
        method = _argument(request, b"method") or "GET"
        try:
            headers = [each for each in _arguments(request, b"header") if each]     # a form has its field even when it is empty
            facts = self._view.explain(method, url, headers, _argument(request, b"from"), _argument(request, b"listener"))
        except ValueError as error:
            return refuse(request, 400, str(error))
        facts = {"question": {"method": method, "url": url}, **facts}
        if _wants_html(request):
            asked = {name: _argument(request, name.encode()) for name in ("url", "header", "from")}
            form = people.explain_form({**asked, "method": method})
            return Answer(200, HTML, page(f"{method} {url}", (form, *people.story(facts["decisions"])), "/explain"))
        return json_answer(facts)

    def _why(self, request: Request) -> Answer:
        """``?id=``, the id of a request."""
        request_id = _argument(request, b"id")
        if not request_id:
            return refuse(request, 400, _HOW_TO_ASK_WHY)
        facts = self._view.why(request_id)
        if facts is None:
            return refuse(request, 404, "nothing is known of this request: it was no error and not in the sample, or it is "
                          "forgotten, or it was never here")
        if _wants_html(request):
            rest = {key: value for key, value in facts.items() if key != "decisions"}
            return Answer(200, HTML, page(f"request {request_id}", (*people.story(facts["decisions"]), "<h2>All of it</h2>",
                                                                    show(rest)), "/recent"))
        return json_answer(facts)

    def _events(self, request: Request) -> Answer:
        """``?since=`` and any number of ``kind=``."""
        try:
            facts = log_pages.events(self._view.events, _argument(request, b"since"), _arguments(request, b"kind"))
        except ValueError as error:
            return refuse(request, 400, str(error))
        if _wants_html(request):
            return Answer(200, HTML, page("events", people.events(facts["events"]), "/events", fresh=True))
        return _facts(request, "events", facts)

    def _logs(self, request: Request) -> Answer:
        return _facts(request, "logs", self._view.logs.view())

    # -- acts ------------------------------------------------------------------------------------------------------

    def _reload(self, request: Request) -> Deferred[Answer]:
        self._log.info("a reload was asked for through the admin interface")
        return self._view.reload().addCallback(self._reloaded)

    def _recent(self, request: Request) -> Answer:
        """``?most=``, how many past requests."""
        try:
            most = int(_argument(request, b"most") or _USUAL_RECENT)
        except ValueError:
            most = 0
        if not 0 < most <= _MOST_RECENT:
            return refuse(request, 400, f"ask /recent?most=100, a number up to {_MOST_RECENT}")
        if _wants_html(request):
            return Answer(200, HTML, page("requests", people.recent(self._view.recent(most)), "/recent", fresh=True))
        return _facts(request, "recent requests", {"requests": self._view.recent(most)})

    def _generations(self, request: Request) -> Answer:
        facts = self._view.generations_view()
        facts = {**facts, "generations": [{**each, "time": _utc(each["wall"])} for each in facts["generations"]]}
        if _wants_html(request):
            body = people.generations(facts, operates=_operates(request))
            return Answer(200, HTML, page("generations", body, "/generations"))
        return _facts(request, "generations", facts)

    def _rollback(self, request: Request) -> Answer | Deferred[Answer]:
        """``?number=`` of a kept generation; without it the last one before the one that serves."""
        said = _argument(request, b"number")
        if said and not (said.isascii() and said.isdigit() and 0 < len(said) < 10 and int(said)):
            return refuse(request, 400, "ask /rollback?number=12, a number that /generations names")
        self._log.info("a rollback was asked for through the admin interface")
        return self._view.rollback(int(said or 0)).addCallback(self._reloaded)

    def _reloaded(self, result: dict[str, Any]) -> Answer:
        return json_answer(result, 200 if result.get("ok", True) else 422)

    def _drain(self, request: Request) -> Answer:
        self._log.info("draining was asked for through the admin interface")
        self._view.drain()
        return json_answer({"draining": True}, 202)

    def _log_level(self, request: Request) -> Answer:
        """``?level=`` with ``logger=``."""
        try:
            return json_answer(log_pages.set_level(
                self._view.logs, _argument(request, b"level"), _argument(request, b"logger")))
        except ValueError as error:
            return refuse(request, 400, str(error))

    def _reopen_logs(self, request: Request) -> Answer:
        result = self._view.logs.reopen()
        return json_answer(result, 200 if result["ok"] else 422)

    def _order(self, request: Request) -> Answer:
        """``?endpoint=`` with ``cluster=`` and ``value=``."""
        act = request.path.rpartition(b"/")[2].decode("ascii")
        endpoint = _argument(request, b"endpoint")
        if not endpoint:
            return refuse(request, 400, f"ask /endpoints/{act}?endpoint=10.0.0.5:8080; cluster=shop and value= may stand "
                          "beside it")
        try:
            return json_answer(self._view.order(act, endpoint, _argument(request, b"cluster"), _argument(request, b"value")))
        except ValueError as error:
            return refuse(request, 422, str(error))

    def _rollout(self, request: Request) -> Answer:
        """``?name=``."""
        act = request.path.rpartition(b"/")[2].decode("ascii")
        name = _argument(request, b"name")
        if not name:
            return refuse(request, 400, f"ask /rollouts/{act}?name=shop")
        try:
            return json_answer(self._view.rollout_order(act, name))
        except ValueError as error:
            return refuse(request, 422, str(error))

    def _is_ready(self) -> tuple[bool, list[str]]:
        ready, missing = self._view.ready()
        return (False, missing or ["it drains"]) if self._view.draining else (ready, missing)


def _field(request: Request, name: bytes) -> str:
    values = request.requestHeaders.getRawHeaders(name, ())
    return ", ".join(value.decode("latin-1") for value in values)


def _arguments(request: Request, name: bytes) -> list[str]:
    """The values of a query parameter."""
    return [value.decode("utf-8", "surrogateescape") for value in (request.args or {}).get(name, [])]


def _argument(request: Request, name: bytes) -> str:
    """The last value of a query parameter, "" if it has none."""
    return (_arguments(request, name) or [""])[-1]


def _wants_html(request: Request) -> bool:
    return prefers_html(_field(request, b"accept"))


def _facts(request: Request, title: str, facts: Mapping[str, Any], status: int = 200) -> Answer:
    if _wants_html(request):
        return Answer(status, HTML, tuple(page(title, [show(facts)], _own(request))))
    return json_answer(facts, status)


def _things(request: Request, name: str, things: Iterable[dict[str, Any]]) -> Answer:
    if _wants_html(request):
        return Answer(200, HTML, page(name.replace("_", " "), sections(things), _own(request)))
    return json_list(name, things)


def _own(request: Request) -> str:
    return request.path.decode("latin-1")


def _operates(request: Request) -> bool:
    """Whether whoever asks may change something, too; `site` has found that out."""
    return bool(getattr(request, "operates", False))


def for_people(request: Request, answer: Answer) -> Answer:
    """What a browser gets when an act is over: the page from which it was asked for, or what was wrong."""
    if not _wants_html(request) or answer.content_type != JSON:
        return answer
    if answer.status < 300:
        return Answer(303, HTML, (), ((b"Location", _back(request)),))
    return _facts(request, "this was not done", json.loads(b"".join(answer.body)), answer.status)


def _back(request: Request) -> bytes:
    """The path of the page that a request came from; it is one of ours, or `guard` had refused it."""
    there = urlsplit(_field(request, b"referer"))
    path = f"{there.path}?{there.query}" if there.query else there.path
    return path.encode("latin-1", "replace") if path.startswith("/") and path[1:2] not in ("/", "\\") else b"/"


def challenge(request: Request) -> tuple[tuple[bytes, bytes], ...]:
    """How credentials are shown (RFC 9110 11.6.1): a browser asks its user for what is a name and a password to it."""
    scheme = b'Basic realm="voltgw", charset="UTF-8"' if _wants_html(request) else b'Bearer realm="voltgw"'
    return ((b"WWW-Authenticate", scheme),)


def refuse(request: Request, status: int, why: str, fields: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """An answer that says why there is no other."""
    answer = _facts(request, f"{status}", {"error": why}, status)
    return Answer(status, answer.content_type, answer.body, fields)


def _listener(listener: ListenerView) -> dict[str, Any]:
    counters = listener.counters
    return {
        "name": listener.name, "protocol": listener.protocol, "kind": listener.kind, "bound": listener.bound,
        "network": listener.network, "problem": listener.problem, "virtual_hosts": listener.hosts, "limits": listener.limits,
        "certificates": [{**one, "ends": _utc(one["ends"])} for one in listener.certificates],
        "certificates_pending": listener.certificates_pending,
        "counters": {name: getattr(counters, name) for name in slots_of(type(counters))},
    }


def _utc(wall: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))
