"""Demonstrations: recorded, stored in zarr, cut into the windows that training sees."""
