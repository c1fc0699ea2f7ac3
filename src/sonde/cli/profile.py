"""``sonde profile``: where a recorded program spent its time, by tool, task and function."""

from __future__ import annotations

from collections.abc import Callable

import click
import msgspec

from sonde.cli.documents import fields_text
from sonde.cli.flame import flame_of
from sonde.cli.flame_svg import flame_svg
from sonde.cli.opening import open_for_reading, require_folder, require_other_file
from sonde.cli.options import db_option, json_option
from sonde.cli.output import data_console, note, print_json
from sonde.cli.plots import glyphs_for
from sonde.cli.profile_documents import (
    ProfileDocument,
    ProfileFunctionDocument,
    ProfileGroupDocument,
    function_documents,
    group_documents,
    profile_document,
)
from sonde.cli.profile_sheets import print_flame, print_functions, print_groups, print_header, time_word
from sonde.cli.program import program
from sonde.cli.wording import duration_text, plural
from sonde.errors import ProfileError
from sonde.events import EventType
from sonde.profiling import Profile, Target, to_collapsed, to_pprof, to_speedscope
from sonde.query import RecordedProfile, load_profile, resolve_session, select_samples
from sonde.store import EventStore

LABELS = ("tool", "operation", "task", "thread", "session", "plan")
_OUTPUT = click.Path(dir_okay=False, path_type=str)


@click.command(epilog=fields_text(ProfileDocument, ProfileGroupDocument, ProfileFunctionDocument))
@click.argument("session")
@click.option(
    "--by", type=click.Choice(LABELS), default="tool", show_default=True, help="What the time is divided among."
)
@click.option("--tool", metavar="NAME", help="Only time spent inside this tool, whatever it calls.")
@click.option("--operation", metavar="NAME", help="Only where this was the innermost operation: 'model gpt-x'.")
@click.option("--task", metavar="TASK", help="Only inside this task: its title or its id.")
@click.option(
    "--time",
    type=click.Choice(["cpu", "wall"]),
    help="What is counted: CPU time, or the time of all threads, waiting ones too. CPU where it is known.",
)
@click.option("--flame", metavar="FILE", type=_OUTPUT, help="Write a flame graph: an SVG file for any browser.")
@click.option("--pprof", metavar="FILE", type=_OUTPUT, help="Write it for `go tool pprof`: FILE.pb.gz.")
@click.option("--speedscope", metavar="FILE", type=_OUTPUT, help="Write it for speedscope: FILE.speedscope.json.")
@click.option("--collapsed", metavar="FILE", type=_OUTPUT, help="Write one line a stack, for flamegraph.pl and others.")
@click.option("--full", is_flag=True, help="All rows of each table, not only the first 10.")
@json_option
@db_option
def command(
    session: str,
    *,
    by: str,
    tool: str | None,
    operation: str | None,
    task: str | None,
    time: str | None,
    flame: str | None,
    pprof: str | None,
    speedscope: str | None,
    collapsed: str | None,
    full: bool,
    as_json: bool,
    db: str | None,
) -> None:
    """Show where a session's program spent its time, by tool, operation, task, thread, and function.

    SESSION is an id, the beginning of one, or "last". It was recorded with profile=True, SONDE_PROFILE=1 or `sonde run
    --profile`: a sampler looks some 20 times a second at what each thread does and for which operation. So figures are
    shares of samples, not exact; what has fewer than some 20 samples says little. A program that was killed has all but
    its last ten seconds. The flame graph has callers above what they call, as wide as their share.

    \b
    Examples:
      sonde profile last
      sonde profile fix-42 --tool run_tests --flame tests.svg
      sonde profile fix-42 --pprof cpu.pb.gz && go tool pprof -http=: cpu.pb.gz
      sonde profile fix-42 --json | jq -r 'select(.record == "group") | [.name, .cpu_s] | @tsv'
    """
    files = [file for file in (flame, pprof, speedscope, collapsed) if file]
    twice = next((file for file in files if files.count(file) > 1), None)
    if twice is not None:
        raise ProfileError(f"cannot write two formats to {twice!r}: the second would replace the first; name two files")
    for option, file in (
        ("--flame", flame),
        ("--pprof", pprof),
        ("--speedscope", speedscope),
        ("--collapsed", collapsed),
    ):
        if file:
            require_other_file(db, file, option)
            require_folder(file, "write a profile to")
    # An unwritable file fails now, before the reading. The format is for names that say none; here the option does.
    targets = {file: Target(file, format="pprof") for file in files}
    with open_for_reading(db) as store:
        session_id = resolve_session(store, session)
        found = load_profile(store, session_id)
        if not found.profile.samples:
            raise ProfileError(_no_profile(session_id, found))
        titles = _titles(store, session_id)
    wanted = {"tool": tool, "operation": operation, "task": _task_id(task, titles)}
    labels = {label: value for label, value in wanted.items() if value is not None}
    profile = select_samples(found.profile, **labels)
    filters = [f"{label} {titles.get(value, value)!r}" for label, value in labels.items()]
    if not profile.samples:
        raise ProfileError(_no_samples(session_id, found.profile, labels, filters, titles))
    if labels:
        found = msgspec.structs.replace(found, omitted=0, lost=0)  # whose they are is not known
    found = msgspec.structs.replace(found, profile=profile)
    chosen = _time_of(profile, time)
    document = profile_document(session_id, found, chosen)
    writers: tuple[tuple[str | None, Callable[[], bytes]], ...] = (
        (flame, lambda: _svg(document, profile, by=by, filters=filters, titles=titles)),
        (pprof, lambda: to_pprof(profile)),
        (speedscope, lambda: to_speedscope(profile, name=f"session {session_id}", by=by, sample_type=chosen)),
        (collapsed, lambda: to_collapsed(profile, roots=[by], sample_type=chosen)),
    )
    for file, make in writers:
        if file:
            targets[file].write(make())
            note(f"wrote {file}")
    if as_json:
        print_json(document)
        for row in (*group_documents(profile, by, chosen, titles=titles), *function_documents(profile, chosen)):
            print_json(row)
    elif not targets:
        _print(document, profile, by=by, filters=filters, titles=titles, full=full)


