"""Where a model's time goes: each of its kernels run alone, in the runtime of its platform."""
