"""How far apart trainings of one recipe lie that differ in their seed alone, and the promotion margins that follow.

    make demo && python -m benchmarks.training_noise [--seeds 6] [--steps 60] [--every 3]

Trains the preset ``sample``'s generator once for each seed, on the demo's data and against its lip-sync expert, and
measures each on HDTF's test clips of the demo (ten people) with the demo's judge, in the metrics that gate a promotion
(:data:`flows.retrain.judging.MARGINS`). For every ordered pair of seeds: the paired difference over the clips, and the
bad end of its 95 % interval, clustered by speaker, as a share of the first one's mean. That is what a promotion looks
at. All trainings are equally good, so a margin below it refuses a model that is no worse.

    python -m benchmarks.training_noise --reports 0e2f702 a5ccef4 663b7e4 49ad139

takes the pairs from reports in git instead, A and B of each two whole trainings of one recipe: nothing is trained, and
``benchmarks/results/training_noise_reports.json`` also says whose clip weighs most in each bad end, and what it is
without that person.

The rule: a metric's margin is the smallest of :data:`STEPS_OF_MARGINS` that at least :data:`PASSING` of the pairs pass.
``passed_together`` is how many pairs pass in every metric at once.

A shorter training than the demo's (``--steps``) takes less time; how its noise compares with the whole training's the
pairs of reports say that :mod:`flows.retrain.judging` names. ``--every`` looks at landmarks in one frame of so many and
at pictures in one of twice as many: most of the measuring's time is dlib's.

Writes ``benchmarks/results/training_noise.json`` after each seed, with the clips' values, and goes on from it: seeds
that it has are not trained again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import RESULTS, origin, write
from flows.audit import report_at
from flows.retrain.judging import MARGINS
from s3dnerf.core.logs import log_to_stdout
from s3dnerf.core.rates import FPS_HZ
from s3dnerf.evaluation.protocol import Tools, Truth, prepare_truth, score_pair
from s3dnerf.evaluation.tools import load_tools
from s3dnerf.reporting.report_files import Report
from s3dnerf.reporting.statistics import paired_difference
from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import Settings
from s3dnerf.sync.filtering import clip_samples
from s3dnerf.synthesis.source_frame import source_frame
from s3dnerf.synthesis.synthesizer import Synthesizer, load_card, load_generator
from s3dnerf.training.clips import Clip, ClipFolder
from s3dnerf.training.distributed import joined
from s3dnerf.training.train_s3dnerf import Job, train
from stages.evaluate import generate, measured_records, portrait_of

NAME = "training_noise"
STEPS_OF_MARGINS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0)
PASSING = 0.95
# corpus → clip → speaker; and seed → corpus → clip → metric → value
Values = dict[str, dict[str, dict[str, float]]]


def clips_with_truths(settings: Settings, tools: Tools) -> list[tuple[Clip, Truth]]:
    """The test clips of the preset with what is measured on their truths once."""
    found = []
    for record in measured_records(settings, []):
        folder = ClipFolder(settings.data_dir, record["corpus"])
        clip = folder.load(record, max_frames=int(settings.evaluate.clip_s * FPS_HZ))
        reads = None if tools.judge is None else tools.judge.reads
        audio = {"mel": clip.mel, "tokens": clip.tokens}.get(reads or "")
        samples = clip_samples(settings.data_dir, record)[: 640 * len(clip.frames)]
        found.append((clip, prepare_truth(clip.frames, clip.lip_boxes, samples, audio, tools)))
    return found


def trained(settings: Settings, seed: int, steps: int, folder: Path) -> Path:
    """The folder of a generator trained for so many steps from a seed."""
    given = replace(settings, seed=seed, train=replace(settings.train, steps=steps, processes=1))
    expert = settings.data_dir / "train_sync" / "expert"
    job = Job(given, "full", str(settings.data_dir), str(expert), str(folder / "work"), str(folder / "out"))
    with joined() as world:
        train(job, world)
    return folder / "out"


def measured(settings: Settings, out: Path, clips: list[tuple[Clip, Truth]], tools: Tools) -> Values:
    """Corpus → clip → metric → value of a generator, in the metrics that gate."""
    made = Synthesizer(load_generator(out), load_card(out))
    found: Values = {}
    for clip, truth in clips:
        source = source_frame(clip.landmarks, settings.evaluate.source_frame)
        frames, _ = generate(made, portrait_of(made, clip, source), clip.tokens, clip)
        values = {m.recipe.name: m.value for m in score_pair(frames, truth, tools)[0] if m.recipe.name in MARGINS}
        kept = {name: round(value, 6) for name, value in values.items() if value is not None}
        found.setdefault(clip.record["corpus"], {})[clip.clip] = kept
    return found


def bad_end(
    mine: dict[str, dict[str, float]],
    theirs: dict[str, dict[str, float]],
    speakers: dict[str, str],
    metric: str,
    up: bool,
) -> float | None:
    """The bad end of the interval of theirs − mine as a share of mine's mean; None where there is no interval."""
    one, other = ({clip: v[metric] for clip, v in side.items() if metric in v} for side in (mine, theirs))
    found = paired_difference(other, one, speakers)
    if found is None or found.low is None or found.high is None:
        return None
    mean = float(np.mean([one[clip] for clip in sorted(one.keys() & other.keys())]))
    return (-found.low if up else found.high) / abs(mean)


