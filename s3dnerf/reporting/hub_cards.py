"""``MODEL_CARD.md`` and ``DATA_CARD.md``: what the records say of the model and of its data, as model hubs read it.

Markdown under YAML front matter with the fields of the Hugging Face hub. Pure functions of the report's sources; what
the records do not say, the cards name as not recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from s3dnerf.core.rates import FPS_HZ
from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.reporting import narrative
from s3dnerf.reporting.backends import Backend
from s3dnerf.reporting.membership import EXCLUDED, USED
from s3dnerf.reporting.page import origin
from s3dnerf.reporting.sources import SYNC_ROLES, Sources
from s3dnerf.reporting.tables import CORPUS_TITLES, number

MODEL_CARD, DATA_CARD = "MODEL_CARD.md", "DATA_CARD.md"
TASK = "image-to-video"  # the hub's nearest name for a portrait and speech to a video
TASK_TITLE = "Talking head from one portrait and speech"
TAGS = ["talking-head", "audio-driven", "neural-radiance-field", "lip-sync", "s3dnerf"]
# of the speech: what the owners of these corpora state; HDTF's lists and portraits of one's own state nothing
LANGUAGES = {"lrs2": "en", "mead": "en"}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
PREPROCESSING = ("resample", "align", "masks", "lips", "speech")


def _front(values: dict[str, Any]) -> str:
    """The front matter: fields without a value are left out."""
    return f"---\n{dump_yaml({k: v for k, v in values.items() if v not in (None, [], '')})}---\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows] + [""]


def _languages(sources: Sources, corpora: Sequence[str]) -> list[str]:
    """Of the speech: English where this project made it itself, else what the corpora's owners state."""
    if sources.settings.sample.enabled:
        return ["en"] if corpora else []
    return sorted({LANGUAGES[corpus] for corpus in corpora if corpus in LANGUAGES})


def _language_line(sources: Sources, corpora: Sequence[str]) -> str:
    if sources.settings.sample.enabled:
        return "Sentences are English, by a speech synthesiser."
    silent = [CORPUS_TITLES[corpus] for corpus in corpora if corpus not in LANGUAGES]
    stated = [f"{CORPUS_TITLES[corpus]}: English" for corpus in corpora if corpus in LANGUAGES]
    return "; ".join(stated + [f"{corpus}: not recorded" for corpus in silent]) + "."


def _dataset(sources: Sources, corpus: str) -> tuple[str, str]:
    """Identifier and title of a corpus: clips that this project made in a corpus's layout are not that corpus."""
    title = CORPUS_TITLES.get(corpus, corpus)
    return (f"synthetic-{corpus}", f"{title} (synthetic)") if sources.settings.sample.enabled else (corpus, title)


def _tags(sources: Sources) -> list[str]:
    return TAGS + ["synthetic"] * sources.settings.sample.enabled


def size_category(clips: int) -> str:
    """The hub's size category of so many clips.

    >>> size_category(999), size_category(1000), size_category(5_000_000)
    ('n<1K', '1K<n<10K', '1M<n<10M')
    """
    return next((name for most, name in SIZES if clips < most), "1M<n<10M")


