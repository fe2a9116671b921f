"""``s3dnerf synthesize --batch jobs.csv``: many videos, one a row, with the network loaded once.

The table is CSV in UTF-8, separated by commas, semicolons or tabs: a line of names, then a row a video. Columns
``portrait``, ``speech`` and ``out`` are needed; any other option of ``s3dnerf synthesize`` may be a column too, by its
name without dashes (``motion``, ``views``, ``yaw`` …), but for ``model`` and ``device``, which hold for all rows. An
empty cell is the command line's value. Paths, and a ``motion`` that is a video, are relative to the table's folder.

All rows are looked at before any is made. A row that cannot be made is refused with the reason, and the others go on.
What became of each stands in a table beside (``jobs.result.csv``, or ``--table``), written anew after each row: a run
that was killed leaves whole videos and a true table. Another run makes every row again, unless ``--resume`` is given:
then a video stays that this table says was made of the same row by the same generator, and that is newer than the files
it was made of.
"""

from __future__ import annotations

import csv
import inspect
import io
import os
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from s3dnerf.core.errors import S3DNeRFError, SettingsError
from s3dnerf.core.file_names import shown
from s3dnerf.core.text_files import read_text, text_of

NEEDED = ("portrait", "speech", "out")
HELD = ("model", "device", "batch", "table", "resume")  # options that are no columns
MADE, KEPT, REFUSED, WAITING = "made", "kept", "refused", "not begun"
NOT_ALL_MADE = 3  # exit status
YES, NO = ("true", "yes", "1"), ("false", "no", "0")


class Loaded(Protocol):
    """A generator: what is asked of it here."""

    sha256: str


@dataclass
class Row:
    """A row of the table.

    Attributes
    ----------
    line : of the file, from 1
    cells : column → what stands there
    options : of ``synthesize``, by name
    outcome, reason : what became of it
    """

    line: int
    cells: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    outcome: str = WAITING
    reason: str = ""

    def refuse(self, reason: str) -> None:
        """Note that it cannot be made, and say so; the first reason counts."""
        if self.outcome != REFUSED:
            self.outcome, self.reason = REFUSED, shown(reason)
            print(f"line {self.line}: refused: {self.reason}")

    def sources(self) -> list[Path]:
        """The files that it is made of."""
        from s3dnerf.synthesis.head_motion import MOTIONS

        paths = [value for name, value in self.options.items() if isinstance(value, Path) and name != "out"]
        motion = self.options.get("motion")
        return [*paths, *([Path(motion)] if motion is not None and motion not in MOTIONS else [])]


