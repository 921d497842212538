"""`tenure demo`: plays a made-up company to a system of its own and shows what comes out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.local.instance import instance_directory
from deploy.local.processes import LocalFault
from samples.calendar import LIVE_DAY, ZONE
from samples.player import PlayFault
from samples.script import story
from samples.theatre import Theatre, open_theatre
from services.cli.faults import CommandFault
from services.cli.terminal import progress

INSTANCE = "demo"
SHOWN_ACCOUNTS = ("nordlicht", "hansepumpen", "lindenhof", "elbmetall")
SHOWN_KPIS = {
    "touches_out": "touches out",
    "touches_in": "touches in",
    "support_requests": "support requests",
    "resolution_hours_median": "hours to resolve (median)",
    "orders": "orders",
    "net_revenue": "net revenue",
}
_MOST_EVIDENCE = 6
_WINDOW = 30
_RANK = {"info": 0, "warn": 1, "alert": 2}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(demo)


def demo(
    keep: Annotated[
        bool | None,
        typer.Option("--keep/--stop", help="leave the system up at the end; by default on a terminal only"),
    ] = None,
    instance: Annotated[str, typer.Option(help="under which name it runs in this checkout")] = INSTANCE,
) -> None:
    """Play the sample company, from webhooks, mails, calls and orders to alerts."""
    talk = Talk()
    stays = talk.live if keep is None else keep
    try:
        with progress() as report:
            theatre = open_theatre(instance_directory(instance), report=report)
        try:
            Demo(theatre, talk).run(stays=stays)
            if stays:
                theatre.player.client.close()
                theatre.system.release()
            else:
                theatre.stop()
        except BaseException:
            theatre.stop()
            raise
    except PlayFault as fault:
        raise CommandFault(f"The demo cannot go on. {fault}") from fault
    except LocalFault as fault:
        raise CommandFault(str(fault)) from fault


class Talk:
    """Says things on stdout: tables and colours on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self.live = self._console.is_terminal

    def heading(self, text: str) -> None:
        """Something new begins."""
        self._console.print()
        self._console.print(text, style="bold", markup=False)

    def line(self, text: str, style: str = "") -> None:
        """One line."""
        self._console.print(text, style=style, markup=False)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows under columns; in plain lines the columns stand under one another."""
        if self.live:
            table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 2), header_style="dim")
            for row in rows:
                # as text: a title in brackets is no markup
                table.add_row(*map(Text, row))
            self._console.print(table)
            return
        widths = [max(len(row[place]) for row in [columns, *rows]) for place in range(len(columns))]
        for row in [columns, *rows]:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line("  " + "  ".join(cells).rstrip())

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Something takes a moment; on a terminal a line says so meanwhile."""
        if not self.live:
            yield
            return
        with self._console.status(text):
            yield


