"""All verbs by name, those for everybody first."""

from __future__ import annotations

from mp_lib.commands import exchange, policies, project, upkeep

VERBS = {verb.name: verb for verb in (*project.VERBS, *policies.VERBS, *exchange.VERBS, *upkeep.VERBS)}
