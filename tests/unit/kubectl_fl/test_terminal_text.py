"""Text for a terminal contains no control sequences, whatever the input."""

import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_fl.console import render_frame
from kubectl_fl.terminal_text import (
    display_width,
    format_age,
    format_bytes,
    format_duration,
    format_table,
    one_line,
    sanitize,
    truncate,
)

HOSTILE = st.lists(
    st.one_of(
        st.text(),
        st.sampled_from(
            ["\x1b[31m", "\x1b]0;title\x07", "\x1b", "[2J", "\x9b2J", "\u202e", "\r", "\x07", "\x1bPq", "\u2028"]
        ),
    )
).map("".join)


def obeyed(text: str) -> set[str]:
    return {c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}


@given(HOSTILE)
def test_sanitized_text_has_no_control_characters(text: str) -> None:
    assert not obeyed(sanitize(text))
    assert not obeyed(one_line(text))
    assert "\n" not in one_line(text)


@given(st.lists(HOSTILE, min_size=2, max_size=2), HOSTILE)
def test_table_cells_stay_in_their_line(row: list[str], other: str) -> None:
    lines = format_table(["A", "B"], [row, [other, other]])

    assert len(lines) == 3
    assert not any(obeyed(line) or "\n" in line for line in lines)


@given(st.lists(HOSTILE, max_size=12), st.integers(4, 60), st.integers(3, 10), st.integers(0, 30))
def test_a_frame_fits_the_terminal_and_emits_only_its_own_sequences(
    lines: list[str], columns: int, rows: int, drawn: int
) -> None:
    text, count = render_frame(lines, columns, rows, drawn)
    own = (f"\x1b[{drawn}A" if drawn else "") + "\r\x1b[J"

    assert text.startswith(own)
    shown = text.removeprefix(own)
    assert not obeyed(shown)
    assert shown.count("\n") == count < rows
    assert all(display_width(line) <= columns for line in shown.splitlines())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x1bcb", "ab"),
        ("one\r\ntwo", "one\ntwo"),
        ("over\rwritten", "over\ufffdwritten"),
        ("Grüße, 世界", "Grüße, 世界"),
    ],
    ids=["colour", "link", "reset", "line end", "carriage return", "plain"],
)
def test_escape_sequences_are_removed_and_text_is_kept(text: str, expected: str) -> None:
    assert sanitize(text) == expected


def test_columns_are_aligned_with_numbers_to_the_right() -> None:
    assert format_table(["NAME", "ROUND"], [["世界", "7"], ["c", "12"]]) == [
        "NAME   ROUND",
        "世界       7",
        "c         12",
    ]


def test_truncated_text_fits_and_ends_with_an_ellipsis() -> None:
    assert truncate("abcdef", 4) == "abc…"
    assert truncate("abcd", 4) == "abcd"
    assert display_width(truncate("世界世界", 4)) <= 4


def test_durations_and_sizes_use_readable_units() -> None:
    spans = [format_duration(timedelta(seconds=s)) for s in (5, 300, 10_000, 200_000)]

    assert spans == ["5 s", "5 min", "2 h", "2 d"]
    assert format_age("2026-01-01T00:00:00Z", datetime(2026, 1, 1, 0, 0, 9, tzinfo=UTC)) == "9 s ago"
    assert format_age("yesterday", datetime(2026, 1, 1, tzinfo=UTC)) == "-"
    assert [format_bytes(size) for size in (12, 2048, 3 << 30)] == ["12 B", "2.0 KiB", "3.0 GiB"]
