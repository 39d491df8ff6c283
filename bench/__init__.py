"""Benchmarks: Seawall beside its peers in one run, shown as ratios. Never part of the tests."""
