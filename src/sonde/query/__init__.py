"""Query: what happened, rebuilt from events. Reads any store that keeps the contract; writes nothing."""

from sonde.query.derived import derive_metrics
from sonde.query.metrics import read_metrics
from sonde.query.operation import Operation
from sonde.query.operations import OperationTree, OperationTreeBuilder
from sonde.query.profiles import RecordedProfile, load_profile, read_profile, select_samples
from sonde.query.pulse import Pulse
from sonde.query.replay import replay
from sonde.query.session import Session, SessionSummary, session_from_events
from sonde.query.sessions import list_sessions, load_session, resolve_session
from sonde.query.totals import CostTotal, Durations, OperationTotal, Totals
from sonde.vocabulary import TOKEN_KEYS, UNKNOWN_COST, Cost, Status, cost_of, duration_of, tokens_of

__all__ = [
    "TOKEN_KEYS",
    "UNKNOWN_COST",
    "Cost",
    "CostTotal",
    "Durations",
    "Operation",
    "OperationTotal",
    "OperationTree",
    "OperationTreeBuilder",
    "Pulse",
    "RecordedProfile",
    "Session",
    "SessionSummary",
    "Status",
    "Totals",
    "cost_of",
    "derive_metrics",
    "duration_of",
    "list_sessions",
    "load_profile",
    "load_session",
    "read_metrics",
    "read_profile",
    "replay",
    "resolve_session",
    "select_samples",
    "session_from_events",
    "tokens_of",
]
