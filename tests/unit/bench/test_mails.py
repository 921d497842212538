"""The bench of an mbox reads what it wrote, both ways; its jobs raise where they do not."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from tests.bench.mails import job


@pytest.mark.parametrize("mapped", [False, True], ids=["parsed", "mapped"])
def test_an_mbox_of_the_bench_is_read_to_the_last_mail(*, mapped: bool) -> None:
    assert asyncio.run(job(mails=40, mapped=mapped))["per_second"] > 0


def test_the_memory_of_a_job_is_its_own_and_not_what_its_parent_had() -> None:
    job_of_its_own = "from tests.bench.mails import most_memory; print(most_memory())"
    parent = (
        "import subprocess, sys\n"
        "held = bytearray(b'x') * 600_000_000\n"
        f"subprocess.run([sys.executable, '-c', {job_of_its_own!r}], check=True)\n"
    )
    said = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    assert 0 < int(said.stdout) < 500_000_000
