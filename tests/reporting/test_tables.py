"""The paper's tables: its own numbers where it printed them, ours beside, a reason in every cell that holds none."""

from __future__ import annotations

import math

import pytest

from s3dnerf.evaluation.protocol import Tools
from s3dnerf.reporting import paper
from s3dnerf.reporting.summary import DYNAMICS, summarise
from s3dnerf.reporting.tables import MISSING, QUOTED, further, markdown, table_1, table_2, table_3
from tests.fake_preset import DrawnFaces

RECIPES = Tools(faces=DrawnFaces()).recipes()


def long_table(effect: float = 0.5) -> list[dict]:
    """Ten speakers; ours is better than both controls on M-LMD and equal on SSIM; LPIPS is missing; one clip of ours
    failed.
    """
    rows = []
    for i in range(10):
        for method, shift in (
            ("truth", 0.0),
            ("s3dnerf", 1.0),
            ("wrong_speech", 1.0 + effect),
            ("still", 1.2 + effect),
            ("wav2lip", 0.9),
        ):
            for recipe in RECIPES:
                value, reason = 0.8, ""
                if recipe.name == "m_lmd":
                    value = shift * (1 + 0.05 * i)
                if recipe.name == "lpips" or (recipe.name == "m_lmd" and method == "s3dnerf" and i == 9):
                    value, reason = (
                        math.nan,
                        "no weights" if recipe.name == "lpips" else "no frame has landmarks in both videos",
                    )
                rows.append(
                    {
                        "clip": f"hdtf_{i}",
                        "corpus": "hdtf",
                        "speaker": f"P{i}",
                        "method": method,
                        "metric": recipe.name,
                        "value": value,
                        "unit": recipe.unit,
                        "direction": recipe.direction,
                        "version": recipe.version,
                        "counted": 75 if not reason else 0,
                        "failed": 0 if not reason else 75,
                        "reason": reason,
                    }
                )
    return rows


def test_the_summary_pairs_and_judges() -> None:
    part = summarise(long_table(), "sample", "s3dnerf", 500)["corpora"]["hdtf"]
    cell = part["methods"]["s3dnerf"]["m_lmd"]
    assert (cell["clips"], cell["clips_failed"], cell["frames_failed"]) == (9, 1, 75)
    found = part["differences"]["s3dnerf - wrong_speech"]
    assert found["m_lmd"]["clips"] == 9 and found["m_lmd"]["better"] and found["m_lmd"]["verdict"] == "better"
    assert found["m_lmd"]["p"] < found["m_lmd"]["p_holm"] < 0.05
    assert found["ssim"]["verdict"] == "no difference shown" and found["lpips"]["mean"] is None
    worse = summarise(long_table(-0.5), "sample", "s3dnerf", 500)["corpora"]["hdtf"]["differences"][
        "s3dnerf - wrong_speech"
    ]
    assert worse["m_lmd"]["verdict"] == "worse"
    assert "sync_offset" not in found  # an offset is neither better nor worse


def test_measures_of_motion_are_a_family_of_their_own() -> None:
    """Measuring them changes no other metric's corrected p, and theirs is corrected among themselves."""
    rows = [
        {**r, "value": 0.5 if r["method"] == "wrong_speech" else 0.8 + int(r["clip"][-1]) / 100}
        if r["metric"] in ("apd", "m_lmd")
        else r
        for r in long_table()
    ]
    fewer = [r for r in rows if r["metric"] not in DYNAMICS]
    both, one = (summarise(r, "sample", "s3dnerf", 200)["corpora"]["hdtf"] for r in (rows, fewer))
    found, alone = (part["differences"]["s3dnerf - wrong_speech"] for part in (both, one))
    assert found["m_lmd"]["p_holm"] == alone["m_lmd"]["p_holm"]
    directed = {r.name for r in RECIPES if r.name in DYNAMICS and r.direction != "none"}
    assert found["apd"]["p_holm"] == pytest.approx(len(directed) * found["apd"]["p"], abs=1e-5)
    assert set(DYNAMICS) < {r.name for r in RECIPES}
    tests = [summarise(r, "sample", "s3dnerf", 200)["test"] for r in (rows, fewer)]
    assert "motion and time apart" in tests[0] and "apart" not in tests[1]


def cell_of(table, row: str, group: str, column: str):
    index = 0
    for title, count in table.groups:
        names = table.columns[index : index + count]
        if title.startswith(group) and column in names:
            index += names.index(column)
            break
        index += count
    return next(cells for cells in table.rows if cells[0].text == row)[index]


