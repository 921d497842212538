"""What desks write is kept as words: HTML, wiki documents, tags, ratings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.mapping import LONGEST_TEXT, storable_text
from services.ingest.sources.mail_message import text_of_html
from services.ingest.sources.ticketing import rating_of, tags_of, unwanted, words_of_document, written

_WORDS = st.sampled_from(
    ["Grüße", "two  words", "&amp;", "&nbsp;", "&lt;b&gt;", "&copy", "1 &gt; 0", "é 😀", "\n", "\t", "a > b"]
)
_INLINE = st.recursive(
    _WORDS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        inner.map("<b>{}</b>".format),
        inner.map('<a href="https://acme.example/?a=1&b=2">{}</a>'.format),
        inner.map("<span style='color:red'>{}</span>".format),
        inner.map("{}<br>".format),
    ),
    max_leaves=5,
)
_BLOCKS = st.recursive(
    _INLINE.map("<p>{}</p>".format),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        inner.map('<div class="line">{}</div>'.format),
        st.lists(_INLINE.map("<li>{}</li>".format), max_size=3).map(lambda items: f"<ul>{''.join(items)}</ul>"),
        _INLINE.map("<h2>{}</h2>".format),
    ),
    max_leaves=5,
)


@given(_BLOCKS)
def test_simple_html_is_read_as_the_parser_reads_it(html: str) -> None:
    assert written(html) == storable_text(text_of_html(html))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<p>Solved?</p><blockquote>On Friday Anna wrote: hello</blockquote>", "Solved?"),
        ("<style>p{}</style><p>Words</p><script>alert(1)</script>", "Words"),
        ('<p title="a>b">x</p><p title="<b>">y</p>', "x\ny"),
        ("<p>unfinished <b", "unfinished"),
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("5 < 6 and 7 > 6", "5 < 6 and 7 > 6"),
        ("<p></p>", None),
        ("   ", None),
        (["no text"], None),
        (None, None),
    ],
)
def test_html_is_kept_as_its_own_words(text: object, words: str | None) -> None:
    assert written(text) == words


def test_a_text_that_is_no_html_is_kept_as_it_is() -> None:
    assert written("if a <b> c &amp; d", html=False) == "if a <b> c &amp; d"


@pytest.mark.parametrize(
    "hostile", ["<" * 20_000, "<a " * 6_000, "<a '\"" * 4_000, "&" * 20_000, "<p>" * 6_000, "\"'<x y=" * 2_000]
)
def test_hostile_html_is_read_in_a_moment(hostile: str) -> None:
    assert len(written(hostile) or "") <= LONGEST_TEXT


def test_a_document_of_nodes_is_read_as_its_words() -> None:
    item = {"type": "listItem", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "second"}]}]}
    document = {"type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "first"}]}, item]}
    assert words_of_document(document) == "first\nsecond"
    deep: object = "x"
    for _ in range(5000):
        deep = {"type": "paragraph", "content": [deep]}
    assert words_of_document(deep) is not None
    assert words_of_document({"type": "doc", "content": [{"type": "text", "text": "y" * 30_000}] * 50}) == "y" * 20_000
    assert words_of_document(None) is None


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ("a, b,,a ", ["a", "b", "a"]),
        (["x", {"name": "y"}, {"id": 1}, None, 5], ["x", "y"]),
        ([], []),
        ({"tags": []}, None),
        (None, None),
    ],
)
def test_tags_come_in_three_ways(value: object, tags: list[str] | None) -> None:
    assert tags_of(value) == tags


@pytest.mark.parametrize(
    ("value", "rating"),
    [(5, 5), ("4", 4), (3.0, 3), (4.5, None), (0, None), (6, None), (True, None), ("\u0665", None), ([5], None)],
)
def test_a_rating_is_a_whole_number_on_its_scale(value: object, rating: int | None) -> None:
    assert rating_of(value) == rating


def test_an_unwanted_event_is_counted_by_its_name_unless_that_is_no_name() -> None:
    assert unwanted("ticket.csat_requested").ignored == "ticket.csat_requested"
    assert unwanted("bob@acme.example wrote").ignored == "unwanted_event"
