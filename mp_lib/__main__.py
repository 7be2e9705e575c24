"""``python -m mp_lib``, also installed as ``mp-lib``: lists the verbs and runs them."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence

from mp_lib.commands.table import VERBS
from mp_lib.system.errors import Stopped, one_line
from mp_lib.system.extras import explain
from mp_lib.system.names import nearest

HELP = ("-h", "--help", "help")
UNREAD = 128 + 13  # SIGPIPE


def overview() -> str:
    """All verbs with a line each, those for users first."""
    said = ["usage: python -m mp_lib VERB [options]; VERB --help tells more. `./run_all.sh` runs experiments."]
    for title, maintains in (("For everybody:", False), ("For who maintains the project:", True)):
        said += ["", title, *(f"  {verb.name:16}{verb.does}" for verb in VERBS.values() if verb.maintains is maintains)]
    return "\n".join(said)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status: 2, and one line, for what was given wrongly or is missing.

    Where nobody reads any more what is printed, as behind ``| head``, it ends there, with 141 as a shell has it.
    """
    try:
        try:
            return answer(*((sys.argv[1:] if arguments is None else arguments) or ["help"]))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is left in its buffer would be written again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD


def answer(name: str, *rest: str) -> int:
    """Run a verb with the rest of a command line."""
    if name in HELP:
        print(overview())
        return 0
    if name not in VERBS:
        near = nearest(name, VERBS, len(VERBS), 0)
        print(f"mp_lib: unknown verb {name!r}; choose one of: {', '.join(near)}", file=sys.stderr)
        return 2
    try:
        return VERBS[name].act(VERBS[name].parse(rest)) or 0
    except (ModuleNotFoundError, ValueError, OSError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError) and nobody_reads():
            raise
        said = explain(error) if isinstance(error, ModuleNotFoundError) else error
        print(f"mp_lib {name}: {one_line(said)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"mp_lib {name}: {error if isinstance(error, Stopped) else 'stopped'}", file=sys.stderr)
        return 130


def nobody_reads() -> bool:
    """Whether what is printed goes into a pipe whose other end is closed."""
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), 0)  # errors are told without being asked for
    return bool(pipe.poll(0))


if __name__ == "__main__":
    sys.exit(main())
