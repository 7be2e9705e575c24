"""Many runs: experiments, rows, comparisons, verdicts, tables."""

from mp_lib.system.extras import require

require("lab")
