"""What real IMAP servers say, between and in place of what we asked for, loses no mail and changes none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from services.ingest.domain.mail_mime import ReadMail
from services.ingest.domain.options import ImapOptions
from services.ingest.imap import FetchedMail, ImapSession
from services.ingest.polling import Broken
from tests.integration.ingest.scripted_imap import CUT, ScriptedImap, serving

PIECE = 512 * 1024


def mail(number: int, text: bytes = b"Hello\r\n") -> bytes:
    head = f"From: bob@acme.example\r\nTo: anna@brightwell.example\r\nMessage-ID: <{number}@acme.example>\r\n\r\n"
    return head.encode() + text


def large(number: int, size: int) -> bytes:
    line = b"x" * 76 + b"\r\n"
    return mail(number, line * (size // len(line))) + b"The end.\r\n"


Connect = Callable[[ScriptedImap], ImapSession]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens a session with a server, and its folder."""
    with ExitStack() as stack:

        def opened(server: ScriptedImap) -> ImapSession:
            stack.enter_context(serving(server))
            options = ImapOptions(
                mailbox="anna@brightwell.example",
                host="127.0.0.1",
                port=server.port,
                tls=False,
                username="anna",
                password_file="imap.password",
            )
            session = ImapSession(options, "password")
            stack.callback(session.close)
            session.open().look("INBOX")
            return session

        yield opened


def fetched(session: ImapSession, uids: list[int]) -> dict[int, bytes | ReadMail]:
    return {each.uid: each.raw for each in session.fetch(uids) if isinstance(each, FetchedMail)}


@pytest.mark.parametrize(
    "said",
    [
        b"* SEARCH 1 2\r\n* 4 EXISTS\r\n* SEARCH 3 4\r\nTAG OK done\r\n",
        b"* SEARCH 4 2 3 1 (MODSEQ 917162500)\r\nTAG OK done\r\n",
        b"* SEARCH\r\n* SEARCH 1 2 3\r\n* 1 FETCH (FLAGS (\\Seen))\r\n* SEARCH 4\r\nTAG OK done\r\n",
    ],
)
def test_every_line_of_a_search_counts_and_what_is_no_number_does_not(connect: Connect, said: bytes) -> None:
    quirk = lambda command: said if "SEARCH" in command else None  # noqa: E731 - short
    session = connect(ScriptedImap({1: b"", 2: b"", 3: b"", 4: b""}, quirk=quirk))
    assert session.uids(0, None) == [1, 2, 3, 4]


def test_a_search_that_finds_nothing_may_say_nothing(connect: Connect) -> None:
    session = connect(ScriptedImap({}, quirk=lambda command: b"TAG OK done\r\n" if "SEARCH" in command else None))
    assert session.uids(0, None) == []


def test_servers_that_know_no_character_sets_are_asked_without_one(connect: Connect) -> None:
    def quirk(command: str) -> bytes | None:
        return b"TAG NO [BADCHARSET] not supported\r\n" if "CHARSET" in command else None

    assert connect(ScriptedImap({5: mail(5)}, quirk=quirk)).uids(0, None) == [5]


def test_the_folder_that_is_open_says_which_one_it_is_and_not_the_one_that_took_its_name_since(
    connect: Connect,
) -> None:
    def quirk(command: str) -> bytes | None:
        return b'* STATUS "INBOX" (UIDVALIDITY 8 UIDNEXT 1)\r\nTAG OK done\r\n' if "STATUS" in command else None

    server = ScriptedImap({5: mail(5)}, quirk=quirk)
    look = connect(server).look("INBOX")
    assert (look.uid_validity, look.total) == (7, 1)


def test_a_server_may_leave_out_the_next_number_and_say_what_came_while_the_folder_was_opened(
    connect: Connect,
) -> None:
    def quirk(command: str) -> bytes | None:
        if "EXAMINE" in command:
            return b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] \r\n* 2 EXISTS\r\nTAG OK done\r\n"
        return b'* STATUS "INBOX" (UIDVALIDITY 7)\r\nTAG OK done\r\n' if "STATUS" in command else None

    assert connect(ScriptedImap({5: mail(5), 6: mail(6)}, quirk=quirk)).look("INBOX").total == 2


@pytest.mark.parametrize("refusal", [b"NO [SERVERBUG] cannot be converted", b"BAD Command Argument Error. 12"])
def test_a_mail_that_the_server_cannot_give_does_not_keep_the_others_back(connect: Connect, refusal: bytes) -> None:
    mails = {uid: mail(uid) for uid in (1, 2, 3)}

    def quirk(command: str) -> bytes | None:
        if command.startswith("UID FETCH") and "2" in command.split(" ")[2].split(",") and "BODY.PEEK[]" in command:
            return server.given(1, command) + b"TAG " + refusal + b"\r\n"
        return None

    server = ScriptedImap(mails, quirk=quirk)
    assert fetched(connect(server), [1, 2, 3]) == {1: mails[1], 3: mails[3]}


def test_a_server_that_gives_nothing_at_all_is_broken(connect: Connect) -> None:
    quirk = lambda command: b"TAG NO [LIMIT] slow down\r\n" if "FETCH" in command else None  # noqa: E731 - short
    session = connect(ScriptedImap({uid: mail(uid) for uid in range(1, 60)}, quirk=quirk))
    with pytest.raises(Broken):
        fetched(session, list(range(1, 51)))


@pytest.mark.parametrize("said", [PIECE + 1, 2 * PIECE, 4 * PIECE])
def test_a_large_mail_is_whole_whatever_size_the_server_estimates(connect: Connect, said: int) -> None:
    whole = large(1, 3 * PIECE - 5000)
    (read,) = fetched(connect(ScriptedImap({1: whole}, said_sizes={1: said})), [1]).values()
    assert isinstance(read, ReadMail)
    assert read.size == len(whole)


