"""The engine beside processes that take the cores."""
