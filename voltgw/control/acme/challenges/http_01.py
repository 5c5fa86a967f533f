"""http-01 (RFC 8555 8.3): a file at a place that only whoever serves the name can answer. The CA comes to port 80."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zope.interface import implementer

from voltgw.control.acme.challenges.kinds import no_options
from voltgw.interfaces import IChallengeFactory

if TYPE_CHECKING:
    from voltgw.control.acme.challenges.kinds import Responder


class Http01:
    """Answers on the plain HTTP listeners."""

    name = "http-01"

    def present(self, respond: Responder, name: str, token: str, told: str) -> None:
        """The file is the key authorization itself."""
        respond.answer_http(name, token, told.encode("ascii"))

    def withdraw(self, respond: Responder, name: str, token: str) -> None:
        """There is no such file any more."""
        respond.answer_http(name, token, None)


@implementer(IChallengeFactory)
class _Factory:
    name = Http01.name

    def options(self, raw: object, place: object) -> None:
        """There are none."""
        no_options(self.name, raw, place)

    def build(self, options: object) -> Http01:
        """The kind."""
        return Http01()


FACTORY: Final = _Factory()
