"""What the mappings of survey tools have in common."""

from datetime import datetime
from typing import Any

from contracts.events import SurveyAnswered
from contracts.values import Kind, Party
from services.ingest.domain.mapping import Origin, Unmapped
from services.ingest.domain.reports import key_of, reported

_HIGHEST_CSAT = 5
_HIGHEST_NPS = 10


def answered(  # noqa: PLR0917 - what an answer is
    origin: Origin,
    native: str,
    body: bytes,
    report: str,
    order: int,
    at: datetime,
    survey: str,
    score: int,
    *,
    party: Party | None,
    text: str | None,
    title: str | None = None,
) -> SurveyAnswered:
    """Return that somebody answered a survey. `survey` is "nps" (0 to 10) or "csat" (1 to 5)."""
    lowest, highest = (0, _HIGHEST_NPS) if survey == "nps" else (1, _HIGHEST_CSAT)
    if not lowest <= score <= highest:
        raise Unmapped("score_off_the_scale")
    return reported(
        SurveyAnswered,
        {
            **answer_fields(origin, native, body, report, order, at),
            "parties": () if party is None else (party,),
            "title": title,
            "text": text,
            "survey": survey,
            "score": score,
        },
    )


def answer_fields(  # noqa: PLR0917 - what every report about an answer states
    origin: Origin, native: str, body: bytes, report: str, order: int, at: datetime
) -> dict[str, Any]:
    """Return what every report about one answer states."""
    return {
        "interaction": key_of(Kind.SURVEY, origin.system, native),
        "report": report,
        "revision": origin.revision(order, body),
        "source": origin.source,
        "occurred_at": at,
    }


def on_five(score: int, steps: int) -> int:
    """Return a score of 1 to `steps` on the scale of 1 to 5, its ends on the ends, the middle rounded up."""
    if steps <= 1 or not 1 <= score <= steps:
        raise Unmapped("score_off_the_scale")
    return 1 + (2 * 4 * (score - 1) + steps - 1) // (2 * (steps - 1))
