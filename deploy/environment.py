"""Makes .venv from a lock file, once: `python3 deploy/bootstrap.py local|dev`. The standard library is all it has.

`local` is what the demo needs, `dev` what tests and checks need on top. `bench` is what the bench compares with, in an
environment of its own (.venv-bench): those packages want other versions than ours. Every package is verified by its
hash, none is built here. A stamp says which lock files are installed: with that, a second run is over at once and needs
no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from fcntl import LOCK_EX, flock
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
VENV = CHECKOUT / ".venv"
PEERS = CHECKOUT / ".venv-bench"
LOCKS = {name: CHECKOUT / "requirements" / f"{name}.lock" for name in ("local", "dev", "bench")}
CONTAINS = {"local": ("local",), "dev": ("dev", "local"), "bench": ("bench",)}  # dev.lock has all of local.lock

_ROOM = {"local": 1200 * 2**20, "dev": 1800 * 2**20, "bench": 400 * 2**20}  # bytes, with what pip needs meanwhile
_PLAIN_EVERY = 20  # packages between two lines where there is no terminal
_INTERRUPTED = 130  # what shells expect after Ctrl-C
_NO_NETWORK = re.compile(
    r"NewConnectionError|Failed to establish|name resolution|Network is unreachable|ProxyError|ReadTimeout"
    r"|ConnectTimeout|Connection refused|Connection broken|Max retries exceeded|timed out|SSLError|No route to host"
)


class SetupFault(Exception):
    """The environment cannot be made. The text is a sentence for the person at the keyboard."""


class Progress:
    """One line that changes on a terminal; plain lines elsewhere. On stderr."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._open = False

    def step(self, text: str) -> None:
        """A new step begins."""
        self.close()
        print(text, file=sys.stderr, flush=True)

    def package(self, count: int, total: int, name: str) -> None:
        """One more package is being fetched."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            line = f"  {count} of {total} packages: {name}"[:width]
            print(f"\r{line:<{width}}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif count % _PLAIN_EVERY == 0:
            print(f"  {count} of {total} packages", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the line that changes."""
        if self._open:
            print(file=sys.stderr)
            self._open = False


