"""A process that has imported what a server needs, and is forked for each new editor."""
