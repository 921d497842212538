"""Delighted: answers to surveys, and their later changes: a webhook comes for the score, another for the comment.

Times are seconds; of two reports in one second the one that says more is taken for the later.
"""

from collections.abc import Mapping
from typing import Any

from contracts.events import InteractionRestored, InteractionWithdrawn
from contracts.values import Party
from services.ingest.domain.mapping import (
    Mapped,
    Origin,
    Unmapped,
    digest_of,
    id_at,
    micros,
    moment_of,
    object_at,
    optional_id,
    optional_text,
    storable_text,
)
from services.ingest.domain.provider import Delivery, Options, Provider
from services.ingest.domain.reports import reported
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.surveys import answer_fields, answered, on_five
from services.ingest.sources.ticketing import object_or_empty, unwanted, word

_CREATED = "survey_response.created"
_ANSWERS = frozenset({_CREATED, "survey_response.updated"})
_DELETED = "survey_response.deleted"
_FACES = frozenset({"csat", "five_star", "smileys"})
# Asked of employees, or about effort and fit: neither NPS nor CSAT of customers.
_OTHER_SURVEYS = frozenset({"ces", "enps", "pmf"})
_THUMBS = {0: 1, 1: 5}


class DelightedOptions(Options):
    """What tells whose an answer is."""

    organization: str | None = None
    """The property of a person that holds our number of their company, as accounts knows it under this system."""


def read(delivery: Delivery, origin: Origin, options: DelightedOptions) -> Mapped:
    """Map a verified webhook. Raises `Unmapped` for what it does not understand."""
    payload = delivery.payload
    if not isinstance(payload, dict):
        raise Unmapped("not_an_object")
    name = payload.get("event_type")
    if not isinstance(name, str):
        raise Unmapped("missing:event_type")
    if name not in {*_ANSWERS, _DELETED}:
        return unwanted(name)
    answer = object_at(payload, "event_data")
    at = moment_of(answer.get("created_at"), "event_data.created_at")
    changed = moment_of(answer.get("updated_at") or answer["created_at"], "event_data.updated_at")
    native, body = id_at(answer, "id"), delivery.body
    report = optional_id(payload, "event_id") or digest_of(body)
    comment = optional_text(answer, "comment")
    said = (comment is not None) + sum(bool(answer.get(field)) for field in ("additional_answers", "tags", "notes"))
    order = micros(changed) + said
    if name == _DELETED:
        fields = answer_fields(origin, native, body, report, order, at)
        return Mapped([reported(InteractionWithdrawn, {**fields, "reason": "deleted"})])
    kind, score = word(answer.get("survey_type")) or "nps", answer.get("score")
    if kind in _OTHER_SURVEYS:
        return Mapped(ignored=f"survey:{kind}")
    if score is None:
        # Somebody wrote without choosing a number, or took the number back.
        fields = answer_fields(origin, native, body, report, order, at)
        return Mapped([reported(InteractionWithdrawn, {**fields, "reason": "no score"})])
    survey, number = _scale(kind, score)
    party, text = _person(answer, options, origin), storable_text(comment)
    said_now = answered(origin, native, body, report, order, at, survey, number, party=party, text=text)
    if name == _CREATED:
        return Mapped([said_now])
    # The number may have been taken back in between.
    return Mapped([said_now, reported(InteractionRestored, answer_fields(origin, native, body, report, order, at))])


def _scale(kind: str, score: Any) -> tuple[str, int]:
    if isinstance(score, bool) or not isinstance(score, int):
        raise Unmapped("bad_number:event_data.score")
    if kind == "nps":
        return "nps", score
    if kind == "thumbs":
        if score not in _THUMBS:
            raise Unmapped("score_off_the_scale")
        return "csat", _THUMBS[score]
    if kind in _FACES:
        return "csat", on_five(score, 5)
    raise Unmapped("unknown_survey")


def _person(answer: Mapping[str, Any], options: DelightedOptions, origin: Origin) -> Party | None:
    """Return who answered. `person` is an object, or its id alone where the webhook was told not to expand it."""
    person = object_or_empty(answer, "person")
    native = optional_id(person, "id") or optional_id(answer, "person")
    properties = object_or_empty(answer, "person_properties")
    organisation = optional_id(properties, options.organization) if options.organization else None
    return origin.directory.party(
        "subject",
        address=optional_text(person, "email"),
        phone=optional_text(person, "phone_number"),
        person=origin.named(native) if native else None,
        organisation=origin.named(organisation) if organisation else None,
        name=optional_text(person, "name"),
    )


PROVIDER = Provider(name="delighted", scheme=SchemeName.DELIGHTED, read=read, options=DelightedOptions)
