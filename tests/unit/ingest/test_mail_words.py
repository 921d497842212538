"""What somebody wrote, whatever a program put around it, and until when somebody is away: in Europe's languages."""

# ruff: noqa: RUF001 - Greek and Cyrillic letters look like Latin ones

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest

from services.ingest.sources.mail_away import away_until
from services.ingest.sources.mail_reply import newest_reply

OWN = "My own words."
SENT = datetime(2026, 3, 2, 9, 0, tzinfo=timezone(timedelta(hours=1)))
QUOTED = {
    "english": "On Mon, Mar 2, 2026 at 9:00 AM Anna <a@b.example> wrote:\n> hi",
    "english over two lines": "On Mon, Mar 2, 2026 at 9:00 AM Anna Long Name Brandt\n<a@b.example> wrote:\n> hi",
    "german": "Am Mo., 2. März 2026 um 09:00 Uhr schrieb Anna <a@b.example>:\n> hallo",
    "german of thunderbird": "Am 02.03.2026 um 09:00 schrieb Anna:\n> hallo",
    "french": "Le lun. 2 mars 2026 à 09:00, Anna <a@b.example> a écrit :\n> salut",
    "spanish": "El lun, 2 mar 2026 a las 9:00, Anna (<a@b.example>) escribió:\n> hola",
    "portuguese": "Em seg., 2 de mar. de 2026 às 09:00, Anna <a@b.example> escreveu:\n> olá",
    "italian": "Il giorno lun 2 mar 2026 alle ore 09:00 Anna <a@b.example> ha scritto:\n> ciao",
    "dutch": "Op ma 2 mrt 2026 om 09:00 schreef Anna <a@b.example>:\n> hoi",
    "danish": "Den man. 2. mar. 2026 kl. 09.00 skrev Anna <\na@b.example>:\n> hej",
    "swedish": "Den mån 2 mars 2026 kl 09:00 skrev Anna <a@b.example>:\n> hej",
    "finnish": "ma 2. maalisk. 2026 klo 9.00 Anna (a@b.example) kirjoitti:\n> moi",
    "polish": "pon., 2 mar 2026 o 09:00 Anna <a@b.example> napisał(a):\n> cześć",
    "polish of thunderbird": "W dniu 2.03.2026 o 09:00, Anna pisze:\n> cześć",
    "czech": "po 2. 3. 2026 v 9:00 odesílatel Anna <a@b.example> napsal:\n> ahoj",
    "slovak": "po 2. 3. 2026 o 9:00 Anna <a@b.example> napísal(a):\n> ahoj",
    "hungarian": "Anna <a@b.example> ezt írta (időpont: 2026. márc. 2., H, 9:00):\n> szia",
    "romanian": "În lun., 2 mar. 2026 la 09:00, Anna <a@b.example> a scris:\n> salut",
    "bulgarian": "На пн, 2.03.2026 г. в 9:00 Anna <a@b.example> написа:\n> здрасти",
    "croatian": "pon, 2. ožu 2026. u 09:00 Anna <a@b.example> napisao je:\n> bok",
    "slovene": "V V pon., 2. mar. 2026 ob 09:00 je oseba Anna <a@b.example> napisala:\n> živjo",
    "greek": "Στις Δευ 2 Μαρ 2026 στις 9:00 π.μ., ο/η Anna <a@b.example> έγραψε:\n> γεια",
    "estonian": "Kontakt Anna (<a@b.example>) kirjutas kuupäeval E, 2. märts 2026 kell 09:00:\n> tere",
    "latvian": "pirmd., 2026. g. 2. marts, plkst. 09:00 - lietotājs Anna (<a@b.example>) rakstīja:\n> sveiki",
    "lithuanian": "2026-03-02, pr, 09:00 Anna <a@b.example> rašė:\n> labas",
    "ukrainian": "пн, 2 бер. 2026 р. о 09:00 Anna <a@b.example> пише:\n> привіт",
    "turkish": "Anna <a@b.example>, 2 Mar 2026 Pzt, 09:00 tarihinde şunu yazdı:\n> merhaba",
    "outlook, english": "From: Anna <a@b.example>\nSent: Monday\nTo: Bob\nSubject: x\n\nhello",
    "outlook, behind a line": "_" * 32 + "\nFrom: Anna\nSent: Monday\nTo: Bob\nSubject: x\n\nhello",
    "outlook, before 2007": "-----Original Message-----\nFrom: Anna\nSent: x\nTo: y\nSubject: z\n\nhello",
    "outlook, german": "Von: Anna\nGesendet: Montag, 2. März 2026 09:00\nAn: Bob\nBetreff: Angebot\n\nhallo",
    "outlook, french": "*De :* Anna\n*Envoyé :* lundi\n*À :* Bob\n*Objet :* Offre\n\nsalut",
    "outlook, swedish": "Från: Anna\nSkickat: den 2 mars 2026\nTill: Bob\nÄmne: x\n\nhej",
    "outlook, polish": "Od: Anna\nWysłano: 2 marca\nDo: Bob\nTemat: x\n\nhej",
    "outlook, hungarian": "Feladó: Anna\nElküldve: 2026\nCímzett: Bob\nTárgy: x\n\nszia",
    "outlook, greek": "Από: Anna\nΣτάλθηκε: Δευτέρα\nΠρος: Bob\nΘέμα: x\n\nγεια",
    "gmail of former years": "2026-03-02 9:00 GMT+01:00 Anna <a@b.example>:\n\n> hi",
    "gmail, russian": "пн, 2 мар. 2026 г. в 09:00, Anna <a@b.example>:\n\n> привет",
    "gmail, serbian": "пон, 2. мар 2026. у 09:00 Anna <a@b.example> је написао/ла:\n> здраво",
    "gmail, catalan": "Missatge de Anna <a@b.example> del dia dl., 2 de març 2026 a les 9:00:\n> hola",
    "gmail, broken in the address": "On Mon, Mar 2, 2026 at 9:00 AM Anna <\na-long+1234@b.example> wrote:\n> hi",
    "yandex": '02.03.2026, 09:00, "Anna" <a@b.example>:\n> привет',
    "mail.ru": "Понедельник, 2 марта 2026, 9:00 +03:00 от Anna <a@b.example>:\nпривет",
    "ukr.net": '2 березня 2026, 09:00:00, від "Anna" <a@b.example>:\n\nпривіт',
    "apple mail, polish": "Wiadomość napisana przez Anna <a@b.example> w dniu 2 mar 2026, o godz. 09:00:\n> hej",
    "apple mail, czech": "2. 3. 2026 v 9:00, Anna <a@b.example>:\n\n> ahoj",
    "thunderbird, russian": "02.03.2026 9:00, Anna пишет:\n> привет",
    "zoho, without a colon": "On Mon, 2 Mar 2026 09:00:00 +0100 Anna <a@b.example> wrote\n\nhi",
    "over three lines": "On Mar 2, 2026,\nat 9:00,\nAnna <a@b.example> wrote:\n> hi",
    "without a year, over three lines": "On Mon, Mar 2, Anna Brandt\n<a@b.example>\nwrote:\n> hi",
    "gmx": 'Gesendet: Montag, 02. März 2026 um 09:00 Uhr\nVon: "Anna" <a@b.example>\nAn: Bob\nBetreff: x\n\nhallo',
    "hotmail": "Date: Mon, 2 Mar 2026 09:00:00 +0100\nSubject: x\nFrom: a@b.example\nTo: c@d.example\n\nhello",
    "outlook on a telephone, french": "Envoyé à partir de Outlook pour iOS<https://x.example>\n"
    + "_" * 32
    + "\nDe : Anna\n"
    "Envoyé : lundi\nÀ : Bob\nObjet : x\n\nsalut",
    "proton": "Sent with Proton Mail secure email.\n\nOn Monday, March 2nd, 2026 at 09:00, Anna wrote:\n> hi",
    "orange": "> Message du 02/03/26 09:00\n> De : Anna\n> A : Bob\n> Copie à :\n> Sujet : x\n>\n> salut",
    "forwarded": "---------- Forwarded message ---------\nFrom: x\n\nhello",
}
AROUND = {
    "signature": "-- \nBob\nAcme",
    "german greeting": "Mit freundlichen Grüßen\nBob Miller\nAcme GmbH\nTel. +49",
    "greeting with a name": "Kind regards, Bob",
    "french greeting": "Bien cordialement,\nBob",
    "lithuanian greeting": "Pagarbiai\nBob",
    "telephone": "Sent from my iPhone",
    "german telephone": "Von meinem iPhone gesendet",
    "french telephone": "Envoyé depuis mon téléphone",
    "disclaimer": "This e-mail and any attachments are confidential and intended only for the addressee. If you are"
    " not the addressee delete the message.",
    "german disclaimer": "Diese E-Mail enthält vertrauliche Informationen. Wenn Sie nicht der richtige Adressat sind,"
    " vernichten Sie diese Nachricht.",
    "italian disclaimer": "Questo messaggio è riservato ai destinatari indicati; chi lo riceve per errore è pregato di"
    " cancellarlo e di avvisare.",
}


