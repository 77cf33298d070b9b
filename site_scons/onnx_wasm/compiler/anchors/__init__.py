"""The kernels that carry a model's work, as tensor expressions; ``schedules`` knows each by its main block's name."""
