"""The libraries that run a model, side by side on the same file."""