@pytest.mark.parametrize("quoted", QUOTED.values(), ids=QUOTED)
def test_only_the_newest_words_are_kept(quoted: str) -> None:
    assert newest_reply(f"{OWN}\n\n{quoted}\n") == OWN
    assert newest_reply(f"{OWN}\n{quoted}\n".replace("\n", "\r\n")) == OWN


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_signatures_greetings_and_disclaimers_go(around: str) -> None:
    assert newest_reply(f"{OWN}\n\n{around}\n") == OWN
    assert newest_reply(f"{OWN}\n\n{around}\n\n{QUOTED['english']}\n") == OWN


@pytest.mark.parametrize(
    "text",
    [
        "Please see section 4:\n- one\n- two",
        "As Bob wrote: we take ten.\nYes.",
        "From: the plant\nwe report",
        "Can you call me? Cheers",
        "Hallo,\nbis 12:30 geht es.\nEr schrieb mir gestern. Danke",
        "Thanks!",
        "Our message: the prices stay confidential.",
        "Sent from the plant yesterday, arrived today.\nPlease\nconfirm\nthat\nto\nus.",
        "On Mon, Mar 2, 2026 at 9:00 AM Anna <a@b.example> wrote:\n> hi",
        "--\nBob",
        "2. Our plan for 3.5.2026, 10:30:\n- the pump",
        "On 3 May at 10:30 <a@b.example> calls\nand wrote the plan.",
        "Date: 3 May 2026\nPlace: Berlin\nWe are many.",
    ],
)
def test_what_somebody_wrote_is_kept_and_a_mail_never_becomes_empty(text: str) -> None:
    assert newest_reply(text) == text


