"""Telephone numbers: E.164, with ";ext=12" behind it where an extension was given (RFC 3966).

An extension is kept because two people behind one switchboard are two people; a call shows the switchboard's number
alone and then names the company, not one of them.
"""

import re
from functools import lru_cache

import phonenumbers
from phonenumbers import shortnumberinfo

_LONGEST = 128
_LEAST_LOCAL_DIGITS = 7
# What exchanges write instead of a number that the caller hides. The digits are Twilio's: the same words on a keypad.
_WITHHELD_WORDS = frozenset(
    {"anonymous", "blocked", "no caller id", "private", "restricted", "unavailable", "unknown", "withheld"}
)
_WITHHELD_NUMBERS = frozenset({"+266696687", "+7378742833", "+2562533", "+8656696", "+86282452253"})
_URI = re.compile(r"<?(?:sips?|tel):(?://)?([^@;?>]*)(@[^;?>]*)?([^>]*)>?", re.IGNORECASE)
_EXTENSION = re.compile(r";ext=([0-9]{1,12})", re.IGNORECASE)
_DIALLED = re.compile(r"\+?[0-9().\-\s/]{3,}")


def is_withheld(raw: str) -> bool:
    """Say whether `raw` is what an exchange writes when the caller hides the number."""
    text = raw.strip()
    name = text.partition("@")[0].rpartition(":")[2]
    return (
        not text.strip("+0 ")
        or text.lower() in _WITHHELD_WORDS
        or name.lower() in _WITHHELD_WORDS
        or text in _WITHHELD_NUMBERS
    )


def number_in(raw: str) -> str | None:
    """Return the number as dialled in a SIP or tel URI, or `raw` itself; None for a URI that names no number."""
    if ":" not in raw:
        return raw
    uri = _URI.fullmatch(raw.strip())
    if uri is None or not _DIALLED.fullmatch(uri[1]):
        return None
    extension = _EXTENSION.search(uri[3])
    return uri[1] if extension is None else f"{uri[1]};ext={extension[1]}"


@lru_cache(maxsize=65_536)
def normalise_phone(raw: str, region: str | None = None) -> str | None:
    """Return a number in its one form, or None for withheld, short, local and impossible ones.

    `region` (ISO 3166) reads numbers that are written without their country.
    """
    dialled = None if len(raw) > _LONGEST or is_withheld(raw) else number_in(raw)
    if dialled is None:
        return None
    try:
        number = phonenumbers.parse(dialled, region, keep_raw_input=True)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    if not number.national_number or _local_only(number, region):
        return None
    form = str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return f"{form};ext={number.extension}" if number.extension else form


def _local_only(number: phonenumbers.PhoneNumber, region: str | None) -> bool:
    """Say whether it can be dialled in one place only: an emergency number, an extension, one without its area code."""
    if number.country_code_source != phonenumbers.CountryCodeSource.FROM_DEFAULT_COUNTRY:
        return False
    if region is not None and shortnumberinfo.is_valid_short_number_for_region(number, region):
        return True
    return len(str(number.national_number)) < _LEAST_LOCAL_DIGITS and not phonenumbers.is_valid_number(number)
