"""Settings: what is wrong is said in one plain sentence that names the variable and the remedy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from services.runtime.clock import FileClock, RealClock, build_clock, write_moment
from services.runtime.settings import RuntimeSettings, SettingsError, load

GOOD = {
    "TENURE_KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "TENURE_DATABASE_URL": "postgresql://worker:hunter2@127.0.0.1/tenure",
}


def test_two_settings_are_enough_to_start() -> None:
    settings = load(RuntimeSettings, GOOD)
    assert (settings.batch_size, settings.clock, settings.environment) == (5000, "real", "development")
    assert settings.physical("tenure.kpis") == "tenure.kpis"


def test_the_prefix_stands_before_every_physical_name() -> None:
    assert load(RuntimeSettings, {**GOOD, "TENURE_TOPIC_PREFIX": "acme."}).physical("tenure.kpis") == "acme.tenure.kpis"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TENURE_KAFKA_BOOTSTRAP", None, "TENURE_KAFKA_BOOTSTRAP is not set; set it to what the service needs"),
        ("TENURE_DATABASE_URL", None, "TENURE_DATABASE_URL is not set"),
        ("TENURE_BATCH_SIZE", "many", "TENURE_BATCH_SIZE: input should be a valid integer"),
        ("TENURE_BATCH_SIZE", "0", "TENURE_BATCH_SIZE: input should be greater than or equal to 1"),
        ("TENURE_ENVIRONMENT", "prod", "TENURE_ENVIRONMENT: input should be 'development' or 'production'"),
        ("TENURE_HTTP_PORT", "99999", "TENURE_HTTP_PORT: input should be less than or equal to 65535"),
        ("TENURE_TIME_ZONE", "Europe/Berlln", "TENURE_TIME_ZONE: is no time zone of the IANA database"),
        ("TENURE_TIME_ZONE", "Europe", "TENURE_TIME_ZONE: is no time zone of the IANA database"),
        ("TENURE_TIME_ZONE", "../etc/passwd", "TENURE_TIME_ZONE: is no time zone of the IANA database"),
        ("TENURE_CLOCK", "yesterday", "TENURE_CLOCK: string should match pattern"),
        ("TENURE_TOPIC_PREFIX", "a b", "TENURE_TOPIC_PREFIX: string should match pattern"),
        ("TENURE_REPORTING_CURRENCY", "euro", "TENURE_REPORTING_CURRENCY: string should match pattern"),
        ("TENURE_TRACE_SAMPLE_RATIO", "2", "TENURE_TRACE_SAMPLE_RATIO: input should be less than or equal to 1"),
        ("TENURE_BATCHSIZE", "100", "TENURE_BATCHSIZE is not a setting; did you mean TENURE_BATCH_SIZE?"),
        ("TENURE_KAFKA_BOOTSTRAPS", "x:1", "did you mean TENURE_KAFKA_BOOTSTRAP?"),
        ("TENURE_SECRETS_DIR", "/no/such/folder", "TENURE_SECRETS_DIR: there is no folder /no/such/folder"),
    ],
)
def test_a_wrong_setting_is_one_sentence_about_it(name: str, value: str | None, says: str) -> None:
    given = {**GOOD, name: value} if value is not None else {key: kept for key, kept in GOOD.items() if key != name}
    with pytest.raises(SettingsError) as wrong:
        load(RuntimeSettings, given)
    sentence = str(wrong.value)
    assert says in sentence
    assert sentence[-1] in ".?"
    assert "\n" not in sentence
    assert "pydantic" not in sentence


def test_settings_of_other_services_in_a_shared_environment_are_left_alone() -> None:
    load(RuntimeSettings, {**GOOD, "TENURE_SMTP_HOST": "mail", "TENURE_INGEST_OPERATIONS_URL": "http://x", "PATH": "/"})


def test_a_secret_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tenure_database_url").write_text("postgresql://from-a-file/tenure\n")
    monkeypatch.setenv("TENURE_KAFKA_BOOTSTRAP", "127.0.0.1:9092")
    monkeypatch.setenv("TENURE_SECRETS_DIR", str(tmp_path))
    monkeypatch.delenv("TENURE_DATABASE_URL", raising=False)
    assert load(RuntimeSettings).database_url == "postgresql://from-a-file/tenure"


def test_a_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(load(RuntimeSettings, GOOD))


def test_production_has_the_real_clock_only(tmp_path: Path) -> None:
    simulated = {"TENURE_ENVIRONMENT": "production", "TENURE_CLOCK": f"file:{tmp_path / 'clock'}"}
    with pytest.raises(SettingsError, match="TENURE_CLOCK must be real"):
        load(RuntimeSettings, {**GOOD, **simulated})


def test_the_real_clock_is_aware_and_in_utc() -> None:
    assert isinstance(build_clock(load(RuntimeSettings, GOOD)), RealClock)
    assert RealClock().now().utcoffset() == timedelta(0)


def test_a_file_clock_follows_its_file(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    write_moment(path, datetime(2026, 3, 2, 10, 30, tzinfo=timezone(timedelta(hours=1))))
    clock = build_clock(load(RuntimeSettings, {**GOOD, "TENURE_CLOCK": f"file:{path}"}))
    assert clock.now() == datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    for minute in range(1, 50):
        moment = datetime(2026, 3, 2, 9, minute, tzinfo=UTC)
        write_moment(path, moment)
        assert clock.now() == moment


@pytest.mark.parametrize("content", ["", "soon", "2026-03-02T09:30:00", "2026-13-02T09:30:00Z"])
def test_a_clock_file_with_anything_else_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "clock"
    path.write_text(content)
    with pytest.raises(SettingsError, match="TENURE_CLOCK"):
        FileClock(path)


def test_a_clock_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="create it with one RFC 3339 moment"):
        FileClock(tmp_path / "none")
