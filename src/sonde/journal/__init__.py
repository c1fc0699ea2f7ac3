"""The journal: what a process that is killed leaves beside the store, for the next one to take in.

For each writer a *mark*, a file beside the store that its process holds locked; *words*, which say how many events it
may have published; and at durability ``emit`` *arenas*, which hold the events themselves until they are committed. Both
are memory-mapped files in a file system that is memory, or beside the store.
"""

from sonde.journal.journal import Fence, Journal
from sonde.journal.mark import Header
from sonde.journal.place import sweep_memory
from sonde.journal.remains import Remains, folder_of, left_behind, look, remove_unfinished

__all__ = [
    "Fence",
    "Header",
    "Journal",
    "Remains",
    "folder_of",
    "left_behind",
    "look",
    "remove_unfinished",
    "sweep_memory",
]
