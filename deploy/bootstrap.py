"""The first thing that runs, with whatever `python3` there is: finds one that is new enough and hands over to it.

Written so that an old Python can read it as well and say what is wrong.
"""

import os
import sys

OLDEST = (3, 11)


def newer_python():
    """The path of a Python on PATH that is new enough, or None."""
    for minor in range(20, OLDEST[1] - 1, -1):
        for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
            candidate = os.path.join(directory, "python3.%d" % minor)
            if os.access(candidate, os.X_OK):
                return candidate
    return None


def main():
    """Runs deploy/environment.py with the same arguments."""
    here = os.path.dirname(os.path.abspath(__file__))
    script = os.path.join(here, "environment.py")
    if sys.version_info[:2] >= OLDEST:
        python = sys.executable
    else:
        python = newer_python()
        if python is None:
            sys.stderr.write(
                "Tenure needs Python %d.%d or newer; this is %d.%d. Install a newer one, "
                "or name it: make demo PYTHON=...\n" % (OLDEST + tuple(sys.version_info[:2]))
            )
            return 1
    return os.execv(python, [python, script] + sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
