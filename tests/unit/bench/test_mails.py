"""The bench of an mbox reads what it wrote, both ways; its jobs raise where they do not."""

from __future__ import annotations

import asyncio

import pytest

from tests.bench.mails import job


@pytest.mark.parametrize("mapped", [False, True], ids=["parsed", "mapped"])
def test_an_mbox_of_the_bench_is_read_to_the_last_mail(*, mapped: bool) -> None:
    assert asyncio.run(job(mails=40, mapped=mapped))["per_second"] > 0
