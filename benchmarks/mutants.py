"""Faults put into model and training, one at a time, and whether the tests find them.

    python -m benchmarks.mutants [NAME …]

Each fault is a line of code changed in a copy of the working tree; the tests of the same subject run there and have to
fail. A fault that no test finds is a survivor, and the exit status is 1. Counts, no times: two to four minutes. Writes
``benchmarks/results/mutants.json``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import origin, write
from flows.code_copies import clean_environment, copy_working_tree

ROOT = Path(__file__).resolve().parent.parent
STEP, MODEL = ("tests/training/test_one_step.py", "tests/training/test_losses.py"), ("tests/model",)


PHASES = ("tests/training/test_phases.py", "tests/training/test_generator_data.py")


@dataclass(frozen=True)
class Mutant:
    """A text of a file, what it becomes, and the tests that should notice."""

    file: str
    before: str
    after: str
    tests: tuple[str, ...]


MUTANTS = {
    "slots that do not compete": Mutant("s3dnerf/model/aggregation.py", "softmax(dim=1)", "softmax(dim=2)", MODEL),
    "discriminator labels swapped": Mutant(
        "s3dnerf/training/passes.py",
        "self.discriminator(made), self.discriminator(real)",
        "self.discriminator(real), self.discriminator(made)",
        STEP,
    ),
    "an average that is never updated": Mutant(
        "s3dnerf/training/train_s3dnerf.py", "self.averaged.update(self.generator)", "pass", STEP
    ),
    "no perceptual loss on the coarse image": Mutant(
        "s3dnerf/training/passes.py",
        "perceptual(fine, batch.target) + perceptual(coarse, batch.coarse_target)",
        "perceptual(fine, batch.target)",
        STEP,
    ),
    "R1 unscaled": Mutant(
        "s3dnerf/training/train_s3dnerf.py", "train.r1 * train.r1_every * penalty", "train.r1 * penalty", STEP
    ),
    "no clipping": Mutant(
        "s3dnerf/training/train_s3dnerf.py",
        "clip_grad_norm_(network.parameters(), self.train.gradient_clip)",
        "clip_grad_norm_(network.parameters(), 1e9)",
        STEP,
    ),
    "schedule ignored": Mutant("s3dnerf/training/train_s3dnerf.py", 'group["lr"] = lr', "pass", STEP),
    "discriminator gradients not averaged": Mutant(
        "s3dnerf/training/train_s3dnerf.py",
        "world.data_parallel(DiscriminatorPass(self.discriminator))",
        "DiscriminatorPass(self.discriminator)",
        STEP,
    ),
    "real pair unmasked": Mutant(
        "s3dnerf/training/train_s3dnerf.py",
        "dual(batch.target, batch.coarse_target)",
        "dual(batch.target, batch.target)",
        STEP,
    ),
    "coarse pixel loss dropped": Mutant(
        "s3dnerf/training/passes.py",
        "+ losses.pixel_loss(seen, wanted, at[coarse.shape[-1]])",
        "",
        STEP,
    ),
    "alpha ignored": Mutant(
        "s3dnerf/model/superres.py", "paint = colours + (1.0 - inside) * picture", "paint = colours + picture", MODEL
    ),
    "F_cm's place ignored": Mutant(
        "s3dnerf/model/deformation.py",
        "at = seen.transpose(1, 2)[:, None]",
        "at = 0.0 * seen.transpose(1, 2)[:, None]",
        MODEL,
    ),
    "flow ignored": Mutant("s3dnerf/model/superres.py", "_resize(shift, side)", "_resize(0.0 * shift, side)", MODEL),
    "geometry in half precision": Mutant(
        "s3dnerf/model/cameras.py", "type, enabled=False)", "type, enabled=torch.is_autocast_enabled('cpu'))", MODEL
    ),
    "the picture read bilinearly": Mutant(
        "s3dnerf/model/superres.py", 'look_up(picture, shift, "bicubic")', "look_up(picture, shift)", MODEL
    ),
    "the source's lips ignored": Mutant(
        "s3dnerf/model/lip_shapes.py", "return self.of_source(known) + self", "return self", MODEL
    ),
    "lips told in other widths": Mutant(
        "s3dnerf/model/lip_shapes.py", "offsets * face_width(source)", "offsets * 100.0", MODEL
    ),
    "gain on the source as well": Mutant(
        "s3dnerf/model/lip_shapes.py", "given.new_ones(SHAPE + 1)", "given.new_full((SHAPE + 1,), self.gain)", MODEL
    ),
    "the mouth's outside for its inside": Mutant(
        "s3dnerf/model/mouth.py", "torch.where(inside, away, -away)", "torch.where(inside, -away, away)", MODEL
    ),
    "a seam about the mouth": Mutant("s3dnerf/model/mouth.py", ".float()) * self.edge", ".float())", MODEL),
    "training paints by lips that speech tells": Mutant(
        "s3dnerf/training/passes.py",
        "batch.speech, batch.camera, batch.noise, rays, batch.landmarks)",
        "batch.speech, batch.camera, batch.noise, rays)",
        STEP,
    ),
    "sources not penalised": Mutant(
        "s3dnerf/training/lip_regression.py",
        "RIDGE_SOURCE / len(clips)",
        "0.0",
        ("tests/training/test_lip_regression.py",),
    ),
    "the first phase for ever": Mutant("s3dnerf/training/phases.py", "return begun[-1]", "return begun[0]", PHASES),
    "frames in a row whatever the phase says": Mutant(
        "s3dnerf/training/generator_data.py", '.frames == "anywhere"', '.frames == "nowhere"', PHASES
    ),
    "blinks that nobody sees": Mutant(
        "s3dnerf/model/s3dnerf.py", "encoded[-1] = pictures", "pass", ("tests/synthesis/test_synthesizer.py",)
    ),
}


def found(mutant: Mutant) -> dict[str, Any]:
    """Whether the tests fail with the fault, and the first that does. Raises ValueError where the text is gone."""
    with tempfile.TemporaryDirectory(prefix="s3dnerf-mutant-") as temporary:
        folder = Path(temporary)
        copy_working_tree(ROOT, folder)
        path = folder / mutant.file
        text = path.read_text(encoding="utf-8")
        if text.count(mutant.before) != 1:
            raise ValueError(f"{mutant.file}: expected one {mutant.before!r}, found {text.count(mutant.before)}")
        path.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
        words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests]
        done = subprocess.run(
            words, cwd=folder, env=clean_environment(OMP_NUM_THREADS="1"), capture_output=True, text=True
        )
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return {"found": done.returncode == 1 and bool(failed), "by": failed[0] if failed else done.stdout[-300:]}


def main() -> int:
    """Try the faults asked for, print a line each, write the result. Exit status 1 where one survives."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="faults to try (default: all)")
    names = parser.parse_args().names or list(MUTANTS)
    if unknown := set(names) - set(MUTANTS):
        parser.error(f"{', '.join(sorted(unknown))}: accepted: {', '.join(MUTANTS)}")
    results = {}
    for name in names:
        results[name] = found(MUTANTS[name])
        print(f"{name}: {'found by' if results[name]['found'] else 'NOT FOUND'} {results[name]['by']}", flush=True)
    survivors = [name for name, result in results.items() if not result["found"]]
    if len(names) == len(MUTANTS):
        write("mutants", origin("python -m benchmarks.mutants", "git") | {"survivors": survivors, "mutants": results})
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
