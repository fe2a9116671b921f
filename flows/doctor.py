"""``s3dnerf doctor``: one table of the components, the backend the settings name, and whether its files are here.

Reads ``params.yaml`` and looks for the weight files it names; with a component's name it prints where its files are got
and under which licence. ``--write`` writes the backends found into ``params.yaml``: the only place where a backend is
ever chosen by what is there.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from flows.components import COMPONENTS, Component, check, chosen
from flows.fetch_catalogue import name_to_fetch
from s3dnerf.core.capacity import too_small_for, unfit_python
from s3dnerf.core.cores import usable_cores
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.settings.loading import as_dict, experiment, load_settings
from s3dnerf.settings.schema import Settings
from s3dnerf.video.packs import write_atomic

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

HERE, REPLACEMENT, OFF, MISSING = "here", "replacement", "off", "MISSING"
COLOURS = {HERE: "green", REPLACEMENT: "yellow", OFF: "yellow", MISSING: "bold red"}
SHORT = 29  # characters of a path in the table: so it fits 80 columns
LEGEND = (
    "here: the paper's backend. replacement: another one, until the command beside it and s3dnerf doctor --write were "
    "run. MISSING: named by the settings, not found."
)


@dataclass(frozen=True)
class Row:
    """What the table says of one component.

    Attributes
    ----------
    members : its backends with weight files, and of each file whether it is here
    state : one of :data:`COLOURS`
    needs : files that are here, shortened, or the command that gets what is not
    """

    members: tuple[tuple[Component, dict[str, bool]], ...]
    backend: str
    state: str
    needs: str

    @property
    def component(self) -> Component:
        """The one with the paper's backend."""
        return self.members[0][0]


def shortened(path: str, most: int = SHORT) -> str:
    """A path with its first folders left out where it is longer than ``most``.

    >>> shortened("weights/vgg19.pth"), shortened("/data/of/a/group/weights/lpips", 16)
    ('weights/vgg19.pth', '…/weights/lpips')
    """
    parts = path.split("/")
    while len(path) > most and len(parts) > 1:
        parts = parts[1:]
        path = "/".join(["…", *parts])
    return path


def folder_or_file(paths: Sequence[str]) -> str:
    """One path, or the folder that all of several lie in."""
    return paths[0] if len(paths) == 1 else str(Path(paths[0]).parent)


def table_rows(settings: Settings) -> list[Row]:
    """A row for each setting that chooses a backend."""
    rows = []
    for setting, group in groupby(check(settings), key=lambda checked: checked[0].setting):
        checked = list(group)
        backend, members = checked[0][1], tuple((component, files) for component, _, files in checked)
        paper, its_files = members[0]
        named = next((member for member in members if member[0].real == backend), None)
        get = f"s3dnerf fetch {name_to_fetch(settings, setting, paper.real)}"
        if named is not None and not all(named[1].values()):
            state, needs = MISSING, f"s3dnerf fetch {name_to_fetch(settings, setting, backend)}"
        elif named is not None and named[0] is paper:
            state, needs = HERE, shortened(folder_or_file(list(its_files)))
        else:
            state = OFF if backend == "off" else REPLACEMENT
            needs = "s3dnerf doctor --write" if all(its_files.values()) else get
        rows.append(Row(members, backend, state, needs))
    return rows


def corpus_rows(settings: Settings) -> list[tuple[str, str, str]]:
    """Corpus, its state (``here``, ``off`` or ``MISSING``), and its folder with what is to be said of it."""
    rows = []
    for corpus, root in as_dict(settings)["raw"].items():
        if not root:
            rows.append((corpus, OFF, "not used"))
        elif Path(root).is_dir():
            rows.append((corpus, HERE, root))
        elif settings.sample.enabled and Path(root).is_relative_to(settings.data_dir):
            rows.append((corpus, OFF, f"{root}: made by the stage sample"))
        else:
            rows.append((corpus, MISSING, f"MISSING: no folder {root} (raw.{corpus}, local.yaml)"))
    return rows