def results(sources: Sources, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The hub's ``model-index`` results: of each measured corpus every metric of ours that has a mean."""
    found = []
    for corpus, part in summary["corpora"].items():
        cells = part["methods"].get(sources.ours, {})
        metrics = []
        for recipe in sources.recipes:
            mean = cells.get(recipe.name, {}).get("mean")
            if mean is not None:
                about = ", ".join(x for x in (recipe.unit, recipe.version, recipe.direction) if x)
                metrics.append({"type": recipe.name, "value": mean, "name": f"{recipe.title} ({about})"})
        if metrics:
            kind, title = _dataset(sources, corpus)
            dataset = {"type": kind, "name": f"{title}, test clips of this run", "split": "test"}
            found.append({"task": {"type": TASK, "name": TASK_TITLE}, "dataset": dataset, "metrics": metrics})
    return found


def _evaluation(sources: Sources, summary: dict[str, Any]) -> list[str]:
    """A table a corpus: ours with its interval, the controls and the truth."""
    lines = []
    for corpus, part in summary["corpora"].items():
        rows = []
        for recipe in sources.recipes:
            cells = {m: part["methods"].get(m, {}).get(recipe.name, {}) for m in part["methods"]}
            ours = cells.get(sources.ours, {})
            if ours.get("mean") is None:
                continue
            span = (
                ""
                if ours["low"] is None
                else f" ({number(ours['low'], recipe.name)} to {number(ours['high'], recipe.name)})"
            )
            others = [
                "–" if (mean := cells.get(m, {}).get("mean")) is None else number(mean, recipe.name)
                for m in ("wrong_speech", "still", "truth")
            ]
            unit = f" ({recipe.unit})" if recipe.unit else ""
            name = f"{recipe.title} {recipe.arrow}".strip() + unit
            rows.append([name, number(ours["mean"], recipe.name) + span, *others, ours["clips"]])
        counted = f"{narrative.many(part['clips'], 'clip')} of {narrative.many(part['speakers'], 'person', 'people')}"
        lines += [f"### {_dataset(sources, corpus)[1]}: {counted}", ""]
        lines += _table(["metric", "ours (95 %)", "wrong speech", "still picture", "truth", "clips"], rows)
    return lines or ["No test clip was measured.", ""]


def _training(sources: Sources) -> list[str]:
    """What each network's card says of its training."""
    rows = []
    for name in (*SYNC_ROLES, *sources.settings.train.variants):
        card = sources.cards.get(name) or {}
        if not card:
            continue
        parameters = card.get("parameters", "not recorded")
        if isinstance(parameters, dict):
            parameters = ", ".join(f"{part} {count:,}" for part, count in parameters.items())
        elif isinstance(parameters, int):
            parameters = f"{parameters:,}"
        corpora = ", ".join(_dataset(sources, c)[1] for c in card.get("corpora", [])) or "not recorded"
        title = f"lip-sync {name}" if name in SYNC_ROLES else f"generator ({name})"
        people = len(card.get("speakers", []))
        cells = [title, parameters, card.get("steps", "not recorded"), corpora, card.get("clips", "not recorded")]
        rows.append([*cells, people, f"`{sources.hashes.get(name, 'not recorded')[:12]}`"])
    return _table(["network", "parameters", "steps", "corpora", "clips", "people", "weights sha256"], rows)


def model_card(sources: Sources, summary: dict[str, Any], listed: list[Backend], provenance: dict[str, Any]) -> str:
    """``MODEL_CARD.md``."""
    s = sources.settings
    variant = next(iter(sources.variants.values()), s.train.variants[0])
    card = sources.cards.get(variant) or {}
    corpora, found = list(card.get("corpora", [])), results(sources, summary)
    front = {
        "license": "unknown",
        "language": _languages(sources, corpora),
        "pipeline_tag": TASK,
        "tags": _tags(sources),
        "datasets": [] if s.sample.enabled else corpora,
        "metrics": list(dict.fromkeys(m["type"] for result in found for m in result["metrics"])),
        "model-index": [{"name": f"s3dnerf-{s.preset}", "results": found}] if found else [],
    }
    lines = [
        f"# S³D-NeRF, preset {s.preset}",
        "",
        "From one portrait and a speech recording to a talking-head video, by a neural radiance field that is not "
        "trained on the person shown.",
        "",
        *[f"> **{line}**  " for line in narrative.warnings(sources, listed)],
        "",
        "## What it is for",
        "",
        "- Research on audio-driven faces: videos of a person who agreed, marked as synthetic.",
        "- Not for videos that pass as recordings, not of people who did not agree, not for telling who somebody is.",
        f"- {card.get('note') or 'Videos made with these weights are synthetic and must be labelled so.'}",
        "",
        "## Training",
        "",
        narrative.trained_on(sources),
        "",
        *_training(sources),
        f"Seeds: generator {s.seed}, expert {s.sync.expert_seed}, judge {s.sync.judge_seed}. Speech features: "
        f"{s.speech.backend}. All settings: `settings.yaml`; the data: `{DATA_CARD}`.",
        "",
        "## Evaluation",
        "",
        "Means over test clips with 95 % intervals over speakers. Wrong speech: the same generator and portrait with "
        "another person's speech. Still picture: the source frame held still.",
        "",
        *_evaluation(sources, summary),
        *[f"- {line}" for line in narrative.verdicts(sources, summary)],
        "",
        "## Components",
        "",
        *_table(
            ["component", "ran with", "status", "the real thing"],
            [[b.component, b.name, b.status, b.real_thing] for b in listed],
        ),
        "## Where it was made",
        "",
        *[f"- {key or 'Machine'}: {value}" for key, value in origin(provenance, sources)],
        "",
        "## Not recorded",
        "",
        "- A licence of these weights: the code is MIT (`LICENSE`); corpora and components have their own terms, which "
        "may forbid passing the weights on.",
        f"- Language, clip by clip. {_language_line(sources, corpora)}",
        "- Age, gender, skin colour and accent of the people: how well it works for whom is not measured.",
        "- Energy used.",
        "",
    ]
    return _front(front) + "\n".join(lines)


def _composition(sources: Sources) -> list[str]:
    """Files, clips and people of each corpus and split, and what was excluded for which reason."""
    members = sources.membership
    rows, lost = [], []
    for corpus in dict.fromkeys(members["corpus"]):
        of = members[members["corpus"] == corpus]
        title, clips = _dataset(sources, corpus)[1], of[(of["kind"] == "clip") & (of["status"] == USED)]
        files = of[of["kind"] == "file"]
        used = int((files["status"] == USED).sum())
        for split in sorted(set(clips["split"])) or [""]:
            mine = clips[clips["split"] == split]
            rows.append([title, f"{used} of {len(files)}", split or "–", len(mine), mine["speaker"].nunique()])
        reasons = of[of["status"] == EXCLUDED].groupby(["kind", "stage", "reason"], sort=True).size()
        lost += [[title, *map(str, keys), count] for keys, count in reasons.items()]
    lines = _table(["corpus", "raw files used", "split", "clips", "people"], rows)
    if not lost:
        return [*lines, "Nothing was excluded.", ""]
    return [*lines, "Excluded:", "", *_table(["corpus", "what", "stage", "reason", "count"], lost)]


def data_card(sources: Sources, table: dict[str, Any]) -> str:
    """``DATA_CARD.md``.

    ``table``: the facts of the membership table (:func:`s3dnerf.reporting.membership.table_facts`).
    """
    s, members = sources.settings, sources.membership
    corpora = list(dict.fromkeys(members["corpus"]))
    used = int(((members["kind"] == "clip") & (members["status"] == USED)).sum())
    made = s.sample.enabled
    front = {
        "license": "unknown",
        "language": _languages(sources, corpora),
        "task_categories": [TASK],
        "size_categories": [size_category(used)],
        "tags": _tags(sources),
        "pretty_name": f"S³D-NeRF data, preset {s.preset}",
        "annotations_creators": ["machine-generated"],
        "source_datasets": ["original"] if made else [f"extended|other-{corpus}" for corpus in corpora],
    }
    kind = (
        "Every face and voice was made by this project's own generator (`s3dnerf/corpora/synthetic`): nobody is real."
        if made
        else "Recordings of real people, as their owners give them out."
    )
    names = ", ".join(CORPUS_TITLES[corpus] for corpus in corpora) or "no corpus"
    whose = f"in the layouts of {names}" if made else f"of {names}"
    lines = [
        f"# Data of S³D-NeRF, preset {s.preset}",
        "",
        f"Talking-head clips {whose}, cut and aligned for training and evaluation. {kind} No frame and no sound "
        "is part of this card.",
        "",
        "## What there is",
        "",
        narrative.membership_line(sources),
        "",
        *_composition(sources),
        f"Every raw file and clip by name: `{table['path']}` under DVC, {table['rows']} rows, sha256 "
        f"`{table['sha256']}`.",
        "",
        "## Splits",
        "",
        narrative.trained_on(sources),
        "",
        "## How it was processed",
        "",
        f"- Clips of at most {s.ingest.clip_s:g} s and at least {s.ingest.min_clip_s:g} s, {FPS_HZ} frames a second, "
        "sound at 16 kHz.",
        f"- Faces aligned to {s.align.size_px}×{s.align.size_px} pixels ({s.align.backend}); head, pose and face mask "
        f"by {s.masks.backend}; speech features by {s.speech.backend}.",
        f"- Filter for sound and lips that are apart: {s.speech.sync_filter}.",
        f"- No label is by hand: landmarks, masks and boxes are what {', '.join(PREPROCESSING)} found.",
        "",
        "## People",
        "",
        "No real person is in it." if made else "Faces and voices are personal data: see the corpora's own terms.",
        "",
        "## Not recorded",
        "",
        "- A licence of the data: "
        + ("the code that made it is MIT (`LICENSE`)." if made else "the corpora's own terms hold; the code is MIT."),
        f"- Language, clip by clip. {_language_line(sources, corpora)}",
        "- Age, gender, skin colour and accent of the people"
        + ("." if made else "; whether each of them agreed to this use."),
        "",
    ]
    return _front(front) + "\n".join(lines)
