"""The others, each in its recommended production set-up, with an end that discards."""
