"""The newest words of a mail: without the mails it quotes, without signatures, disclaimers and banners.

Line by line, and every line is looked at a bounded number of times: a mail may be built to make a cleverer way hang.
Where nothing would be left, less is cut: a mail that only forwards keeps its words.
"""

import re
from collections.abc import Callable, Sequence

from services.ingest.domain.mapping import storable_text
from services.ingest.sources import mail_phrases as phrases

_LONGEST_TEXT = 100_000
_LONGEST_LINE = 400
_MOST_SIGNATURE_LINES = 25
_SHORTEST_DISCLAIMER = 80
_LONGEST_BANNER = 400
_LONGEST_NAME = 40


def _words(alternatives: str) -> str:
    return "|".join(re.escape(each) for each in sorted(alternatives.split("|"), key=len, reverse=True))


def _labels(alternatives: str) -> re.Pattern[str]:
    return re.compile(rf"[>*\s]{{0,8}}(?:{_words(alternatives)})\s?\*?\s?:", re.IGNORECASE)


_WROTE = re.compile(rf"(?<!\w)(?:{phrases.WROTE})(?!\w)", re.IGNORECASE)
_DATED = re.compile(r"\d{4}|\d{1,2}[:.h]\d{2}|\d{1,2}[./-]\d{1,2}|@")
_LINE_ABOVE = re.compile(r"\S.{0,200}\d")
_ENDS = re.compile(r":\s*$")
# Attributions without a verb: "2.3.2026, 09:00, Anna <a@b.example>:"
_BEGINS_DATED = re.compile(r"\W{0,4}(?:[^\W\d_]{1,14}[.,]{0,2}\s+)?(?:[^\W\d_]{3,14}[.,]{0,2}\s+)?\d")
_STAMPED = re.compile(r"\d{1,2}[:.]\d{2}(?!\d).{0,150}?[<(\[]\s?(?:mailto:)?[^\s<>@]{1,64}@[^\s<>@]{1,255}[>)\]]")
_ENDS_DATED = re.compile(r"(?::|(?<!\w)(?:wrote|writes))\s*$", re.IGNORECASE)
_DAY = re.compile(r"\d{4}|\d{1,2}[./]\s?\d{1,2}")
_AN_ADDRESS = re.compile(r"\S{0,64}@\S{0,255}")
_ON = re.compile(r"\W{0,4}(?:on|am|le|el|il|op|den|em|dne|dňa|pe|în|на|dana)\s", re.IGNORECASE)
_SEPARATOR = re.compile(r"\s*(?:[-_=]{3,}\s?[^\W\d_].{2,60}\S\s?[-_=]{3,}|_{20,}|={20,}|-{20,})\s*$")
_FROM, _TO_OR_SENT, _SUBJECT = (
    _labels(each) for each in (phrases.FROM, f"{phrases.SENT}|{phrases.TO}", phrases.SUBJECT)
)
_MARK = re.compile(r"\s*--\s*$")
_SENT_FROM = re.compile(rf"\s*\W{{0,2}}(?:{_words(phrases.SENT_FROM)})\b.{{0,80}}$", re.IGNORECASE)
_CONFIDENTIAL = re.compile(phrases.CONFIDENTIAL, re.IGNORECASE)
_MESSAGE = re.compile(phrases.MESSAGE, re.IGNORECASE)
_WARNING = re.compile(rf"\W{{0,4}}(?:{_words(phrases.WARNINGS)})\b", re.IGNORECASE)
_OUTSIDE = re.compile(phrases.OUTSIDE, re.IGNORECASE)
_PGP_BEGIN = "-----BEGIN PGP SIGNED MESSAGE-----"
_PGP_END = "-----BEGIN PGP SIGNATURE-----"

_Cut = Callable[[Sequence[str]], Sequence[str]]


def newest_reply(text: str) -> str | None:
    """Return what the writer of a mail added to it; None for a mail without words."""
    lines: Sequence[str] = unsigned_text(text[:_LONGEST_TEXT]).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    cuts: Sequence[_Cut] = (_without_banner, _own_lines, _above_signature, _above_disclaimer)
    for cut in cuts:
        shorter = cut(lines)
        if any(map(str.strip, shorter)):
            lines = shorter
    return storable_text(re.sub(r"\n{3,}", "\n\n", "\n".join(map(str.rstrip, lines))))


