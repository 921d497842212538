"""Of a server's answer the mails are taken that it gives, whatever else it tells with them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.imap_answers import Fetched, fetched

TOLD = st.sampled_from(
    [
        b"1 (FLAGS (\\Seen))",
        b"4 (FLAGS () UID 104)",
        b"9 (UID 109 FLAGS (\\Deleted \\Draft))",
        b"2 (FLAGS (\\Recent) UID 1)",
        b"3 (MODSEQ (12) FLAGS (\\Draft))",
        None,
    ]
)
MAILS = st.lists(
    st.builds(
        Fetched,
        uid=st.integers(1, 2**32 - 1),
        content=st.binary(max_size=40),
        size=st.integers(0, 10**9),
        flags=st.frozensets(st.sampled_from(["\\SEEN", "\\DRAFT", "\\ANSWERED", "$JUNK"])),
    ),
    max_size=6,
)


def one(place: int, mail: Fetched, *, uid_first: bool) -> list[object]:
    uid, flags = f"UID {mail.uid}".encode(), f"FLAGS ({' '.join(mail.flags)})".encode()
    size = f"RFC822.SIZE {mail.size}".encode()
    literal = b"BODY[] {%d}" % len(mail.content)
    if uid_first:
        return [(b"%d (%b %b %b %b" % (place, uid, flags, size, literal), mail.content), b")"]
    return [(b"%d (%b" % (place, literal), mail.content), b" %b %b %b)" % (uid, flags, size)]


@given(mails=MAILS, told=st.lists(TOLD, min_size=7, max_size=7), uid_first=st.booleans())
def test_the_mails_are_the_same_whatever_the_server_tells_before_between_and_after_them(
    *, mails: list[Fetched], told: list[bytes | None], uid_first: bool
) -> None:
    said: list[object] = []
    for place, mail in enumerate(mails):
        said += [told[place], *one(place + 1, mail, uid_first=uid_first)]
    said.append(told[-1])
    assert list(fetched(said)) == mails


def test_a_mail_that_looks_like_an_answer_itself_is_one_mail() -> None:
    content = b"7 (UID 7 FLAGS (\\Draft) RFC822.SIZE 7 BODY[] {3}\r\n"
    assert list(fetched([(b"1 (UID 5 RFC822.SIZE 52 FLAGS () BODY[] {52}", content), b")"])) == [
        Fetched(5, content, 52, frozenset())
    ]


def test_a_short_content_may_stand_in_quotation_marks() -> None:
    assert list(fetched([rb'1 (UID 5 BODY[HEADER] "a \"b\" \\ UID 9" FLAGS (\Draft))'])) == [
        Fetched(5, rb'a "b" \ UID 9', 0, frozenset({"\\DRAFT"}))
    ]


def test_a_mail_without_its_content_is_none_that_we_have() -> None:
    assert list(fetched([b"1 (UID 5 FLAGS () BODY[] NIL)", b"2 (UID 6 FLAGS (\\Seen))", None])) == []
