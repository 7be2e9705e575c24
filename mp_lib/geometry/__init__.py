"""What the numbers of states and actions mean: their kinds, rotations, and actions relative to where a robot stands."""
