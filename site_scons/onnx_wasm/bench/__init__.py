"""How long a finished module takes, and how large it is, where it runs; and that against what it was before."""
