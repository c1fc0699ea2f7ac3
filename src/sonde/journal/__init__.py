"""The journal: what a process that is killed leaves beside the store, for the next one to take in.

For each writer a *mark*, a file that its process holds locked; *words*, in memory, which say how many events it may
have published; and at durability ``emit`` *arenas*, memory-mapped files that hold the events themselves until they are
committed.
"""

from sonde.journal.journal import Fence, Journal
from sonde.journal.remains import Remains, folder_of, left_behind, look
from sonde.journal.words import sweep_words

__all__ = ["Fence", "Journal", "Remains", "folder_of", "left_behind", "look", "sweep_words"]
