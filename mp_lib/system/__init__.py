"""What any long-running program needs; nothing of robots in it."""
