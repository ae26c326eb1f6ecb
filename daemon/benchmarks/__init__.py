"""Benchmarks: each part against an honest baseline, measured side by side in one run."""
