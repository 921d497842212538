"""Old mail in files, as a source that we poll: maildirs, mbox files and single mails, read once and never changed."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, ParamSpec, TypeVar

import asyncpg

from contracts.values import Authority
from services.ingest import store, store_files, store_mailbox
from services.ingest.domain.mapping import MapMail
from services.ingest.domain.mbox import AnyMail, Letter, read_mail, split_mbox
from services.ingest.domain.options import FolderOptions
from services.ingest.domain.source import Source
from services.ingest.polling import Broken
from services.ingest.reception import Reception
from services.ingest.store_files import FileState
from services.ingest.taking import MailTaker
from services.runtime.postgres import acquire, transaction

P = ParamSpec("P")
R = TypeVar("R")

_CHUNK = 100
_SEPARATOR = b"From "


@dataclass(frozen=True, slots=True)
class _File:
    """One file. Its name is its path from the root on; of a maildir's mails without their flags, which change."""

    path: Path
    name: str
    folder: str
    mbox: bool
    size: int


class Seen(NamedTuple):
    """What lies in a folder. `size` in bytes; `unreadable`: files that we may not open."""

    mails: int
    mboxes: int
    size: int
    unreadable: int


def look_into(path: str) -> Seen:
    """Count what a folder holds without reading it. Raises `Broken` where it cannot even be listed. Blocking."""
    files = _listed(Path(path))
    mboxes = sum(file.mbox for file in files)
    unreadable = sum(not os.access(file.path, os.R_OK) for file in files)
    return Seen(len(files) - mboxes, mboxes, sum(file.size for file in files), unreadable)


def folder_readers(
    reception: Reception, sources: Mapping[str, Source], mappings: Mapping[str, MapMail], pool: asyncpg.Pool
) -> Sequence["FolderReader"]:
    """Return a reader for every folder that is configured."""
    return [
        FolderReader(reception, source, options, mappings[source.name], pool)
        for source in sources.values()
        if isinstance(options := source.configuration.options, FolderOptions)
    ]


class FolderReader:
    """`services.ingest.polling.Reader` of one folder. What it reads has the authority of an import."""

    def __init__(
        self, reception: Reception, source: Source, options: FolderOptions, mapping: MapMail, pool: asyncpg.Pool
    ) -> None:
        self.name = source.name
        self.poll_seconds = options.poll_seconds
        self._clock = reception.clock
        self._root = Path(options.path)
        self._pool = pool
        self._taker = MailTaker(reception, source, mapping, options.content, Authority.IMPORT)

    async def run(self, go_on: Callable[[], None]) -> None:
        """Read what has not been read."""
        horizon = self._clock.now()
        files = await asyncio.to_thread(_listed, self._root)
        async with acquire(self._pool) as connection:
            known = await store_files.load_files(connection, self.name)
        waiting = [file for file in files if not _is_read(file, known.get(file.name))]
        done, total = 0, sum(file.size for file in waiting)
        vanished = False
        for start in range(0, len(waiting), _CHUNK):
            read: dict[str, FileState] = {}
            for file in waiting[start : start + _CHUNK]:
                try:
                    if file.mbox:
                        await self._read_mbox(file, known.get(file.name), (done, total), go_on)
                    else:
                        go_on()
                        if await self._take(await _blocking(_read, file.path), file):
                            read[file.name] = FileState(file.size, complete=True)
                except FileNotFoundError:
                    # It has another name by now, as when it is marked as read: the next pass finds it.
                    vanished = True
                done += file.size
            await self._save(read, (done, total))
        async with acquire(self._pool) as connection:
            await store.save_pass(connection, self.name, None if vanished else horizon, "ok")

    async def _take(self, mail: AnyMail, file: _File) -> bool:
        return await self._taker.take(mail, "a file of the folder", file.folder) is not None

    async def _read_mbox(
        self, file: _File, known: FileState | None, progress: tuple[int, int], go_on: Callable[[], None]
    ) -> None:
        """Read a file from where it was left, unless it is another one by now."""
        done, total = progress
        with await _blocking(file.path.open, "rb") as stream:
            start = 0 if known is None else await _blocking(_left_at, stream, known.read_bytes)
            letters = split_mbox(stream, start)
            number, end = 0, start
            while (letter := await _blocking(_next, letters)) is not None:
                go_on()
                await self._take(letter.mail, file)
                number, end = number + 1, letter.end
                if number % _CHUNK == 0:
                    await self._save({file.name: FileState(end, complete=False)}, (done + end, total))
        # To its end, whatever stands behind the last mail.
        await self._save({file.name: FileState(max(end, file.size), complete=True)}, (done + file.size, total))

    async def _save(self, read: Mapping[str, FileState], progress: tuple[int, int]) -> None:
        done, total = progress
        async with transaction(self._pool) as connection:
            await store_files.save_files(connection, self.name, read)
            if done < total:
                status = f"reading: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
                await store_mailbox.save_status(connection, self.name, status)

    async def wait(self, seconds: float, enough: Callable[[], bool]) -> bool:
        """Files say nothing by themselves."""
        del seconds, enough
        return False

    async def close(self) -> None:
        """Nothing is kept open between passes."""


