"""HTTPS to a CA, on Twisted's own client: its certificate is verified, and every answer is bounded in size and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from voltgw import __version__
from voltgw.control.acme.messages import Answer, words
from voltgw.control.acme.problems import Garbled, Unreachable
from voltgw.control.ways import Way, trust_of, whole, why

if TYPE_CHECKING:
    from twisted.web.iweb import IResponse

#: Largest answer; a chain of certificates has some 6 KiB, a directory 1.
MOST_BYTES: Final = 256 * 1024
#: For connection, TLS handshake, request and answer together.
TIMEOUT_S: Final = 30.0
#: Header fields of an answer that anybody asks for.
_FIELDS: Final = ("content-type", "location", "replay-nonce", "retry-after")


class Https:
    """Sends requests; satisfies `voltgw.control.acme.client.Sends`. `roots` is PEM, None = the system's CAs.

    A connection per request: orders are rare, and whoever keeps none has none to lose. Raises ValueError for `roots` without a
    certificate.
    """

    def __init__(self, reactor: Any, roots: bytes | None = None) -> None:
        self._reactor = reactor
        self._trust = trust_of(roots, "it")

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Deferred[Answer]:
        """See `voltgw.control.acme.client.Sends.request`; redirects are not followed."""
        fields = Headers({"user-agent": [f"voltgw/{__version__}"], **{name: [value] for name, value in headers.items()}})
        way = Way(self._reactor, self._trust, MOST_BYTES, TIMEOUT_S)
        asked = way.request(method.encode("ascii"), url.encode("ascii", "replace"), fields, body)
        asked.addCallback(self._read, url)
        asked.addTimeout(TIMEOUT_S, self._reactor, lambda value, seconds: _took_too_long(url))

        def over(result: Any) -> Any:
            way.cut()
            if way.too_much:
                raise Garbled(f"{url} answers with more than {MOST_BYTES} bytes, most of them before its body")
            return result

        return asked.addBoth(over).addErrback(_in_words, url)

    def _read(self, response: IResponse, url: str) -> Deferred[Answer]:
        found = {name: values[0] for name in _FIELDS if (values := response.headers.getRawHeaders(name))}
        body = whole(response, MOST_BYTES, Garbled(f"{url} answers with more than {MOST_BYTES} bytes"))
        return body.addCallback(lambda data: Answer(url, response.code, found, data))


def _took_too_long(url: str) -> Answer:
    raise Unreachable(f"{url} does not answer within {TIMEOUT_S:g} s")


def _in_words(failure: Failure, url: str) -> Answer:
    """What went wrong, for operators."""
    error: Any = failure.value
    reasons = getattr(error, "reasons", None)
    first = reasons[0].value if reasons else error
    if isinstance(first, (Unreachable, Garbled, CancelledError)):
        raise first                         # whoever cancels wants to hear that, and nothing else
    raise Unreachable(f"{url} cannot be reached: {why(error, words)}") from first
