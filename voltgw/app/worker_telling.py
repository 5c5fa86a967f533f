"""What control decides, told to workers as it happens: members of clusters, answers while a CA looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltgw.app import worker_messages as say
from voltgw.app.challenges import Challenges

if TYPE_CHECKING:
    from voltgw.app.workers import Workers
    from voltgw.cluster.snapshot import EndpointKey, EndpointState
    from voltgw.values.tls import KeyPair


class Telling:
    """Tells workers of the members of one cluster; a membership's `told`."""

    def __init__(self, workers: Workers, cluster: str) -> None:
        self.states: tuple[EndpointState, ...] = ()
        self._workers = workers
        self._cluster = cluster

    def installed(self, states: tuple[EndpointState, ...]) -> None:
        """These are the members now."""
        before, self.states = self.states, states
        if not self._workers.serves(self):
            return                          # its cluster does not serve yet: that comes with `Commit`
        same = len(before) == len(states) and all(old.key == new.key for old, new in zip(before, states, strict=True))
        changed = {place: new for place, (old, new) in enumerate(zip(before, states, strict=False)) if old is not new}
        self._workers.tell(say.Installed(self._cluster, None, changed) if same else say.Installed(self._cluster, states))

    def marked(self, key: EndpointKey, reason: str) -> None:
        """One gets nothing more."""
        if self._workers.serves(self):
            self._workers.tell(say.Marked(self._cluster, key, reason))


class ToldChallenges(Challenges):
    """Has workers answer while a CA looks."""

    def __init__(self, workers: Workers, *args: Any) -> None:
        super().__init__(*args)
        self._workers = workers

    def answer_http(self, name: str, token: str, body: bytes | None) -> None:
        """See `Responder`."""
        super().answer_http(name, token, body)
        self._workers.challenge(say.Challenged("http", name, token, body))

    def answer_tls(self, name: str, pair: KeyPair | None) -> None:
        """See `Responder`."""
        super().answer_tls(name, pair)
        self._workers.challenge(say.Challenged("tls", name, pair=pair))
