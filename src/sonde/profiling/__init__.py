"""Profiles: where a program spends its time, by session, task and tool."""

from sonde.profiling.chunk import LOST_STACK as LOST_STACK
from sonde.profiling.chunk import MORE_STACKS as MORE_STACKS
from sonde.profiling.chunk_reader import ChunkReader as ChunkReader
from sonde.profiling.chunk_writer import LEAST_CHUNK_BYTES as LEAST_CHUNK_BYTES
from sonde.profiling.chunk_writer import ChunkWriter as ChunkWriter
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
