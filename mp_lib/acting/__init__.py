"""A policy at work, on a robot or anywhere else: no simulator is known here, and torch only where a run is loaded."""
