"""What the report says in plain words: warnings first, then what was trained on what, what was measured, and what
won.
"""

from __future__ import annotations

from typing import Any

from s3dnerf.metrics.result import Recipe
from s3dnerf.reporting.backends import Backend, replacements
from s3dnerf.reporting.sources import Sources
from s3dnerf.reporting.statistics import smallest_p, speakers_needed
from s3dnerf.reporting.summary import ALPHA, DYNAMICS
from s3dnerf.reporting.tables import CORPUS_TITLES, number

HEADLINE = ("m_lmd", "f_lmd", "ssim", "lse_c")


def many(count: int, one: str, more: str = "") -> str:
    """A count and its noun.

    Examples
    --------
    >>> many(1, "person", "people"), many(2, "clip")
    ('1 person', '2 clips')
    """
    return f"{count} {one if count == 1 else more or one + 's'}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def warnings(sources: Sources, listed: list[Backend]) -> list[str]:
    """What a reader must know before any number: random weights first, a failed gate, replacements, then what
    nothing accounts for.
    """
    found = random_weights(sources, listed)
    expert = sources.cards.get("expert", {})
    if expert and not expert.get("passes", False):
        held = expert.get("held_out", {})
        found.append(
            f"The lip-sync expert did not pass its gate: right in {held.get('accuracy', float('nan')):.3f} of "
            "held-out trials, "
            f"{expert.get('gate', float('nan')):g} was asked. A generator may then be trained with λ_sync = 0 only."
        )
    for variant in sources.settings.train.variants:
        card = sources.cards.get(variant, {})
        if card and variant != "no_sync" and card.get("sync_weight", {}).get("value") == 0:
            why = card["sync_weight"].get("why", "")
            found.append(f"The generator ({variant}) was trained without the lip-sync loss (λ_sync = 0): {why}.")
    replaced = replacements(listed)
    if replaced:
        names = ", ".join(f"{b.component[0].lower()}{b.component[1:]} ({b.name})" for b in replaced)
        found.append(
            f"{len(replaced)} of {len(listed)} backends are replacements for the paper's: {names}. "
            "The numbers compare rows of this report with each other, not with the paper's."
        )
    lost = _members(sources, status="unaccounted")
    if lost:
        found.append(f"{lost} raw files or clips are accounted for by no stage: see Membership.")
    return found


def random_weights(sources: Sources, listed: list[Backend]) -> list[str]:
    """One sentence where weight files in use are marked as random values (:mod:`stages.weight_hashes`), else none."""
    marked = [name for name, row in sources.weights.items() if row.get("random")]
    if not marked:
        return []
    replaced = f"{len(replacements(listed))} of {len(listed)} backends are replacements for the paper's"
    return [
        f"These are random weights ({', '.join(marked)}): every number here is meaningless, "
        f"the run shows only that the code works ({replaced})."
    ]


def trained_on(sources: Sources) -> str:
    """Whose faces and voices the generator learned from, and whom it was tested on."""
    s = sources.settings
    variant = next(iter(sources.variants.values()), s.train.variants[0])
    card = sources.cards.get(variant, {})
    kind = "synthetic speakers made by this project" if s.sample.enabled else "real footage"
    people, clips = len(card.get("speakers", [])), card.get("clips", 0)
    tested = {c: {r["speaker"] for r in sources.rows if r["corpus"] == c} for c in s.evaluate.corpora}
    clips_of = {c: len({r["clip"] for r in sources.rows if r["corpus"] == c}) for c in tested}
    where = (
        " and ".join(
            f"{many(clips_of[c], f'{CORPUS_TITLES[c]} clip')} of {many(len(who), 'person', 'people')}"
            for c, who in tested.items()
            if who
        )
        or "no clips"
    )
    both = sorted(set(card.get("speakers", [])) & set().union(*tested.values()))
    seen = f"but {', '.join(both)} had been trained on" if both else "none of whom was trained on"
    learned = f"{many(clips, 'clip')} of {many(people, 'person', 'people')} ({kind}) in {card.get('steps', 0):,} steps"
    return f"The generator ({variant}) learned from {learned}, and was measured on {where}, {seen}."


