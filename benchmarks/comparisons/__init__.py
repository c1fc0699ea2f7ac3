"""The comparisons, each in a module that is imported when it is run."""
