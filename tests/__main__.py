"""``./run_all.sh test``: the linter, then pytest; with ``--all`` also what is marked slow, every_task or network."""

import subprocess
import sys


def main(arguments: list[str]) -> int:
    """Run linter and tests; other arguments go to pytest."""
    chosen = [] if "--all" in arguments else ["-m", "not slow and not every_task and not network"]
    rest = [argument for argument in arguments if argument != "--all"]
    commands = (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["pytest", "--durations=10", *chosen, *rest],
    )
    for command in commands:
        status = subprocess.run([sys.executable, "-m", *command]).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
