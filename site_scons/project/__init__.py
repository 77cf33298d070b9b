"""What this repository needs for itself, and those who only use the rules do not: tests, linters, reference."""
