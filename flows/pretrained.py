"""Puts a trained generator into the package, with a card that says what it is: what ``make pretrained`` ends with.

    python -m flows.pretrained mini

Reads ``data/<preset>/train_s3dnerf/full`` and ``reports/<preset>/summary.json``; writes ``s3dnerf/pretrained/``:
generator.safetensors, card.json and README.md, whose numbers are that report's.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.synthesis.synthesizer import PRETRAINED
from s3dnerf.video.packs import write_atomic

METRICS = (
    ("m_lmd", "M-LMD, px ↓"),
    ("f_lmd", "F-LMD, px ↓"),
    ("ssim", "SSIM ↑"),
    ("lpips", "LPIPS ↓"),
    ("cpbd", "CPBD ↑"),
    ("identity", "identity (dlib) ↑"),
    ("opening_correlation", "mouth opening, correlation ↑"),
    ("opening_deviation", "mouth opening, deviation ↑"),
    ("parallax", "parallax slope (1: the truth's)"),
)
METHODS = (
    ("s3dnerf", "this model"),
    ("wrong_speech", "this model, another person's speech"),
    ("still", "portrait held still"),
    ("truth", "true video"),
)
CARD = """# The generator that comes with the package

`s3dnerf synthesize` uses it where no `--model` is given. Made by `make pretrained`.

- **What it is**: variant {variant}, {parameters:,} parameters, {steps:,} training steps, seed {seed}; frames of 256².
  generator.safetensors has the sha256 `{sha256}`.
- **Speech input**: {speech}.
- **Trained on**: {clips} clips of {people} people in HDTF's clip layout (`card.json` names them), public footage of
  talking heads that is not part of the project. The lip-sync expert used in training is right in
  {expert:.1%} of trials on people it never saw.
- **Terms**: research use only; the footage keeps its owners' rights. Videos made with it are synthetic and must be
  labelled so; their metadata says it. Do not use it to make somebody seem to say what they did not.

What it reached on {speakers} people it never saw (preset `{preset}`, means over {measured} clips; the head's motion is
the true video's; `s3dnerf report` says where the whole report is):

{table}

With the right speech M-LMD is {gap:.0%} lower than with another person's (paired by
person, p = {p:.2g} after Holm's correction).

**Limits**: few people, mostly politicians before a lectern, English alone, mostly frontal. Teeth and the inside of
mouths are soft. Hair and shoulders move with the head as one flat piece. Eyes blink at random times, not when the
speaker would. A mouth that is open in the portrait stays a little open. How it does on speakers unlike these is not
known.
"""


class PretrainedError(S3DNeRFError, RuntimeError):
    """There is no trained generator or report to ship; the message says what makes it."""


def model_card(card: dict[str, Any], summary: dict[str, Any], preset: str, sha256: str) -> str:
    """README.md of the folder."""
    hdtf = summary["corpora"]["hdtf"]
    lines = ["| | " + " | ".join(title for _, title in METHODS) + " |", "|---" * (len(METHODS) + 1) + "|"]
    for name, title in METRICS:
        cells = [hdtf["methods"][method].get(name, {}).get("mean") for method, _ in METHODS]
        lines.append(f"| {title} | " + " | ".join("–" if c is None else f"{c:.3f}" for c in cells) + " |")
    ours, wrong = (hdtf["methods"][method]["m_lmd"] for method in ("s3dnerf", "wrong_speech"))
    return CARD.format(
        sha256=sha256,
        variant=card["variant"],
        parameters=card["parameters"]["generator"],
        steps=card["steps"],
        seed=card["seed"],
        speech="{backend}, encoder layer {whisper_layer} (`s3dnerf fetch whisper`)".format(
            **card["settings"]["speech"]
        ),
        clips=card["clips"],
        people=len(card["speakers"]),
        expert=card["expert"]["accuracy"],
        speakers=ours["speakers"],
        measured=ours["clips"],
        preset=preset,
        table="\n".join(lines),
        gap=1.0 - ours["mean"] / wrong["mean"],
        p=hdtf["differences"]["s3dnerf - wrong_speech"]["m_lmd"]["p_holm"],
    )


def ship(preset: str, root: Path, out: Path) -> list[Path]:
    """Write the folder from a project's data and report. Raises PretrainedError where something is missing."""
    model, report = root / "data" / preset / "train_s3dnerf" / "full", root / "reports" / preset / "summary.json"
    wanted = [model / "generator.safetensors", model / "card.json", report]
    missing = [str(path) for path in wanted if not path.is_file()]
    if missing:
        raise PretrainedError(f"{missing[0]}: no such file — run: s3dnerf preset {preset} && dvc repro")
    weights, card, summary = wanted[0].read_bytes(), *(json.loads(path.read_text("utf-8")) for path in wanted[1:])
    text = model_card(card, summary, preset, hashlib.sha256(weights).hexdigest())
    made = {"generator.safetensors": weights, "card.json": wanted[1].read_bytes(), "README.md": text.encode()}
    out.mkdir(parents=True, exist_ok=True)
    for name, content in made.items():
        write_atomic(out / name, content)
    return [out / name for name in made]


def main() -> None:
    for path in ship(sys.argv[1] if len(sys.argv) > 1 else "mini", Path.cwd(), PRETRAINED):
        print(f"written: {path} ({path.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