def unsigned_text(text: str) -> str:
    """Return a text without the armour of an inline PGP signature."""
    begin = text.find(_PGP_BEGIN)
    if begin < 0:
        return text
    signed = text[begin + len(_PGP_BEGIN) :].partition(_PGP_END)[0]
    # Below the armour's own headers; lines that begin with a dash were given another one.
    head, blank, body = signed.replace("\r\n", "\n").partition("\n\n")
    words = body if blank else head
    return text[:begin] + "\n".join(line.removeprefix("- ") for line in words.split("\n"))


def _own_lines(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines above the first quoted mail, or, where somebody answers below it, those that quote nothing."""
    found = _quoted(lines)
    if found is None:
        return _without_quoted_lines(lines)
    begin, end = found
    above = _without_quoted_lines(lines[:begin])
    return above if any(map(str.strip, above)) else _without_quoted_lines(lines[end:]) if end > begin else ()


def _quoted(lines: Sequence[str]) -> tuple[int, int] | None:
    """Return where the first quoted mail begins, and the line below its attribution; the same where it has none."""
    for number, line in enumerate(lines):
        if not line or len(line) > _LONGEST_LINE:
            continue
        if _SEPARATOR.match(line) or _is_header_block(lines, number):
            return number, number
        if (end := _ends_dated(lines, number)) is not None:
            return number, end
        if _WROTE.search(line) and (end := _ends_with_colon(lines, number)):
            begin = _begin_of_attribution(lines, number)
            if begin is not None:
                return begin, end
    return None


def _is_header_block(lines: Sequence[str], number: int) -> bool:
    """Say whether here begins what Outlook puts above a mail that it quotes: from, sent, to, subject."""
    first = lines[number]
    below = [line for line in lines[number + 1 : number + 9] if line.strip() and len(line) <= _LONGEST_LINE]
    named = sum(1 for line in below[:4] if _TO_OR_SENT.match(line))
    if _FROM.match(first):
        return named >= 1 and (named > 1 or any(_SUBJECT.match(line) for line in below))
    if not _TO_OR_SENT.match(first) or _DATED.search(first) is None:
        return False
    # Web mailers begin with the date; then nobody writes lines like the next three by hand.
    return any(map(_FROM.match, below[:2])) and any(map(_SUBJECT.match, below[:4])) and named >= 1


def _ends_dated(lines: Sequence[str], number: int) -> int | None:
    """Return the line below an attribution that has no verb, such as "2.3.2026, 09:00, Anna <a@b.example>:", or None.

    It begins with a day, names a time and an address, and ends with a colon, on this line or the next.
    """
    if _BEGINS_DATED.match(lines[number]) is None:
        return None
    for end in (number + 1, number + 2):
        sentence = " ".join(lines[number:end])
        if len(sentence) > _LONGEST_LINE:
            return None
        if _ENDS_DATED.search(sentence):
            return end if _STAMPED.search(sentence) and _DAY.search(sentence) else None
    return None


def _ends_with_colon(lines: Sequence[str], number: int) -> int:
    """Return the line below where the sentence ends with a colon, at most two lines on; 0 where it does not."""
    for place, line in enumerate(lines[number : number + 3], start=number + 1):
        if not line.strip() or len(line) > _LONGEST_LINE:
            return 0
        if _ENDS.search(line):
            return place
    return 0


def _begin_of_attribution(lines: Sequence[str], number: int) -> int | None:
    """Return where "On … wrote:" begins, or None when it names neither a time nor an address."""
    line = lines[number]
    above = lines[number - 1] if number else ""
    two_above = lines[number - 2] if number > 1 else ""
    verb = _WROTE.search(line)
    # Its beginning was broken off when the line has no date of its own before the verb.
    if verb is not None and _dated_without_address(line[: verb.start()]):
        return number
    if len(above) <= _LONGEST_LINE and _dated_without_address(above) and not _ends_a_sentence(above):
        # Some programs break it after the day, and after the time.
        return number - 2 if _begins_on(two_above) else number - 1
    if len(two_above) <= _LONGEST_LINE and above.strip() and _dated_without_address(two_above):
        return number if _ends_a_sentence(two_above) else number - 2
    if line[: verb.start() if verb is not None else 0].strip("> \t") == "" and above.strip() and _begins_on(two_above):
        return number - 2
    sentence = " ".join(lines[number : number + 3])
    return number if _DATED.search(sentence) else None


def _begins_on(line: str) -> bool:
    """Say whether a line could be the first of a broken "On Nov 21, 2014, …"."""
    short = 80
    return (
        len(line) <= short and _ON.match(line) is not None and any(map(str.isdigit, line)) and line.rstrip()[-1:] != "."
    )


def _dated_without_address(text: str) -> bool:
    return _LINE_ABOVE.match(text.lstrip("> \t")) is not None and _DATED.search(_AN_ADDRESS.sub(" ", text)) is not None


def _ends_a_sentence(line: str) -> bool:
    return line.rstrip()[-1:] in {".", "!", "?"} and not line.rstrip()[-3:-1].isdigit()


def _without_quoted_lines(lines: Sequence[str]) -> Sequence[str]:
    """Answers between the lines stay, the lines between the answers go."""
    return [line for line in lines if not line.lstrip().startswith((">", "|>"))]


def _above_signature(lines: Sequence[str]) -> Sequence[str]:
    for number, line in enumerate(lines):
        if _MARK.match(line) or (
            len(line) <= _LONGEST_LINE and _SENT_FROM.match(line) and _is_last_word(lines, number)
        ):
            return _above_sign_off(lines[:number]) if any(map(str.strip, lines[:number])) else lines
    return _above_sign_off(lines)


def _is_last_word(lines: Sequence[str], number: int) -> bool:
    """Say whether at most a name or an address follows: "sent from the plant yesterday" is a sentence."""
    return sum(1 for line in lines[number + 1 :] if line.strip()) <= 3  # noqa: PLR2004 - a few lines of a device


def _above_sign_off(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines above "Kind regards", when that stands above no more than a signature."""
    written = [number for number, line in enumerate(lines) if line.strip()]
    for number in written[-_MOST_SIGNATURE_LINES:]:
        if number > written[0] and _is_sign_off(lines[number]):
            return lines[:number]
    return lines


def _is_sign_off(line: str) -> bool:
    plain = line.strip(" \t*_.,!-\u2013\u2014/").casefold()
    if plain in _SIGN_OFFS:
        return True
    head, comma, name = plain.partition(",")
    # "Kind regards, Bob"
    return bool(comma) and len(name) <= _LONGEST_NAME and head.strip() in _SIGN_OFFS


_SIGN_OFFS = frozenset(map(str.casefold, phrases.SIGN_OFFS))


def _above_disclaimer(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines above the first paragraph that speaks of a confidential message at length."""
    for begin, end in _paragraphs(lines):
        paragraph = " ".join(lines[begin:end])
        if len(paragraph) < _SHORTEST_DISCLAIMER or not any(map(str.strip, lines[:begin])):
            continue
        if _CONFIDENTIAL.search(paragraph) and _MESSAGE.search(paragraph):
            return lines[:begin]
    return lines


def _without_banner(lines: Sequence[str]) -> Sequence[str]:
    """Leave out the warning that a mail server puts on top of what comes from outside."""
    for begin, end in _paragraphs(lines):
        paragraph = " ".join(lines[begin:end])
        if len(paragraph) <= _LONGEST_BANNER and _WARNING.match(paragraph) and _OUTSIDE.search(paragraph):
            return lines[end:]
        return lines
    return lines


def _paragraphs(lines: Sequence[str]) -> Sequence[tuple[int, int]]:
    """Return (first line, line after the last) of every run of lines that are not blank."""
    found: list[tuple[int, int]] = []
    begin: int | None = None
    for number, line in enumerate([*lines, ""]):
        if line.strip():
            begin = number if begin is None else begin
        elif begin is not None:
            found.append((begin, number))
            begin = None
    return found
