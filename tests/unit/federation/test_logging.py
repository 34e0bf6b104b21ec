"""The log has the events, and no secrets."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from federation.logging import LogLevel, configure_logging


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def configured(level: LogLevel = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(level, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_its_bound_keys() -> None:
    stream = configured()

    structlog.stdlib.get_logger("spoke_agent").bind(cluster="c1").info("claim_created", claim="cpu")

    (line,) = lines(stream)
    assert line["event"] == "claim_created"
    assert (line["cluster"], line["claim"], line["level"], line["logger"]) == ("c1", "cpu", "info", "spoke_agent")
    assert line["timestamp"].endswith("Z")


def test_a_library_that_logs_through_the_standard_library_speaks_the_same_format() -> None:
    stream = configured()

    logging.getLogger("aiohttp.server").warning("lost %s of %d", "one", 2)

    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("lost one of 2", "warning", "aiohttp.server")


def test_what_is_below_the_level_is_not_written() -> None:
    stream = configured("warning")

    structlog.stdlib.get_logger("ours").info("claim_created")
    logging.getLogger("theirs").info("chatter")

    assert lines(stream) == []


def test_an_exception_is_written_with_its_traceback_on_the_same_line() -> None:
    stream = configured()

    try:
        int("x")
    except ValueError:
        structlog.stdlib.get_logger("ours").exception("reconcile_failed")

    (line,) = lines(stream)
    assert "invalid literal for int()" in line["exception"]


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE",
        "Authorization: Bearer abcdef",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
        b"\x00raw",
        {"deep": ["-----BEGIN CERTIFICATE-----\nMIIB"]},
        ValueError("-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE"),
    ],
    ids=["pem", "bearer", "jwt", "bytes", "nested", "exception object"],
)
def test_key_material_is_withheld_wherever_it_stands(secret: object) -> None:
    stream = configured()

    structlog.stdlib.get_logger("ours").info("loaded", value=secret)

    text = stream.getvalue()
    assert "loaded" in text
    assert not any(part in text for part in ("MHcCAQEE", "abcdef", "eyJ", "raw", "MIIB"))


def test_key_material_in_a_traceback_is_withheld() -> None:
    stream = configured()

    try:
        int("-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE")
    except ValueError:
        structlog.stdlib.get_logger("ours").exception("load_failed")

    assert "MHcCAQEE" not in stream.getvalue()
