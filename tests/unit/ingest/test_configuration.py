"""Every mistake in sources.toml is named with its file, its line and what to do; secrets are never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.ingest.configuration import Examined, examine
from services.ingest.domain.options import FolderOptions
from services.ingest.probing import probe_folder, probe_topics

SECRET = "whsec_" + "A" * 32

FILE = """own_domains = "brightwell.example"
[sources.desk]
provider = "zendesc"
system = "zendesk:a"

[sources.shop]
provider = "shopify"
system = "shopify a"
secret_file = ["shop.secret"]
prices_include_tax = "yes"

[sources.max]
provider = "imap"
mailbox = "max@brightwell.example"
host = "imap.brightwell.example"
username = "max"
password_file = "max.password"
responsible = "team:Service"

[[privacy]]
name = "hr"
"""


FILES = 'name the files with its secrets, such as secret_files = ["desk.secret"]'
SYSTEM = 'name the system whose ids it reports, such as system = "zendesk:acme", and never change it'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "max.password").write_text("s3cr3t")
    (tmp_path / "max.password").chmod(0o600)
    return tmp_path


def examined(folder: Path, text: str = FILE) -> Examined:
    (folder / "sources.toml").write_text(text, encoding="utf-8")
    return examine(folder / "sources.toml")


def said(found: Examined) -> list[str]:
    return [str(remark).rpartition("/")[2] for remark in found.mistakes]


def test_every_mistake_is_named_at_once_with_its_line_and_a_remedy(folder: Path) -> None:
    found = examined(folder)
    assert said(found) == [
        'sources.toml:1: own_domains: must be a list; write a list, such as ["one"]',
        "sources.toml:3: sources.desk.provider: is no provider that we know; did you mean zendesk?",
        "sources.toml:6: sources.shop.secret_files: is needed for the provider shopify; " + FILES,
        "sources.toml:8: sources.shop.system: is not written as it must be; " + SYSTEM,
        "sources.toml:9: sources.shop.secret_file: is not known here; did you mean secret_files?",
        "sources.toml:20: privacy.0: needs one of addresses, domains, subject, labels, folders, sensitivity",
    ]
    assert list(found.sources) == ["max"]
    assert found.sources["max"].configuration.responsible == ("team:Service",)


def test_a_secret_that_is_missing_empty_or_not_written_as_shown_is_named_and_never_shown(folder: Path) -> None:
    (folder / "empty").write_text(" \n")
    (folder / "short").write_text("whsec_c2VjcmV0")
    found = examined(
        folder,
        """
[sources.erp]
provider = "cloudevents"
system = "erp:a"
secret_files = [
  "short",
  "empty",
  "nowhere",
]
""",
    )
    assert [remark.line for remark in found.mistakes] == [6, 7, 8]
    text = "\n".join(map(str, found.remarks))
    for why in ("does not hold a secret as cloudevents shows it", "is empty", "cannot be read"):
        assert why in text
    assert "c2VjcmV0" not in text
    assert not found.sources


def test_a_secret_that_everybody_can_read_is_a_doubt_and_no_mistake(folder: Path) -> None:
    (folder / "max.password").chmod(0o644)
    found = examined(folder, FILE[FILE.index("[sources.max]") : FILE.index("[[privacy]]")])
    assert not found.mistakes
    doubts = [str(remark) for remark in found.remarks]
    assert any("can be read by everybody" in doubt and "chmod o=" in doubt for doubt in doubts)
    assert any("own_domains" in doubt for doubt in doubts)
    assert "max" in found.sources


def test_a_folder_is_read_as_one_file_and_what_is_said_twice_is_named_in_both_places(folder: Path) -> None:
    mounted = folder / "mounted"
    mounted.mkdir()
    (mounted / "a.toml").write_text(
        'own_domains = ["a.example"]\ndefault_region = "DE"\n[sources.old]\nprovider = "inbound"\n'
    )
    (mounted / "b.toml").write_text(
        'own_domains = ["b.example"]\n\n[sources.more]\nprovider = "import"\nsystem = "x"\n'
    )
    (mounted / ".hidden.toml").write_text("nonsense")
    found = examine(mounted)
    assert not found.mistakes
    assert found.file.own_domains == ("a.example", "b.example")
    assert set(found.sources) == {"old", "more"}
    (mounted / "c.toml").write_text(
        'default_region = "FR"\n[sources.old]\nprovider = "inbound"\n[sources.new]\nprovider = "fax"\n'
    )
    assert said(examine(mounted)) == [
        "c.toml:1: default_region: is also in a.toml, line 2; keep one of them",
        "c.toml:2: sources.old: is also in a.toml, line 3; keep one of them",
        f"c.toml:5: {said(examine(mounted))[2].partition(': ')[2]}",
    ]
    assert "is no provider that we know" in said(examine(mounted))[2]


def test_what_is_no_toml_is_named_with_its_line(folder: Path) -> None:
    (line,) = said(examined(folder, 'own_domains = []\n[sources\nprovider = "x"\n'))
    assert line.startswith("sources.toml:2: is not TOML: ")
    (line,) = said(examine(folder / "nowhere.toml"))
    assert line == "nowhere.toml:1: cannot be read (No such file or directory); create it, readable by the service"
    (folder / "bytes.toml").write_bytes(b"\xff\xfe")
    (line,) = said(examine(folder / "bytes.toml"))
    assert "is not UTF-8" in line


def test_a_secret_that_is_missing_is_named_also_where_the_table_has_other_mistakes(folder: Path) -> None:
    found = examined(
        folder,
        """
