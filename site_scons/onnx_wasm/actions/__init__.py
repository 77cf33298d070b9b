"""One module per action: a process that turns declared inputs into declared outputs and touches nothing else."""
