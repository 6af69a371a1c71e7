"""Speed of a model's quantizations."""
