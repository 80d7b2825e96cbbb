"""Films of one run: its frames, and the file they become."""