def _print(
    document: ProfileDocument, profile: Profile, *, by: str, filters: list[str], titles: dict[str, str], full: bool
) -> None:
    console = data_console()
    print_header(document, console, filters=filters)
    groups = group_documents(profile, by, document.time, titles=titles)
    print_groups(groups, console, glyphs=glyphs_for(console), full=full)
    print_functions(function_documents(profile, document.time), console, full=full)
    root = flame_of(profile, document.time, by=by, titles=titles)
    if root.value:
        print_flame(root, console, by=by)
    else:
        note(f"(no {time_word(document.time)} in these samples; see --time)")


def _time_of(profile: Profile, wanted: str | None) -> str:
    """CPU time if the profile has any, unless another one is wanted."""
    known = [one.type for one in profile.sample_types]
    if wanted is not None:
        profile.index(wanted)
        return wanted
    return "cpu" if "cpu" in known and profile.total("cpu") else "wall" if "wall" in known else known[-1]


def _svg(document: ProfileDocument, profile: Profile, *, by: str, filters: list[str], titles: dict[str, str]) -> bytes:
    time = document.time
    unit = profile.sample_types[profile.index(time)].unit
    is_time = unit == "nanoseconds"
    only = f", only {', '.join(filters)}" if filters else ""
    rate = f", {document.rate_hz:.3g} looks a second" if document.rate_hz else ""
    svg = flame_svg(
        flame_of(profile, time, by=by, titles=titles),
        title=f"{time_word(time)} of session {document.session_id} by {by}{only}",
        subtitle=f"{document.started} · {duration_text(document.duration_s)} profiled{rate}, "
        f"{plural(document.samples, 'sample')}; point at a frame to read it whole",
        words=lambda value: duration_text(value / 1e9) if is_time else f"{value:,} {unit}",
    )
    return svg.encode()


def _titles(store: EventStore, session_id: str) -> dict[str, str]:
    """The titles of tasks and plans, by id."""
    titles: dict[str, str] = {}
    for event in store.read_by_type(session_id, EventType.TASK_STARTED.value):
        if event.task_id and isinstance(event.data.get("title"), str):
            titles[event.task_id] = event.data["title"]
    for event in store.read_by_type(session_id, EventType.PLAN_STARTED.value):
        if event.plan_id and isinstance(event.data.get("title"), str):
            titles[event.plan_id] = event.data["title"]
    return titles


def _task_id(task: str | None, titles: dict[str, str]) -> str | None:
    """The id of the task that is meant by its id or its title; of several with one title the last."""
    if task is None or task in titles:
        return task
    return next((known for known, title in reversed(titles.items()) if title == task), task)


def _no_profile(session_id: str, found: RecordedProfile) -> str:
    what = f"cannot show a profile of session {session_id!r}"
    if found.unreadable:
        return f"{what}: {plural(found.unreadable, 'profile event')} cannot be read; try a newer sonde"
    if found.events:
        return f"{what}: in {plural(found.events, 'profile event')} there is no sample; let it run longer"
    return (
        f"{what}: it holds no sample. Either nobody asked for one (sonde.record(profile=True), SONDE_PROFILE=1, or "
        f"{program()} run --profile -- CMD), or the program ended before the first sample; let it run longer"
    )


def _no_samples(
    session_id: str, profile: Profile, labels: dict[str, str], filters: list[str], titles: dict[str, str]
) -> str:
    """What there is instead, for the first of the filters that finds nothing by itself."""
    what = f"cannot show a profile of session {session_id!r}: no sample has {' and '.join(filters)}"
    for label, value in labels.items():
        if not select_samples(profile, **{label: value}).samples:
            others = group_documents(profile, label, profile.sample_types[0].type, titles=titles)
            names = ", ".join(repr(one.name[:60]) for one in others[:5])
            return f"{what}; expected one of {names}{' …' if len(others) > 5 else ''}"
    return f"{what} at once; leave one of them out"
