"""Long days: several servers on one daemon, for very many requests."""
