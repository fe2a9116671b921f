"""The model card and the data card: read by the hub's own reader, their numbers are the records'."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from s3dnerf.reporting.backends import backends
from s3dnerf.reporting.hub_cards import data_card, model_card
from s3dnerf.reporting.membership import COLUMNS, IN_REPORT_BYTES, counts, table_bytes, table_facts, table_path
from s3dnerf.reporting.sources import Sources
from s3dnerf.reporting.summary import summarise
from s3dnerf.settings.loading import preset_settings
from tests.reporting.small_report import RECIPES, membership_of, rows_of

PROVENANCE = {"git": {"revision": "0123456789ab", "dirty": False}, "hardware": {"cpu": "a CPU"}}


def sources_of(rows: list[dict], synthetic: bool, excluded: int = 0) -> Sources:
    settings = preset_settings("tiny")
    settings = replace(settings, sample=replace(settings.sample, enabled=synthetic))
    empty = dict.fromkeys(COLUMNS, "")
    lost = [
        empty
        | {
            "corpus": "hdtf",
            "kind": "clip",
            "name": f"x{i}",
            "status": "excluded",
            "stage": "align",
            "reason": "no_face",
        }
        for i in range(excluded)
    ]
    members = pd.DataFrame([*membership_of(rows), *lost], columns=COLUMNS, dtype="str")
    return Sources(
        settings,
        rows,
        methods={"recipes": [vars(r) for r in RECIPES], "variants": {"s3dnerf": "full"}},
        cards={
            "full": {"speakers": ["T"], "clips": 1, "steps": 4, "corpora": ["hdtf"], "parameters": {"generator": 12345}}
        },
        membership=members,
        membership_counts=counts(members),
        hashes={"full": "ab" * 32},
    )


def model(sources: Sources) -> str:
    summary = summarise(sources.rows, "tiny", sources.ours, 200)
    return model_card(sources, summary, backends(sources), PROVENANCE)


def data(sources: Sources) -> str:
    members = sources.membership
    return data_card(sources, table_facts(table_path("tiny"), table_bytes(members), len(members), IN_REPORT_BYTES))


def test_the_hub_reads_every_result_of_the_model_card() -> None:
    from huggingface_hub import ModelCard

    sources = sources_of(rows_of(), synthetic=False)
    text = model(sources)
    card = ModelCard(text)
    cells = summarise(sources.rows, "tiny", "s3dnerf", 200)["corpora"]["hdtf"]["methods"]["s3dnerf"]
    assert {r.metric_type: r.metric_value for r in card.data.eval_results} == {m: c["mean"] for m, c in cells.items()}
    assert {(r.dataset_type, r.dataset_split, r.task_type) for r in card.data.eval_results} == {
        ("hdtf", "test", "image-to-video")
    }
    assert card.data.license == "unknown" and card.data.datasets == ["hdtf"] and "s3dnerf" in card.data.tags
    assert card.data.language is None and "HDTF: not recorded" in text  # nothing states the language of these clips
    assert "generator 12,345" in text and "`abababababab`" in text and "0123456789ab" in text
    wrong = summarise(sources.rows, "tiny", "s3dnerf", 200)["corpora"]["hdtf"]["methods"]["wrong_speech"]["m_lmd"]
    assert f"| {wrong['mean']:.3f} |" in next(line for line in text.splitlines() if line.startswith("| M-LMD"))


def test_clips_made_by_this_project_are_not_called_the_corpus() -> None:
    from huggingface_hub import DatasetCard, ModelCard

    sources = sources_of(rows_of(), synthetic=True)
    card = ModelCard(model(sources))
    assert card.data.datasets is None and {r.dataset_type for r in card.data.eval_results} == {"synthetic-hdtf"}
    assert "synthetic" in card.data.tags and card.data.language == ["en"]
    text = data(sources)
    assert DatasetCard(text).data.source_datasets == ["original"] and "nobody is real" in text
    real = data(sources_of(rows_of(), synthetic=False))
    assert DatasetCard(real).data.source_datasets == ["extended|other-hdtf"] and "nobody is real" not in real
    assert "personal data" in real and "agreed" in real


@pytest.mark.parametrize(
    ("excluded", "said"), [(0, "Nothing was excluded."), (3, "| HDTF | clip | align | no_face | 3 |")]
)
def test_the_data_card_counts_clips_people_and_reasons(excluded: int, said: str) -> None:
    from huggingface_hub import DatasetCard

    text = data(sources_of(rows_of(speakers=7), synthetic=False, excluded=excluded))
    found = DatasetCard(text).data
    assert (found.license, found.task_categories, found.size_categories) == ("unknown", ["image-to-video"], ["n<1K"])
    assert "| HDTF | 0 of 0 | test | 7 | 7 |" in text and "| HDTF | 0 of 0 | train | 1 | 1 |" in text and said in text
    assert f"{8 + excluded} rows" in text


def test_without_a_measured_clip_there_is_a_card_without_results() -> None:
    from huggingface_hub import ModelCard

    text = model(sources_of([], synthetic=False))
    assert ModelCard(text).data.eval_results is None and "No test clip was measured." in text
