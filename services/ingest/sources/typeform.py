"""Typeform: answers to a form that asks for an NPS (0 to 10) or a satisfaction, once each.

A response is told once and never changes; its token is its id. Which question is meant is read from its type, or said
in sources.toml. Who answered is an answer (an e-mail, a phone number) or came along as a hidden field.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contracts.values import Party
from services.ingest.domain.identities import one_line
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
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.surveys import answered, on_five
from services.ingest.sources.ticketing import object_or_empty, objects_in, unwanted, word

_RESPONSE = "form_response"
_SCALES = frozenset({"rating", "opinion_scale"})
_NPS_STEPS = 11
_CSAT_STEPS = 5


class TypeformOptions(Options):
    """Which questions count, and which hidden fields say who answered."""

    nps: str | None = None
    """The reference (or id) of the question; without it, the first of the type NPS."""
    csat: str | None = None
    """The same for satisfaction; without it, the first rating or opinion scale of five steps."""
    email: str = "email"
    name: str = "name"
    person: str = "user_id"
    organization: str = "account_id"
    """The hidden field with our number of the company, as accounts knows it under this system."""


def read(delivery: Delivery, origin: Origin, options: TypeformOptions) -> Mapped:
    """Map a verified webhook. Raises `Unmapped` for what it does not understand."""
    payload = delivery.payload
    if not isinstance(payload, dict):
        raise Unmapped("not_an_object")
    name = payload.get("event_type")
    if not isinstance(name, str):
        raise Unmapped("missing:event_type")
    if name != _RESPONSE:
        return unwanted(name)
    response = object_at(payload, _RESPONSE)
    at = moment_of(response.get("submitted_at"), "form_response.submitted_at")
    token = id_at(response, "token")
    given = objects_in(response.get("answers"))
    chosen = list(_scores(given, response, options))
    if not chosen:
        return Mapped(ignored="no_score")
    return Mapped(
        [
            answered(
                origin,
                f"{token}:{survey}",
                delivery.body,
                optional_id(payload, "event_id") or digest_of(delivery.body),
                micros(at),
                at,
                survey,
                score,
                party=_person(given, object_or_empty(response, "hidden"), options, origin),
                text=_words(given),
                title=one_line(optional_text(object_or_empty(response, "definition"), "title")),
            )
            for survey, score in chosen
        ]
    )


def _scores(
    given: Sequence[Mapping[str, Any]], response: Mapping[str, Any], options: TypeformOptions
) -> Iterator[tuple[str, int]]:
    questions = {
        native: question
        for question in objects_in(object_or_empty(response, "definition").get("fields"))
        if (native := optional_id(question, "id"))
    }
    for survey, wanted in (("nps", options.nps), ("csat", options.csat)):
        for answer in given:
            number, field = answer.get("number"), object_or_empty(answer, "field")
            if not isinstance(number, int) or isinstance(number, bool):
                continue
            properties = object_or_empty(questions.get(optional_id(field, "id") or "", {}), "properties")
            if wanted in (field.get("ref"), field.get("id")) if wanted else _is_about(survey, field, properties):
                yield survey, number if survey == "nps" else _satisfaction(number, properties)
                break


def _is_about(survey: str, field: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    kind, steps = word(field.get("type")), properties.get("steps")
    if survey == "nps":
        return kind == "nps" or (kind == "opinion_scale" and steps == _NPS_STEPS)
    return kind in _SCALES and steps == _CSAT_STEPS


def _satisfaction(number: int, properties: Mapping[str, Any]) -> int:
    """Return the answer on the scale of 1 to 5; a scale may begin at 0, and without a definition it has five steps."""
    steps = properties.get("steps")
    if not isinstance(steps, int) or isinstance(steps, bool):
        steps = _CSAT_STEPS
    return on_five(number + (properties.get("start_at_one") is False), steps)


def _words(given: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what was written at length; short answers are names and the like."""
    long = (
        optional_text(answer, "text") for answer in given if object_or_empty(answer, "field").get("type") == "long_text"
    )
    return storable_text("\n\n".join(text for text in long if text))


def _person(
    given: Sequence[Mapping[str, Any]], hidden: Mapping[str, Any], options: TypeformOptions, origin: Origin
) -> Party | None:
    def answer(name: str) -> str | None:
        return next((text for each in given if (text := optional_text(each, name))), None)

    person, organisation = optional_id(hidden, options.person), optional_id(hidden, options.organization)
    return origin.directory.party(
        "subject",
        # What the link said beforehand is more certain than what somebody typed.
        address=optional_text(hidden, options.email) or answer("email"),
        phone=answer("phone_number"),
        person=origin.named(person) if person else None,
        organisation=origin.named(organisation) if organisation else None,
        name=optional_text(hidden, options.name),
    )


PROVIDER = Provider(name="typeform", scheme=SchemeName.TYPEFORM, read=read, options=TypeformOptions)
