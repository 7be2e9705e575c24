"""A recording, a training and an evaluation of seconds each, in the folder MP_ROOT."""

import sys

from mp_lib.pipeline.experiment import Experiment
from mp_lib.pipeline.runner import Runner
from mp_lib.study.designs import Arm, Design

CHANGES = {"num_steps": 150, "final_episodes": 12, "num_demos": 4}
SMALL = Design(
    "small",
    "A small run",
    "Does it end?",
    ("dp3_narrow",),
    arms=(Arm("usual", 0, CHANGES), Arm("two denoising steps", 2, CHANGES | {"num_inference_steps": 2})),
    after_training=True,
    pages=(),
)


def steps():
    """Its three steps."""
    return Experiment("smoke", SMALL, device="cpu").steps(cores=2)


def main() -> int:
    try:
        return len(Runner(steps(), jobs=2).run())
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
