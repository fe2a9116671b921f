"""What `s3dnerf --help` and `s3dnerf --version` print: the commands in one screen, and which version this is."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent

# what a person wants to do → command → what it does, in a line
COMMANDS: dict[str, dict[str, str]] = {
    "Make a video": {
        "synthesize": "from a portrait and a speech recording to a talking-head video",
        "serve": "the same as a page in the browser",
        "verify": "show what a video's Content Credentials say",
    },
    "Run the pipeline": {
        "preset": "choose the settings: tiny, sample, mini or paper, with changes",
        "run": "make what is missing or out of date (as `dvc repro` does)",
        "sheets": "pictures of what each preprocessing stage made",
        "retrain": "train again, once or every night, and promote only what is no worse",
    },
    "Measure and check": {
        "report": "say where the report is, and its three main results",
        "evaluate": "score anybody's videos with the same metrics",
        "audit": "check a report, compare two, or sign one",
    },
    "Set up": {
        "doctor": "which components and weights are here, and how to get the others",
        "fetch": "download weights or lay out a corpus",
        "store": "what the caches hold; remove what has no use any more",
    },
    "Work on the code": {
        "code": "say of changed code whether results change",
        "deps": "compare dvc.yaml with what the stages use",
    },
}


def overview() -> str:
    """Every command with one line, grouped by what a person wants to do."""
    lines = ["usage: s3dnerf COMMAND [options]", ""]
    lines += ["From one portrait and a speech recording to a talking-head video, and the pipeline around it."]
    for title, commands in COMMANDS.items():
        lines += ["", title, *(f"  {name:<12}{what}" for name, what in commands.items())]
    lines += [
        "",
        "s3dnerf COMMAND --help   the options of one command",
        "s3dnerf --version        which version this is",
    ]
    return "\n".join(lines)


def version() -> str:
    """The version: of a checkout what git says (``0.1.0+12.g3f2a9c1``: twelve commits after the tag ``v0.1.0``), of an
    installed package its own; ``unknown`` where neither is there.
    """
    if (CHECKOUT / ".git").exists():
        asked = [
            "git",
            "-C",
            str(CHECKOUT),
            "describe",
            "--tags",
            "--long",
            "--always",
            "--dirty=.changed",
            "--match=v*",
        ]
        try:
            said = subprocess.run(asked, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            said = None
        if said is not None and said.returncode == 0:
            return from_describe(said.stdout.strip())
    try:
        return importlib.metadata.version("s3dnerf")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def from_describe(said: str) -> str:
    """A version of what ``git describe --tags --long --always`` says.

    >>> from_describe("v0.1.0-0-g3f2a9c1"), from_describe("v0.1.0-12-g3f2a9c1.changed"), from_describe("3f2a9c1")
    ('0.1.0', '0.1.0+12.g3f2a9c1.changed', '0+g3f2a9c1')
    """
    if not said.startswith("v"):
        return f"0+g{said}"
    tag, after, commit = said[1:].rsplit("-", 2)
    return tag if after == "0" and not commit.endswith(".changed") else f"{tag}+{after}.{commit}"
