"""Whom a mail did not reach, as the servers on the way say it.

Servers refuse with the same code somebody who has left, and a mail that they take for advertising. A status that names
its cause is believed; a general one, or none, counts only with words that say that nobody is there; and words about a
policy, a full mailbox or the mail itself acquit the recipient whatever the status.
"""

import re
from collections.abc import Iterator, Sequence

from services.ingest.sources.mail_message import Mail

_STATUS = re.compile(r"(?<![\d.])5\.\d{1,3}\.\d{1,3}(?![\d.]*\d)")
# RFC 3463, the register of IANA, and what Exchange adds to them: nobody is there, or no such domain.
_GONE = re.compile(r"5\.(?:1\.(?:[1-6]|10|20|35\d)|2\.1|4\.(?:1|4|310))")
# What is wrong with the mail, with its sender (5.1.7, 5.1.8), or for now: full, too large, too many, a loop, too late,
# refused as spam or by its content.
_NOT_GONE = re.compile(r"5\.(?:1\.(?:7|8|9|90)|2\.(?:2|3|12\d)|3\.\d+|4\.(?:6|7|14|300|312|316|317)|6\.\d+|7\.\d+)")
_NOBODY_THERE = re.compile(
    r"(?:unknown|no such|invalid|unrecogni[sz]ed|bad destination|unroute?able) "
    r"(?:local |e-?mail |mail)?(?:user|recipient|mail ?box|address|account|host|domain|person|rcpt)"
    r"|(?:user|recipient|mail ?box|address|account|domain|host|name|alias|person|subscriber)\b[^.;\n]{0,60}? "
    r"(?:unknown|(?:was |be |is |has )?(?:not?|couldn.t be|wasn.t|isn.t) (?:been )?(?:found|known|recogni[sz]ed|"
    r"listed|active|valid|a (?:known|valid|local)|exist|here|in\b)|(?:does ?not|doesn.t|do not|no longer) "
    r"(?:\w+ ){0,2}exist|disabled|inactive|deactivated|suspended|no longer|unavailable|has (?:moved|left))"
    r"|(?:user|recipient) (?:address )?unknown|couldn.t be found|not our customer|addressee unknown|null mx"
    r"|no mail ?box (?:here )?by that name|not listed in|does not accept (?:mail|e-?mail)|does not have a[n ]"
    r"|doesn.t have a[n ]|name service error|no smtp service|recip(?:ient)?not(?:found|listed)|unrouteable address"
    r"|host or domain name not found|no user here|nosuchuser"
    r"|unbekannt|existiert nicht|nicht gefunden|inconnu|n.existe pas|desconocid|desconhecid|no existe|não existe"
    r"|non esiste|sconosciut|onbekend|bestaat niet|findes ikke|finns inte|finnes ikke|nie istnieje|neexistuje",
    re.IGNORECASE,
)
_SOMETHING_ELSE = re.compile(
    r"\b(?:spam|junk|ube|virus(?:es)?|malware|phishing|polic(?:y|ies)|block(?:ed|ing|list)?|block ?list\w*"
    r"|black ?list\w*|dnsbl|rbls?|spamhaus|reputation|spf|dkim|dmarc|ptr|r?dns record|reverse dns|unauthenticated"
    r"|authenticat\w+|quota|storage|too (?:large|big|many|long|fast|quickly|much)|size|exceed\w*|limit(?:s|ed)?"
    r"|throttl\w+|gr[ae]ylist\w*|relay(?:ing)? (?:access )?(?:denied|not|is not)|(?:to|not|we do not) relay\w*"
    r"|content|attachments?|loop\w*|hops|timed? ?out|expired|suspicious|helo|ehlo|at a rate|try (?:again )?later"
    r"|abus\w+|administrative(?:ly)?|prohibited|syntax|out of memory|command output|connection refused"
    r"|insufficient (?:disk|system)|(?:inbox|mail ?box|folder)(?: \S+){0,3} full|voll|full (?:inbox|mail ?box))\b"
    r"|sender(?: \S+){0,4} (?:rejected|denied|refused|blocked)|bad (?:outbound )?sender",
    re.IGNORECASE,
)
_LINK = re.compile(r"https?://\S+")
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']{1,64}@[^\s<>()\[\],;:\"']{1,255}")
# A notice names others, too: whom to ask, who wrote, where somebody went.
_SOMEBODY_ELSE = re.compile(r"(?:\b(?:try|contact|instead|from|sender|by|ask)\W{0,8}|\bmoved\b.{0,60})$", re.IGNORECASE)
_SERVERS_OWN = frozenset({"postmaster", "mailer-daemon", "mailerdaemon", "abuse", "support", "helpdesk", "noreply"})
# Where the returned mail begins, which names everybody.
_RETURNED = re.compile(
    r"^(?:return-path|received|message-id|dkim-signature|mime-version|subject)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_MOST = 500
_MOST_LINES = 1000
_LINES_ABOUT_ONE = 12
_LONGEST_NOTICE = 20_000
_LONGEST_WORDS = 2000


def failed_addresses(mail: Mail) -> Iterator[tuple[str, str]]:
    """Yield (address as written, status) of everybody who cannot be reached for good, by a bounce."""
    notice = _RETURNED.split(mail.text[:_LONGEST_NOTICE], maxsplit=1)[0]
    about = _words_by_address(notice)
    reports = mail.delivery_reports()
    if reports:
        yield from _reported(reports, about)
        return
    # Exim names in a header whom it could not reach, and says in words why.
    named = [address for value in mail.values("x-failed-recipients") for address in _ADDRESS.findall(value)]
    for address in named[:_MOST] or about:
        status = _judged("", about.get(address, notice if len(named) == 1 else ""))
        if status is not None:
            yield address, status


def _reported(reports: list[list[tuple[str, str]]], about: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Read the fields of RFC 3464, and where they give no reason the words above them."""
    for fields in map(dict, reports):
        if fields.get("action", "").strip().lower() != "failed":
            continue
        address = _recipient(fields)
        status = _judged(fields.get("status", ""), fields.get("diagnostic-code") or about.get(address, ""))
        if status is not None:
            yield address, status


def _recipient(fields: dict[str, str]) -> str:
    written = (
        fields.get(name, "").rpartition(";")[2].strip(" <>") for name in ("original-recipient", "final-recipient")
    )
    return next((one for one in written if "@" in one), "")


def _words_by_address(notice: str) -> dict[str, str]:
    """Return what the lines of a notice say of each address, as written: from its own line to the next address's."""
    found: dict[str, list[str]] = {}
    current, lines = "", 0
    for line in notice.splitlines()[:_MOST_LINES]:
        match = _ADDRESS.search(line)
        if match is not None and _is_failed(line, match):
            address = match.group().rstrip(".")
            if address != current and len(found) < _MOST:
                current, lines = address, 0
        if current and lines < _LINES_ABOUT_ONE:
            found.setdefault(current, []).append(line)
            lines += 1
    return {address: " ".join(" ".join(said).split()) for address, said in found.items()}


def _is_failed(line: str, match: re.Match[str]) -> bool:
    if match.group().partition("@")[0].lower() in _SERVERS_OWN:
        return False
    return _SOMEBODY_ELSE.search(line[max(0, match.start() - 80) : match.start()]) is None


def _judged(given: str, words: str) -> str | None:
    """Return the status of somebody who is not there, or None where a server says something else, or nothing."""
    said = _ADDRESS.sub(" ", _LINK.sub(" ", words[:_LONGEST_WORDS]))
    stated = _STATUS.match(given.strip())
    if given.strip() and stated is None:
        # Failed for now (4.x.x) for so long that a server gave up.
        return None
    # The server that refused is more exact than the one that reports it.
    statuses: Sequence[str] = _STATUS.findall(said) or ([stated.group()] if stated is not None else [])
    if any(_NOT_GONE.fullmatch(status) for status in statuses) or _SOMETHING_ELSE.search(said):
        return None
    certain = next((status for status in statuses if _GONE.fullmatch(status)), None)
    if certain is None and _NOBODY_THERE.search(said):
        certain = next(iter(statuses), "5.0.0")
    return certain
