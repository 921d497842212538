"""The partitions of many keys at once: the same as `publishing.key_hash` says of each, for a fifth of its time."""

from collections.abc import Sequence
from functools import lru_cache
from struct import pack, unpack
from typing import NamedTuple

from services.runtime.publishing import key_hash

_ID_BYTES = 36
_WORDS = _ID_BYTES // 4
_FACTOR = 0x5BD1E995
_SEED = 0x9747B28C ^ _ID_BYTES
_WORTH_IT = 8


class _Masks(NamedTuple):
    """Of so many lanes of 64 bits: the lowest bits of each."""

    seed: int
    word: int
    bits_8: int
    bits_19: int
    bits_17: int
    bits_31: int


def partitions_of(keys: Sequence[bytes], count: int) -> list[int]:
    """Return each key's partition among `count`."""
    if len(keys) < _WORTH_IT or any(len(key) != _ID_BYTES for key in keys):
        return [key_hash(key) % count for key in keys]
    return [found % count for found in _hashes(keys)]


def _hashes(keys: Sequence[bytes]) -> Sequence[int]:
    """Return murmur2 of ids: one great number holds all of them, each in a lane wide enough for a product of words."""
    number = len(keys)
    mask = _masks(number)
    words = unpack(f"<{_WORDS * number}I", b"".join(keys))
    form = f"<{number}Q"
    state = mask.seed
    for place in range(_WORDS):
        mixed = int.from_bytes(pack(form, *words[place::_WORDS]), "little") * _FACTOR & mask.word
        mixed = (mixed ^ mixed >> 24 & mask.bits_8) * _FACTOR & mask.word
        state = state * _FACTOR & mask.word ^ mixed
    state = (state ^ state >> 13 & mask.bits_19) * _FACTOR & mask.word
    state = (state ^ state >> 15 & mask.bits_17) & mask.bits_31
    return unpack(form, state.to_bytes(8 * number, "little"))


@lru_cache(maxsize=64)
def _masks(number: int) -> _Masks:
    def lanes(value: int) -> int:
        return int.from_bytes(value.to_bytes(8, "little") * number, "little")

    return _Masks(lanes(_SEED), *(lanes((1 << bits) - 1) for bits in (32, 8, 19, 17, 31)))
