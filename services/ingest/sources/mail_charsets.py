"""What bytes of a mail say, whatever charset they claim: claims are believed where they can be true, else mended."""

import binascii
import codecs
import re
from email.quoprimime import header_decode as _decode_q
from functools import lru_cache

from charset_normalizer import from_bytes

# Names that mail carries and Python does not know, and names whose charset everybody writes a larger one under.
_NAMES = {
    "unicode-1-1-utf-7": "utf-7",
    "utf8mb4": "utf-8",
    "unicode": "utf-8",
    "ansi_x3.110-1983": "cp1252",
    "x-unknown": "utf-8",
    "unknown-8bit": "utf-8",
    "default": "utf-8",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "x-sjis": "cp932",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
    "x-gbk": "gb18030",
    "x-euc-jp": "euc_jp",
    "x-cp1250": "cp1250",
    "x-cp1251": "cp1251",
    "x-cp1252": "cp1252",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "ks_c_5601-1987": "cp949",
    "koi8-ru": "koi8-u",
    "cp-850": "cp850",
}
# By Python's own name. Where two charsets differ only in what one leaves undefined, the larger one reads both.
_LARGER = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
_WIDE = (
    *(
        "utf-7",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-32-le",
        "utf-32-be",
        "hz",
        "iso2022_jp",
        "iso2022_kr",
    ),
    *("iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_2004", "iso2022_jp_3", "iso2022_jp_ext"),
    *("cp037", "cp273", "cp424", "cp500", "cp875", "cp1026", "cp1140"),
)
"""Those in which bytes below 128 do not mean what they mean in ASCII."""
_TEXTS = frozenset(
    (
        *_WIDE,
        *("utf-8", "utf-8-sig", "ascii", "gb2312", "gbk", "gb18030", "big5", "big5hkscs", "cp949", "euc_kr", "johab"),
        *("cp932", "shift_jis", "shift_jis_2004", "shift_jisx0213", "euc_jp", "euc_jis_2004", "euc_jisx0213"),
        *("koi8-r", "koi8-t", "koi8-u", "kz1048", "ptcp154", "cp1006", "tis-620", "hp-roman8", "mac-arabic"),
        *("mac-croatian", "mac-cyrillic", "mac-farsi", "mac-greek", "mac-iceland", "mac-latin2", "mac-roman"),
        *("mac-romanian", "mac-turkish"),
        *(f"iso8859-{number}" for number in (*range(1, 12), *range(13, 17))),
        *(f"cp{number}" for number in (437, 720, 737, 775, 850, 852, *range(855, 859), *range(860, 867), 869, 874)),
        *(f"cp{number}" for number in (1125, *range(1250, 1259))),
    )
)
"""Python's names of the charsets that are charsets: some of its other codecs take quadratic time, or are no text."""
_SAMPLE = 8 * 1024
_SHORTEST_SAMPLE = 16
_UNDEFINED = {byte: byte for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}
_ENCODED_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]{0,4000})\?=")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]*={0,3}\s*")
_BASE64_LINES = re.compile(rb"[A-Za-z0-9+/=\s]*")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")


@lru_cache(maxsize=500)
def known_charset(name: str) -> str | None:
    """Return Python's name of the charset that `name` means, or None where it means none."""
    # A language may follow (RFC 2231), or whatever a careless program put behind it.
    plain = re.split(r"[*;\s]", name.strip().strip("\"'").lower(), maxsplit=1)[0].removeprefix("charset=")
    try:
        found = codecs.lookup(_NAMES.get(plain, plain)).name
    except (LookupError, ValueError):
        return None
    return _LARGER.get(found, found) if found in _TEXTS else None


def decoded(content: bytes, claimed: str) -> str:
    """Return the text. `claimed` is the charset as the mail names it, or ""."""
    charset = known_charset(claimed) if claimed else None
    # Seven bits: every charset says the same, except for those that escape.
    if content.isascii() and charset not in _WIDE:
        return content.decode("ascii")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and charset in {None, "utf-8", "cp1252"}:
        charset = "utf-16"
    # Hardly any text of another charset is UTF-8 by chance; that UTF-8 is called Latin-1 happens every day.
    candidates = ["utf-8-sig"] if charset in {None, "utf-8", "cp1252", "cp1254", "cp1250"} else []
    candidates += [charset] if charset is not None else []
    for candidate in candidates:
        try:
            return _strictly(content, candidate)
        except (UnicodeError, ValueError):
            continue
    return _guessed(content, charset)


def _strictly(content: bytes, charset: str) -> str:
    if charset == "cp1252":
        # As browsers do: the five bytes without a meaning are what they are in Latin-1.
        return content.decode("cp1252", "surrogateescape").translate(_FIVE)
    return content.decode(charset)


_FIVE = {0xDC00 + byte: byte for byte in _UNDEFINED}


def _guessed(content: bytes, charset: str | None) -> str:
    """Return the likeliest text of bytes that are not what they claim, or claim nothing."""
    if charset is not None and charset != "utf-8":
        # One wrong byte in a long text: the rest is right.
        mended = content.decode(charset, "replace")
        if mended.count("\ufffd") * 50 <= len(mended):
            return mended
    mended = content.decode("utf-8", "replace")
    if mended.count("\ufffd") * 50 <= len(mended):
        return mended
    if len(content) >= _SHORTEST_SAMPLE:
        best = from_bytes(content[:_SAMPLE]).best()
        found = known_charset(best.encoding) if best is not None else None
        if found is not None:
            return content.decode(found, "replace")
    return content.decode("cp1252", "surrogateescape").translate(_FIVE)


def decoded_words(value: str) -> str:
    """Decode the encoded words (RFC 2047) in a header, well-formed or not; what is none stays as it is written."""
    if "=?" not in value:
        return value.strip()
    pieces: list[str] = []
    gathered, gathered_charset, position = b"", "", 0
    for word in _ENCODED_WORD.finditer(value):
        between = value[position : word.start()]
        position = word.end()
        charset, content = word.group(1).lower(), _bytes_of(word)
        # Between two encoded words white space says nothing, and a character may be split over both.
        if gathered_charset and (between.strip() or charset != gathered_charset):
            pieces.append(decoded(gathered, gathered_charset))
            gathered = b""
        if between.strip() or not gathered_charset:
            pieces.append(between)
        gathered += content
        gathered_charset = charset
    if gathered_charset:
        pieces.append(decoded(gathered, gathered_charset))
    pieces.append(value[position:])
    return "".join(pieces).strip()


def _bytes_of(word: re.Match[str]) -> bytes:
    encoding, text = word.group(2), word.group(3)
    if encoding in "qQ":
        return _decode_q(text).encode("utf-8" if not text.isascii() else "latin-1", "replace")
    if not _BASE64.fullmatch(text):
        return word.group().encode()
    return lenient_base64(text.encode("ascii", "ignore"))


def lenient_base64(content: bytes) -> bytes:
    """Decode base64 with strange bytes in it, without padding, or cut off anywhere."""
    head, _, rest = content.partition(b"=")
    decoded_head = _base64(head)
    # Some programs write one padded piece after the other; what else stands behind the padding is none.
    rest = rest.lstrip(b"=\r\n\t ")
    if rest and _BASE64_LINES.fullmatch(rest):
        return decoded_head + b"".join(map(_base64, rest.split(b"=")))
    return decoded_head


def _base64(content: bytes) -> bytes:
    clean = _NOT_BASE64.sub(b"", content)
    # A single character over says less than a byte.
    clean = clean[: len(clean) - (len(clean) % 4 == 1)]
    try:
        return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))
    except binascii.Error:
        return b""
