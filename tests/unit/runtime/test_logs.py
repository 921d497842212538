"""Logs are JSON lines without local variables, and an absent broker does not flood them; spans reach a collector."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pytest_httpserver import HTTPServer

from services.runtime import logs
from services.runtime.settings import RuntimeSettings
from services.runtime.telemetry import Telemetry


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_every_line_is_json_and_names_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("probe")
    structlog.get_logger("a").info("started", port=1)
    logging.getLogger("some.library").warning("careful with %s", "that")
    ours, theirs = _lines(capsys)
    assert (ours["event"], ours["port"], ours["level"], ours["service"]) == ("started", 1, "info", "probe")
    assert (theirs["event"], theirs["level"], theirs["service"]) == ("careful with that", "warning", "probe")


def test_a_traceback_has_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("probe")

    def fail(address: str) -> None:
        raise ValueError(len(address))

    try:
        fail("ana@example.com")
    except ValueError:
        structlog.get_logger("a").exception("failed")
    (line,) = _lines(capsys)
    assert "ValueError: 15" in str(line["exception"])
    assert "ana@" not in str(line["exception"]).replace('fail("ana@example.com")', "")


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("probe", "warning")
    structlog.get_logger("a").info("quiet")
    logging.getLogger("b").info("quiet")
    assert _lines(capsys) == []


def test_the_broker_client_says_the_same_once_in_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("probe")
    for attempt in range(1000):
        logging.getLogger("aiokafka").error("Unable connect to node %s", attempt)
        logging.getLogger("aiokafka.conn").error("Unable to update metadata")
    logging.getLogger("ours").error("again")
    logging.getLogger("ours").error("again")
    assert [line["event"] for line in _lines(capsys)] == [
        "Unable connect to node 0",
        "Unable to update metadata",
        "again",
        "again",
    ]


def test_spans_are_sent_to_the_collector(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/v1/traces", method="POST").respond_with_data(b"")
    settings = RuntimeSettings.model_validate(
        {
            "kafka_bootstrap": "127.0.0.1:1",
            "database_url": "postgresql://x",
            "otlp_endpoint": httpserver.url_for("/"),
            "trace_sample_ratio": 1.0,
        }
    )
    telemetry = Telemetry("probe", settings)
    with telemetry.span("door", source="shop"):
        pass
    telemetry.close()
    ((request, _),) = httpserver.log
    assert b"door" in request.data
    assert b"probe" in request.data
