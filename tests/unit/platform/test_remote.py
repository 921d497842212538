"""Commands that are pointed at the wrong place, or given the wrong token, say so in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner

from services.cli.app import build
from services.cli.faults import CommandFault
from services.cli.remote import Remote


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("x.y.z")
    return file


@pytest.mark.parametrize(
    "url", ["accounts", "accounts:8000", "http://", "http://[::1", "ftp://accounts", "http://a b/"]
)
def test_what_is_no_address_is_called_so(url: str, token: Path) -> None:
    with pytest.raises(CommandFault, match="is no address; write it as http://host:port"):
        Remote("accounts", "operator", url, token).call("GET", "/v1/accounts")


@pytest.mark.parametrize("given", ["metrics", "metrics=", "=http://127.0.0.1:1", "metrics=127.0.0.1:8001"])
def test_status_says_how_a_service_is_named(given: str) -> None:
    result = CliRunner().invoke(build(), ["status", "--service", given])
    assert isinstance(result.exception, CommandFault)
    assert "http://" in str(result.exception)


@pytest.mark.parametrize("content", ["", "  \n", "schlüssel", "two\nlines"])
def test_a_file_that_holds_no_token_is_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(CommandFault, match="holds no bearer token"):
        Remote("accounts", "operator", "http://127.0.0.1:1", file).call("GET", "/v1/accounts")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("<h1>It works</h1>", "HTTP 400"),
        ('{"errors": ["no", {"code": 7}], "title": "Bad"}', "Bad"),
        ('{"errors": "many"}', "HTTP 400"),
        ("[1]", "HTTP 400"),
    ],
)
def test_a_server_that_is_another_is_quoted(body: str, says: str, httpserver: HTTPServer, token: Path) -> None:
    httpserver.expect_request("/v1/accounts").respond_with_data(body, status=400)
    with pytest.raises(CommandFault, match=f"accounts says: {says}"):
        Remote("accounts", "operator", httpserver.url_for(""), token).call("GET", "/v1/accounts")


def test_what_is_wrong_is_said_with_its_remedy(httpserver: HTTPServer, token: Path) -> None:
    errors = [{"field": "key", "message": "is no column", "remedy": "write one of name, domain"}]
    answer = {"detail": "Nothing was changed.", "errors": errors}
    httpserver.expect_request("/v1/accounts").respond_with_json(answer, status=422)
    with pytest.raises(CommandFault) as refused:
        Remote("accounts", "operator", httpserver.url_for(""), token).call("GET", "/v1/accounts")
    assert str(refused.value).endswith("Nothing was changed. (key: is no column, write one of name, domain)")


@pytest.mark.parametrize("body", ["<h1>It works</h1>", "[]", '{"checks": "fine", "lag": 3}'])
def test_status_of_a_server_that_is_another_is_no_answer(body: str, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/livez").respond_with_data("ok")
    httpserver.expect_request("/readyz").respond_with_data(body, status=503)
    httpserver.expect_request("/flow").respond_with_data(body)
    result = CliRunner().invoke(build(), ["status", "--json", "--service", f"metrics={httpserver.url_for('')}"])
    assert result.exit_code == 1, result.exception
    assert json.loads(result.stdout)["obstacles"] == ["metrics is not ready: readyz says HTTP 503"]


def test_a_list_of_no_sources_says_so(httpserver: HTTPServer, token: Path) -> None:
    httpserver.expect_request("/v1/sources").respond_with_json({"items": []})
    where = ["--url", httpserver.url_for("").rstrip("/"), "--token-file", str(token)]
    assert CliRunner().invoke(build(), ["sources", "list", *where]).output == "no sources\n"