def margin_of(shares: list[float]) -> float | None:
    """The smallest of :data:`STEPS_OF_MARGINS` that :data:`PASSING` of the shares do not exceed; None beyond them.

    Examples
    --------
    >>> margin_of([0.01] * 19 + [0.4]), margin_of([0.04] * 18 + [0.2] * 2)
    (0.01, 0.2)
    """
    fit = [m for m in STEPS_OF_MARGINS if np.mean([share <= m for share in shares]) >= PASSING]
    return fit[0] if fit else None


def summary(
    by_seed: dict[str, Values], speakers: dict[str, dict[str, str]], up: dict[str, bool]
) -> dict[str, dict[str, Any]]:
    """Corpus → what the pairs of seeds come to: of each metric quantiles of the bad end, the margin by the rule and the
    share of pairs that today's margin lets pass; and the share that passes in every metric.
    """
    found: dict[str, dict[str, Any]] = {}
    pairs = list(itertools.permutations(sorted(by_seed, key=int), 2))
    for corpus, who in speakers.items():
        ends: dict[str, list[float | None]] = {
            metric: [bad_end(by_seed[a][corpus], by_seed[b][corpus], who, metric, up[metric]) for a, b in pairs]
            for metric in MARGINS
        }
        metrics = {}
        for metric, shares in ends.items():
            known = [share for share in shares if share is not None]
            if not known:
                continue
            metrics[metric] = {
                "mean": round(
                    float(np.mean([v[metric] for s in by_seed.values() for v in s[corpus].values() if metric in v])), 4
                ),
                "bad_end": {f"{q}%": round(float(np.quantile(known, q / 100)), 4) for q in (50, 90, 95, 100)},
                "margin_by_the_rule": margin_of(known),
                "margin_in_force": MARGINS[metric],
                "passed": round(float(np.mean([share <= MARGINS[metric] for share in known])), 4),
            }
        together = [
            all((share := ends[metric][i]) is not None and share <= MARGINS[metric] for metric in metrics)
            for i in range(len(pairs))
        ]
        found[corpus] = {
            "speakers": len(set(who.values())),
            "pairs": len(pairs),
            "passed_together": round(float(np.mean(together)), 4),
            "metrics": metrics,
        }
    return found


