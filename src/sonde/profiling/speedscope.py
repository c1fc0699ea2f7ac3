"""The speedscope format: JSON that the viewer of that name opens, one profile for each thread or other label."""

from __future__ import annotations

from typing import Any

import msgspec

from sonde.profiling.profile import Frame, Profile, Sample

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"  # a name that viewers know the format by

# Only these units are known to the viewer.
_UNITS = {
    "nanoseconds": "nanoseconds",
    "microseconds": "microseconds",
    "milliseconds": "milliseconds",
    "seconds": "seconds",
    "bytes": "bytes",
}


def to_speedscope(profile: Profile, *, name: str = "sonde", by: str = "thread", sample_type: str = "") -> bytes:
    """The profile as speedscope's JSON, with one profile inside for each value of the label ``by``, the largest first.

    What lacks the label is in a profile called ``-``. Weights are values of ``sample_type``, by default the profile's
    default; those of 0 are left out.

    Raises:
        ConfigError: the profile has no values of ``sample_type``.
    """
    index = profile.index(sample_type)
    frames: dict[Frame, int] = {}
    groups: dict[str, list[Sample]] = {}
    for sample in profile.samples:
        if sample.values[index] > 0:
            groups.setdefault(str(dict(sample.labels).get(by, "-")), []).append(sample)
    parts = sorted(
        (_part(title, samples, index, frames) for title, samples in groups.items()),
        key=lambda part: (-part["endValue"], part["name"]),
    )
    unit = _UNITS.get(profile.sample_types[index].unit, "none")
    for part in parts:
        part["unit"] = unit
    document = {
        "$schema": _SCHEMA,
        "exporter": "sonde",
        "name": name,
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame(frame) for frame in frames]},
        "profiles": parts or [_empty(name, unit)],
    }
    return msgspec.json.encode(document)


def _part(title: str, samples: list[Sample], index: int, frames: dict[Frame, int]) -> dict[str, Any]:
    weights = [sample.values[index] for sample in samples]
    return {
        "type": "sampled",
        "name": _clean(title),
        "unit": "",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": [[frames.setdefault(frame, len(frames)) for frame in reversed(sample.stack)] for sample in samples],
        "weights": weights,
    }


def _empty(name: str, unit: str) -> dict[str, Any]:
    """A file without any profile is one that the viewer refuses."""
    return {"type": "sampled", "name": name, "unit": unit, "startValue": 0, "endValue": 0, "samples": [], "weights": []}


def _frame(frame: Frame) -> dict[str, Any]:
    known: dict[str, Any] = {"name": _clean(frame.function)}
    if frame.file:
        known["file"] = _clean(frame.file)
    if frame.line:
        known["line"] = frame.line
    return known


def _clean(text: str) -> str:
    """Lone surrogates, as file names may have them, cannot be encoded."""
    return text.encode("utf-8", "replace").decode()
