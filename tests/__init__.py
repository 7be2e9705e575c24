"""Tests, a folder a room of the package; those at the top are about the ground floor or about several rooms."""

from pathlib import Path

ROOT = Path(__file__).parents[1]  # the checkout
