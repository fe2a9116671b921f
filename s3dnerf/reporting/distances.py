"""Whole-corpus distances of a report: KID, FID and FVD of each method, with controls, a floor and intervals.

Reads nothing and writes nothing: features of ``evaluate``'s ``features.safetensors`` and the table of clips come in,
:func:`distances` gives what ``report.json`` holds under ``distances``, :func:`tables` the tables of page and
``report.md``. Which network made the features is in each metric's name (:mod:`s3dnerf.metrics.distribution`).

Two columns a metric:

- **same clips**: a method's pictures against the true pictures of the same clips, as papers compute it. KID has a 95 %
  interval, bootstrap over speakers: a speaker drawn twice counts twice, and a picture is never paired with itself. FID
  and FVD have none: their bias depends on the number of different pictures, which a bootstrap lowers.
- **other half**: the pictures of one half of the speakers against the true pictures of the other half, mean over
  :data:`HALVES` random halvings. The truth's own row is the floor: how far two halves of the truth lie apart. A method
  at the floor cannot be told from other people's true pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from s3dnerf.metrics.distribution import RECIPES, fid, kernel
from s3dnerf.metrics.result import Recipe
from s3dnerf.reporting.statistics import SEED, drawn_speakers, expanded_percentiles
from s3dnerf.reporting.tables import CONTROL_TITLES, CORPUS_TITLES, LABEL, MEASURED, MISSING, Cell, Table, number

HALVES = 200  # halvings of the speakers, for KID
FRECHET_HALVES = 10  # and for FID and FVD, which cost a decomposition each
TRUTH = "truth"
ABOUT = (
    "All pictures of a corpus together (one frame a second), one number a method. Same clips: against the true "
    "pictures of the same clips, KID with a 95 % interval (bootstrap over speakers). Other half: one half of the "
    "speakers against the true pictures of the other half, mean over random halvings; the truth's row is the floor, "
    "two halves of the truth. The name says which network made the features: values with AlexNet do not compare with "
    "published ones."
)
Features = Mapping[tuple[str, ...], np.ndarray]
By = dict[str, np.ndarray]  # speaker → features of all their clips


class _Sums:
    """KID's kernel between two sets of features, summed over the pictures of each pair of speakers (s, s), with the
    numbers of pairs. ``within``: of one set, a picture and itself left out.
    """

    def __init__(self, one: Sequence[np.ndarray], other: Sequence[np.ndarray], within: bool) -> None:
        n = len(one)
        self.sums, self.counts = np.zeros((n, n)), np.zeros((n, n))
        for i, x in enumerate(one):
            for j, y in enumerate(other):
                of_pair = kernel(x, y)
                same = within and i == j
                self.sums[i, j] = of_pair.sum() - (np.trace(of_pair) if same else 0.0)
                self.counts[i, j] = of_pair.size - (len(x) if same else 0)

    def mean(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Mean kernel where speakers count so often: (r, s) each → (r,); nan where there is no pair."""
        total = np.einsum("rs,st,rt->r", one, self.sums, other)
        pairs = np.einsum("rs,st,rt->r", one, self.counts, other)
        return np.divide(total, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


class _Kid:
    """KID of a method against the truth for any weights of the speakers."""

    def __init__(self, method: By, truth: By) -> None:
        speakers = sorted(truth)
        x, y = [method[s] for s in speakers], [truth[s] for s in speakers]
        self.own, self.truth, self.across = _Sums(x, x, True), _Sums(y, y, True), _Sums(x, y, False)

    def of(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """KID where the method's speakers have weights ``one`` and the truth's ``other``, (r, s) each → (r,)."""
        return self.own.mean(one, one) + self.truth.mean(other, other) - 2 * self.across.mean(one, other)


def halvings(speakers: int, count: int) -> np.ndarray:
    """Which speakers are in the first half, ``count`` random halvings: (count, speakers) of 0 and 1, equal on every
    call.

    Examples
    --------
    >>> halvings(5, 3).sum(axis=1).tolist()
    [2.0, 2.0, 2.0]
    """
    random = np.random.default_rng(SEED)
    order = np.argsort(random.random((count, speakers)), axis=1)
    return (order < speakers // 2).astype(float)


def _frechet_apart(method: By, truth: By) -> float | None:
    """Mean Fréchet distance of one half of the speakers from the other half's truth."""
    speakers, found = sorted(truth), []
    for half in halvings(len(speakers), FRECHET_HALVES):
        x = np.concatenate([method[s] for s, first in zip(speakers, half) if first])
        y = np.concatenate([truth[s] for s, first in zip(speakers, half) if not first])
        if min(len(x), len(y)) >= 2:
            found.append(fid(x, y))
    return float(np.mean(found)) if found else None


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _measured(recipe: Recipe, method: By, truth: By, own: bool, resamples: int) -> dict[str, Any]:
    """One metric of one method on the clips that both have. ``own``: the method is the truth itself."""
    speakers, pictures = sorted(truth), sum(map(len, truth.values()))
    generated = sum(map(len, method.values()))
    cell: dict[str, Any] = {
        "pictures": generated, "speakers": len(speakers), "value": None, "low": None, "high": None, "other_half": None,
        "reason": "",
    }  # fmt: skip
    if min(generated, pictures) < 2:
        return cell | {"reason": "fewer than two pictures"}
    halved = len(speakers) >= 2
    if recipe.name.startswith("kid"):
        found, every = _Kid(method, truth), np.ones((1, len(speakers)))
        if not own:
            cell["value"] = _rounded(float(found.of(every, every)[0]))
            if halved:
                drawn = drawn_speakers(len(speakers), resamples)
                times = np.stack([(drawn == s).sum(axis=1) for s in range(len(speakers))], axis=1).astype(float)
                values = found.of(times, times)
                ends = expanded_percentiles(values[np.isfinite(values)], len(speakers))
                cell["low"], cell["high"] = map(_rounded, ends)
        if halved:
            first = halvings(len(speakers), HALVES)
            values = found.of(first, 1 - first)
            known = values[np.isfinite(values)]
            cell["other_half"] = _rounded(float(known.mean())) if len(known) else None
    else:
        if not own:
            cell["value"] = _rounded(fid(*(np.concatenate([side[s] for s in speakers]) for side in (method, truth))))
        cell["other_half"] = _rounded(_frechet_apart(method, truth)) if halved else None
    if own and cell["other_half"] is None:
        cell["reason"] = "the truth against itself; one speaker cannot be halved"
    return cell


def _by_speaker(
    features: Mapping[tuple[str, ...], np.ndarray], clips: Sequence[str], who: str, about: Mapping[str, tuple[str, str]]
) -> By:
    """Features of a method's clips, each speaker's together."""
    found: dict[str, list[np.ndarray]] = {}
    for clip in clips:
        found.setdefault(about[clip][1], []).append(features[clip, who])
    return {speaker: np.concatenate(parts) for speaker, parts in found.items()}


def distances(
    features: Features, rows: Sequence[Mapping[str, Any]], lacking: Mapping[str, str], resamples: int
) -> dict[str, Any]:
    """What a report says of whole corpora.

    Parameters
    ----------
    features : (clip, method, network) → (m, d)
    rows : of ``clips.parquet``: they name the corpus and the speaker of a clip
    lacking : network → why it is not here
    resamples : of KID's intervals

    Returns
    -------
    dict
        ``corpora``: corpus → metric → method → ``value`` (same clips) with ``low`` and ``high``, ``other_half``,
        ``pictures``, ``speakers``, ``reason``; ``versions``: metric → version; ``not_measured``: metric → reason;
        ``numbers``: metric → length of a feature.
    """
    about = {row["clip"]: (row["corpus"], row["speaker"]) for row in rows} if features else {}
    found: dict[str, Any] = {"corpora": {}, "versions": {}, "not_measured": {}, "numbers": {}}
    for network, recipes in RECIPES.items():
        of_network = {name[:2]: values.astype(np.float64) for name, values in features.items() if name[2] == network}
        for recipe in filter(None, recipes):
            if not of_network:
                found["not_measured"][recipe.name] = lacking.get(network) or "no video was long enough"
                continue
            found["versions"][recipe.name] = recipe.version
            found["numbers"][recipe.name] = next(iter(of_network.values())).shape[1]
            for corpus in sorted({corpus for corpus, _ in about.values()}):
                clips = sorted(clip for clip, (where, _) in about.items() if where == corpus)
                for method in sorted({m for clip, m in of_network if about.get(clip, ("",))[0] == corpus}):
                    both = [c for c in clips if (c, method) in of_network and (c, TRUTH) in of_network]
                    if not both:
                        continue
                    mine, true = (_by_speaker(of_network, both, who, about) for who in (method, TRUTH))
                    cell = _measured(recipe, mine, true, method == TRUTH, resamples)
                    parts = found["corpora"].setdefault(corpus, {}).setdefault(recipe.name, {})
                    parts[method] = cell | {"clips": len(both)}
    return found


def _cell(value: float | None, low: float | None, high: float | None, why: str, title: str) -> Cell:
    if value is None:
        return Cell("–", MISSING, None, "", why)
    span = f"{number(low)} to {number(high)}" if low is not None and high is not None else ""
    return Cell(number(value), MEASURED, value, span, title)


def nothing(found: Mapping[str, Any]) -> list[str]:
    """Where there is no table: what was not measured, and why."""
    if found["corpora"]:
        return []
    return [f"Not measured: {name}: {why}" for name, why in found["not_measured"].items()]


def tables(found: Mapping[str, Any], ours: str, variants: Mapping[str, str]) -> list[Table]:
    """A table a corpus: methods by metrics, each on the same clips and against the other half; none where nothing was
    measured.
    """
    made = []
    named = {r.name: r for recipes in RECIPES.values() for r in recipes if r}
    for corpus, metrics in found["corpora"].items():
        table = Table(
            f"distances-{corpus}",
            f"Whole-corpus distances · {CORPUS_TITLES.get(corpus, corpus)}",
            [("", 1)],
            ["method"],
        )
        for name in metrics:
            table.groups.append((f"{named[name].title} {named[name].arrow}", 2))
            table.columns += ["same clips", "other half"]
        listed = list(dict.fromkeys(m for cells in metrics.values() for m in cells))
        others = [m for m in listed if m not in (TRUTH, *variants, *CONTROL_TITLES)]
        order = [m for m in (TRUTH, *others, *variants, "wrong_speech", "still") if m in listed]
        for method in order:
            title = CONTROL_TITLES.get(method) or (f"S³D-NeRF ({variants[method]})" if method in variants else method)
            title = f"{title}: the floor" if method == TRUTH else title
            cells = [Cell(title, LABEL, title)]
            for cells_of in metrics.values():
                cell = cells_of.get(method)
                if cell is None:
                    cells += [Cell("–", MISSING, None, "", "no features of this method")] * 2
                    continue
                on = f"{cell['pictures']} pictures or windows of {cell['clips']} clips, {cell['speakers']} speakers"
                why = "the truth against itself" if method == TRUTH else cell["reason"]
                cells.append(_cell(cell["value"], cell["low"], cell["high"], why, on))
                cells.append(_cell(cell["other_half"], None, None, cell["reason"] or "one speaker", on))
            table.rows.append(cells)
            kinds = {TRUTH: "truth", ours: "ours", "wrong_speech": "control", "still": "control"}
            table.row_kinds.append(kinds.get(method, "other"))
        few = [
            f"{named[name].title} ({cells_of[ours]['pictures']} of {found['numbers'][name] + 1} wanted)"
            for name, cells_of in metrics.items()
            if not name.startswith("kid") and ours in cells_of and cells_of[ours]["pictures"] <= found["numbers"][name]
        ]
        if few:
            table.notes.append(
                f"Too few pictures: {', '.join(few)}. The value is biased up, and only rows of equal numbers compare."
            )
        table.notes += [f"Not measured: {named[name].title}: {why}" for name, why in found["not_measured"].items()]
        made.append(table)
    return made
