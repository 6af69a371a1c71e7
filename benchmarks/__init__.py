"""Benchmarks: everything that measures time or quality lives here, never in tests."""
