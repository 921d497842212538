"""What is asked of a broker that remembers what it was asked before."""

from __future__ import annotations

from typing import Any

from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v4, FetchRequest_v11, FetchResponse_v11

from services.runtime.fetch_sessions import FetchSession

_MOST = 1000
_Topics = dict[str, dict[int, int]]


def _ask(session: FetchSession, topics: _Topics) -> Any:
    named = [(topic, [(number, at, _MOST) for number, at in places.items()]) for topic, places in topics.items()]
    return session.asking(FetchRequest(500, 1, 10_000, 1, named)).build(FetchRequest_v11)


def _answer(request: Any, session_id: int = 7, error: int = 0, topics: _Topics | None = None) -> Any:
    news: list[Any] = [
        (topic, [(number, 0, at, at, 0, [], -1, b"") for number, at in places.items()])
        for topic, places in (topics or {}).items()
    ]
    return request.RESPONSE_TYPE.decode(FetchResponse_v11(0, error, session_id, news).encode())


def _named(request: Any) -> _Topics:
    return {topic: {number: at for number, _, at, _, _ in numbers} for topic, numbers in request.topics}


def test_the_first_request_names_everything_and_asks_for_a_session() -> None:
    request = _ask(FetchSession(), {"a": {0: 5, 1: 6}, "b": {0: 0}})
    assert (request.session_id, request.session_epoch) == (0, 0)
    assert _named(request) == {"a": {0: 5, 1: 6}, "b": {0: 0}}


def test_the_next_ones_name_what_has_moved_come_or_gone() -> None:
    session = FetchSession()
    _answer(_ask(session, {"a": {0: 5, 1: 6}, "b": {0: 0}}))
    moved = _ask(session, {"a": {0: 5, 1: 9, 2: 0}})
    assert (moved.session_id, moved.session_epoch) == (7, 1)
    assert _named(moved) == {"a": {1: 9, 2: 0}}
    assert moved.forgotten_topics_data == [("b", [0])]
    _answer(moved)
    back = _ask(session, {"a": {0: 5, 1: 9, 2: 0}, "b": {0: 0}})
    assert (back.session_epoch, _named(back), back.forgotten_topics_data) == (2, {"b": {0: 0}}, [])


def test_one_that_was_never_answered_ends_the_session() -> None:
    session = FetchSession()
    _answer(_ask(session, {"a": {0: 5}}))
    lost = _ask(session, {"a": {0: 6}})
    anew = _ask(session, {"a": {0: 6}})
    assert (anew.session_id, anew.session_epoch, _named(anew)) == (7, 0, {"a": {0: 6}})
    # An answer that comes too late is nobody's.
    _answer(lost)
    _answer(anew, session_id=8)
    assert (_ask(session, {"a": {0: 6}}).session_id, session._epoch) == (8, 1)  # noqa: SLF001 - what is tested


def test_one_that_is_refused_ends_the_session() -> None:
    session = FetchSession()
    _answer(_ask(session, {"a": {0: 5}}))
    _answer(_ask(session, {"a": {0: 6}}), session_id=0, error=70)
    anew = _ask(session, {"a": {0: 6}})
    assert (anew.session_id, anew.session_epoch, _named(anew)) == (0, 0, {"a": {0: 6}})


def test_a_broker_that_gives_no_session_is_told_everything_each_time() -> None:
    session = FetchSession()
    for _ in range(2):
        request = _ask(session, {"a": {0: 5}})
        assert (request.session_id, request.session_epoch, _named(request)) == (0, 0, {"a": {0: 5}})
        _answer(request, session_id=0)


def test_an_answer_says_nothing_of_what_was_not_asked_for() -> None:
    session = FetchSession()
    request = _ask(session, {"a": {0: 5}})
    said = _answer(request, topics={"a": {0: 9, 1: 9}, "b": {0: 9}})
    assert [(topic, [one[0] for one in numbers]) for topic, numbers in said.topics] == [("a", [0]), ("b", [])]


def test_an_older_broker_is_asked_without() -> None:
    named = [("a", [(0, 5, _MOST)])]
    request = FetchSession().asking(FetchRequest(500, 1, 10_000, 1, named)).build(FetchRequest_v4)
    assert (type(request), request.topics) == (FetchRequest_v4, named)
