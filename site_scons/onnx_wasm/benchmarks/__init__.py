"""Benchmarks: what is measured, against which limits. One module each, and the table that all of them print."""
