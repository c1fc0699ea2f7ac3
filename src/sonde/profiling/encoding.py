"""Encoding: a profile in the format that a target asks for."""

from __future__ import annotations

from sonde.errors import ProfileError
from sonde.profiling.collapsed import to_collapsed
from sonde.profiling.pprof import to_pprof
from sonde.profiling.profile import Profile
from sonde.profiling.speedscope import to_speedscope


def encode_profile(profile: Profile, format: str) -> bytes:
    """A profile in one of the formats, ``pprof``, ``speedscope`` or ``collapsed``.

    Raises:
        ProfileError: another format.
    """
    if format == "pprof":
        return to_pprof(profile)
    if format == "speedscope":
        return to_speedscope(profile, name=" ".join(profile.comments) or "sonde")
    if format == "collapsed":
        return to_collapsed(profile)
    raise ProfileError(f"cannot write a profile as {format!r}: expected pprof, speedscope or collapsed")
