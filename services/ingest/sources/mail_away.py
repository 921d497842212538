"""Until when somebody is away, where an out-of-office reply says it: in the languages of Europe."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache

from babel import Locale

from services.ingest.sources import mail_phrases as phrases

_LOOKED_AT = 3000
_LONGEST_ABSENCE = timedelta(days=400)
_BACK = re.compile(phrases.BACK, re.IGNORECASE)
_AWAY = re.compile(phrases.AWAY, re.IGNORECASE)
# "2-13 March", "dal 2 al", "23.02.-", "02 Mar - ": what stands between the beginning of a span and its end.
_SPAN = re.compile(r"\d[^\n!?;]{0,20}?(?:[-\u2013\u2014]|(?<=[\s.])(?:al?|au|to|la|til|till|e|et|y|i|und|and))\s{0,2}$")
_SENTENCES = re.compile(r"[\n!?]|(?<=[^\W\d]{3})\.\s")
# 2026-03-15 · 15.03.2026, 15/3/26, 15. 3. · 15 March 2026, 15. März, 15 de marzo de 2026 · March 15th, 2026, márc. 15.
_ISO = re.compile(r"(?<!\d)(20\d\d)[-./年 ]{1,2}(\d{1,2})[-./ ]{1,2}(\d{1,2})(?!\d)")
_NUMERIC = re.compile(r"(?<![\d.])(\d{1,2})([./-]) ?(\d{1,2})(?:\2 ?(20\d\d|\d\d)?)?(?![\d:])")
_DAY_FIRST = re.compile(
    r"(?<!\d)(\d{1,2})(?:st|nd|rd|th|er|º|ª|\.|-?(?:e|ste|de|\u0433\u043e|\u0435))?\s+(?:of |de |d'|di |da )?"
    r"([^\W\d_]{3,14})\.?(?:,?\s+(?:de\s+|del\s+)?(20\d\d))?"
)
_MONTH_FIRST = re.compile(
    r"([^\W\d_]{3,14})\.?\s+(\d{1,2})(?:st|nd|rd|th|\.|-[^\W\d_]{2,4})?(?!\d|[:.]\d)(?:,?\s+(20\d\d))?"
)
_YEAR_FIRST = re.compile(r"(20\d\d)\.?\s*(?:m\.\s*|gada\s+|g\.\s*)?([^\W\d_]{3,14})\.?\s+(\d{1,2})\b")
# 2026. március 2-tól 13-ig
_MONTH_FIRST_SPAN = re.compile(r"([^\W\d_]{3,14})\.?\s+\d{1,2}\.?(?:-t\w{1,2})?[-\s\u2013]{1,3}(\d{1,2})\.?-ig\b")
_DECEMBER = 12
_JUST_PAST = timedelta(days=45)
"""A day that is written without a year, and that is over no longer, is over: absences begin with such days."""
_NEAR = 40
"""Characters between a date and the word that makes it an end or a return."""


def away_until(subject: str, text: str, sent: datetime) -> date | None:
    """Return the date that a reply names as the end of an absence or the return; the latest, where it names several.

    `sent` is the reply's Date with the sender's own offset: it gives the year where none is written, and tells whether
    3/4 is in March or in April. None where no sentence about the end of the absence names a date.
    """
    found = []
    for sentence in _SENTENCES.split(f"{subject}\n{text[:_LOOKED_AT]}"):
        words = [match.span() for match in _BACK.finditer(sentence)]
        away = _AWAY.search(sentence) is not None
        for begin, end, named in _dates(sentence, sent) if words or away else ():
            near = any(begin - after <= _NEAR and before - end <= _NEAR for before, after in words)
            ends = near or (away and _SPAN.search(sentence, max(0, begin - 40), begin) is not None)
            if ends and _is_plausible(named, sent.date()):
                found.append(named)
    return max(found, default=None)


def _is_plausible(named: date, sent: date) -> bool:
    return sent <= named <= sent + _LONGEST_ABSENCE


def _dates(sentence: str, sent: datetime) -> Iterator[tuple[int, int, date]]:
    """Yield where each date begins and ends, and the date."""
    for match, year, month, day in _written(sentence, sent):
        named = None if month is None else _date(year, month, day, sent)
        if named is not None:
            yield *match.span(), named


def _written(sentence: str, sent: datetime) -> Iterator[tuple[re.Match[str], int | None, int | None, int]]:
    for match in _ISO.finditer(sentence):
        yield match, int(match.group(1)), int(match.group(2)), int(match.group(3))
    for match in _YEAR_FIRST.finditer(sentence):
        yield match, int(match.group(1)), _month(match.group(2)), int(match.group(3))
    for match in _DAY_FIRST.finditer(sentence):
        yield match, _year(match.group(3)), _month(match.group(2)), int(match.group(1))
    for match in _MONTH_FIRST.finditer(sentence):
        yield match, _year(match.group(3)), _month(match.group(1)), int(match.group(2))
    for match in _MONTH_FIRST_SPAN.finditer(sentence):
        yield match, None, _month(match.group(1)), int(match.group(2))
    numeric = list(_NUMERIC.finditer(_ISO.sub(lambda iso: " " * len(iso.group()), sentence)))
    slashed = [(int(match.group(1)), int(match.group(3))) for match in numeric if match.group(2) == "/"]
    # Who writes 3/13 writes 3/2 the same way; where none tells, the clock does.
    months_first = any(second > _DECEMBER for _, second in slashed) or (
        _writes_months_first(sent) and all(first <= _DECEMBER for first, _ in slashed)
    )
    for match in numeric:
        day, month = int(match.group(1)), int(match.group(3))
        if match.group(2) == "/" and months_first:
            day, month = month, day
        yield match, _year(match.group(4)), month, day


def _writes_months_first(sent: datetime) -> bool:
    """North America does. Brazil, which does not, is three hours behind Greenwich at most."""
    offset = sent.utcoffset()
    return offset is not None and timedelta(hours=-10) <= offset <= timedelta(hours=-4)


def _year(written: str | None) -> int | None:
    if not written:
        return None
    return int(written) if len(written) > 2 else 2000 + int(written)  # noqa: PLR2004 - two digits


def _date(year: int | None, month: int, day: int, sent: datetime) -> date | None:
    try:
        if year is not None:
            return date(year, month, day)
        # The next such day, unless it is only just over.
        named = date(sent.year, month, day)
        past = sent.date() - named
        if past < -_LONGEST_ABSENCE + _JUST_PAST:
            return date(sent.year - 1, month, day)
        return date(sent.year + 1, month, day) if past > _JUST_PAST else named
    except ValueError:
        return None


def _month(written: str) -> int | None:
    """Return the month that a word names; some languages add up to three letters of a case: "märtsil"."""
    word, months = _plain(written), _months()
    for cut in range(min(3, max(0, len(word) - 3)) + 1):
        found = months.get(word[: len(word) - cut])
        if found is not None:
            return found
    return None


def _plain(word: str) -> str:
    return word.casefold().strip(".")


@lru_cache(maxsize=1)
def _months() -> Mapping[str, int]:
    """Return the number of each month by its names in all languages; built on first use, in a quarter of a second."""
    found: dict[str, int] = {}
    clashing: set[str] = set()
    for language in phrases.LANGUAGES:
        for names in Locale.parse(language).months.values():
            for width in ("wide", "abbreviated"):
                for number, name in names[width].items():
                    word = _plain(name)
                    if len(word) < 3 or not word.isalpha():  # noqa: PLR2004 - "V", "10"
                        continue
                    if found.setdefault(word, number) != number:
                        clashing.add(word)
    # "listopad" is October in Croatia and November in Poland.
    return {word: number for word, number in found.items() if word not in clashing}
