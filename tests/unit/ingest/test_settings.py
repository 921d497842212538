"""What is wrong in sources.toml is said in one plain sentence before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.ingest.configuration import examine_for
from services.ingest.settings import IngestSettings
from services.runtime.settings import SettingsError

EXAMPLE = Path(__file__).parents[3] / "services" / "ingest" / "sources.example.toml"


def read(folder: Path, text: str, **secrets: str) -> list[str]:
    (folder / "sources.toml").write_text(text, encoding="utf-8")
    for name, secret in secrets.items():
        (folder / name).write_text(secret)
    settings = IngestSettings(kafka_bootstrap="x:1", database_url="x", sources_file=folder / "sources.toml")
    return list(examine_for(settings).sources)


def test_the_example_can_be_used_as_it_is(tmp_path: Path) -> None:
    secret = "whsec_" + "A" * 32
    files = dict.fromkeys(("erp.secret", "erp-before.secret", "mail.secret", "answers.secret"), secret)
    webhooks = (
        "desk.secret",
        "helpdesk.token",
        "chat.secret",
        "requests.secret",
        "tickets.secret",
        "nps.key",
        "forms.secret",
        "switchboard.token",
        "hotline.token",
        "webshop.secret",
        "billing.secret",
        "channels.secret",
    )
    others = dict.fromkeys((*webhooks, "phone.token", "shop.secret", "max.password"), "s3cret-of-16-letters")
    others |= {"mailgun.key": "s3cret-of-16-letters"}
    others |= dict.fromkeys(("support.password", "orders.password"), "provider:s3cret-of-16-letters")
    names = read(tmp_path, EXAMPLE.read_text(encoding="utf-8"), **files, **others)
    mailboxes = ["support", "sales-mime", "orders", "invoices"]
    desks = ["desk", "helpdesk", "chat", "requests", "tickets", "nps", "forms"]
    phones, shops = ["phone", "switchboard", "hotline"], ["channels", "shop", "webshop", "billing"]
    assert names == [
        *desks,
        *phones,
        *shops,
        "erp",
        "mail-anna",
        *mailboxes,
        "max",
        "answers",
        "calendar-max",
        "archive-max",
        "history",
        "others",
    ]


WRONG = {
    "no TOML": "[sources",
    "an unknown provider": '[sources.a]\nprovider = "fax"',
    "an unknown setting": '[sources.a]\nprovider = "import"\nsystem = "x"\ncolour = "red"',
    "no system": '[sources.a]\nprovider = "zendesk"\nsecret_files = ["s"]',
    "no secret": '[sources.a]\nprovider = "zendesk"\nsystem = "zendesk:a"',
    "no such secret file": '[sources.a]\nprovider = "zendesk"\nsystem = "zendesk:a"\nsecret_files = ["nowhere"]',
    "an empty secret": '[sources.a]\nprovider = "zendesk"\nsystem = "zendesk:a"\nsecret_files = ["empty"]',
    "a short secret": '[sources.a]\nprovider = "mail"\nmailbox = "a@b.example"\nsecret_files = ["short"]',
    "a mailbox in capitals": '[sources.a]\nprovider = "mail"\nmailbox = "A@b.example"\nsecret_files = ["short"]',
    "two readers of the topic": '[sources.a]\nprovider = "inbound"\n[sources.b]\nprovider = "inbound"',
    "a name with a slash": '[sources."a/b"]\nprovider = "inbound"',
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused_in_one_sentence_without_its_secrets(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, WRONG[name], empty=" \n", short="whsec_c2VjcmV0")
    sentence = str(refused.value)
    assert "\n" not in sentence.rstrip(".") or name == "no TOML"
    assert "c2VjcmV0" not in sentence


def test_a_file_that_is_not_there_is_said_by_name(tmp_path: Path) -> None:
    settings = IngestSettings(kafka_bootstrap="x:1", database_url="x", sources_file=tmp_path / "nowhere.toml")
    with pytest.raises(SettingsError, match="nowhere"):
        examine_for(settings)
