"""Every kind of structured event: a promise to whoever acts on them; its page in the docs is made from this."""

from __future__ import annotations

from typing import Final, NamedTuple


class EventKind(NamedTuple):
    """One kind; `fields` besides those that every event has."""

    kind: str
    meaning: str
    fields: tuple[str, ...] = ()


_CHANGE: Final = ("cluster", "endpoint", "state", "reason")

EVENT_KINDS: Final = (
    # This process.
    EventKind("gateway.serving", "It has bound its listeners and begins.", ("generation", "listeners", "hosts", "clusters")),
    EventKind("gateway.ready", "Every cluster has had its first probes, or their time is up."),
    EventKind("gateway.draining", "It takes nothing new from now on.", ("connections",)),
    EventKind("gateway.drain_cut", "The time for the drain was up: what was still open is closed.", ("left", "timeout")),
    EventKind("gateway.stopped", "The end."),
    EventKind("admin.act", "Somebody has had the gateway do something through the admin interface.",
              ("who", "source", "what", "status")),
    EventKind("admin.shut_out", "An address has shown the admin interface too many wrong tokens.", ("source", "count")),
    EventKind("overload.begins", "Memory or descriptors are short: something is done about it from now on.",
              ("action", "words", "resource", "use")),
    EventKind("overload.ends", "There is enough again.", ("action", "words", "use")),
    EventKind("overload.reset", "Connections that held most memory were cut.", ("count", "held", "client")),
    # Workers.
    EventKind("worker.ready", "A worker serves.", ("name", "pid")),
    EventKind("worker.died", "A worker has ended; its connections are lost, and another one takes its sockets.",
              ("name", "pid", "why")),
    EventKind("worker.waits", "It died soon after its start: the next one waits.", ("name", "wait_s")),
    EventKind("worker.not_started", "Its process could not be made.", ("name", "error")),
    EventKind("worker.no_spare", "No process can be held ready to take a worker's place.", ("error",)),
    EventKind("worker.failed", "It cannot serve the configuration.", ("name", "problem")),
    EventKind("worker.behind", "It could not do what it had agreed to, and is started anew.", ("name", "problems")),
    EventKind("worker.hangs", "It has said nothing for a minute: it is ended.", ("name", "pid", "quiet")),
    EventKind("worker.garbled", "What it says cannot be read: it is ended.", ("name", "error")),
    EventKind("worker.alone", "The control process is gone; the worker serves on.", ("number", "why", "generation")),
    EventKind("worker.hidden", "The next control process will not find it.", ("error",)),
    EventKind("worker.stranger", "A process of another user has asked a worker for its sockets.", ("error",)),
    EventKind("worker.replaced", "It gives way to a worker of a new control process.", ("number",)),
    EventKind("worker.adopted", "A new control process listens on the sockets of workers that were alone.", ("workers",)),
    EventKind("worker.not_adopted", "A worker that is alone could not be taken over.", ("name", "error")),
    EventKind("worker.socket_unused", "A socket of a worker that was alone is not listened on any more.", ("key", "number")),
    # The configuration.
    EventKind("reload.applied", "Another configuration serves.", ("generation", "changes")),
    EventKind("reload.unchanged", "The files say what they said before."),
    EventKind("reload.refused", "A configuration was refused; the one before serves on.",
              ("generation", "problem", "problems")),
    EventKind("reload.crashed", "A reload failed by an error of ours; the configuration before serves on.", ("generation",)),
    EventKind("reload.rolled_back", "A kept configuration serves instead of what the files say.", ("number", "differs")),
    EventKind("reload.kept", "The configuration is kept in ``data_dir``.", ("number",)),
    EventKind("reload.not_kept", "It could not be kept.", ("problem",)),
    EventKind("files.changed", "Files that the configuration names have changed: a reload follows.", ("names",)),
    EventKind("files.refused", "What they say now was refused.", ("names",)),
    EventKind("files.waiting", "They have changed together with files that nobody has reloaded.", ("names", "other")),
    EventKind("log.not_opened", "The process log cannot be where the configuration wants it; it stays where it is.",
              ("path", "reason")),
    EventKind("log.level", "An operator has changed what the process log shows.", ("logger", "level_wanted")),
    # Traces.
    EventKind("tracing.not_sent", "The collector of traces takes no spans; they wait, or are dropped and counted.",
              ("problem",)),
    EventKind("tracing.sent", "It takes them again."),
    # Endpoints and clusters.
    EventKind("endpoint.added", "A feed lists it now.", _CHANGE),
    EventKind("endpoint.removed", "Its feed no longer lists it.", _CHANGE),
    EventKind("endpoint.health", "Probes find it healthy or unhealthy now.", _CHANGE),
    EventKind("endpoint.ready", "It receives traffic now, or no longer, for another reason than its health.", _CHANGE),
    EventKind("endpoint.ejected", "Outlier detection has taken it out.", _CHANGE),
    EventKind("endpoint.returned", "It is let back.", _CHANGE),
    EventKind("endpoint.ordered", "An operator's order holds for it, or no longer.", _CHANGE),
    EventKind("endpoint.refused", "It may not be one, or its weight may not be.", _CHANGE),
    EventKind("cluster.changes", "So many further changes of one moment that are not told one by one.", ("cluster", "count")),
    EventKind("cluster.panic", "Too few endpoints are healthy: all are used.", _CHANGE),
    EventKind("cluster.panic_over", "Enough are healthy: health decides again.", _CHANGE),
    EventKind("cluster.down", "No endpoint may be used: requests are refused.", _CHANGE),
    EventKind("cluster.up", "One may be used again.", _CHANGE),
    EventKind("cluster.not_warm", "It serves without the first probes: their time was up.", _CHANGE),
    EventKind("discovery.failed", "A source of endpoints gives no answer; what it said last holds.", _CHANGE),
    EventKind("discovery.answers", "It answers again.", _CHANGE),
    EventKind("discovery.gone", "The source was removed.", _CHANGE),
    EventKind("probes.failed", "Probes cannot be sent at all; endpoints are not blamed.", ("reason",)),
    EventKind("order.endpoint", "An operator has given an order for an endpoint.", ("act", "endpoint", "value")),
    EventKind("order.rollout", "An operator has decided for a rollout.", ("act", "rollout")),
    EventKind("rollout.phase", "A rollout has another weight or has come to another phase.", ("name", "phase", "reason")),
    EventKind("rollout.not_kept", "How far rollouts are could not be written down.", ("problem",)),
    # What the gateway stands on.
    EventKind("restart.began", "A new process was started to take over.", ("pid",)),
    EventKind("restart.handed", "A new process has our sockets and builds; this one serves until it does.", ("count",)),
    EventKind("restart.gave_way", "Another process serves in our place; what is under way here may finish.", ("left",)),
    EventKind("restart.took_over", "This process has taken the place of another one.", ("pid", "sockets")),
    EventKind("restart.failed", "A process does not take over; the one before serves on.", ("why", "error")),
    EventKind("restart.stranger", "A process of another user has asked for our sockets.", ("error",)),
    EventKind("restart.no_door", "``restart_socket`` cannot be used: nobody can take over.", ("path", "error")),
    EventKind("systemd.silent", "systemd cannot be told how we fare.", ("error",)),
    EventKind("socket.unused", "A socket that was handed over is not needed, and closed.", ("name",)),
    EventKind("listener.failed", "A listener cannot accept.", ("name", "problem")),
    EventKind("listener.back", "It accepts again.", ("name",)),
    EventKind("listener.moves", "The address of an interface has changed.", ("changes",)),
    EventKind("network.gone", "A network that is in use has gone.", ("network", "problem", "lost")),
    EventKind("network.back", "It is there again.", ("network", "back")),
    EventKind("vip.added", "A VIP was added to an interface.", ("vip", "interface")),
    EventKind("vip.removed", "A VIP was taken away.", ("vip",)),
    EventKind("vip.failed", "A VIP cannot be added.", ("vip", "problem")),
    EventKind("packet_rules.failed", "The kernel does not take the packet rules.", ("problem",)),
    EventKind("certificate.issued", "A certificate was issued by ACME.", ("names", "ends")),
    EventKind("certificate.failed", "None was; it will be tried again.", ("names", "error", "next")),
    EventKind("certificate.not_kept", "One was issued but could not be written down.", ("error",)),
    EventKind("certificate.revoked", "A connection ended because the certificate of its client was revoked.",
              ("listener", "peer")),
    EventKind("keys.changed", "Other keys verify tokens.", ("url", "count")),
    EventKind("keys.failed", "Keys of tokens cannot be had.", ("url", "problem")),
    EventKind("geo.changed", "Newer databases of addresses are in use.", ("kinds",)),
    EventKind("geo.failed", "A newer one cannot be used.", ("problem",)),
    EventKind("publish.changed", "A name was written to a registry, or a registry fails.", _CHANGE),
    EventKind("access_log.loses", "Lines of the access log are lost.", ("lost", "problem")),
    EventKind("access_log.written", "It is written again.", ("lost",)),
    EventKind("access_log.not_reopened", "It could not be opened again; the old file stays in use.", ("problem",)),
)
