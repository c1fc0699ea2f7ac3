"""Large data comes back as it was given, whatever it is; contents live exactly as long as an event names them."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sonde.events import Event, encode_data
from sonde.store import Record, SQLiteStore
from sonde.store.block import ROOT, TEXT, Entry, pack, unpack
from sonde.store.connections import transaction
from sonde.store.cutting import Cutter, chunks
from sonde.store.piece import Part, Piece
from sonde.store.sealing import seal_some
from sonde.store.shelving import all_blocks, last_shelf, shelve_some

# Few texts, so that they repeat; some with lines, quotes and what is escaped, some longer than a chunk.
TEXTS = [
    "",
    "x" * 255,
    *(random.Random(n).randbytes(150 + 90 * n).hex() for n in range(8)),
    'she said "no"\n\\' * 40,
    "\n".join(f"line {n % 97} of a log" for n in range(1_500)),
    "\u00e4\u4e2d\U0001f388" * 400,
]
LEAVES = st.sampled_from(TEXTS) | st.integers(-9, 9) | st.none() | st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=12) | st.dictionaries(st.sampled_from(["role", "content", 'k"', "x" * 300]), inner)
    ),
    max_leaves=25,
)
DATA = st.dictionaries(st.sampled_from(["messages", "tools", "text"]), VALUES, max_size=3)


def flat(parts: Iterable[Part]) -> bytes:
    """What parts say."""
    return b"".join(
        part if not isinstance(part, Piece) else flat(part.parts) if part.parts else part.text for part in parts
    )


@given(st.lists(DATA, min_size=1, max_size=4))
def test_parts_make_up_what_was_cut(many: list[dict[str, Any]]) -> None:
    """Whatever was cut before with the same memory."""
    cutter = Cutter()
    for data in many:
        text = encode_data(data)
        assert flat(cutter.cut(text)) == text


@given(VALUES, st.sampled_from([None, 1]), st.booleans(), st.integers(0, 40))
def test_text_that_is_not_canonical_is_kept_to_the_byte(
    value: Any,
    indent: int | None,
    as_ascii: bool,
    missing: int,
) -> None:
    """Blanks, other escapes, and text that is no JSON at all: where it is cut may suffer, never what it says."""
    text = json.dumps({"a": value}, indent=indent, ensure_ascii=as_ascii).encode()
    text = text[: len(text) - missing]
    assert flat(Cutter().cut(text)) == text


@example(b'{"a":"' + b"x" * 300 + b'","a":"' + b"y" * 300 + b'"}')
@example(b'{"a":[' + b"1," * 3_000 + b"1]}")
@example(b"[" * 5_000 + b"]" * 5_000)
@given(st.binary(max_size=9_000))
def test_any_bytes_are_kept(text: bytes) -> None:
    """Duplicate keys, endless nesting, bytes of no text."""
    assert flat(Cutter().cut(text)) == text


def test_a_beginning_ends_with_an_element() -> None:
    """A list whose last number goes on is not one that has grown."""
    cutter = Cutter()
    for last in (b"1", b"123", b"1", b"12", b"1,2", b"1]"):
        text = b'{"a":["' + b"x" * 5_000 + b'",' + last + b"]}"
        assert flat(cutter.cut(text)) == text


@given(st.lists(st.sampled_from(TEXTS[1:]), min_size=2, max_size=120), st.integers(1, 60))
def test_a_list_is_cut_as_its_beginning_was(texts: list[str], size: int) -> None:
    """With memory of the beginning or without, a list has the same pieces: other processes find them."""
    messages = [{"content": text, "role": "user"} for text in texts]
    remembering = Cutter()
    remembering.cut(encode_data({"messages": messages[:size]}))
    grown = remembering.cut(encode_data({"messages": messages}))
    fresh = Cutter().cut(encode_data({"messages": messages}))
    assert [p.digest if isinstance(p, Piece) else p for p in grown] == [
        p.digest if isinstance(p, Piece) else p for p in fresh
    ]


@given(st.lists(st.sampled_from(["a", "b\\n", "some words ", "\\n", "x" * 500]), max_size=400).map("".join))
def test_chunks_are_bounded(text: str) -> None:
    """None is longer than 4 kB, and together they are the text."""
    found = list(chunks(text.encode()))
    assert b"".join(found) == text.encode()
    assert max(map(len, found)) <= 4_096


@given(st.lists(st.builds(Entry, st.sampled_from([TEXT, ROOT]), st.binary(max_size=300)), max_size=40))
def test_blocks_keep_their_entries(entries: list[Entry]) -> None:
    """Packed and unpacked."""
    assert unpack(pack(entries, level=1)) == entries


NUMBERS = st.integers(0, len(TEXTS) - 1)  # texts by number: hypothesis prints what it does


class ContentsMachine(RuleBasedStateMachine):
    """Conversations that grow, branch and are cut off, through two handles on one file, against lists in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sonde-test-"))
        self.stores = [SQLiteStore(self.folder / "e.db") for _ in range(2)]
        self.streams: dict[str, list[tuple[int, dict[str, Any]]]] = {"a": [], "b": [], "c": []}
        self.heads = dict.fromkeys(self.streams, 0)
        self.talks: list[list[Any]] = [[], []]
        self.seqs = itertools.count(1)

    @rule(
        store=st.integers(0, 1),
        stream=st.sampled_from("abc"),
        talk=st.integers(0, 1),
        more=st.lists(NUMBERS, max_size=25),
        other=st.dictionaries(st.sampled_from("xy"), NUMBERS),
    )
    def say(self, store: int, stream: str, talk: int, more: list[int], other: dict[str, int]) -> None:
        """A prompt that grew, and something else, in one transaction."""
        self.talks[talk] = self.talks[talk] + [{"role": "user", "content": TEXTS[number]} for number in more]
        given = [
            {"messages": self.talks[talk], "model": "m"},
            {key: TEXTS[number] for key, number in other.items()},
        ]
        records = [Record(stream, "w", next(self.seqs), Event("a.b", 1, data=item)) for item in given]
        self.stores[store].append_batch(records)
        assert self.stores[store].append_batch(records).duplicates == 2
        for item in given:
            self.heads[stream] += 1
            self.streams[stream].append((self.heads[stream], item))

    @rule(talk=st.integers(0, 1), keep=st.integers(0, 30))
    def branch(self, talk: int, keep: int) -> None:
        """The other conversation goes on from somewhere in this one."""
        self.talks[1 - talk] = self.talks[talk][:keep]

    @rule(store=st.integers(0, 1), stream=st.sampled_from("abc"), share=st.floats(0, 1))
    def truncate(self, store: int, stream: str, share: float) -> None:
        """A beginning goes."""
        gone = int(len(self.streams[stream]) * share)
        before = self.heads[stream] + 1 - len(self.streams[stream]) + gone
        assert self.stores[store].truncate(stream, before) == gone
        del self.streams[stream][:gone]

    @rule(store=st.integers(0, 1), rows=st.booleans())
    def tend(self, store: int, rows: bool) -> None:
        """Rows are sealed, or blocks go on a shelf."""
        with self.stores[store]._handle.attachment.writing("tend") as connection, transaction(connection):
            if rows:
                seal_some(connection, least=1)
            else:
                shelve_some(connection, last_shelf(connection), least=1)

    @rule(store=st.integers(0, 1))
    def reopen(self, store: int) -> None:
        """A handle that remembers nothing."""
        self.stores[store].close()
        self.stores[store] = SQLiteStore(self.folder / "e.db")

    @invariant()
    def all_is_there(self) -> None:
        """For both handles, with what they keep of blocks that have gone since."""
        for store in self.stores:
            for stream, expected in self.streams.items():
                assert [(e.version, e.data) for e in store.read(stream)] == expected

    @invariant()
    def nothing_else_is(self) -> None:
        """Each block is counted exactly, and is named; contents without events don't exist."""
        assert list(self.stores[0].verify()) == []
        with self.stores[0]._handle.attachment.reading() as connection:
            assert list(connection.execute("SELECT block FROM uses WHERE count <= 0")) == []
            numbers = [(number,) for number, _ in all_blocks(connection)]
            assert list(connection.execute("SELECT block FROM uses ORDER BY block")) == numbers
            ((blocks, pieces),) = connection.execute(
                "SELECT (SELECT count(*) FROM blocks), (SELECT count(*) FROM pieces)"
            )
        if not any(self.streams.values()):
            assert (blocks, pieces) == (0, 0)

    def teardown(self) -> None:
        """Leave nothing behind."""
        for store in self.stores:
            store.close()
        shutil.rmtree(self.folder)


TestContents = ContentsMachine.TestCase
TestContents.settings = settings(max_examples=15, stateful_step_count=15, phases=set(Phase) - {Phase.explain})


@pytest.mark.long
class TestContentsLong(ContentsMachine.TestCase):
    """The same, at full length."""

    settings = settings(max_examples=300, stateful_step_count=40)
