"""Training curves: one JSON line a step, appended while training runs, cut back to the checkpoint when it resumes."""

from __future__ import annotations

import json
import os
from pathlib import Path


class Curves:
    """``{"step": int, name: float…}`` lines in a file.

    Parameters
    ----------
    path : file; made with its folder when the first line comes
    start : the step training starts at; lines of this step and later are dropped (a killed run had written ahead of its
        checkpoint)
    """

    def __init__(self, path: str | Path, start: int = 0) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read_curves(self.path) if row["step"] < start]
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        part.write_text("".join(_line(row) for row in kept), encoding="utf-8")
        os.replace(part, self.path)

    def add(self, step: int, values: dict[str, float]) -> None:
        """Append one step."""
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(_line({"step": step, **values}))


def _line(row: dict[str, float]) -> str:
    rounded = {k: v if k == "step" else float(f"{v:.6g}") for k, v in row.items()}
    return json.dumps(rounded) + "\n"


def read_curves(path: str | Path) -> list[dict[str, float]]:
    """Rows of a curves file; none where there is no file. A last line cut short by a kill is left out."""
    if not Path(path).is_file():
        return []
    rows = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
