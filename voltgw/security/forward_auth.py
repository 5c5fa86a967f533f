"""Asking somebody else about every request, over HTTP: Envoy's HTTP ext_authz, Traefik's forwardAuth, nginx's auth_request.

A 2xx lets the request pass, and fields of that answer may go on with it. Any other answer is the client's, but for a 5xx:
that one, like no answer in time, is an error of the authorizer. Then nobody passes, unless the configuration says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from voltgw.security.proofs import FLAG, Accepted, Denied
from voltgw.values.head import RequestHead
from voltgw.values.identity import User
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from voltgw.security.proofs import Verdict
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import Field

#: Largest body of a refusal that is passed on, in bytes.
MAX_ANSWER_BYTES: Final = 64 * 1024
#: The word for metrics and logs when nobody has judged.
ERROR: Final = "error"
BUSY: Final = "busy"
REFUSED: Final = "refused"

#: Fields of a refusal that belong to its own connection or framing, or that we write ourselves.
OURS: Final = frozenset((b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"date", b"server", b"trailer",
                         b"x-request-id"))
#: What describes a body that is not sent along.
_OF_BODY: Final = frozenset((b"content-type", b"content-encoding", b"content-length", b"expect", b"te", b"content-md5"))


class Answer(NamedTuple):
    """What the authorizer has said, whole."""

    status: int
    fields: Sequence[Field]
    body: bytes
    trailers: Sequence[Field] = ()


class Asker(Protocol):
    """Sends a request to a cluster: (cluster, the exchange on whose behalf, head, body, seconds until it is too late).

    The Deferred never fails: it gives the answer, or words that say why there is none. Cancelling it gives it up.
    """

    def __call__(
        self, cluster: Any, exchange: Exchange, head: RequestHead, body: bytes, timeout_s: float, /,
    ) -> Deferred[Answer | str]:
        """Ask."""


@dataclass(frozen=True, slots=True)
class ForwardTerms:
    """How is asked. Names of fields are in lower case; `send` None = all, or with `same_path` Authorization and Cookie."""

    path: bytes = b"/"
    same_path: bool = False
    host: bytes | None = None
    send: frozenset[bytes] | None = None
    to_endpoint: frozenset[bytes] = frozenset()
    to_client: frozenset[bytes] | None = None
    cookies_to_client: bool = False
    user_from: bytes | None = None
    timeout_s: float = 1.0
    fail_open: bool = False
    status_on_error: int = 503
    max_pending: int = 256


class ForwardAuth:
    """The method ``forward_auth``. `asker` gives who asks, None outside a running gateway."""

    by: Final = "forward_auth"
    take_out = None
    challenge = None                        # it sends its own

    def __init__(self, terms: ForwardTerms, cluster: Any, cluster_name: str, asker: Callable[[], Asker | None]) -> None:
        self.terms = terms
        self.pending = 0
        self._cluster = cluster
        self._name = cluster_name
        self._asker = asker

    @property
    def text(self) -> str:
        """What it asks for, in words."""
        return f"asks cluster {self._name}" + (" and lets pass when it does not answer" if self.terms.fail_open else "")

    def check(self, exchange: Exchange) -> Verdict | Deferred[Verdict]:
        """Ask."""
        asker = self._asker()
        if self._cluster is None or asker is None:
            return self._error(ERROR, "the cluster that is to be asked does not exist")
        if self.pending >= self.terms.max_pending:
            return self._error(BUSY, "too many questions are under way")
        self.pending += 1
        asked = asker(self._cluster, exchange, *self.question(exchange), self.terms.timeout_s)
        return asked.addBoth(self._over).addCallback(self._heard, exchange)

    def rehearse(self, exchange: Exchange) -> tuple[Verdict, str]:
        """For explain nobody is asked."""
        return Accepted(User("", self.by)), f"what cluster {self._name} would say: it is not asked for this"

    def question(self, exchange: Exchange) -> tuple[RequestHead, bytes]:
        """The request that asks about another one, and its body."""
        terms, asked = self.terms, exchange.request
        send = terms.send
        if terms.same_path:
            keep = send if send is not None else frozenset((b"authorization", b"cookie"))
            fields = [field for field in asked.fields if field[0] in keep]
            method = asked.method
            target = asked.forward if terms.path == b"/" else terms.path.rstrip(b"/") + asked.forward
        else:
            fields = [field for field in asked.fields if (
                field[0] not in _OF_BODY and field[0] not in _ABOUT and not field[0].startswith(_BEGINS_ABOUT) if send is None
                else field[0] in send)]
            method, target = b"GET", terms.path
        fields = [field for field in fields if field[0] not in _SAID]
        fields += [
            (b"x-forwarded-method", asked.method), (b"x-forwarded-proto", exchange.scheme),
            (b"x-forwarded-host", asked.authority), (b"x-forwarded-uri", asked.forward),
            (b"x-forwarded-for", exchange.client_address.encode("ascii", "replace")),
        ]
        path, mark, query = target.partition(b"?")
        host = terms.host or asked.authority
        return RequestHead(method, target, path, query if mark else None, 1, host, host, None, fields, 0, True), b""

    def _over(self, result: Any) -> Any:
        self.pending -= 1
        return result

    def _heard(self, answer: Answer | str, exchange: Exchange) -> Verdict:
        terms = self.terms
        if isinstance(answer, str):
            return self._error(ERROR, answer)
        status = answer.status
        if 200 <= status < 300:
            name = b""
            for field, value in answer.fields:
                if field == terms.user_from:
                    name = value
                if terms.cookies_to_client and field == b"set-cookie":
                    exchange.cookies_to_set = [*(exchange.cookies_to_set or ()), value]
            said = [field for field in answer.fields if field[0] in terms.to_endpoint]
            return Accepted(User(name.decode("utf-8", "backslashreplace"), self.by), said)
        if status >= 500 or status < 200:
            return self._error(ERROR, f"it has answered {status}")
        fields = [field for field in answer.fields
                  if field[0] not in OURS and (terms.to_client is None or field[0] in terms.to_client)]
        reply = Reply(status, fields, answer.body, flag=FLAG, detail=f"authentication: {self.by} {REFUSED}")
        return Denied(self.by, REFUSED, f"cluster {self._name} has answered {status}", status, reply=reply)

    def _error(self, reason: str, why: str) -> Denied:
        return Denied(self.by, reason, f"cluster {self._name}: {why}", self.terms.status_on_error, passes=self.terms.fail_open)


#: Where authorizers behind other proxies look for the request that they are asked about. We speak of it in X-Forwarded-…, so
#: what stands there is the client's, who would have another request judged than the one that goes on.
_BEGINS_ABOUT: Final = (b"x-forwarded-", b"x-original-", b"x-auth-request-")
_ABOUT: Final = frozenset((
    b"x-rewrite-url", b"x-real-ip", b"x-host", b"x-http-host-override", b"x-http-method", b"x-http-method-override",
    b"x-method-override", b"x-url-scheme", b"x-scheme", b"front-end-https", b"forwarded", b"client-ip", b"true-client-ip"))
#: What a client says under these names is not believed.
_SAID: Final = frozenset((
    b"x-forwarded-method", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-uri", b"x-forwarded-for"))
