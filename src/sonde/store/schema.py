"""Schema of an event store in SQLite: its tables, its pragmas, how a file is recognised and made.

One row an event, with every repeated string interned as a small integer; the rowid is the position. There is no index
beside ``UNIQUE(stream, version)``: identities live as ranges in ``seen``, and searching is a projection's business.

Neither the last position nor a stream's head is stored while events are there, so an append touches no counter row:
they are the maxima of two b-trees, one seek each. Retention, which alone could lower them, writes ``floor`` and
``first_version``.

Rows that have been there for a while are *sealed*: many rows of one stream become one of ``stretches``. Whatever is
sealed stands before whatever is not, by position and by version. So "all events" is a look at two tables, one behind
the other; see :mod:`sonde.store.sealing`.

Data of 512 bytes and more is kept as pieces, each once, in compressed blocks; see :mod:`sonde.store.contents`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import apsw

from sonde.store.rows import fetch

APPLICATION_ID: Final = 0x736F6E64  # "sond"
SCHEMA_VERSION: Final = 3

# NULL takes no byte in a row: NULL data is {}. Name 0 is the empty string. ``origin`` stands for session, plan, task
# and writer together. ``ids`` is trace, span and parent in one blob (32 bytes; 24 without a parent; 25, the last of
# them zero, without a span), or, where they are no lower-case hex of W3C length, a JSON array of the three texts.
# ``data`` is JSON, or an integer: the place of its root, ``block << 16 | number``; the column has no type, which would
# make a text of that.
TABLES: Final = (
    "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    # When a tree outgrows its first page, SQLite writes a node over the rows that were put there first, and leaves the
    # others: a salvage of a file that was cut off reads them (:mod:`sonde.store.salvage.leftovers`). So what comes
    # first, here and in ``origins``, is nothing: rows that no event names. New numbers begin at 1 all the same.
    "INSERT INTO names (id, name) VALUES (-1, hex(zeroblob(150)))",
    "INSERT INTO names (id, name) VALUES (0, '')",
    """CREATE TABLE streams (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first_version INTEGER NOT NULL DEFAULT 1
    )""",
    """CREATE TABLE origins (
        id INTEGER PRIMARY KEY,
        session INTEGER NOT NULL,
        plan INTEGER NOT NULL,
        task INTEGER NOT NULL,
        writer INTEGER NOT NULL,
        UNIQUE (session, plan, task, writer)
    )""",
    """INSERT INTO origins SELECT -value, -(1 << 62) - value, -(1 << 62), -(1 << 62), -(1 << 62)
        FROM json_each('[0, 1, 2, 3]')""",
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        stream INTEGER NOT NULL,
        version INTEGER NOT NULL,
        type INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        origin INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        ids BLOB,
        data,
        UNIQUE (stream, version)
    )""",
    # Sealed rows, see :mod:`sonde.store.stretch`. ``id`` is ``position << 16 | number``: the stretches of one sealing
    # share the position of its last row. ``origins`` and ``types`` are the integers that the rows name, as JSON.
    """CREATE TABLE stretches (
        id INTEGER PRIMARY KEY,
        stream INTEGER NOT NULL,
        last_version INTEGER NOT NULL,
        first_version INTEGER NOT NULL,
        last_position INTEGER NOT NULL,
        first_ns INTEGER NOT NULL,
        last_ns INTEGER NOT NULL,
        origins TEXT NOT NULL,
        types TEXT NOT NULL,
        bytes BLOB NOT NULL,
        UNIQUE (stream, last_version)
    )""",
    # Which sequence numbers of a writer the store has: closed ranges, disjoint and never adjacent.
    """CREATE TABLE seen (
        writer INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (writer, first)
    ) WITHOUT ROWID""",
    """CREATE TABLE writers (
        writer INTEGER PRIMARY KEY,
        host TEXT NOT NULL,
        boot TEXT,
        pid INTEGER NOT NULL,
        process_start INTEGER,
        registered_ns INTEGER NOT NULL,
        released_ns INTEGER
    )""",
    # Large data: see :mod:`sonde.store.block` for what a block holds. ``pieces`` finds texts and nodes by their digest;
    # ``uses`` counts the events and other blocks that name a block.
    "CREATE TABLE blocks (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)",
    "CREATE TABLE pieces (digest BLOB PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE uses (block INTEGER PRIMARY KEY, count INTEGER NOT NULL)",
    "CREATE INDEX unused ON uses (block) WHERE count <= 0",
    # One row: no position up to ``floor``, and no block's number up to ``block_floor``, is ever given again.
    # ``collections`` rises when blocks go: who remembers places must forget them; ``forgotten`` when names and origins
    # go: who remembers their numbers must. The rest says what retention removed in all.
    """CREATE TABLE retention (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        floor INTEGER NOT NULL,
        block_floor INTEGER NOT NULL,
        collections INTEGER NOT NULL,
        forgotten INTEGER NOT NULL DEFAULT 0,
        removed_events INTEGER NOT NULL DEFAULT 0,
        removed_streams INTEGER NOT NULL DEFAULT 0
    )""",
    "INSERT INTO retention (id, floor, block_floor, collections) VALUES (0, 0, 0, 0)",
    # The original's table, for its users' queries. What SQL alone cannot inflate is shown for what it is: large data as
    # a reference, {"$content": place}, and sealed events as one row a stretch. Whole seconds round down before 1970
    # too, hence the remainders.
    """CREATE VIEW telemetry_events AS SELECT
        shown.id AS id, streams.name AS stream_id, event_type, version, session_id, plan_id, task_id, data,
        strftime('%Y-%m-%d %H:%M:%S',
                 (time_ns - ((time_ns % 1000000000) + 1000000000) % 1000000000) / 1000000000, 'unixepoch')
          || rtrim(rtrim(printf('.%09d', ((time_ns % 1000000000) + 1000000000) % 1000000000), '0'), '.')
          || '+00:00' AS timestamp
    FROM (SELECT
            last_position AS id, stream, 'sonde.sealed' AS event_type, last_version AS version,
            '' AS session_id, '' AS plan_id, '' AS task_id,
            json_object('first_version', first_version, 'last_version', last_version,
                'remedy', 'sonde backup --plain COPY makes a copy that shows every event') AS data,
            last_ns AS time_ns
        FROM stretches
        UNION ALL SELECT
            e.position, e.stream, t.name, e.version,
            (SELECT name FROM names WHERE id = o.session),
            (SELECT name FROM names WHERE id = o.plan),
            (SELECT name FROM names WHERE id = o.task),
            CASE typeof(e.data) WHEN 'text' THEN e.data WHEN 'null' THEN '{}'
                ELSE '{"$content":' || e.data || '}' END,
            e.time_ns
        FROM events AS e JOIN names AS t ON t.id = e.type JOIN origins AS o ON o.id = e.origin
    ) AS shown JOIN streams ON streams.id = shown.stream""",
)

