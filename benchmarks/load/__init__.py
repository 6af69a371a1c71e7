"""Servers of the user's own under load, and servers that stall."""
