"""Plants one bug and becomes the service."""

from __future__ import annotations

import runpy
import sys

from tests.faults.planted.catalogue import BUGS

if __name__ == "__main__":
    _, bug, module = sys.argv
    BUGS[bug].plant()
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
