"""The secrets that a source names: read, checked, and never shown."""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.ingest.domain.mistakes import Mistake
from services.ingest.domain.schemes import SchemeName
from services.ingest.domain.source import Source, SourceConfiguration
from services.ingest.regular import NoFile, TooLong, read_regular
from services.ingest.verify import read_key

_LONGEST = 64 * 1024


class Secrets:
    """Reads the secrets of one source. `mistakes` stop it from being used, `doubts` do not."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self.mistakes: list[Mistake] = []
        self.doubts: list[Mistake] = []

    def read(self, configuration: SourceConfiguration) -> Source | None:
        """Return the source with its keys; None: `mistakes` say why not."""
        secrets = [
            (number, self._secret("secret_files", file, str(number)))
            for number, file in enumerate(configuration.secret_files)
        ]
        password_file = getattr(configuration.options, "password_file", None)
        password = None if password_file is None else self._secret("password_file", password_file)
        keys = self._keys(configuration, [(number, secret) for number, secret in secrets if secret is not None])
        if self.mistakes:
            return None
        return Source(name=self._name, configuration=configuration, keys=keys, password=password)

    def _keys(self, configuration: SourceConfiguration, secrets: list[tuple[int, str]]) -> tuple[bytes, ...]:
        scheme = configuration.scheme
        if scheme is None:
            return ()
        if scheme is SchemeName.SNS:
            return tuple(read_key(scheme, topic) for topic in getattr(configuration.options, "topics", ()))
        keys = []
        for number, secret in secrets:
            try:
                keys.append(read_key(scheme, secret))
            except ValueError:
                file = configuration.secret_files[number]
                self._wrong(
                    ("secret_files", str(number)),
                    f"{file} does not hold a secret as {configuration.provider} shows it",
                    "copy it as it is shown (Standard Webhooks: whsec_ and base64 of at least 16 bytes)",
                )
        return tuple(keys)

    def look(self, table: Mapping[str, Any]) -> None:
        """Look for the files that a table names in which something else is wrong, so that all is said at once."""
        files = table.get("secret_files")
        for number, file in enumerate(files if isinstance(files, list) else ()):
            if isinstance(file, str):
                self._secret("secret_files", file, str(number))
        if isinstance(file := table.get("password_file"), str):
            self._secret("password_file", file)

    def _secret(self, field: str, file: str, number: str | None = None) -> str | None:
        path = self._folder / file
        place = (field,) if number is None else (field, number)
        try:
            # Editors on Windows begin a file with a mark that is no part of it.
            secret = read_regular(path, _LONGEST).decode("utf-8-sig").strip()
            mode = path.stat().st_mode
        except (OSError, NoFile, UnicodeDecodeError):
            self._wrong(place, f"the secret file {_shown(path)} cannot be read", "create it, readable by us only")
            return None
        except TooLong:
            self._wrong(place, f"the secret file {path} is larger than 64 KiB", "write the secret alone into it")
            return None
        if not secret:
            self._wrong(place, f"the secret file {path} is empty", "write the secret into it")
            return None
        if mode & stat.S_IRWXO:
            doubt = f"the secret file {path} can be read by everybody on this machine"
            self.doubts.append(Mistake(("sources", self._name, *place), doubt, f"chmod o= {path}"))
        return secret

    def _wrong(self, place: tuple[str, ...], message: str, remedy: str) -> None:
        self.mistakes.append(Mistake(("sources", self._name, *place), message, remedy))


def _shown(path: Path) -> str:
    """Return a path on one line, whatever characters it holds."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in str(path))
