"""``python -m mp_lib``, also installed as ``mp-lib``: lists the verbs and runs them."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence

from mp_lib.commands import VERBS
from mp_lib.system.extras import explain

HELP = ("-h", "--help", "help")


def overview() -> str:
    """All verbs with a line each, those for users first."""
    said = ["usage: python -m mp_lib VERB [options]; VERB --help tells more. `./run_all.sh` runs experiments."]
    for title, maintains in (("For everybody:", False), ("For who maintains the project:", True)):
        said += ["", title, *(f"  {verb.name:13}{verb.does}" for verb in VERBS.values() if verb.maintains is maintains)]
    return "\n".join(said)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status: 2, and one line, for what was given wrongly or is missing."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["help"]
    if name in HELP:
        print(overview())
        return 0
    if name not in VERBS:
        nearest = difflib.get_close_matches(name, VERBS, n=len(VERBS), cutoff=0)
        print(f"mp_lib: unknown verb {name!r}; choose one of: {', '.join(nearest)}", file=sys.stderr)
        return 2
    try:
        return VERBS[name].act(VERBS[name].parse(rest)) or 0
    except (ModuleNotFoundError, ValueError, OSError, RuntimeError) as error:
        said = explain(error) if isinstance(error, ModuleNotFoundError) else error
        print(f"mp_lib {name}: {said}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"mp_lib {name}: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
