"""Replay of typing against a real server, ours and others."""