def main(arguments: list[str]) -> int:
    """Makes the environment; 0 when it is there, else 1 and a sentence."""
    if len(arguments) != 1 or arguments[0] not in LOCKS:
        print(f"usage: python3 deploy/bootstrap.py {'|'.join(LOCKS)}", file=sys.stderr)
        return 2
    progress = Progress()
    try:
        set_up(arguments[0], progress)
    except SetupFault as fault:
        progress.close()
        print(fault, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        progress.close()
        print("Interrupted; run the same command again to go on.", file=sys.stderr)
        return _INTERRUPTED
    except OSError as fault:
        progress.close()
        print(f"The Python environment cannot be made: {fault}", file=sys.stderr)
        return 1
    return 0


def set_up(kind: str, progress: Progress) -> None:
    """Returns when the environment has what the lock file of this kind says. Raises SetupFault."""
    with _one_at_a_time():
        wanted = _stamp(kind)
        if not _usable(_python(kind)):
            create_venv(kind, progress)
        if not _stamp_file(kind).is_file() or _stamp_file(kind).read_text() != wanted:
            require_room(kind)
            progress.step(f"installing what requirements/{kind}.lock lists, verified by hash (once)")
            _install(_python(kind), LOCKS[kind], progress)
        if _venv(kind) == VENV:
            _link_project()
        for contained in CONTAINS[kind]:
            _stamp_file(contained).write_text(_stamp(contained))


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    directory = CHECKOUT / ".tenure"
    directory.mkdir(exist_ok=True)
    with (directory / "environment.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def _venv(kind: str) -> Path:
    return PEERS if kind == "bench" else VENV


def _python(kind: str) -> Path:
    return _venv(kind) / "bin" / "python"


def _stamp_file(kind: str) -> Path:
    return _venv(kind) / f"installed-{kind}"


def _stamp(kind: str) -> str:
    return hashlib.sha256(LOCKS[kind].read_bytes()).hexdigest()


def _usable(python: Path) -> bool:
    """Whether .venv has a Python that runs and is new enough; it may have been removed from the machine."""
    question = "import sys, pip; raise SystemExit(sys.version_info < (3, 11))"
    try:
        done = subprocess.run([python, "-c", question], check=False, capture_output=True, stdin=subprocess.DEVNULL)
    except OSError:
        return False
    return done.returncode == 0


def create_venv(kind: str, progress: Progress) -> None:
    """Makes an empty environment with pip. Raises SetupFault where this Python cannot."""
    if importlib.util.find_spec("ensurepip") is None:
        raise SetupFault(
            "This Python cannot make virtual environments: it has no ensurepip. "
            "On Debian and Ubuntu install the package python3-venv, then run the same command again."
        )
    require_room(kind)
    progress.step(f"making {_venv(kind).name} with Python {sys.version_info.major}.{sys.version_info.minor}")
    try:
        venv.EnvBuilder(clear=True, with_pip=True, symlinks=True).create(_venv(kind))
    except subprocess.CalledProcessError as fault:
        shutil.rmtree(_venv(kind), ignore_errors=True)
        raise SetupFault(
            "A virtual environment with pip cannot be made with this Python. On Debian and Ubuntu install the package "
            "python3-venv, then run the same command again."
        ) from fault


def require_room(kind: str) -> None:
    """Raises SetupFault when the disk has no room for what is fetched and unpacked."""
    free = shutil.disk_usage(CHECKOUT).free
    if free < _ROOM[kind]:
        raise SetupFault(
            f"Only {free // 2**20} MiB are free in {CHECKOUT}; the Python packages need {_ROOM[kind] // 2**20} MiB."
        )


def _install(python: Path, lock: Path, progress: Progress) -> None:
    total = sum("==" in line and not line.startswith((" ", "#")) for line in lock.read_text().splitlines())
    command = [
        *(str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar=off"),
        *("--require-hashes", "--only-binary=:all:", "--no-deps", "--retries=2", "-r", str(lock)),
    ]
    output = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        count = 0
        for line in pip.stdout or ():
            output.append(line)
            if line.startswith(("Collecting ", "Requirement already satisfied: ")):
                count += 1
                progress.package(count, total, re.split(r"[=<> ]", line.removeprefix("Collecting "))[0])
            elif line.startswith("Installing collected packages"):
                progress.step("  unpacking")
    progress.close()
    if pip.returncode != 0:
        raise SetupFault(explain("".join(output)))


def explain(output: str) -> str:
    """A sentence for what pip said."""
    if "No space left on device" in output:
        return "The disk is full: the Python packages could not be installed. Make room and run the same command again."
    if "CERTIFICATE_VERIFY_FAILED" in output:
        return (
            "The Python packages cannot be fetched: pip trusts nobody who signed the server's certificate. Where "
            "the network has a certificate authority of its own, name its file in PIP_CERT and try again."
        )
    if _NO_NETWORK.search(output):
        return (
            "The Python packages cannot be fetched: the package index does not answer. The first run needs the network "
            "(or a mirror, named in pip's own configuration); later runs do not."
        )
    if "DO NOT MATCH THE HASHES" in output:
        return "A package is not the one that the lock file names (its hash differs); nothing was installed."
    reasons = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines()[-3:]
    return "pip could not install the Python packages. It said:\n  " + "\n  ".join(reasons)


def _link_project() -> None:
    """Makes this checkout importable in .venv and gives it the command `tenure`: what an editable install does."""
    version = subprocess.run(
        [_python("local"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    _write_if_new(Path(version.stdout.strip()) / "tenure-checkout.pth", f"{CHECKOUT}\n")
    script = VENV / "bin" / "tenure"
    launcher = "import sys\n\nfrom services.cli.app import main\n\nsys.exit(main())\n"
    # a path with blanks or of more than 127 characters is no good in a first line; sh finds python beside itself
    head = "#!/bin/sh\n'''exec' \"$(dirname \"$0\")/python\" \"$0\" \"$@\"\n' '''\n"
    _write_if_new(script, head + launcher)
    script.chmod(0o755)


def _write_if_new(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(text)
        draft.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
