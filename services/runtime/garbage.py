"""When the cyclic garbage collector works: not while a batch is being processed, and seldom otherwise.

A batch makes tens of thousands of small objects that all live until its end; every round of the collector would look at
all of them and free none. What the services leave behind in circles is little (tasks and errors of the event loop).
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_YOUNG = 5_000
"""Living containers made since the last round, from which on there is another. More would let requests that refer to
themselves keep their bodies for longer."""


def settle() -> None:
    """Take what was built until now for granted, and collect seldom from now on. For a process that begins to serve."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector out of the block."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