@dataclass
class Demo:
    """One showing. Everything shown is read from the public APIs."""

    theatre: Theatre
    talk: Talk
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By id, as the API lists them."""
    seen: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Version and state of every alert that was shown, by its id."""

    def run(self, *, stays: bool) -> None:
        """From the empty system to the last alert."""
        self.history()
        before = self.figures()
        self.show_figures(before, {}, "Key figures of the last 30 days, with the change on the 30 days before")
        for step in story().steps:
            self.talk.heading(f"{_clock(step.clock)}  {step.title}")
            with self.talk.busy("delivering and waiting until everything has flowed through"):
                self.theatre.player.play(step)
                self.theatre.player.wait_until_drained()
            self.say_deliveries(step.deliveries)
            self.show_alerts()
        self.show_unmatched("Mails and calls that are nobody's at the end")
        after = self.figures()
        self.show_figures(after, before, "The same figures at the end of the live day; * changed during it")
        self.show_mail()
        self.show_next(stays=stays)

    def history(self) -> None:
        """Company and history go in; what is overdue already speaks up at once."""
        player = self.theatre.player
        company = player.story.company
        self.talk.heading(f"{_clock(player.now)}  Brightwell Instruments enters its company and imports its history")
        with self.talk.busy("importing users, accounts and contacts"):
            player.enter_company()
        items = player.get("accounts", "/v1/accounts?limit=500")["items"]
        self.accounts = {item["id"]: item for item in items}
        contacts = sum(len(customer.contacts) for customer in company.customers)
        self.talk.line(
            f"{len(items)} accounts with {contacts} contacts, {len(company.people)} people of ours. Key accounts:"
        )
        rows = [
            [customer.key, customer.name, f"class {customer.account_class}", company.colleague(customer.owner).name]
            for customer in company.customers
            if customer.is_key
        ]
        self.talk.table(["account", "name", "class", "manager"], rows)
        with self.talk.busy("importing fourteen months of history"):
            player.import_history()
            player.wait_until_drained()
        self.talk.line(
            f"{len(player.story.lines)} reports of fourteen months are in. The history is declared complete."
        )
        with self.talk.busy("waking the rules"):
            player.declare_complete()
            player.wait_until_drained()
        self.show_alerts()
        self.show_matching()

    def show_matching(self) -> None:
        """A few interactions of one account with the reason why they are here, and what is nobody's."""
        self.talk.heading("Matched: the latest of Hansepumpen, each with the reason why it is theirs")
        page = self.theatre.player.get("accounts", "/v1/accounts/key:hansepumpen/interactions?limit=6&text=true")
        rows = [
            [
                _clock(item["occurred_at"]),
                item["kind"],
                item.get("title") or "",
                item["reason"],
                item.get("touch_class") or "",
            ]
            for item in page["items"]
        ]
        self.talk.table(["when", "what", "title", "because of", "touch class"], rows)
        self.show_unmatched("Unmatched: mails and calls that are nobody's; kept until somebody says whose they are")

    def show_unmatched(self, heading: str) -> None:
        """Identities that nobody knows."""
        self.talk.heading(heading)
        items = self.theatre.player.get("accounts", "/v1/unmatched")["items"]
        rows = [
            [item["value"], item["kind"], str(item["interactions"])]
            for item in items
            if item["kind"] in {"address", "phone"}
        ]
        self.talk.table(["who", "known as", "mails and calls"], rows)

    def figures(self) -> dict[str, dict[str, tuple[str | None, str | None]]]:
        """By account and KPI: (value, change), at the end of the live day."""
        found: dict[str, dict[str, tuple[str | None, str | None]]] = {}
        ids = {item["key"]: id_ for id_, item in self.accounts.items()}
        for key in SHOWN_ACCOUNTS:
            shown = self.theatre.player.get("metrics", f"/v1/accounts/{ids[key]}/kpis?as_of={LIVE_DAY.isoformat()}")
            found[key] = {
                value["kpi"]: (value["value"], value["change"])
                for value in shown["values"]
                if value["window"] == _WINDOW and value["kpi"] in SHOWN_KPIS
            }
        return found

    def show_figures(
        self,
        figures: Mapping[str, Mapping[str, tuple[str | None, str | None]]],
        before: Mapping[str, Mapping[str, tuple[str | None, str | None]]],
        heading: str,
    ) -> None:
        """One row per KPI, one column per account."""
        self.talk.heading(heading)
        rows = []
        for kpi, name in SHOWN_KPIS.items():
            cells = []
            for key in SHOWN_ACCOUNTS:
                value, change = figures[key].get(kpi, (None, None))
                star = " *" if before and before[key].get(kpi) != (value, change) else ""
                cells.append(
                    f"{_figure(value)} ({_signed(change)}){star}" if change is not None else f"{_figure(value)}{star}"
                )
            rows.append([name, *cells])
        self.talk.table(["", *(self._name(key) for key in SHOWN_ACCOUNTS)], rows)

    def say_deliveries(self, deliveries: Sequence[Any]) -> None:
        """What came in, by door."""
        counts: dict[str, int] = {}
        for delivery in deliveries:
            name = f"{delivery.source} with a bad signature, refused with 401" if delivery.forged else delivery.source
            counts[name] = counts.get(name, 0) + 1
        if counts:
            self.talk.line("in: " + ", ".join(f"{count} from {name}" for name, count in counts.items()), "dim")

    def show_alerts(self) -> None:
        """Alerts that opened, rose or were resolved since the last look, each with its evidence."""
        items = self.theatre.player.get("notifier", "/v1/alerts?state=any&limit=500")["items"]
        for alert in sorted(items, key=lambda alert: (alert["changed_at"], alert["title"])):
            now = (_RANK[alert["severity"]], alert["state"])
            known = self.seen.get(alert["alert_id"])
            if known == now:
                continue
            self.seen[alert["alert_id"]] = now
            if alert["state"] == "resolved":
                self.talk.line(f"resolved by itself: {alert['title']}", "green")
            else:
                self._say_alert(alert, risen=known is not None)

    def _say_alert(self, alert: Mapping[str, Any], *, risen: bool) -> None:
        severity = str(alert["severity"])
        word = f"{severity.upper()}{' (risen)' if risen else ''}"
        self.talk.line(f"{word}: {alert['title']}", "bold red" if severity == "alert" else "bold yellow")
        self.talk.line(f"  {alert['explanation']}")
        evidence = alert["evidence"]
        items = evidence.get("items", [])
        for item in items[:_MOST_EVIDENCE]:
            self.talk.line(f"  · {_clock(item['occurred_at'])}  {item['summary']}", "dim")
        if len(items) > _MOST_EVIDENCE:
            self.talk.line(f"  · and {len(items) - _MOST_EVIDENCE} more", "dim")
        for source in evidence.get("unverified", []):
            self.talk.line(f"  · unverified: {source}", "dim")

    def show_mail(self) -> None:
        """One mail as its manager received it."""
        mails = self.theatre.mails
        self.talk.heading(f"{len(mails)} mails went to managers. One of them:")
        chosen = next((mail for mail in mails if "nordlicht" in mail.subject.lower()), mails[-1] if mails else None)
        if chosen is None:
            return
        self.talk.line(f"  To: {chosen.recipient}")
        self.talk.line(f"  Subject: {chosen.subject}")
        for line in chosen.text.splitlines():
            self.talk.line(f"  | {line}")

    def show_next(self, *, stays: bool) -> None:
        """What to look at next."""
        system = self.theatre.system
        self.talk.heading("What to look at next")
        self.talk.line("  samples/EXPECTED.md         why exactly these alerts and figures")
        self.talk.line("  docs/journey.md             one mail from its bytes to the alert, through the code")
        if not stays:
            self.talk.line("The system was stopped: this is no terminal. `tenure demo --keep` leaves it up.")
            return
        folder = _shortest(system.instance.directory)
        commands = {
            "tenure status": "whether everything flows",
            "TOKEN=$(tenure token --subject anna.brandt --minutes 60)": "a manager; --role admin sees everything",
            f'curl -H "Authorization: Bearer $TOKEN" {system.url("notifier")}/v1/alerts': "her alerts",
            f'curl -H "Authorization: Bearer $TOKEN" {system.url("accounts")}/v1/accounts': "her accounts",
            f"ls {folder}/mail": "the mails that managers received",
            f"ls {folder}/logs": "logs, and traces as JSON lines",
            "tenure alerts list": "every alert; `tenure alerts show ID` says why",
            "tenure dead-letters list": "what could not be read: nothing",
            "make down": "stops everything",
        }
        for command, meaning in commands.items():
            self.talk.line(f"  {command}\n      {meaning}")

    def _name(self, key: str) -> str:
        return next(str(item["name"]) for item in self.accounts.values() if item["key"] == key).split()[0]


def _shortest(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _clock(moment: datetime | str) -> str:
    """For people, in the company's time: "Mon 2 Mar 09:30"."""
    parsed = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    local = parsed.astimezone(ZONE)
    return f"{local:%a} {local.day:>2} {local:%b %H:%M}"


def _figure(value: str | None) -> str:
    """A number without needless zeros, a hyphen where there is none."""
    if value is None:
        return "-"
    number = Decimal(value)
    return f"{number:,.0f}" if number == number.to_integral_value() else f"{number:,.2f}"


def _signed(change: str) -> str:
    text = _figure(change)
    return text if text.startswith("-") or Decimal(change) == 0 else f"+{text}"


def _main() -> int:
    """For `python -m services.cli.demo`."""
    demo()
    return 0


if __name__ == "__main__":
    sys.exit(_main())
