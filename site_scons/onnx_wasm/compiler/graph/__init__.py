"""Relax → Relax: the graph brought into the form that the kernels want, one pass per file."""