def test_a_server_that_gives_smaller_pieces_than_asked_for_leaves_nothing_out(connect: Connect) -> None:
    whole = large(1, 2 * PIECE)

    def quirk(command: str) -> bytes | None:
        return server_given(command.replace(f".{PIECE}>", ".100000>")) if "<" in command else None

    def server_given(command: str) -> bytes:
        return server.given(1, command) + b"TAG OK done\r\n"

    server = ScriptedImap({1: whole}, quirk=quirk)
    (read,) = fetched(connect(server), [1]).values()
    assert isinstance(read, ReadMail)
    assert read.size == len(whole)


def test_a_server_that_knows_no_pieces_gives_the_mail_once(connect: Connect) -> None:
    whole = large(1, 2 * PIECE)

    def quirk(command: str) -> bytes | None:
        return (
            b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%s)\r\nTAG OK done\r\n" % (len(whole), whole) if "<" in command else None
        )

    (read,) = fetched(connect(ScriptedImap({1: whole}, quirk=quirk)), [1]).values()
    assert isinstance(read, ReadMail)
    assert read.size == len(whole)


def test_half_of_a_mail_that_is_deleted_while_it_is_read_is_no_mail(connect: Connect) -> None:
    def quirk(command: str) -> bytes | None:
        return b"* 1 EXPUNGE\r\nTAG OK done\r\n" if f"<{PIECE}." in command else None

    assert fetched(connect(ScriptedImap({1: large(1, 2 * PIECE), 2: mail(2)}, quirk=quirk)), [1, 2]) == {2: mail(2)}


def test_a_connection_that_is_cut_in_the_middle_of_a_mail_gives_none_of_it(connect: Connect) -> None:
    def quirk(command: str) -> bytes | None:
        if "BODY.PEEK[] " in command:
            return b"* 1 FETCH (UID 1 BODY[] {200}\r\nhalf of it" + CUT
        return None

    with pytest.raises(Broken):
        fetched(connect(ScriptedImap({1: mail(1)}, quirk=quirk)), [1])


def test_a_server_that_says_goodbye_is_broken_and_not_empty(connect: Connect) -> None:
    def quirk(command: str) -> bytes | None:
        return b"* BYE shutting down\r\nTAG OK done\r\n" + CUT if "SEARCH" in command else None

    session = connect(ScriptedImap({1: mail(1)}, quirk=quirk))
    with pytest.raises(Broken):
        session.uids(0, None)


def test_what_is_told_just_before_we_listen_counts_and_the_connection_goes_on(connect: Connect) -> None:
    said = [b"* 2 EXISTS\r\n* 1 RECENT\r\n+ idling\r\n"]
    server = ScriptedImap({1: mail(1)}, quirk=lambda command: said.pop() if command == "IDLE" and said else None)
    session = connect(server)
    session.idle("INBOX", 600, lambda: False)
    assert session.uids(0, None) == [1]
    assert server.count("LOGIN") == 1


def test_what_came_between_the_look_and_the_listening_ends_it_at_once(connect: Connect) -> None:
    server = ScriptedImap({1: mail(1)})
    session = connect(server)
    server.mails[2] = mail(2)
    session.idle("INBOX", 600, lambda: False)
    assert server.count("IDLE") == 0


@pytest.mark.parametrize("said", [b"* 2 FETCH (UID 2 BODY[] {900}\r\nshort)\r\nTAG OK done\r\n", b"half of i"])
def test_a_mail_on_which_the_connection_breaks_again_and_again_does_not_keep_the_others_back(
    connect: Connect, said: bytes
) -> None:
    mails = {uid: mail(uid) for uid in (1, 2, 3)}

    def quirk(command: str) -> bytes | None:
        if command.startswith("UID FETCH") and "2" in command.split(" ")[2].split(",") and "BODY.PEEK[] " in command:
            return server.given(1, command) + said + CUT
        return None

    server = ScriptedImap(mails, quirk=quirk)
    session = connect(server)
    found: dict[int, bytes | ReadMail] = {}
    passes = 0
    while True:
        passes += 1
        assert passes < 6
        try:
            session.open().look("INBOX")
            for one in session.fetch([1, 2, 3]):
                assert isinstance(one, FetchedMail)
                found[one.uid] = one.raw
        except Broken:
            session.close()
        else:
            break
    assert found == {1: mails[1], 3: mails[3]}
    assert session.still_there([1, 2, 3]) == [1, 2, 3]


def test_a_folder_that_is_there_and_is_not_opened_is_not_said_to_be_missing(connect: Connect) -> None:
    server = ScriptedImap({1: mail(1)})
    session = connect(server)
    answers = {"EXAMINE": b"TAG NO [INUSE] busy\r\n", "LIST": b'* LIST () "/" "INBOX"\r\nTAG OK done\r\n'}
    server.quirk = lambda command: answers.get(command.split(" ")[0])
    with pytest.raises(Broken, match="does not open 'INBOX'"):
        session.look("INBOX")


@pytest.mark.parametrize("said", [b"+ idling\r\n* 2 EXISTS\r\n", b"* 2 EXISTS\r\n+ idling\r\n"])
def test_what_is_told_in_one_breath_with_the_leave_to_listen_is_heard(connect: Connect, said: bytes) -> None:
    server = ScriptedImap({1: mail(1)})
    session = connect(server)
    server.quirk = lambda command: said if command == "IDLE" else None
    asked = 0

    def enough() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    session.idle("INBOX", 600, enough)
    # Else it would listen until the server tells something else, for half an hour.
    assert asked <= 1