def _against(
    corpus: str, control: str, words: str, summary: dict[str, Any], recipes: dict[str, Recipe], ours: str
) -> str | None:
    """One sentence: on which headline metrics ours is better, worse, or not shown to differ from a control."""
    methods, found = summary["methods"], summary["differences"].get(f"{ours} - {control}", {})
    groups: dict[str, list[str]] = {"better": [], "worse": [], "no difference shown": []}
    for metric in HEADLINE:
        difference = found.get(metric, {})
        if metric not in recipes or difference.get("mean") is None:
            continue
        our_mean, control_mean = (methods[m][metric]["mean"] for m in (ours, control))
        unit = f" {recipes[metric].unit}" if recipes[metric].unit else ""
        sentence = (
            f"{recipes[metric].title} {number(our_mean, metric)} against {number(control_mean, metric)}{unit} "
            f"({_p(difference['p_holm'])})"
        )
        groups[difference["verdict"]].append(sentence)
    parts = [f"{verdict} on {', '.join(sentences)}" for verdict, sentences in groups.items() if sentences]
    return f"{CORPUS_TITLES[corpus]}, {words}: {'; '.join(parts)}." if parts else None


def verdicts(sources: Sources, summary: dict[str, Any]) -> list[str]:
    """What won: the headline metrics of each corpus against the controls, in words."""
    recipes = {r.name: r for r in sources.recipes}
    found = []
    for corpus in sources.settings.evaluate.corpora:
        part = summary["corpora"].get(corpus)
        if part is None:
            found.append(f"{CORPUS_TITLES[corpus]}: no test clip came through preprocessing.")
            continue
        for control, control_name in (
            ("wrong_speech", "the clip's own speech against another person's"),
            ("still", "against a still picture"),
        ):
            line = _against(corpus, control, control_name, part, recipes, sources.ours)
            if line:
                found.append(line)
        tests = max(
            (
                sum(d["mean"] is not None for metric, d in one.items() if metric not in DYNAMICS)
                for one in part["differences"].values()
            ),
            default=0,
        )
        smallest = min(1.0, tests * smallest_p(part["speakers"]))
        if tests and smallest >= ALPHA:
            needed = speakers_needed(tests, ALPHA)
            enough = f"{needed} are needed" if needed else "no number of speakers is enough"
            found.append(
                f"{CORPUS_TITLES[corpus]} has {many(part['speakers'], 'test speaker')}: with so few no test can give "
                f"less than {_p(smallest)} after Holm, whatever the model does; {enough} for the {many(tests, 'test')} "
                "asked."
            )
    return found


def _members(sources: Sources, **values: str) -> int:
    """How many rows of the membership table have these values."""
    return sum(
        row["count"] for row in sources.membership_counts if all(row[name] == value for name, value in values.items())
    )


def membership_line(sources: Sources) -> str:
    """How many raw files and clips came through."""
    files, clips = _members(sources, kind="file"), _members(sources, kind="clip")
    used, out = _members(sources, kind="clip", status="used"), _members(sources, kind="clip", status="excluded")
    lost = _members(sources, status="unaccounted")
    accounting = "every one accounted for" if not lost else f"{lost} unaccounted for"
    return f"{files} raw files and {clips} clips: {used} clips used, {out} excluded with a reason, {accounting}."


def three_lines(sources: Sources, summary: dict[str, Any], listed: list[Backend]) -> list[str]:
    """What the demo prints: the most important warning (or that there is none), what won, and what it rests on."""
    warned = warnings(sources, listed)
    first = warned[0] if warned else "Every backend is the real thing and the lip-sync expert passed its gate."
    won = verdicts(sources, summary)
    return [first, won[0] if won else "Nothing was measured.", membership_line(sources)]
