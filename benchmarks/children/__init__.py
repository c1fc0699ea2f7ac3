"""Programs that a comparison starts: what has to be measured in a process that did nothing else."""
