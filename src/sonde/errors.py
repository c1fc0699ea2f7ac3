"""Every error that sonde raises, in one tree.

::

    SondeError
    ├── ConfigError (ValueError)            an argument or setting that cannot work
    ├── EventError
    │   ├── EventDecodeError (ValueError)   bytes that are no event
    │   └── EventEncodeError (ValueError)   an event that JSON cannot carry
    ├── SessionNotFoundError                a session that the store does not hold
    ├── MissingExtraError                   an optional package is not installed
    ├── MetricTypeError (TypeError)         one name for metrics of two types
    ├── ProfileError                        a profile cannot be taken, written or read
    └── StoreError
        ├── StoreNotFoundError              no such file
        ├── StoreFormatError                a file that is not sonde's
        ├── StoreSchemaError                a file of a newer sonde
        ├── StorePermissionError            the file or its folder may not be read or written
        ├── StoreClosedError                used after ``close()``
        ├── StoreCorruptError               damaged content
        ├── StoreUnavailableError           for now: locked, disk full, I/O error. Worth a retry
        └── WrongExpectedVersionError       the stream is at another version

A message says *operation + offending value + what was expected + remedy*, in one line. ``publish`` and ``emit`` raise
none of these: telemetry never breaks the program that it watches.
"""

from __future__ import annotations


class SondeError(Exception):
    """Root of all errors that sonde raises on purpose."""


class ConfigError(SondeError, ValueError):
    """An argument or a setting has a value that cannot work."""


class EventError(SondeError):
    """Something is wrong with an event."""


class EventDecodeError(EventError, ValueError):
    """The bytes given are not an event."""


class EventEncodeError(EventError, ValueError):
    """The event holds something that JSON cannot carry, and nobody sanitised it."""


class SessionNotFoundError(SondeError):
    """The store holds no session of that name."""


class MissingExtraError(SondeError):
    """A feature needs an optional package that is not installed."""


class MetricTypeError(SondeError, TypeError):
    """A metric was asked for by a name that belongs to a metric of another type."""


class ProfileError(SondeError):
    """A profile cannot be started, taken, written or read."""


class StoreError(SondeError):
    """An event store could not do what it was asked."""


class StoreNotFoundError(StoreError):
    """No store exists at the given place."""


class StoreFormatError(StoreError):
    """The file exists but is not an event store that sonde can read."""


class StoreSchemaError(StoreFormatError):
    """The store was written by a newer release of sonde."""


class StorePermissionError(StoreError):
    """The store, or the folder that it lives in, may not be read or written."""


class StoreClosedError(StoreError):
    """The store was used after ``close()``."""


class StoreCorruptError(StoreError):
    """The store's content is damaged."""


class StoreUnavailableError(StoreError):
    """The store cannot work at the moment (locked, disk full, I/O error); the same call may succeed later."""


class WrongExpectedVersionError(StoreError):
    """``append`` expected the stream at another version than it has; nothing was written."""
