"""All verbs by name, those for everybody first."""

from __future__ import annotations

from mp_lib.commands import exchange, policies, project, robot, targets, upkeep

ROOMS = (project, policies, exchange, targets, robot, upkeep)
VERBS = {verb.name: verb for module in ROOMS for verb in module.VERBS}
