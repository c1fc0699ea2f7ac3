"""What sonde costs beside its peers, measured side by side in one run: ``python -m benchmarks``, or ``make bench``.

Absolute times are this machine's at this moment. What carries over are ratios, taken round by round.
"""
