"""Many runs: experiments, rows, comparisons, verdicts, tables."""
