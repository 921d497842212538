"""Was this mail written by hand? What nobody wrote is no touch, answers nothing and is owed no answer."""

import re
from collections.abc import Iterable

from contracts.values import Automatic
from services.ingest.domain.identities import Directory, normalise_domain
from services.ingest.sources.mail_message import Mail

# At the beginning of a subject, after what the mail program puts before it. English, German, Spanish, Portuguese.
_AWAY = re.compile(
    r"^\W*(?:(?:auto(?:matic)?\W?(?:reply|response)|automatische antwort|"
    r"respuesta autom[aá]tica|resposta autom[aá]tica)\W*)?"
    r"(?:out of (?:the )?office|ooo\b|"
    r"on (?:vacation|holiday|leave|annual leave)|"
    r"away from (?:the|my) (?:office|desk)|"
    r"abwesend|abwesenheit|außer haus|nicht im büro|im urlaub|"
    r"fuera de (?:la )?oficina|ausencia|ausente|de vacaciones|"
    r"fora do escrit[oó]rio|aus[eê]ncia|de f[eé]rias|em f[eé]rias)",
    re.IGNORECASE,
)
_REPLY_BY_ITSELF = re.compile(
    r"^\W*(?:auto(?:matic)?[ -]?(?:reply|response)|automatische antwort|"
    r"respuesta autom[aá]tica|resposta autom[aá]tica)\b",
    re.IGNORECASE,
)
_NO_REPLY = re.compile(r"^(?:no-?reply|do-?not-?reply|nao-?responda|no-?responder|notifications?|mailer|bounces?)\b")
_POSTMASTERS = frozenset({"mailer-daemon", "postmaster"})
_BULK = frozenset({"bulk", "list", "junk"})
_LIST = re.compile(r"<([^<>\s]+)>")


def classify(mail: Mail, sender: str, directory: Directory) -> Automatic | None:
    """Return why nobody wrote this mail by hand, or None when somebody did. `sender` is a normalised address."""
    types = mail.types()
    submitted = mail.plain("auto-submitted").partition(";")[0].strip()
    # The most telling sign first: an out-of-office reply is an automatic reply too.
    signs: Iterable[tuple[Automatic, bool]] = (
        ("bounce", _is_bounce(mail, sender, types)),
        ("calendar", "text/calendar" in types),
        ("out_of_office", _AWAY.search(mail.value("subject")) is not None),
        ("auto_reply", submitted in {"auto-replied", "auto-notified"} or _says_auto_reply(mail)),
        ("newsletter", _is_list(mail, directory)),
        ("notification", submitted not in {"", "no"} or _NO_REPLY.match(sender.partition("@")[0]) is not None),
    )
    return next((kind for kind, seen in signs if seen), None)


def _is_bounce(mail: Mail, sender: str, types: list[str]) -> bool:
    if mail.content_type() == "multipart/report" and mail.parameter("report-type") == "delivery-status":
        return True
    if "message/delivery-status" in types:
        return True
    return mail.plain("return-path") == "<>" and sender.partition("@")[0] in _POSTMASTERS


def _says_auto_reply(mail: Mail) -> bool:
    if mail.plain("precedence") in {"auto_reply", "auto-reply"}:
        return True
    if _REPLY_BY_ITSELF.search(mail.value("subject")):
        return True
    return any(mail.plain(name) not in {"", "no"} for name in ("x-autoreply", "x-autorespond", "x-autoresponder"))


def _is_list(mail: Mail, directory: Directory) -> bool:
    """A list of ours (support@ as a group) sends on what customers wrote by hand: it says nothing about the mail."""
    named = _LIST.search(mail.value("list-id"))
    own = named is not None and _is_own_list(named.group(1), directory)
    if own:
        return False
    return bool(named or mail.plain("list-id") or mail.plain("list-unsubscribe") or mail.plain("precedence") in _BULK)


def _is_own_list(list_id: str, directory: Directory) -> bool:
    domain = normalise_domain(list_id)
    return domain is not None and directory.is_own(f"list@{domain}")