def test_an_answer_below_the_quoted_mail_is_found() -> None:
    assert newest_reply(f"{QUOTED['english']}\n> more\n\n{OWN}\n") == OWN


def test_a_warning_above_the_text_goes() -> None:
    banner = "CAUTION: This email originated from outside of the organization. Do not click links."
    assert newest_reply(f"{banner}\n\n{OWN}") == OWN


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("I am out of office until 15 March 2026.", date(2026, 3, 15)),
        ("I'll be back on Monday, March 16th.", date(2026, 3, 16)),
        ("Ich bin bis einschließlich 15.03.2026 nicht im Büro.", date(2026, 3, 15)),
        ("Ab dem 16. März bin ich wieder da.", date(2026, 3, 16)),
        ("Vom 2.3. bis 13.3. bin ich im Urlaub.", date(2026, 3, 13)),
        ("Je suis absent jusqu'au 15 mars inclus.", date(2026, 3, 15)),
        ("Estaré fuera de la oficina hasta el 15 de marzo de 2026.", date(2026, 3, 15)),
        ("Vuelvo el 5 de enero", date(2027, 1, 5)),
        ("Estarei ausente até 15/03/2026.", date(2026, 3, 15)),
        ("Sarò assente fino al 15 marzo.", date(2026, 3, 15)),
        ("Ik ben terug op 16 maart.", date(2026, 3, 16)),
        ("Jeg er tilbage den 16. marts.", date(2026, 3, 16)),
        ("Jag är tillbaka den 16 mars", date(2026, 3, 16)),
        ("Palaan töihin 16.3.2026.", date(2026, 3, 16)),
        ("Wracam 16 marca.", date(2026, 3, 16)),
        ("Jestem na urlopie do 15.03.2026 r. W pilnych sprawach proszę o kontakt 20.05.2026.", date(2026, 3, 15)),
        ("Vrátím se 16. března 2026.", date(2026, 3, 16)),
        ("2026. március 16-án jövök vissza", date(2026, 3, 16)),
        ("Revin pe 16 martie.", date(2026, 3, 16)),
        ("Ще се върна на 16 март; до 15 март съм в отпуск", date(2026, 3, 16)),
        ("Vraćam se 16. ožujka.", date(2026, 3, 16)),
        ("Vrnem se 16. marca", date(2026, 3, 16)),
        ("Θα επιστρέψω στις 16 Μαρτίου", date(2026, 3, 16)),
        ("Olen tagasi 16. märtsil", date(2026, 3, 16)),
        ("Grįšiu kovo 16 d.", date(2026, 3, 16)),
        ("Повернуся 16 березня", date(2026, 3, 16)),
        ("Back 2026-03-09", date(2026, 3, 9)),
        # A span ends with its end, and what began last week does not come round next year.
        ("Ich bin vom 23.2. bis 6.3. im Urlaub.", date(2026, 3, 6)),
        ("Ich bin im Zeitraum 23.02.-06.03.26 im Urlaub.", date(2026, 3, 6)),
        ("Out of office 02 Mar - 13 Mar 2026", date(2026, 3, 13)),
        ("I am out of the office 3/2 - 3/13. I will answer when I return.", date(2026, 3, 13)),
        ("Sarò assente dal 2 al 13 marzo.", date(2026, 3, 13)),
        ("Przebywam na urlopie w dniach 2-13 marca 2026.", date(2026, 3, 13)),
        ("2026. március 2-tól 13-ig szabadságon vagyok.", date(2026, 3, 13)),
        ("Március 16-tól vagyok újra elérhető.", date(2026, 3, 16)),
        ("Me reincorporaré el día 16 de marzo.", date(2026, 3, 16)),
        ("Jeg er fraværende frem til d. 16/3.", date(2026, 3, 16)),
        ("Jag är på semester t.o.m. 13 mars.", date(2026, 3, 13)),
        ("The meeting 2-13 March is postponed.", None),
        ("I am back since 20 February.", None),
        ("We will be back at 10:30.", None),
        ("The fair is on 20 May.", None),
        ("I was back on 2 March 2019.", None),
        ("Back on 32.13.2026", None),
    ],
)
def test_an_absence_ends_when_its_notice_says(text: str, until: date | None) -> None:
    assert away_until("", text, SENT) == until


def test_where_months_come_first_is_seen_from_the_clock() -> None:
    american = SENT.replace(tzinfo=timezone(timedelta(hours=-5)))
    assert away_until("", "back 4/3", american) == date(2026, 4, 3)
    assert away_until("", "back 4/3", SENT) == date(2026, 3, 4)
    assert away_until("", "back 3/20/2026", SENT) == date(2026, 3, 20)


HOSTILE = (
    *("On a ", "From: x\n", "\n \n", "wrote 2026\n", "wrote:\n", "confidential message\n", "-", "---a", "sent from "),
    *("> ", "regards\n", " ", "_ ", "--\n", "=== a", "external ", "-----BEGIN PGP SIGNED MESSAGE-----", "2026 back "),
    *("1.1. bis ", "back 1 march ", "a " * 300 + "wrote 2026:\n"),
)


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_texts_take_no_longer_than_their_length(piece: str) -> None:
    # The bound is the time limit of the suite: what is quadratic takes minutes here.
    text = piece * (100_000 // len(piece))
    newest_reply(text)
    away_until("", text, SENT)
