"""What never comes in: rules that leave private, HR and legal mail out before anything of it is kept or passed on.

A rule matches when any one of its conditions does: who writes a rule with an address and a subject means both to be
left out. What a rule left out is counted under the rule's name; nothing of it is written down anywhere.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.ingest.domain.identities import normalise_address, normalise_domain

PREFIX = "privacy:"
"""Before a rule's name, where what it left out is counted."""

Sensitivity = Literal["personal", "private", "company-confidential"]


def _address(value: str) -> str:
    normal = normalise_address(value)
    if normal is None:
        raise ValueError("must be a mail address such as hr@brightwell.example")
    return normal


def _domain(value: str) -> str:
    normal = normalise_domain(value)
    if normal is None:
        raise ValueError("must be a domain such as lawyers.example")
    return normal


def _plain(text: str) -> str:
    """Return text in the form in which words are compared: without case, width and accents' two writings."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


Words = Annotated[str, StringConstraints(min_length=2, max_length=100), AfterValidator(_plain)]


@dataclass(frozen=True, slots=True)
class Looked:
    """What rules look at in a mail, or in a calendar's entry."""

    addresses: frozenset[str]
    """Normalised: of everybody who wrote it, got it or is asked to be answered."""
    subject: str = ""
    sensitivity: str = ""
    """In lower case."""
    labels: Sequence[str] = ()
    folder: str | None = None


class PrivacyRule(BaseModel):
    """One `[[privacy]]` of sources.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
    """What is left out is counted under it."""
    addresses: tuple[Annotated[str, AfterValidator(_address)], ...] = ()
    """Anybody among these wrote it or got it."""
    domains: tuple[Annotated[str, AfterValidator(_domain)], ...] = ()
    """So did somebody of these domains, or of one below them."""
    subject: tuple[Words, ...] = ()
    """Words, or several in a row, that stand in the subject; case does not matter."""
    labels: tuple[Words, ...] = ()
    folders: tuple[Words, ...] = ()
    """Folders of a mailbox, and what lies below them."""
    sensitivity: tuple[Sensitivity, ...] = ()
    """What the mail says about itself in its header Sensitivity; of a calendar's entry its CLASS."""
    sources: Annotated[tuple[str, ...], Field(max_length=1000)] = ()
    """The sources that it is for; none: all."""

    @model_validator(mode="after")
    def _says_something(self) -> "PrivacyRule":
        conditions = (self.addresses, self.domains, self.subject, self.labels, self.folders, self.sensitivity)
        if not any(conditions):
            raise ValueError("needs one of addresses, domains, subject, labels, folders, sensitivity")
        return self

    @cached_property
    def _subject(self) -> re.Pattern[str] | None:
        if not self.subject:
            return None
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, self.subject))})(?!\w)")

    def matches(self, looked: Looked, source: str) -> bool:
        """Say whether this rule leaves it out."""
        if self.sources and source not in self.sources:
            return False
        if looked.sensitivity in self.sensitivity or not looked.addresses.isdisjoint(self.addresses):
            return True
        if any(_is_under(address.rpartition("@")[2], self.domains) for address in looked.addresses):
            return True
        if self._subject is not None and self._subject.search(_plain(looked.subject)):
            return True
        if any(_plain(label) in self.labels for label in looked.labels):
            return True
        return looked.folder is not None and any(_lies_in(_plain(looked.folder), each) for each in self.folders)


def _is_under(domain: str, domains: Iterable[str]) -> bool:
    return any(domain == each or domain.endswith("." + each) for each in domains)


def _lies_in(folder: str, named: str) -> bool:
    return folder == named or any(folder.startswith(named + separator) for separator in "/.\\")


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules, in the order in which they stand in the file."""

    rules: tuple[PrivacyRule, ...] = ()

    def left_out(self, looked: Looked, source: str) -> str | None:
        """Return the code under which it is counted when a rule leaves it out: the first rule's name."""
        return next((PREFIX + rule.name for rule in self.rules if rule.matches(looked, source)), None)


NO_RULES = Rules()
