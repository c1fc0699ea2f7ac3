"""The recorder: the one place that wires hub, store, persister and operations together."""

from sonde.recorder.location import (
    DB_VARIABLE,
    DISABLED_VARIABLE,
    PROFILE_VARIABLE,
    SESSION_VARIABLE,
    TRACEPARENT_VARIABLE,
    default_db,
    default_session_id,
    traceparent,
)
from sonde.recorder.recorder import RECORDER_HUB, Recorder
from sonde.recorder.recording import record
from sonde.recorder.recovery import Recovery, pending, recover, recover_or_log
from sonde.recorder.stats import RecorderStats

__all__ = [
    "DB_VARIABLE",
    "DISABLED_VARIABLE",
    "PROFILE_VARIABLE",
    "RECORDER_HUB",
    "SESSION_VARIABLE",
    "TRACEPARENT_VARIABLE",
    "Recorder",
    "RecorderStats",
    "Recovery",
    "default_db",
    "default_session_id",
    "pending",
    "record",
    "recover",
    "recover_or_log",
    "traceparent",
]