def of_report(report: Report, metric: str) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Clip → metric → value of our rows on HDTF, and clip → speaker."""
    rows = [
        row
        for row in report.rows
        if row["method"] == "s3dnerf"
        and row["corpus"] == "hdtf"
        and row["metric"] == metric
        and np.isfinite(row["value"])
    ]
    return {row["clip"]: {metric: float(row["value"])} for row in rows}, {row["clip"]: row["speaker"] for row in rows}


def of_reports(names: list[str], preset: str) -> dict[str, Any]:
    """Metric → the bad end of every ordered pair, who weighs most in it, the bad end without that person, and the
    margin by the rule with and without.
    """
    found: dict[str, Any] = {}
    up = {recipe.name: recipe.direction == "up" for recipe in Tools(faces=None).recipes()}  # type: ignore[arg-type]
    reports = {name: report_at(name, preset) for name in names}
    for metric in MARGINS:
        pairs, ends, ends_without = [], list[float](), list[float]()
        for a, b in zip(names[::2], names[1::2]):
            for one, other in ((a, b), (b, a)):
                (mine, who), (theirs, _) = (of_report(reports[name], metric) for name in (one, other))
                end = bad_end(mine, theirs, who, metric, up[metric])
                if end is None:
                    continue
                without = {}
                for person in sorted(set(who.values())):
                    others = {clip: v for clip, v in mine.items() if who[clip] != person}
                    left = bad_end(others, theirs, who, metric, up[metric])
                    if left is not None:
                        without[person] = left
                person = min(without, key=without.__getitem__)
                ends.append(end)
                ends_without.append(without[person])
                pairs.append(
                    {
                        "from": one, "to": other, "bad_end": round(end, 4), "most": person,
                        "bad_end_without": round(without[person], 4),
                    }
                )  # fmt: skip
        found[metric] = {
            "margin_in_force": MARGINS[metric],
            "margin_by_the_rule": margin_of(ends) if ends else None,
            "margin_by_the_rule_without": margin_of(ends_without) if ends else None,
            "pairs": pairs,
        }
    return found


def main() -> None:
    """Train and measure seed after seed, and write what they come to."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_noise", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=60, help="of each training (the demo's own: see the preset)")
    parser.add_argument("--every", type=int, default=3, help="landmarks of one frame in so many")
    parser.add_argument("--reports", nargs="+", metavar="A B", help="take pairs of reports in git, and train nothing")
    given = parser.parse_args()
    if given.reports:
        if len(given.reports) % 2:
            parser.error(f"--reports: got {len(given.reports)} — accepted: an even number, A and B of each pair")
        words = f"python -m benchmarks.training_noise --reports {' '.join(given.reports)}"
        result = {**origin(words, "git"), "passing": PASSING, "metrics": of_reports(given.reports, "sample")}
        print(write(f"{NAME}_reports", result))
        return
    log_to_stdout()
    settings = preset_settings("sample")
    looked_at = replace(settings.evaluate, corpora=("hdtf",), landmark_every=given.every, picture_every=2 * given.every)
    settings = replace(settings, evaluate=looked_at)
    words = f"--seeds {given.seeds} --steps {given.steps} --every {given.every}"
    command = f"python -m benchmarks.training_noise {words}"
    path, by_seed = RESULTS / f"{NAME}.json", dict[str, Values]()
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        same = (before.get("steps"), before.get("every")) == (given.steps, given.every)
        by_seed = before["values"] if same else {}
    tools = load_tools(settings, settings.data_dir / "train_sync" / "judge")
    clips = clips_with_truths(settings, tools)
    speakers: dict[str, dict[str, str]] = {}
    for clip, _ in clips:
        speakers.setdefault(clip.record["corpus"], {})[clip.clip] = clip.speaker
    up = {recipe.name: recipe.direction == "up" for recipe in tools.recipes()}
    for seed in range(given.seeds):
        if str(seed) in by_seed:
            continue
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="s3dnerf-noise-") as folder:
            by_seed[str(seed)] = measured(settings, trained(settings, seed, given.steps, Path(folder)), clips, tools)
        logging.getLogger(__name__).info(f"seed {seed}: {time.perf_counter() - began:.0f} s")
        result = {
            **origin(command, "git", "hardware"),
            "steps": given.steps,
            "every": given.every,
            "of_the_whole_training": settings.train.steps,
            "passing": PASSING,
            "corpora": summary(by_seed, speakers, up) if len(by_seed) > 1 else {},
            "values": by_seed,
        }
        write(NAME, result)
    print(json.dumps(json.loads(path.read_text(encoding="utf-8"))["corpora"], indent=1))


if __name__ == "__main__":
    main()
