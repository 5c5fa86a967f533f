"""``voltgw reopen-logs``: have the running gateway open its log files by their names again."""

from __future__ import annotations

from voltgw.cli.remote import changed, parser


def run(arguments: list[str]) -> int:
    """Exit status 0 when all are open, 1 when it was refused, 2 when a file could not be opened, 3 when nobody answers."""
    options = parser("reopen-logs", "Have the running gateway open its log files by their names again, after they were "
                     "renamed; SIGUSR1 does the same. Needs who may: the unix socket, a token, "
                     "or a certificate.").parse_args(arguments)
    status, result = changed("reopen-logs", options, "/logs/reopen", "problems")
    if result is not None:
        print("the logs are open by their names")
    return status