def _table(rows: Sequence[Row]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("component", "backend", "state", "files, or how to get them"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(row.component.name, row.backend, Text(row.state, style=COLOURS[row.state]), Text(row.needs))
    return table


def _footer(settings: Settings, corpora: Sequence[tuple[str, str, str]]) -> Table:
    import av
    import torch
    from rich.table import Table
    from rich.text import Text

    from s3dnerf.video.encoding import ffmpeg_path

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    voices = "espeak-ng" if importlib.util.find_spec("espeakng_loader") else "missing (package espeakng-loader)"
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    grid.add_row("media", f"reads with FFmpeg {av.ffmpeg_version_info}, writes with {Path(ffmpeg_path()).name}")
    grid.add_row("GPU", ", ".join(gpus) or "none: everything runs on the CPU")
    if settings.sample.enabled:
        grid.add_row("voices", f"{voices}, for the speakers of the stage sample")
    for corpus, state, told in corpora:
        grid.add_row(corpus, Text(told, style=COLOURS[MISSING] if state == MISSING else ""))
    return grid


def print_details(console: Console, row: Row) -> None:
    """All of one component: its files, where they are got, their licence, and what replaces them."""
    component = row.component
    lines = [f"{component.name}: {component.setting}: {row.backend} ({row.state})"]
    for member, files in row.members:
        taken = "in use" if member.real == row.backend else "not in use"
        whose = f"in place of {member.instead_of}, with weights of its own" if member.instead_of else "the paper's"
        lines.append(f"  {member.real}: {whose}, {taken}")
        lines += [f"    {'here' if here else 'missing'}: {path}" for path, here in files.items()]
        lines += [f"    where to get it: {member.where}", f"    licence: {member.licence}"]
    if component.replacement == "off":
        lines.append(f"  off: {component.note}")
    else:
        lines.append(f"  {component.replacement}: replaces it, needs no weight files: {component.note}")
    console.print("\n".join(lines), soft_wrap=True, markup=False)


def row_named(rows: Sequence[Row], name: str) -> Row:
    """The row of a component by its key or its setting. Raises SettingsError for another name."""
    for row in rows:
        if name in (row.component.key, row.component.setting):
            return row
    keys = ", ".join(row.component.key for row in rows)
    raise SettingsError(f"doctor: got {name}, expected one of {keys}, or a setting such as {COMPONENTS[0].setting}")


def run_doctor(name: str | None = None, write: bool = False) -> int:
    """Print the table, or the details of the component ``name``.

    Returns 1 when files of a backend, or a corpus's folder, that the settings name are missing; with ``write`` 0.

    Raises SettingsError for an unknown name, and for a name together with ``write``.
    """
    from rich.console import Console

    settings = load_settings()
    rows, console = table_rows(settings), Console(highlight=False)
    if name is not None:
        if write:
            raise SettingsError(f"doctor: got {name} and --write, expected one of them: --write chooses every backend")
        row = row_named(rows, name)
        print_details(console, row)
        return int(row.state == MISSING)
    corpora = corpus_rows(settings)
    console.print(f"Backends that params.yaml names (preset {settings.preset}):", markup=False)
    console.print(_table(rows))
    console.print()
    console.print(_footer(settings, corpora))
    for line in [*unfit_python(), *too_small_for("demo", Path(".venv"), usable_cores())]:
        console.print(line, style=COLOURS[MISSING], markup=False, soft_wrap=True)
    console.print(f"\n{LEGEND}", style="dim", markup=False)
    console.print(
        f"Details: s3dnerf doctor NAME: {', '.join(row.component.key for row in rows)}", style="dim", markup=False
    )
    if write:
        text = dump_yaml(experiment(chosen(settings)))
        head = (
            f"# Settings in force: the preset `{settings.preset}` with the backends that `s3dnerf doctor --write` "
            "found.\n"
        )
        write_atomic("params.yaml", (head + text).encode())
        print("params.yaml: backends written as found")
        return 0
    return int(any(row.state == MISSING for row in rows) or any(state == MISSING for _, state, _ in corpora))
