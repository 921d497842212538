"""A planted bug that no longer fits what it replaces would break the service in another way, and prove nothing."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.faults.planted import put
from tests.faults.planted.catalogue import BUGS


@pytest.mark.parametrize("name", BUGS)
def test_every_bug_takes_what_the_place_that_it_is_put_in_is_given(name: str) -> None:
    plant = f"from tests.faults.planted.catalogue import BUGS; BUGS[{name!r}].plant()"
    planted = subprocess.run([sys.executable, "-c", plant], capture_output=True, text=True, check=False)
    assert planted.returncode == 0, planted.stderr


def test_a_bug_that_takes_other_arguments_is_refused() -> None:
    place = SimpleNamespace(decode=lambda records, one, *, now: (records, one, now))
    put(place, "decode", lambda records, one, *, now: (one, records, now))
    put(place, "decode", lambda *_, **__: None)
    place = SimpleNamespace(decode=lambda records, one: (records, one))
    with pytest.raises(TypeError, match="too many positional arguments"):
        put(place, "decode", lambda records: records)
