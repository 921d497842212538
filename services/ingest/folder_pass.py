"""Old mail in files, as a source that we poll: maildirs, mbox files and single mails, read once and never changed."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import asyncpg

from contracts.values import Authority
from services.ingest import store, store_files, store_mailbox
from services.ingest.domain.mapping import MapMail
from services.ingest.domain.mbox import AnyMail, read_mail, split_mbox
from services.ingest.domain.options import FolderOptions
from services.ingest.domain.source import Source
from services.ingest.polling import Broken
from services.ingest.reception import Reception
from services.ingest.store_files import FileState
from services.ingest.taking import MailTaker
from services.runtime.postgres import acquire, transaction

_CHUNK = 100
_SEPARATOR = b"From "


@dataclass(frozen=True, slots=True)
class _File:
    """One file. Of a maildir's mails the name is kept without its flags, which change."""

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
        for start in range(0, len(waiting), _CHUNK):
            read: dict[str, FileState] = {}
            for file in waiting[start : start + _CHUNK]:
                if file.mbox:
                    await self._read_mbox(file, known.get(file.name), (done, total), go_on)
                else:
                    go_on()
                    if await self._take(await asyncio.to_thread(_read, file.path), file):
                        read[file.name] = FileState(file.size, complete=True)
                done += file.size
            await self._save(read, (done, total))
        async with acquire(self._pool) as connection:
            await store.save_pass(connection, self.name, horizon, "ok")

    async def _take(self, mail: AnyMail, file: _File) -> bool:
        return await self._taker.take(mail, "a file of the folder", file.folder) is not None

    async def _read_mbox(
        self, file: _File, known: FileState | None, progress: tuple[int, int], go_on: Callable[[], None]
    ) -> None:
        """Read a file from where it was left; one that has become shorter is another one."""
        start = known.read_bytes if known is not None and known.read_bytes <= file.size else 0
        done, total = progress
        with await asyncio.to_thread(file.path.open, "rb") as stream:
            letters = split_mbox(stream, start)
            number, end = 0, start
            while (letter := await asyncio.to_thread(next, letters, None)) is not None:
                go_on()
                await self._take(letter.mail, file)
                number, end = number + 1, letter.end
                if number % _CHUNK == 0:
                    await self._save({file.name: FileState(end, complete=False)}, (done + end, total))
        await self._save({file.name: FileState(max(end, start), complete=True)}, (done + file.size, total))

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
    if known is None or not known.complete:
        return False
    return known.read_bytes == file.size if file.mbox else True


def _listed(root: Path) -> list[_File]:
    try:
        return sorted(_found(root), key=lambda file: file.name)
    except OSError as fault:
        raise Broken(
            f"path cannot be read ({fault.strerror}); name a maildir, an mbox file or a folder of them that the"
            " service may read"
        ) from fault


def _found(root: Path) -> Iterator[_File]:
    if root.is_file():
        yield from _single(root, root.parent)
        return
    for path in root.iterdir():
        if path.is_dir() and path.name in {"cur", "new"}:
            folder = root.name.lstrip(".").replace(".", "/")
            for mail in path.iterdir():
                if mail.is_file() and not mail.name.startswith("."):
                    name = f"{root.name}/{mail.name.partition(':')[0]}"
                    yield _File(mail, name, folder, mbox=False, size=mail.stat().st_size)
        elif path.is_dir() and path.name != "tmp" and not path.is_symlink():
            yield from _found(path)
        elif path.is_file() and not path.name.startswith("."):
            yield from _single(path, root)


def _single(path: Path, root: Path) -> Iterator[_File]:
    name = f"{root.name}/{path.name}"
    size = path.stat().st_size
    if path.suffix.lower() == ".eml":
        yield _File(path, name, root.name, mbox=False, size=size)
        return
    with path.open("rb") as stream:
        if stream.read(len(_SEPARATOR)) == _SEPARATOR:
            yield _File(path, name, path.stem, mbox=True, size=size)


def _read(path: Path) -> AnyMail:
    with path.open("rb") as stream:
        return read_mail(stream)
