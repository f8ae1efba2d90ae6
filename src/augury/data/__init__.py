"""Labelled images from named sets, folders, arrays and tables, checked once and held as `Examples`."""
