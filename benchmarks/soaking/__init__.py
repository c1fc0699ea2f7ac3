"""The soak: half an hour of a busy agent with retention on, and whether anything grew. ``make soak``."""
