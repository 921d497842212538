"""What is wrong in sources.toml, where, and what to do about it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong in the file. `path` leads to it: ("sources", "desk", "system")."""

    path: tuple[str, ...]
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        said = f"{'.'.join(self.path)}: {self.message}" if self.path else self.message
        return f"{said}; {self.remedy}" if self.remedy else said


@dataclass(frozen=True, slots=True)
class Remark:
    """A mistake, or something doubtful, with the place where it stands."""

    file: Path
    line: int
    mistake: Mistake
    severe: bool = True
    """Whether it stops the service from using the file; else it is only a warning."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.mistake}"
