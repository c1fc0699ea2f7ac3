"""Program: how sonde is called from where the person is, for hints that can be pasted."""

from __future__ import annotations

import os
import shlex
import shutil
import sys


def program() -> str:
    """``sonde`` where that finds this very program; else its path, relative if it lies in the current folder.

    Started in another way (``python -m sonde``, from a test) it is plain ``sonde``.
    """
    path = os.path.abspath(sys.argv[0])
    if os.path.splitext(os.path.basename(path))[0] != "sonde" or not os.path.isfile(path):
        return "sonde"
    found = shutil.which("sonde")
    if found is not None and os.path.samefile(found, path):
        return "sonde"
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # removed meanwhile
        return shlex.quote(path)
    if os.path.commonpath([folder, path]) != folder:
        return shlex.quote(path)
    relative = os.path.relpath(path, folder)
    return shlex.quote(relative if os.sep in relative else os.path.join(os.curdir, relative))
