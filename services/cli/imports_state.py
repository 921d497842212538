"""How far an import has come: a small file beside the imported one, so that a killed import goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path

_PIECE = 1 << 20


@dataclass(slots=True)
class Progress:
    """How far it has come. `taken` counts units; what it says of them has been acknowledged."""

    taken: int = 0
    accepted: int = 0
    rejected: int = 0
    report_bytes: int = 0
    """How long the report of rejected rows was: what a killed import wrote beyond it is written again."""
    report_mark: str = ""
    """What was in it."""


@dataclass(slots=True)
class State:
    """The state of one import. `digest` says of what: the file, how it is read, and where it goes."""

    file: Path
    digest: str
    progress: Progress = field(default_factory=Progress)
    changed: bool = False
    """Whether there is the state of an unfinished import of the same name that was of something else."""
    writable: bool = True

    @classmethod
    def load(cls, file: Path, digest: str) -> State:
        """Return where an import that was interrupted has come to, else the beginning."""
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            progress = Progress(**kept["progress"])
        except (OSError, ValueError, TypeError, KeyError):
            return cls(file, digest)
        if kept.get("digest") != digest:
            return cls(file, digest, changed=True)
        return cls(file, digest, progress)

    def save(self) -> None:
        """Write it down, whole or not at all. Where nothing can be written the import goes on all the same."""
        if not self.writable:
            return
        beside = self.file.with_name(f"{self.file.name}.new")
        try:
            beside.write_text(json.dumps({"digest": self.digest, "progress": asdict(self.progress)}), encoding="utf-8")
            beside.replace(self.file)
        except OSError:
            self.writable = False

    def finish(self) -> None:
        """Forget it: the next import of the same file begins anew, and doubles nothing."""
        self.file.unlink(missing_ok=True)


def survey(files: Sequence[Path], *parts: str) -> tuple[str, int]:
    """Return a digest of files' contents and of what else decides how they are read, and how many lines they have."""
    found = blake2b(digest_size=16)
    lines = 0
    for part in parts:
        found.update(len(part.encode()).to_bytes(8, "big") + part.encode())
    for file in files:
        found.update(file.stat().st_size.to_bytes(8, "big"))
        with file.open("rb") as opened:
            while piece := opened.read(_PIECE):
                found.update(piece)
                lines += piece.count(b"\n")
    return found.hexdigest(), lines
