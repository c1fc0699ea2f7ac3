"""Profiles: where a program spends its time, by session, task and tool."""

from sonde.profiling.collapsed import to_collapsed as to_collapsed
from sonde.profiling.pprof import from_pprof as from_pprof
from sonde.profiling.pprof import to_pprof as to_pprof
from sonde.profiling.profile import Frame as Frame
from sonde.profiling.profile import Labels as Labels
from sonde.profiling.profile import Profile as Profile
from sonde.profiling.profile import Sample as Sample
from sonde.profiling.profile import ValueType as ValueType
from sonde.profiling.profile import labels_of as labels_of
from sonde.profiling.recorder import ProfileConfig as ProfileConfig
from sonde.profiling.recorder import ProfileRecorder as ProfileRecorder
from sonde.profiling.speedscope import to_speedscope as to_speedscope