[sources.desk]
provider = "zendesk"
systm = "zendesk:a"
secret_files = ["nowhere.secret"]

[sources.max]
provider = "imap"
mailbox = "Max"
host = "imap.brightwell.example"
username = "max"
password_file = "nowhere.password"
""",
    )
    assert [remark.line for remark in found.mistakes] == [2, 4, 5, 9, 12]
    assert sum("cannot be read; create it, readable by us only" in line for line in map(str, found.mistakes)) == 2


def test_a_folder_is_looked_into_and_what_we_may_not_open_is_counted(tmp_path: Path) -> None:
    root = tmp_path / "max"
    (root / "cur").mkdir(parents=True)
    (root / "new").mkdir()
    (root / "cur" / "1:2,S").write_bytes(b"From: a@b.example\n\nHello\n")
    (root / "old.mbox").write_bytes(b"From a@b Mon Mar  2 09:00:00 2026\nFrom: a@b.example\n\nHello\n")
    options = FolderOptions(mailbox="max@brightwell.example", path=str(root))
    [step] = probe_folder(options)
    assert step["outcome"] == "readable: 1 mails and 1 mbox files, 0.0 MB"
    [step] = probe_folder(options.model_copy(update={"path": str(tmp_path / "nowhere")}))
    assert (step["outcome"], "path cannot be read" in step["why"]) == ("failed", True)


async def test_of_amazon_it_is_said_what_can_be_known_before_it_signs_something() -> None:
    asked: list[str] = []

    async def reaches(url: str) -> bool:
        asked.append(url)
        return "eu-west-1" in url

    topics = ("arn:aws:sns:eu-west-1:111111111111:mail", "arn:aws-cn:sns:cn-north-1:111111111111:mail")
    steps = await probe_topics(topics, reaches)
    assert asked == ["https://sns.cn-north-1.amazonaws.com.cn/", "https://sns.eu-west-1.amazonaws.com/"]
    assert [step["outcome"] for step in steps[1:]] == [
        "failed",
        "sns.eu-west-1.amazonaws.com can be reached",
        "not tried",
    ]


def test_who_answers_for_a_source_is_never_named_by_an_address(folder: Path) -> None:
    table = FILE[FILE.index("[sources.max]") : FILE.index("[[privacy]]")]
    for name in ("olga@brightwell.example", "olga", "TEAM:Service"):
        (line,) = said(examined(folder, table.replace("team:Service", name)))
        assert "sources.max.responsible.0: is not written as it must be" in line
        assert "addresses stay there" in line
    for name in ("operators", "018f9f7e-0000-7000-8000-000000000001"):
        assert not said(examined(folder, table.replace("team:Service", name)))


GOOD = """[sources.desk]
provider = "zendesk"
system = "zendesk:a"
secret_files = ["desk.secret"]
"""
KEY = "a-plain-secret-of-32-characters!"


def with_secret(folder: Path, content: bytes = KEY.encode()) -> Path:
    (folder / "desk.secret").write_bytes(content)
    (folder / "desk.secret").chmod(0o600)
    return folder


@pytest.mark.parametrize("written", [GOOD, GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, GOOD.replace(" = ", "\t=\t")])
def test_a_file_is_read_as_any_editor_writes_it(folder: Path, written: str) -> None:
    (folder / "sources.toml").write_bytes(written.encode())

    found = examine(with_secret(folder, f"\ufeff{KEY}\r\n".encode()) / "sources.toml")

    assert (said(found), [source.keys for source in found.sources.values()]) == ([], [(KEY.encode(),)])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a = " + "[" * 5_000 + "]" * 5_000, "sources.toml:1: is nested too deep; write lists and tables"),
        (GOOD + "# x\n" * 1_100_000, "sources.toml:1: is larger than 4 MiB; divide it"),
        (GOOD.replace("desk.secret", "a\\u0000b"), "a\\x00b cannot be read; create it, readable by us only"),
        (GOOD.replace("desk.secret", "."), "cannot be read; create it, readable by us only"),
        (
            GOOD.replace('"zendesk"', "3"),
            "sources.toml:2: sources.desk.provider: must be a string; write a text in quotes",
        ),
        (
            GOOD.replace('"zendesk:a"', "3").replace("zendesk", "?"),
            "sources.desk.system: must be a string; name the system",
        ),
    ],
    ids=["deep", "large", "no name", "a folder", "a number", "two mistakes"],
)
def test_what_a_file_can_be_beside_wrong_is_said_in_one_sentence(folder: Path, written: str, expected: str) -> None:
    found = examined(with_secret(folder), written)

    assert expected in "\n".join(map(str, found.mistakes))


@pytest.mark.parametrize("name", ["sources.toml", "desk.secret"])
def test_a_pipe_is_no_file_and_nobody_waits_for_its_writer(folder: Path, name: str) -> None:
    (with_secret(folder) / "sources.toml").write_text(GOOD)
    (folder / name).unlink()
    os.mkfifo(folder / name)

    assert "is no file" in str(found := examine(folder / "sources.toml").mistakes) or "cannot be read" in str(found)


def test_a_secret_that_is_too_long_is_not_cut_down(folder: Path) -> None:
    found = examined(with_secret(folder, b"x" * 70_000), GOOD)

    assert "desk.secret is larger than 64 KiB; write the secret alone into it" in str(found.mistakes[0])


def test_a_company_with_thousands_of_sources_has_its_file_read_in_one_go(folder: Path) -> None:
    text = "".join(GOOD.replace("sources.desk", f"sources.desk-{number}") for number in range(2_000))

    found = examined(with_secret(folder), text + '[sources.last]\nprovider = "zendesc"\n')

    assert (len(found.sources), said(found)) == (
        2_000,
        ["sources.toml:8002: sources.last.provider: is no provider that we know; did you mean zendesk?"],
    )


@pytest.mark.parametrize(
    ("domain", "why"),
    [
        ("", "must be a domain alone; write what follows the @"),
        ("acme", "must be a domain alone"),
        ("@acme.example", "must be a domain alone"),
        ("https://acme.example", "must be a domain alone"),
        ("GMail.com", "everybody there would be one of us; remove it, and name your mailboxes"),
        ("co.uk", "everybody there would be one of us"),
    ],
)
def test_a_domain_that_is_not_ours_alone_is_never_taken_for_ours(folder: Path, domain: str, why: str) -> None:
    found = examined(folder, f'own_domains = ["acme.example",\n"mail.müller.example", "{domain}"]\n')

    assert [why in text and text.startswith("sources.toml:2: own_domains.2: ") for text in said(found)] == [True]


def test_a_country_without_telephones_is_named(folder: Path) -> None:
    found = examined(folder, 'default_region = "XX"\n')

    expected = 'XX is no country with telephone numbers; write two capitals (ISO 3166), such as "DE"'
    assert said(found) == [f"sources.toml:1: default_region: {expected}"]


def test_what_is_not_known_in_a_rule_is_held_against_what_rules_may_say(folder: Path) -> None:
    found = examined(folder, '[[privacy]]\nname = "hr"\nadresses = ["hr@acme.example"]\n')

    assert "sources.toml:3: privacy.0.adresses: is not known here; did you mean addresses?" in said(found)


def test_there_is_no_mistake_without_a_remedy(folder: Path) -> None:
    found = examined(
        folder,
        """[sources.m]
provider = "imap"
mailbox = "Anna@Acme.Example"
host = ""
username = "x"
password_file = "max.password"
port = 99999
since = "2026-13-01"
poll_seconds = 0
folder = []
""",
    )

    assert [(one.line, bool(one.mistake.remedy)) for one in found.mistakes] == [
        (line, True) for line in (3, 4, 7, 8, 9, 10)
    ]
