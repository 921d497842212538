"""How a touch is read: support, billing, strategic or routine; whether it waits for an answer."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from contracts.interactions import Interaction
from contracts.values import Automatic, Direction, Kind, TouchClass

TOUCHES = frozenset({Kind.MAIL, Kind.CALL, Kind.MEETING, Kind.CHAT, Kind.COMMENT})

RuleField = Literal["words", "label", "mailbox", "address", "call_tag", "sender_role"]


@dataclass(frozen=True, slots=True)
class TouchRule:
    """One rule: a touch that fits one of `patterns` is of `touch_class`. Lower positions are asked first."""

    touch_class: TouchClass
    position: int
    field: RuleField
    patterns: tuple[str, ...]


def direction_of(interaction: Interaction) -> Direction | None:
    """Return in, out or internal; None for kinds that have no direction."""
    detail = interaction.detail
    if detail.kind == "mail" or detail.kind == "call" or detail.kind == "chat" or detail.kind == "comment":  # noqa: PLR1714 - narrows the type
        return detail.direction
    return None


def automatic_of(interaction: Interaction) -> Automatic | None:
    """Return why nobody wrote it by hand; None: a person did."""
    detail = interaction.detail
    return detail.automatic if detail.kind == "mail" or detail.kind == "comment" else None  # noqa: PLR1714 - narrows the type


def class_by_rule(
    interaction: Interaction, rules: Sequence[TouchRule], sender_roles: Iterable[str] = ()
) -> TouchClass | None:
    """Return the class of the first rule that fits; None: no rule does. `rules` in order of position."""
    if interaction.kind not in TOUCHES:
        return None
    for rule in rules:
        if _fits(rule, interaction, sender_roles):
            return rule.touch_class
    return None


def _fits(rule: TouchRule, interaction: Interaction, sender_roles: Iterable[str]) -> bool:
    detail = interaction.detail
    match rule.field:
        case "words":
            words = _words(rule.patterns)
            return any(
                words.search(part) is not None for part in (interaction.title, written(interaction.text)) if part
            )
        case "label":
            return detail.kind == "mail" and _any_of(rule.patterns, detail.labels)
        case "mailbox":
            return detail.kind == "mail" and _any_of(rule.patterns, detail.mailboxes)
        case "call_tag":
            return detail.kind == "call" and _any_of(rule.patterns, detail.tags)
        case "sender_role":
            return _any_of(rule.patterns, sender_roles)
        case "address":
            return any(
                identity.kind == "address" and identity.value.startswith(rule.patterns)
                for party in interaction.parties
                if party.ours
                for identity in party.identities
            )


def _any_of(patterns: Iterable[str], values: Iterable[str]) -> bool:
    wanted = {pattern.casefold() for pattern in patterns}
    return any(value.casefold() in wanted for value in values)


@lru_cache(maxsize=512)
def _words(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, patterns)) + r")(?!\w)", re.IGNORECASE)


_QUOTED = re.compile(r"^\s*(?:>.*|(?:on|am|el|em)\b.{0,200}(?:wrote|schrieb|escribió|escreveu)\s*:\s*)$", re.IGNORECASE)
_CUT = re.compile(
    r"^\s*(?:--\s*|_{5,}|-{3,}\s*(?:original message|ursprüngliche nachricht|mensaje original|mensagem original)\b.*)$",
    re.IGNORECASE,
)


def written(text: str | None) -> str:
    """Return what the sender wrote: no quoted lines, nothing below a signature mark or the original message."""
    if not text:
        return ""
    lines = []
    for line in text.splitlines():
        if _CUT.match(line) or _QUOTED.match(line):
            if not line.lstrip().startswith(">"):
                break
            continue
        lines.append(line)
    return "\n".join(lines).strip()


_THANKS = frozenset(
    ("thanks", "thank", "thx", "cheers", "danke", "dankeschön", "dank", "gracias", "obrigado", "obrigada", "merci")
)
_COURTESY_WORDS = """
    a again all alles appreciate appreciated beste besten bien de dear e ein eine everything fine for für good
    got great greetings gut grüße grüssen gruß hallo hello herzlichen hi hola i it kind lg lieben liebe lot many mfg
    mit mucho much muchas muito noted o ok okay oi olá para perfect perfekt por prima quick received regards
    response reply schöne schönen so super sehr tag that the this todo top tudo und update very viele vielen we
    well y you your
    """
_COURTESY = frozenset(_COURTESY_WORDS.split())
_LONGEST_THANKS = 16
_WORD = re.compile(r"[^\W\d_]+")


def only_thanks(text: str | None) -> bool:
    """Say whether a text says thank you and nothing else (English, German, Spanish, Portuguese): nobody waits then."""
    said = written(text)
    if not said or "?" in said or len(said) > 400:  # noqa: PLR2004 - longer ones say something
        return False
    first = said.split("\n\n")[0] if said.count("\n\n") > 1 else said
    words = [word.casefold() for word in _WORD.findall(first)]
    if not any(word in _THANKS for word in words) or len(words) > _LONGEST_THANKS:
        return False
    unknown = [word for word in words if word not in _THANKS and word not in _COURTESY]
    # A name or two, of whom it thanks and who signs.
    names = {word.casefold() for word in _WORD.findall(first) if word[:1].isupper()}
    return all(word in names for word in unknown) and len(unknown) <= 3  # noqa: PLR2004 - greeting and signature


_WRITTEN = frozenset({"mail", "chat", "comment"})


def reply_expected(interaction: Interaction, *, by_hand: bool | None) -> bool:
    """Say whether an answer is owed: not to machines, newsletters and invitations, nor to a mere thank you."""
    if by_hand is not None:
        return by_hand
    if interaction.detail.kind not in _WRITTEN:
        return True
    return automatic_of(interaction) is None and not only_thanks(interaction.text)
