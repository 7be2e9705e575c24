"""Demonstrations in zarr and the windows that training sees."""