def read_table(path: Path, accepted: tuple[str, ...]) -> tuple[list[Row], str]:
    """The rows of a table that hold something, and what separates its columns.

    Parameters
    ----------
    accepted : names of columns

    Raises SettingsError: no such file, no rows, quotes that do not fit, columns that are missing, there twice or not
    accepted. TextFileError: another encoding.
    """
    if not path.is_file():
        raise SettingsError(f"--batch: {shown(path)}: no such file — expected a CSV table")
    text = text_of(path.read_bytes(), shown(path))
    hint = text[:5].lower() == "sep=;" or text[:5].lower() == "sep=,"  # Excel's
    skipped = 1 if hint else 0
    text = text.split("\n", 1)[-1] if hint else text
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    found: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((reader.line_num + skipped, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise SettingsError(f"{shown(path)}: line {reader.line_num + skipped}: not CSV ({error})") from error
    names = [name.lower().lstrip("-").replace("-", "_") for name in found[0][1]] if found else []
    wrong = [shown(name or "(no name)") for name in names if name not in accepted]
    if held := [name for name in wrong if name in HELD]:
        raise SettingsError(f"{shown(path)}: column {held[0]}: it holds for all rows — give it on the command line")
    missing, twice = (
        [name for name in NEEDED if name not in names],
        [n for n, many in Counter(names).items() if many > 1],
    )
    if wrong or missing or twice:
        got = (
            f"missing {', '.join(missing)}" if missing else f"got {', '.join(wrong)}" if wrong else f"{twice[0]} twice"
        )
        raise SettingsError(f"{shown(path)}: columns: {got} — accepted: {', '.join(accepted)}, the first three needed")
    rows = []
    for line, cells in found[1:]:
        rows.append(Row(line, dict(zip(names, [*cells, *[""] * len(names)]))))
        if any(cells[len(names) :]):
            rows[-1].refuse(f"{len(cells)} cells, expected {len(names)}: quote a cell that holds {separator!r}")
    if not rows:
        raise SettingsError(f"{shown(path)}: no rows — expected a line of column names, and a line a video")
    return rows, separator


def value_of(name: str, text: str, kind: Any, folder: Path, decimal_comma: bool = False) -> Any:
    """What a cell means for an option of type ``kind`` (str, bool, int, float, a path, a Literal, or one of these or
    None).

    Raises SettingsError, saying what is accepted.
    """
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if kind is Path:
        return folder / text
    if kind is bool:
        if text.lower() not in YES + NO:
            raise SettingsError(f"{name}: got {text} — accepted: {', '.join(YES + NO)}")
        return text.lower() in YES
    if kind in (int, float):
        try:
            return kind(text.replace(",", ".") if decimal_comma else text)
        except ValueError:
            raise SettingsError(f"{name}: got {text} — expected a number") from None
    if typing.get_origin(kind) is typing.Literal and text not in typing.get_args(kind):
        raise SettingsError(f"{name}: got {text} — accepted: {', '.join(map(str, typing.get_args(kind)))}")
    return text


def check_row(row: Row, kinds: Mapping[str, Any], common: Mapping[str, Any], folder: Path, decimal_comma: bool) -> None:
    """Fill in the row's options. Raises SettingsError for values that are not accepted and files that are not there."""
    from s3dnerf.synthesis.head_motion import MOTIONS
    from s3dnerf.synthesis.portrait import check_which
    from s3dnerf.synthesis.talking_head import check_motion
    from s3dnerf.video.pictures import colour_of

    row.options = dict(common)
    for name, text in row.cells.items():
        if text:
            row.options[name] = value_of(name, text, kinds[name], folder, decimal_comma)
        elif name in NEEDED:
            raise SettingsError(f"{name}: empty — expected a file")
    options = row.options
    if row.cells.get("motion") and options["motion"] not in MOTIONS:
        options["motion"] = str(folder / options["motion"])
    if options["out"].suffix.lower() != ".mp4":
        raise SettingsError(f"out: got {shown(row.cells['out'])} — accepted: a name that ends in .mp4")
    check_motion(options["motion"], options["views"], options["yaw"], options["pitch"])
    check_which(options["face"])
    colour_of(options["background"])
    for path in row.sources():
        if not path.is_file():
            raise SettingsError(f"{shown(path)}: no such file")


def check_outs(rows: list[Row]) -> None:
    """Refuse rows that would write one file, or a file that a row is made of."""
    outs, sources = dict[str, list[Row]](), dict[str, Row]()
    for row in rows:
        outs.setdefault(os.path.realpath(row.options["out"]), []).append(row)
        for path in row.sources():
            sources.setdefault(os.path.realpath(path), row)
    for out, same in outs.items():
        for row in same:
            if len(same) > 1:
                lines = ", ".join(str(other.line) for other in same)
                row.refuse(f"out: lines {lines} have {shown(row.cells['out'])} — expected a name of its own for each")
            elif out in sources:
                row.refuse(f"out: {shown(row.cells['out'])} is what line {sources[out].line} is made of")


def table_of(rows: list[Row], separator: str, sha256: str, settings: Mapping[str, Any]) -> bytes:
    """The result as CSV in UTF-8 with a byte order mark, separated as the jobs were: what stood in each row, the
    command line's settings, the generator, what became of it and why.
    """
    text = io.StringIO(newline="")
    names = list(rows[0].cells)
    writer = csv.writer(text, delimiter=separator)
    writer.writerow(["line", *names, "others", "model_sha256", "outcome", "reason"])
    for row in rows:
        writer.writerow([row.line, *row.cells.values(), *key_of(row, sha256, settings), row.outcome, row.reason])
    return text.getvalue().encode("utf-8-sig")


def key_of(row: Row, sha256: str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """What decides a video besides the row's own cells: settings of the command line that no cell replaces, and the
    generator.
    """
    others = (f"{name}={value}" for name, value in sorted(settings.items()) if not row.cells.get(name))
    return " ".join(others), sha256


def made_before(path: Path, separator: str) -> list[dict[str, str]]:
    """The rows that an earlier result says were made; none where there is no such table."""
    if not path.is_file():
        return []
    table = csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=separator)
    return [dict(row) for row in table if row.get("outcome") in (MADE, KEPT)]


def is_made(row: Row, before: list[dict[str, str]], sha256: str, settings: Mapping[str, Any]) -> bool:
    """Whether the row's video is there, newer than what it is made of, and by the result made of an equal row."""
    others, _ = key_of(row, sha256, settings)
    wanted = {**row.cells, "others": others, "model_sha256": sha256}
    out = row.options["out"]
    if not out.is_file() or not any(wanted.items() <= known.items() for known in before):
        return False
    return all(path.stat().st_mtime < out.stat().st_mtime for path in row.sources())


def run_batch(
    batch: Path,
    make: Callable[..., int],
    load: Callable[[Path, str | None], Loaded],
    given: Mapping[str, Any],
) -> int:
    """Make the rows of a table.

    Parameters
    ----------
    make : ``synthesize``
    load : the generator of a folder on a device, kept for ``make``
    given : the options of ``make`` as the command line has them

    Returns the exit status: 0 where every row was made or kept, 3 where one was refused.

    Raises SettingsError for a table that is none, and for options that do not go together; OutputRefused where the
    result cannot be written; what ``load`` raises. Nothing is made then.
    """
    from s3dnerf.core.whole_files import claimed
    from s3dnerf.evaluation.accounting import refuse_media
    from s3dnerf.synthesis.synthesizer import PRETRAINED
    from s3dnerf.video.packs import write_atomic

    if clash := [f"--{name}" for name in NEEDED if given[name] is not None]:
        raise SettingsError(f"--batch: got {', '.join(clash)} as well — expected them as columns of the table alone")
    hints = typing.get_type_hints(make)
    kinds = {name: hints[name] for name in inspect.signature(make).parameters if name not in HELD}
    common = {name: given[name] for name in kinds}
    settings = {name: value for name, value in common.items() if name not in NEEDED}
    rows, separator = read_table(batch, tuple(kinds))
    table = given["table"] or batch.with_name(f"{batch.stem}.result.csv")
    refuse_media(table, "--table")
    with claimed(table, "--table", {"the batch": batch}):
        for row in rows:
            try:
                check_row(row, kinds, common, batch.parent, separator != ",")
            except SettingsError as error:
                row.refuse(str(error))
        check_outs([row for row in rows if row.outcome != REFUSED])
        model = given["model"] or PRETRAINED
        sha256 = load(model, given["device"]).sha256
        before = made_before(table, separator) if given["resume"] else []
        for row in rows:
            if row.outcome == WAITING and is_made(row, before, sha256, settings):
                row.outcome = KEPT
                print(f"line {row.line}: kept: {shown(row.options['out'])}")
        for row in rows:
            if row.outcome != WAITING:
                continue
            write_atomic(table, table_of(rows, separator, sha256, settings))
            try:
                make(**row.options, model=model, device=given["device"])
                row.outcome = MADE
            except Exception as error:  # whatever is wrong with one row, the others are made
                ours = isinstance(error, (S3DNeRFError, OSError))
                row.refuse(str(error) if ours else f"unexpected {type(error).__name__}: {error}")
        write_atomic(table, table_of(rows, separator, sha256, settings))
    counts = Counter(row.outcome for row in rows)
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in (MADE, KEPT, REFUSED) if counts[outcome])
    print(f"{len(rows)} rows: {said}; {shown(table)}")
    return NOT_ALL_MADE if counts[REFUSED] else 0
