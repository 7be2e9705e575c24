"""``./run_all.sh test``: the linter, then pytest; with ``--all`` also what is marked slow, every_task or network."""

import subprocess
import sys

from mp_lib.system.workers import usable_cores

MOST_WORKERS = 4  # each imports torch and makes what its tests share anew


def main(arguments: list[str]) -> int:
    """Run linter and tests, these by a worker a core; other arguments go to pytest, ``-n 0`` for none, say."""
    chosen = [] if "--all" in arguments else ["-m", "not slow and not every_task and not network"]
    rest = [argument for argument in arguments if argument != "--all"]
    workers = ["-n", str(min(usable_cores(), MOST_WORKERS)), "--dist", "loadfile", "--no-loadscope-reorder"]
    commands = (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["pytest", "--durations=10", *workers, *chosen, *rest],
    )
    for command in commands:
        status = subprocess.run([sys.executable, "-m", *command]).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
