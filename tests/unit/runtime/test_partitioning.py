"""Many keys at once go where each of them would go by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contracts.ids import new_id
from services.runtime.partitioning import partitions_of
from services.runtime.publishing import key_hash

IDS = st.one_of(st.binary(min_size=36, max_size=36), st.uuids().map(lambda id_: str(id_).encode()))


@given(st.lists(IDS, max_size=80), st.integers(1, 64))
def test_ids_have_the_partition_that_each_has_alone(keys: list[bytes], count: int) -> None:
    assert partitions_of(keys, count) == [key_hash(key) % count for key in keys]


@given(st.lists(st.binary(max_size=40), min_size=8, max_size=20))
def test_keys_of_any_length_too(keys: list[bytes]) -> None:
    assert partitions_of(keys, 24) == [key_hash(key) % 24 for key in keys]


def test_a_whole_request_of_ids_too() -> None:
    keys = [new_id().encode() for _ in range(500)]
    assert partitions_of(keys, 24) == [key_hash(key) % 24 for key in keys]
