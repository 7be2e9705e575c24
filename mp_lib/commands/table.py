"""All verbs by name, those for everybody first."""

from __future__ import annotations

from mp_lib.commands import policies, project, robot, upkeep

VERBS = {verb.name: verb for verb in (*project.VERBS, *policies.VERBS, *robot.VERBS, *upkeep.VERBS)}
