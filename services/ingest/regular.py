"""Files that people write for us: a plain file of a bounded size, or an error at once, never a wait."""

import os
import stat
from pathlib import Path


class NoFile(Exception):
    """There is something of that name, or nothing can have that name, and it is no plain file."""


class TooLong(Exception):
    """The file is larger than it may be."""


def read_regular(path: Path, limit: int) -> bytes:
    """Return what is in a plain file of at most `limit` bytes; raise `NoFile`, `TooLong` or `OSError`.

    Links are followed. A pipe, on which a plain read would wait for a writer, is none.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:
        raise NoFile from None
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise NoFile
        content = file.read(limit + 1)
    if len(content) > limit:
        raise TooLong
    return content
