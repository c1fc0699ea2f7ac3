"""Vocabulary: what the data of events means. Metrics and queries read the same one.

Which types begin and end an operation, what it is called, how it ended, how long it took, which tokens it used and
what it cost: in sonde's own spelling and in the original's.

>>> from sonde.vocabulary import duration_of, name_of, role_of
>>> role = role_of("agent.tool.result")
>>> role.kind, role.status.value, name_of(role.kind, {"tool": "read_file"}), duration_of({"duration_ms": 1500})
('agent.tool', 'completed', 'read_file', 1.5)
"""

from sonde.vocabulary.role import Role, name_of, role_of
from sonde.vocabulary.status import Status
from sonde.vocabulary.usage import (
    TOKEN_KEYS,
    UNKNOWN_COST,
    Cost,
    CostSource,
    add_tokens,
    cost_of,
    duration_of,
    is_number,
    tokens_of,
)

__all__ = [
    "TOKEN_KEYS",
    "UNKNOWN_COST",
    "Cost",
    "CostSource",
    "Role",
    "Status",
    "add_tokens",
    "cost_of",
    "duration_of",
    "is_number",
    "name_of",
    "role_of",
    "tokens_of",
]
