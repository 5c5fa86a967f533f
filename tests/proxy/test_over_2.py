"""The tests of what becomes of a request, once more with clients that speak HTTP/2: routes, filters, answers of ours, retries,
hedging, copies, waiting, transforms, and what endpoints are told. See `tests.proxy.over_2`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Final
from unittest import TestLoader, TestSuite

from tests.proxy.over_2 import Over2
from tests.proxy.rig import ProxyCase

_MODULES: Final = (
    "affinity", "answers", "courtesies", "delays", "endpoint_faults", "filters", "forwarding", "hedging", "identity",
    "mirror", "own_answers", "replies", "retries", "transforms", "turned_away", "waiting",
)
#: Tests of what only HTTP/1.1 has: chunks, Connection and closing, the spelling of names, reason phrases, octets of heads, requests
#: sent ahead or all at once, clients of HTTP/1.0, and bytes that are no request. Their counterparts are in `test_http2*`.
OF_VERSION_1: Final[dict[str, frozenset[str]]] = {
    "answers.BackPressureTests": frozenset((
        "a_client_that_asks_on_and_on_without_reading", "a_client_that_does_not_read_pauses_the_endpoint",
        "a_large_first_piece", "a_paused_endpoint_is_read_again_for_the_next_request", "a_streamed_answer_that_ends_unread",
        "an_upload_goes_on_while_the_answer_waits", "it_may_ask_for_answers_of_ours", "one_that_never_reads_is_let_go",
    )),
    "answers.FieldTests": frozenset((
        "an_answer_arrives_as_it_was_sent", "bytes_of_long_answers_are_counted_too", "counters_and_record",
    )),
    "answers.FramingTests": frozenset((
        "a_long_body_of_known_length_passes_untouched", "an_endless_body_is_passed_on_as_it_comes",
        "every_framing_reaches_every_client",
    )),
    "answers.InterimTests": frozenset(("a_client_of_1_0_gets_none",)),
    "courtesies.CaseTests": frozenset((
        "names_of_another_request_do_not_leak", "preserved_in_answers", "preserved_in_requests", "proper_case_in_answers",
        "proper_case_in_requests",
    )),
    "courtesies.MaxForwardsTests": frozenset(("a_trace_that_ends_here",)),
    "courtesies.ProxyStatusTests": frozenset(("every_failure_has_its_type",)),
    "courtesies.ViaTests": frozenset(("both_ways",)),
    "delays.DelayTests": frozenset(("a_mistake_behind_a_pause", "what_comes_meanwhile_waits")),
    "endpoint_faults.BadAnswerTests": frozenset(("a_bad_chunk_cuts_the_client", "a_bad_chunk_that_comes_with_the_head")),
    "endpoint_faults.ClosedTests": frozenset((
        "a_body_that_has_streamed", "a_body_that_has_streamed_and_may_not_be_sent_twice",
        "a_body_until_close_that_is_reset", "a_stalled_endpoint_leaves", "closed_within_the_body",
        "half_of_a_request_then_the_endpoint_leaves",
    )),
    "endpoint_faults.ConnectTests": frozenset(("a_body_that_waits_goes_to_the_second_one",)),
    "endpoint_faults.OverflowTests": frozenset(("an_upload_is_refused_too",)),
    "filters.RequestFilterTests": frozenset((
        "a_mistake_costs_one_request", "a_mistake_with_a_body_under_way", "a_reply_may_close", "a_reply_to_an_upload",
        "hop_by_hop_fields_are_out_of_sight",
    )),
    "filters.ResponseFilterTests": frozenset((
        "a_mistake_costs_one_request", "a_mistake_of_ours_within_an_answer", "a_mistake_with_requests_sent_ahead",
    )),
    "filters.SlowFilterTests": frozenset((
        "a_mistake_behind_it", "it_fails", "it_says_no_to_an_upload", "what_comes_meanwhile_waits",
    )),
    "forwarding.FramingTests": frozenset((
        "a_body_with_a_length", "a_chunked_body", "a_get_with_a_body", "one_write_for_head_and_body",
    )),
    "forwarding.HopByHopTests": frozenset((
        "connection_itself_never_arrives", "connection_takes_away_what_it_names_but_not_ours",
        "upgrade_to_h2c_is_just_a_request",
    )),
    "forwarding.RequestLineTests": frozenset((
        "a_plain_request", "a_request_without_host_gets_the_endpoints", "the_absolute_form_becomes_the_origin_form",
    )),
    "hedging.HedgeTests": frozenset(("no_other_try_is_allowed",)),
    "hedging.SlowHedgeTests": frozenset(("no_other_try_is_allowed",)),
    "identity.BelievedTests": frozenset(("connection_takes_away_what_it_names",)),
    "identity.ForwardedHostTests": frozenset(("no_host_at_all",)),
    "mirror.BodyTests": frozenset(("a_large_one", "a_large_one_that_was_read_whole")),
    "mirror.CopyTests": frozenset(("answers_of_the_route_are_not_copied",)),
    "mirror.NeverNoticedTests": frozenset(("a_bug_in_it",)),
    "own_answers.EditTests": frozenset(("the_connection_goes_on_as_without_edits",)),
    "own_answers.FilterTests": frozenset(("a_bug_of_a_filter",)),
    "replies.LocalReplyTests": frozenset(("an_old_client", "counters", "the_server_line_is_the_host_s")),
    "retries.ConditionTests": frozenset(("methods_that_may_not_be_sent_twice",)),
    "retries.NumberTests": frozenset(("host_names_the_endpoint_that_is_asked",)),
    "retries.PauseTests": frozenset(("what_the_client_sends_meanwhile",)),
    "transforms.TransformTests": frozenset((
        "a_bad_chunk", "a_client_that_does_not_read_pauses_the_endpoint", "a_piece_of_which_nothing_goes_on_yet",
        "an_answer_that_breaks_off", "every_framing_reaches_every_client", "mistakes", "the_next_answer_to_an_old_client",
        "what_it_gives_is_counted",
    )),
    "turned_away.LeavingTests": frozenset(("a_drain_lets_it_finish",)),
    "turned_away.TurnedAwayTests": frozenset(("an_answer_that_breaks_off", "interim_answers_end_it")),
    "waiting.OthersTests": frozenset(("a_tunnel_that_ends",)),
    "waiting.TurnTests": frozenset(("requests_on_one_connection",)),
}


class OverTests(Over2):
    def test_it_is_version_2(self) -> None:
        """The translation is what it says: the endpoint's request came by HTTP/2."""
        client = self.client()
        client.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        self.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(client.got().startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertEqual([record.request.minor for record in self.records], [2])

    def test_nothing_is_left_out_by_mistake(self) -> None:
        """Every test that is named as one of HTTP/1.1 exists, and most tests are not."""
        every = {(place, name) for place, _, names in cases() for name in names}
        left_out = {(place, f"test_{name}") for place, names in OF_VERSION_1.items() for name in names}
        self.assertEqual(left_out - every, set())
        self.assertGreater(len(every), 3 * len(left_out))


def cases() -> Iterator[tuple[str, type[ProxyCase], list[str]]]:
    """Where each class of tests stands, the class, and the names of its tests."""
    loader = TestLoader()
    for module in _MODULES:
        tests = importlib.import_module(f"tests.proxy.test_{module}")
        for name, found in inspect.getmembers(tests, inspect.isclass):
            if found.__module__ == tests.__name__ and issubclass(found, ProxyCase):
                yield f"{module}.{name}", found, list(loader.getTestCaseNames(found))


def testSuite() -> TestSuite:
    """What trial runs of this module."""
    suite = TestSuite([OverTests("test_it_is_version_2"), OverTests("test_nothing_is_left_out_by_mistake")])
    for place, found, names in cases():
        over = type(f"{found.__name__}Over2", (Over2, found), {"__module__": __name__})
        left_out = OF_VERSION_1.get(place, frozenset())
        suite.addTests(over(name) for name in names if name.removeprefix("test_") not in left_out)
    return suite