# As bytes: damaged text need not be UTF-8.
_DESCRIPTIONS: Final = "SELECT CAST(sql AS BLOB) FROM sqlite_schema WHERE sql NOT NULL"
_AS_KEPT: Final = frozenset(
    " ".join(statement.split()).encode() for statement in TABLES if statement.startswith("CREATE")
)

ORIGINAL_COLUMNS: Final = frozenset(
    ("id", "stream_id", "event_type", "version", "session_id", "plan_id", "task_id", "data", "timestamp")
)


class FileKind(Enum):
    """What an SQLite file turned out to be."""

    EMPTY = "empty"
    SONDE = "sonde"
    NEWER = "newer"
    OLDER = "older"
    ALTERED = "altered"
    ORIGINAL = "original"
    FOREIGN = "foreign"


def file_kind(connection: apsw.Connection) -> tuple[FileKind, int]:
    """What the file is, and its schema version. Reads only."""
    (application_id,) = fetch(connection, "PRAGMA application_id")[0]
    (version,) = fetch(connection, "PRAGMA user_version")[0]
    if application_id == APPLICATION_ID:
        if version == SCHEMA_VERSION:
            # A bit that flips in there makes a key a column like others, and all rows disappear.
            found = {b" ".join(sql.split()) for (sql,) in connection.execute(_DESCRIPTIONS)}
            return FileKind.SONDE if found >= _AS_KEPT else FileKind.ALTERED, version
        return (FileKind.NEWER if version > SCHEMA_VERSION else FileKind.OLDER), version
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if "telemetry_events" in tables:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(telemetry_events)")}
        if columns >= ORIGINAL_COLUMNS:
            return FileKind.ORIGINAL, version
    if not tables and application_id == 0 and version == 0:
        return FileKind.EMPTY, 0
    return FileKind.FOREIGN, version


def create(connection: apsw.Connection, *, on_disk: bool) -> None:
    """Make the tables unless another process has just done so.

    The order of the first two pragmas matters: ``auto_vacuum`` is fixed by the first write to the file, and switching
    to WAL is one.
    """
    if on_disk:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if file_kind(connection)[0] is FileKind.EMPTY:
            for statement in TABLES:
                connection.execute(" ".join(statement.split()))  # as it is kept: all of it fits the first page
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def configure(connection: apsw.Connection, *, read_only: bool, synced: bool = False) -> None:
    """Set what holds per connection. A schema that somebody else wrote may not run functions of its choice.

    ``synced``: each commit waits until the disk has it.
    """
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
    connection.execute("PRAGMA cache_size = -8000")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    else:
        connection.execute("PRAGMA journal_size_limit = 16777216")
