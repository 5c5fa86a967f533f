"""Limits that a request may exceed, as a condition of a service policy rule (objects.md 13.3)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.schema import field, message
from voltgw.config.types import Number, Presence


@message
class RequestConstraintType:
    """The request exceeds one of these limits."""

    SINCE: ClassVar = "+2023-01"

    max_cookie_count_exceeds: int | None = field(
        Number(), "Number of cookies above this.", group="max_cookie_count_choice")
    max_cookie_count_none: bool = field(Presence(), "Any.", group="max_cookie_count_choice")
    max_cookie_key_size_exceeds: int | None = field(
        Number(), "Length of a cookie's name above this.", group="max_cookie_key_size_choice")
    max_cookie_key_size_none: bool = field(Presence(), "Any.", group="max_cookie_key_size_choice")
    max_cookie_value_size_exceeds: int | None = field(
        Number(), "Length of a cookie's value above this.", group="max_cookie_value_size_choice")
    max_cookie_value_size_none: bool = field(Presence(), "Any.", group="max_cookie_value_size_choice")
    max_header_count_exceeds: int | None = field(
        Number(), "Number of headers above this.", group="max_header_count_choice")
    max_header_count_none: bool = field(Presence(), "Any.", group="max_header_count_choice")
    max_header_key_size_exceeds: int | None = field(
        Number(), "Length of a header's name above this.", group="max_header_key_size_choice")
    max_header_key_size_none: bool = field(Presence(), "Any.", group="max_header_key_size_choice")
    max_header_value_size_exceeds: int | None = field(
        Number(), "Length of a header's value above this.", group="max_header_value_size_choice")
    max_header_value_size_none: bool = field(Presence(), "Any.", group="max_header_value_size_choice")
    max_parameter_count_exceeds: int | None = field(
        Number(), "Number of parameters above this.", group="max_parameter_count_choice")
    max_parameter_count_none: bool = field(Presence(), "Any.", group="max_parameter_count_choice")
    max_parameter_name_size_exceeds: int | None = field(
        Number(), "Length of a parameter's name above this.", group="max_parameter_name_size_choice")
    max_parameter_name_size_none: bool = field(Presence(), "Any.", group="max_parameter_name_size_choice")
    max_parameter_value_size_exceeds: int | None = field(
        Number(), "Length of a parameter's value above this.", group="max_parameter_value_size_choice")
    max_parameter_value_size_none: bool = field(Presence(), "Any.", group="max_parameter_value_size_choice")
    max_query_size_exceeds: int | None = field(
        Number(), "Length of the query above this.", group="max_query_size_choice")
    max_query_size_none: bool = field(Presence(), "Any.", group="max_query_size_choice")
    max_request_line_size_exceeds: int | None = field(
        Number(), "Length of the request line above this.", group="max_request_line_size_choice")
    max_request_line_size_none: bool = field(Presence(), "Any.", group="max_request_line_size_choice")
    max_request_size_exceeds: int | None = field(
        Number(), "Length of the whole request above this, or not said.", group="max_request_size_choice")
    max_request_size_none: bool = field(Presence(), "Any.", group="max_request_size_choice")
    max_url_size_exceeds: int | None = field(
        Number(), "Length of the URL above this.", group="max_url_size_choice")
    max_url_size_none: bool = field(Presence(), "Any.", group="max_url_size_choice")
