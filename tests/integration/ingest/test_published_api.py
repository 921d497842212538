"""What the service says about itself in its OpenAPI document is how it behaves, whatever fits or does not fit it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation.case import Case
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.runtime.openapi import URL
from tests.integration.ingest.conftest import Ingest

EXAMPLES = int(os.environ.get("TENURE_TEST_API_EXAMPLES", "2"))
"""Of each operation, half of them against its description. 200 is a long run."""
_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


# The service beside it draws random numbers, which the strategies are blamed for.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
async def test_every_operation_answers_as_the_published_document_says(ingest: Ingest) -> None:
    told = (await ingest.http.get(URL)).json()
    for media in ("application/x-ndjson", "application/ndjson", "message/rfc822"):
        schemathesis.openapi.media_type(media, st.binary(max_size=300))
    schema = schemathesis.openapi.from_dict(told)
    tried = await asyncio.to_thread(
        lambda: [try_out(str(ingest.http.base_url), ingest.bearer("operator"), one) for one in operations(schema)]
    )
    assert len(tried) == sum(len(item) for item in told["paths"].values())


def operations(schema: schemathesis.BaseSchema) -> Iterator[APIOperation[Any, Any, Any, Any]]:
    """Every operation of the document."""
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        yield found.ok()


def try_out(url: str, bearer: dict[str, str], operation: APIOperation[Any, Any, Any, Any]) -> str:
    """Sends what fits the description of an operation, and what does not."""
    headers = bearer if "HTTPBearer" in str(operation.definition.raw.get("security")) else {}
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @hypothesis.settings(
            max_examples=max(1, EXAMPLES // 2),
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def sent(case: Case[Any]) -> None:
            case.call_and_validate(base_url=url, headers=headers, checks=_CHECKS, timeout=20)

        try:
            sent()
        except hypothesis.errors.Unsatisfiable:
            # Nothing is against a description that allows everything.
            continue
    return operation.label
