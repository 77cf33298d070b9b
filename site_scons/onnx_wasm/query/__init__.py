"""Questions about a workspace's graph, asked as Bazel's query asks them, and how the answers are told.

Nothing here knows SCons: ``rules.graph`` makes the graph.
"""