def _is_read(file: _File, known: FileState | None) -> bool:
    # A file that has another size was still being written, or is another one.
    return known is not None and known.complete and known.read_bytes == file.size


async def _blocking(function: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
    """Do something with a file in a thread; raises `Broken` where that cannot be done, unless it has vanished."""
    try:
        return await asyncio.to_thread(function, *given, **named)
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise Broken(f"a file cannot be read ({fault.strerror}); let the service read all of path") from fault


def _next(letters: Iterator[Letter]) -> Letter | None:
    return next(letters, None)


def _left_at(stream: IO[bytes], place: int) -> int:
    """Return where reading an mbox file goes on.

    That is its beginning when no mail begins, and the file does not end, where it was left: then it has been written
    anew since, or its last mail had not been written to its end.
    """
    size = stream.seek(0, os.SEEK_END)
    if place == size:
        return place
    stream.seek(min(place, size))
    return place if stream.read(len(_SEPARATOR)) == _SEPARATOR else 0


def _listed(root: Path) -> list[_File]:
    try:
        return sorted(_found(root, root), key=lambda file: file.name)
    except OSError as fault:
        raise Broken(
            f"path cannot be read ({fault.strerror}); name a maildir, an mbox file or a folder of them that the"
            " service may read"
        ) from fault


def _found(folder: Path, root: Path) -> Iterator[_File]:
    if folder.is_file():
        yield from _single(folder, folder.parent)
        return
    for path in folder.iterdir():
        if path.is_dir() and path.name in {"cur", "new"}:
            label = folder.name.lstrip(".").replace(".", "/")
            for mail in path.iterdir():
                if not mail.name.startswith(".") and (size := _size_of(mail)) is not None:
                    name = (folder / mail.name.partition(":")[0]).relative_to(root).as_posix()
                    yield _File(mail, name, label, mbox=False, size=size)
        elif path.is_dir() and path.name != "tmp" and not path.is_symlink():
            yield from _found(path, root)
        elif path.is_file() and not path.name.startswith("."):
            yield from _single(path, root)


def _size_of(path: Path) -> int | None:
    """Return how large a file is; None where it is none, or none any more."""
    try:
        return path.stat().st_size if path.is_file() else None
    except FileNotFoundError:
        return None


def _single(path: Path, root: Path) -> Iterator[_File]:
    name, folder = path.relative_to(root).as_posix(), path.parent.name
    size = _size_of(path)
    if size is None:
        return
    if path.suffix.lower() == ".eml":
        yield _File(path, name, folder, mbox=False, size=size)
        return
    with path.open("rb") as stream:
        if stream.read(len(_SEPARATOR)) == _SEPARATOR:
            yield _File(path, name, path.stem, mbox=True, size=size)


def _read(path: Path) -> AnyMail:
    with path.open("rb") as stream:
        return read_mail(stream)
