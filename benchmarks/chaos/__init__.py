"""Faults that are made on purpose, many times: what users see of them, and for how long."""
