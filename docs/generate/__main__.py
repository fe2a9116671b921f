"""Write the generated pages of ``docs/reference``, or look whether they are up to date.

    python -m docs.generate            # write what differs
    python -m docs.generate --check    # exit status 1 where a page differs from what the code says; writes nothing

The pages are committed, so that they can be read on a code host; ``make docs`` checks them, and a test does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from docs.generate import commands, environment, metric_recipes, python_api, report_files, settings
from s3dnerf.video.packs import write_atomic

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands.page,
    "settings.md": settings.page,
    "environment.md": environment.page,
    "metric_recipes.md": metric_recipes.page,
    "report.md": report_files.page,
    "python.md": python_api.page,
}


def out_of_date() -> dict[str, str]:
    """Page → its text, of those that differ from what the code says, or are missing."""
    made = {name: page() for name, page in PAGES.items()}
    return {
        name: text
        for name, text in made.items()
        if not (path := REFERENCE / name).is_file() or path.read_text(encoding="utf-8") != text
    }


def main() -> int:
    """Write or check. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a page differs")
    check = parser.parse_args().check
    found = out_of_date()
    for name, text in found.items():
        if check:
            print(f"docs/reference/{name}: not what the code says — run: python -m docs.generate", file=sys.stderr)
        else:
            write_atomic(REFERENCE / name, text.encode())
            print(f"docs/reference/{name}: written")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