def test_table_1_quotes_and_measures() -> None:
    part = summarise(long_table(), "sample", "s3dnerf", 200)["corpora"]["hdtf"]
    table = table_1("hdtf", part, RECIPES, "s3dnerf", {"s3dnerf": "full"}, "why")
    assert cell_of(table, "S³D-NeRF (this run)", "M-LMD", "paper").text == "2.929"
    assert cell_of(table, "PC-AVS", "F-LMD", "paper").text == "3.925"
    assert cell_of(table, "Truth (GT)", "Sync", "paper").text == "8.144"
    # laid as wav2lip/, shown beside the paper's Wav2Lip
    assert cell_of(table, "Wav2Lip", "SSIM", "here").kind == "measured"
    missing = cell_of(table, "SadTalker", "SSIM", "here")
    assert missing.kind == MISSING and "no videos of this method" in missing.title
    assert cell_of(table, "S³D-NeRF (this run)", "LPIPS", "here").title == "no weights"
    assert cell_of(table, "Wav2Lip", "M-LMD", "here").best and not cell_of(table, "Truth (GT)", "M-LMD", "here").best
    assert [r[0].text for r in table.rows][-2:] == ["Wrong speech (control)", "Still picture (control)"]
    assert all(c.title for row in table.rows for c in row if c.kind == MISSING)
    assert all(len(row) == len(table.columns) == sum(n for _, n in table.groups) for row in table.rows)


def test_tables_2_and_3_without_data_say_why() -> None:
    two = table_2(None, RECIPES, "s3dnerf", {"s3dnerf": "full"}, None, "the corpus is not configured")
    assert cell_of(two, "S³D-NeRF (this run)", "FPS", "paper").text == "9.5"
    assert cell_of(two, "GeneFace", "Fit time", "paper").text == "42 h"
    assert cell_of(two, "S³D-NeRF (this run)", "SSIM", "here").title == "the corpus is not configured"
    three = table_3(None, RECIPES, {"s3dnerf": "full"}, "no clips")
    assert cell_of(three, "Naive deformation (ND)", "SSIM", "here").title.startswith("not trained in this run")
    assert cell_of(three, "S³D-NeRF (full)", "SSIM", "paper").text == "0.829"
    assert cell_of(three, "Without deformation", "F-LMD", "paper").text == "N/A"
    assert any("0.819" in note for note in three.notes)
    fast = {
        "network_fps": 12.5,
        "with_portrait_fps": 11.0,
        "with_files_fps": 9.0,
        "fit_time_s": 0.4,
        "frames": 25,
        "device": "cpu",
    }
    two = table_2(None, RECIPES, "s3dnerf", {"s3dnerf": "full"}, fast, "why")
    assert cell_of(two, "S³D-NeRF (this run)", "FPS", "here").text == "12.50"


def test_further_measures_and_markdown() -> None:
    part = summarise(long_table(), "sample", "s3dnerf", 200)["corpora"]["hdtf"]
    more, dynamics = further("hdtf", part, RECIPES, "s3dnerf", {"s3dnerf": "full"})
    assert (
        "PSNR" in str(more.groups)
        and "SSIM" not in str(more.groups)
        and all(c.kind != QUOTED for row in more.rows for c in row)
    )
    assert "Silent-lip stability" in str(dynamics.groups) and "PSNR" not in str(dynamics.groups)
    assert len(more.columns) + len(dynamics.columns) == len(RECIPES) - len(paper.METRICS) + 2
    assert [row[0].text for row in dynamics.rows][0] == "Truth (GT)" and "no arrow" in dynamics.notes[0]
    old = [r for r in RECIPES if r.name not in DYNAMICS]  # a report from before these were measured
    assert [t.name for t in further("hdtf", part, old, "s3dnerf", {"s3dnerf": "full"})] == ["further-hdtf"]
    text = markdown(table_1("hdtf", part, RECIPES, "s3dnerf", {"s3dnerf": "full"}, "why"))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1 and "*0.819*" in text and "[1]" in text


def test_the_papers_numbers() -> None:
    """A few against the page they stand on, one a table: the full model's SSIM is printed twice, and differs."""
    assert paper.table_1("hdtf")["S³D-NeRF"]["ssim"] == 0.819 and paper.table_3()["full"]["ssim"] == 0.829
    assert paper.table_1("mead")["S³D-NeRF"] == {
        "ssim": 0.845,
        "lpips": 0.161,
        "f_lmd": 2.014,
        "m_lmd": 2.921,
        "cpbd": 0.152,
        "lse_c": 6.768,
    }
    assert paper.table_2()["ER-NeRF"]["f_lmd"] == 1.158 and paper.table_2()["ER-NeRF"]["m_lmd"] == 1.659
    assert paper.table_1("lrs2") == {} and paper.paper_name("pcavs") == "PC-AVS" and paper.paper_name("Mine") == "Mine"
