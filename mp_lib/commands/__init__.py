"""The verbs of ``python -m mp_lib``: their options here, what they do in the rooms, imported when a verb runs."""
