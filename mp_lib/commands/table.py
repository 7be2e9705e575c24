"""All verbs by name, those for everybody first."""

from __future__ import annotations

from mp_lib.commands import policies, project, robot, targets, upkeep

EVERYBODYS = (*project.VERBS, *policies.VERBS, *robot.VERBS, *targets.VERBS)
VERBS = {verb.name: verb for verb in (*EVERYBODYS, *upkeep.VERBS)}
