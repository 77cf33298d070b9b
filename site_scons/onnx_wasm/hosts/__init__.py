"""Where finished modules run: what each platform accepts, and stand-ins for the platforms' own runtimes."""
