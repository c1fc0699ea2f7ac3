"""Identities are found by seeks, however many an importer has left."""

from __future__ import annotations

import apsw

from sonde.store import identities, schema


def test_a_large_set_is_never_read_whole() -> None:
    """Looking up a batch of random numbers costs steps for the batch, not for what is stored."""
    connection = apsw.Connection(":memory:")
    schema.create(connection, on_disk=False)
    steps = [0]

    def count() -> bool:
        steps[0] += 1
        return False

    def cost(numbers: set[int]) -> int:
        steps[0] = 0
        connection.set_progress_handler(count, 100)
        assert identities.remember(connection, 1, numbers) == set()
        return steps[0]

    few = cost(set(range(0, 1_000, 10)))
    identities.remember(connection, 1, set(range(10_000, 400_000, 3)))
    many = cost(set(range(1_000_000, 1_001_000, 10)))
    assert many < 3 * few
    connection.close()
