"""sonde: the flight recorder for AI agents."""
