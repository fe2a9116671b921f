"""The stage ``report`` on a drawn preset: every file, equal bytes twice, warnings first, nothing unaccounted."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.audit import folder_report
from s3dnerf.core.yaml_text import load_yaml
from s3dnerf.reporting.membership_audit import accounted, people, table
from s3dnerf.reporting.report_files import ReportError
from s3dnerf.settings.loading import as_dict, experiment
from s3dnerf.settings.protocols import protocol_line, stated_protocol
from s3dnerf.video.packs import PACK_STAGES
from stages import evaluate, report
from stages.context import Context
from tests.fake_preset import PROVENANCE, DrawnFaces, FakeJudge, make_generator, make_preset, settings_of
from tests.stages.conftest import build

FILES = {
    "summary.json",
    "clips.parquet",
    "membership.parquet",
    "report.json",
    "timings.json",
    "index.html",
    "report.md",
    "MODEL_CARD.md",
    "DATA_CARD.md",
    "settings.yaml",
    "lock.yaml",
    "metrics.json",
    *(f"{role}_{name}.tsv" for role in ("expert", "judge") for name in ("loss", "accuracy", "offset")),
    "generator.tsv",
    "clips.tsv",
    "MANIFEST.sha256",
}


def run(**more) -> dict:
    return report.main(Context(settings_of(), "report", provenance=PROVENANCE, **more))


def test_every_file_and_its_manifest(here: Path) -> None:
    (here / "reports/tiny").mkdir(parents=True, exist_ok=True)
    (here / "reports/tiny/stale.png").write_bytes(b"from an older version")
    result = run()
    folder = here / "reports/tiny"
    assert {p.name for p in folder.iterdir()} == FILES
    listed = dict(reversed(line.split("  ")) for line in (folder / "MANIFEST.sha256").read_text().splitlines())
    assert listed == {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in FILES - {"MANIFEST.sha256"}}
    assert len(result["lines"]) == 3 and result["report"] == "reports/tiny/index.html" and result["bytes"] < 5e6


def test_the_protocol_is_stated_by_name_and_values(here: Path) -> None:
    run()
    folder = here / "reports/tiny"
    stated = json.loads((folder / "report.json").read_text())["protocol"]
    assert stated == stated_protocol(as_dict(settings_of())) and stated["name"] == "custom"
    line = protocol_line(as_dict(settings_of()))
    assert "evaluate.source_frame: first" in line
    assert f"- Protocol: {line}\n" in (folder / "report.md").read_text() and line in (folder / "index.html").read_text()


def test_two_runs_give_equal_bytes(here: Path) -> None:
    paths = [here / "reports/tiny" / n for n in FILES] + [here / "data/tiny/report/membership.parquet"]
    run()
    first = [path.read_bytes() for path in paths]
    run()
    assert first == [path.read_bytes() for path in paths]


def test_no_speed_in_what_must_not_vary(here: Path) -> None:
    run()
    folder = here / "reports/tiny"
    (here / ".timings/tiny/extra.json").write_text('{"seconds": 3}')
    before = {
        n: (folder / n).read_bytes() for n in ("summary.json", "clips.parquet", "membership.parquet", "report.json")
    }
    (here / ".timings/tiny/evaluate.json").write_text(
        json.dumps(
            {
                "fps": {
                    "network_fps": 1.25,
                    "with_portrait_fps": 1.0,
                    "with_files_fps": 0.5,
                    "fit_time_s": 9.0,
                    "frames": 12,
                    "device": "cpu",
                }
            }
        )
    )
    run()
    assert before == {n: (folder / n).read_bytes() for n in before}
    assert "1.25" in (folder / "index.html").read_text() and json.loads((folder / "timings.json").read_text())[
        "extra"
    ] == {"seconds": 3}


def test_the_summary_has_controls_and_counts(here: Path) -> None:
    run()
    summary = json.loads((here / "reports/tiny/summary.json").read_text())
    part = summary["corpora"]["hdtf"]
    assert (
        part["clips"] == 3
        and part["speakers"] == 3
        and set(part["methods"]) == {"truth", "s3dnerf", "wrong_speech", "still"}
    )
    assert set(part["differences"]) == {"s3dnerf - wrong_speech", "s3dnerf - still"}
    cell = part["methods"]["s3dnerf"]["m_lmd"]
    assert cell["low"] <= cell["mean"] <= cell["high"] and (cell["clips"], cell["clips_failed"]) == (3, 0)
    lpips = part["methods"]["s3dnerf"]["lpips"]
    assert lpips["mean"] is None and lpips["clips_failed"] == 3 and "switched off" in lpips["reason"]
    difference = part["differences"]["s3dnerf - still"]["m_lmd"]
    assert difference["p"] >= 0.25 and difference["verdict"] == "no difference shown"  # three speakers cannot show one


def test_membership_accounts_for_everything(here: Path) -> None:
    run()
    rows = pd.read_parquet(here / "reports/tiny/membership.parquet")
    assert not (rows["status"] == "unaccounted").any()
    broken = rows[rows["name"] == "clips/broken.mp4"]
    assert set(broken["reason"]) == {"unreadable"} and set(broken["stage"]) == {"ingest"}
    used = rows[(rows["kind"] == "clip") & (rows["status"] == "used")].set_index("name")["used_for"]
    assert used["hdtf_C_000"] == "evaluate" and used["hdtf_A_000"] == "train_s3dnerf, train_sync expert"
    assert used["hdtf_B_000"] == "held out for train_sync expert, train_s3dnerf"


def test_a_lost_clip_is_found(here: Path) -> None:
    """A clip that no stage speaks of: in ingest's records, in no pack and in no quarantine."""
    path = here / "data/tiny/ingest/mead/clips.parquet"
    kept = path.read_bytes()
    clips = pd.read_parquet(path)
    ghost = clips.iloc[[0]].assign(clip="mead_ghost_000")
    pd.concat([clips, ghost]).to_parquet(path, index=False)
    try:
        run()
    finally:
        path.write_bytes(kept)
    rows = pd.read_parquet(here / "reports/tiny/membership.parquet").set_index("name")
    assert rows.loc["mead_ghost_000", "status"] == "unaccounted" and rows.loc["mead_ghost_000", "stage"] == "resample"
    assert "accounted for by no stage" in (here / "reports/tiny/report.md").read_text()


def test_the_document_says_where_numbers_came_from(here: Path) -> None:
    run()
    document = json.loads((here / "reports/tiny/report.json").read_text())
    assert (
        document["schema"] == "s3dnerf-report-4"
        and document["origin"]["git"]["revision"] == PROVENANCE["git"]["revision"]
    )
    assert {b["status"] for b in document["backends"]} <= {"real", "replacement", "not measured"} and document[
        "settings"
    ]["preset"] == "tiny"
    assert {m["name"]: m["version"] for m in document["metrics"]}["cpbd"] == "cpbd-1"
    lacking = document["distances"]["not_measured"]  # at tiny there is no feature network, and each name says so
    assert set(lacking) == {"kid_alexnet", "fid_alexnet", "kid_inception", "fid_inception", "fvd_i3d"}
    assert all("switched off" in why for why in lacking.values())
    weights = (here / "data/tiny/train_s3dnerf/full/generator.safetensors").read_bytes()
    assert document["networks"]["full"] == hashlib.sha256(weights).hexdigest() and set(document["networks"]) == {
        "full",
        "expert",
        "judge",
    }
    empty = report.report_files(Context(settings_of(), "report"))[0]
    unknown = json.loads(empty["report.json"])["origin"]
    assert unknown["git"] == {"revision": "unknown", "dirty": "unknown"} and unknown["packages"] == "unknown"
    # of the machine that measured, which evaluate itself recorded
    assert unknown["hardware"]["cpu"] == document["made"]["evaluate"]["by"][0]["machines"][0]["cpu"] != "unknown"


def test_the_page_asks_nothing_of_the_network(here: Path) -> None:
    run()
    page = (here / "reports/tiny/index.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*", page) and "http" not in page.replace("http-equiv", "")
    for words in (
        "Table 1 · HDTF",
        "Table 2",
        "Table 3",
        "Does the speech matter?",
        "are replacements for the paper",
        "Wrong speech (control)",
    ):
        assert words in page
    warning, first_table = page.index('class="warn"'), page.index("<table")
    assert warning < first_table
    assert "2.799" in page and "1 %" not in page[:warning]  # the paper's F-LMD stands beside ours


def test_a_failed_gate_is_said_first(tmp_path: Path, monkeypatch) -> None:
    build(tmp_path, monkeypatch, passes=False)
    make_generator(tmp_path / "data/tiny/train_s3dnerf/full", settings_of(), sync_weight=0.0)
    lines = run()["lines"]
    assert lines[0].startswith("The lip-sync expert did not pass its gate: right in 0.550")
    text = (tmp_path / "reports/tiny/report.md").read_text()
    assert text.index("did not pass its gate") < text.index("are replacements for the paper") < text.index("| method |")
    assert "trained without the lip-sync loss (λ_sync = 0)" in text


def test_nothing_evaluated_is_an_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="dvc repro evaluate"):
        run()


def test_an_empty_evaluation_still_reports(tmp_path: Path, monkeypatch) -> None:
    """No test clip came through (a corpus of train people alone): a report that says so, without a number made up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("s3dnerf.evaluation.tools.face_backend", lambda settings: DrawnFaces())
    monkeypatch.setattr("s3dnerf.sync.judge.sync_judge", lambda settings, trained: FakeJudge())
    settings = settings_of(evaluate={"corpora": ["hdtf"]})
    make_preset(tmp_path, settings)
    path = tmp_path / "data/tiny/ingest/hdtf/clips.parquet"
    pd.read_parquet(path).assign(split="train").to_parquet(path, index=False)
    evaluate.main(Context(settings, "evaluate"))
    lines = report.main(Context(settings, "report", provenance=PROVENANCE))["lines"]
    assert lines[1] == "HDTF: no test clip came through preprocessing."
    assert json.loads((tmp_path / "reports/tiny/summary.json").read_text())["corpora"] == {}
    assert "no test clip came through preprocessing" in (tmp_path / "reports/tiny/index.html").read_text()


def test_pictures_of_people_stay_out_where_their_licence_says_so(here: Path) -> None:
    run()
    shown = (here / "reports/tiny/index.html").read_text()
    report.main(Context(settings_of(report={"people": False}), "report", provenance=PROVENANCE))
    hidden = (here / "reports/tiny/index.html").read_text()
    assert "Pictures of people are left out" in hidden and "Pictures of people are left out" not in shown
    assert shown.count("<video ") == 4 and "<video " not in hidden  # two clips a corpus
    links = re.findall(r'href="\.\./\.\./(data/tiny/evaluate/pictures/[^"]+\.mp4)"', hidden)
    assert len(links) == 4 and all((here / link).is_file() for link in links)
    # what stays are heat maps over grey: far fewer bytes than any face
    assert hidden.count("data:image") < shown.count("data:image") and len(hidden) < 0.7 * len(shown)


def test_the_page_and_the_markdown_say_first_where_the_numbers_stand(here: Path) -> None:
    run()
    page, text = ((here / "reports/tiny" / name).read_text() for name in ("index.html", "report.md"))
    summary = json.loads((here / "reports/tiny/summary.json").read_text())["corpora"]["hdtf"]
    difference = summary["differences"]["s3dnerf - still"]["m_lmd"]
    better = -100 * difference["mean"] / summary["methods"]["still"]["m_lmd"]["mean"]
    row = next(line for line in text.splitlines() if line.startswith("| HDTF | still picture | M-LMD"))
    assert float(row.split("|")[6]) == pytest.approx(better, abs=0.06)
    assert f'data-sort="{row.split("|")[6].strip()}"' in page[: page.index('id="words"')]
    ours = {r["clip"]: r["value"] for r in pd.read_parquet(here / "reports/tiny/clips.parquet").to_dict("records")
            if (r["corpus"], r["method"], r["metric"]) == ("hdtf", "s3dnerf", "m_lmd")}  # fmt: skip
    worst, best = max(ours, key=ours.get), min(ours, key=ours.get)
    assert f"worst {worst} {ours[worst]:.3f}; best {best} {ours[best]:.3f}." in text
    shown = re.findall(r'<figure class="clip"><h3>([^<]+)</h3>', page)
    assert shown[:2] == [worst, best]


def test_what_dvc_shows_is_small_flat_and_what_the_report_says(here: Path) -> None:
    run()
    folder = here / "reports/tiny"
    numbers = json.loads((folder / "metrics.json").read_text())
    part = json.loads((folder / "summary.json").read_text())["corpora"]["hdtf"]
    assert set(numbers) == {  # no identity: it was switched off, and is neither null nor zero
        "m_lmd", "f_lmd", "ssim", "cpbd", "lse_c", "m_lmd_wrong_speech", "m_lmd_still",
        "clips", "speakers", "expert_accuracy", "judge_accuracy",
    }  # fmt: skip
    assert all(isinstance(value, int | float) for value in numbers.values())
    assert numbers["m_lmd"] == part["methods"]["s3dnerf"]["m_lmd"]["mean"] and numbers["clips"] == 3
    assert numbers["m_lmd_still"] == part["methods"]["still"]["m_lmd"]["mean"] and numbers["expert_accuracy"] == 0.91
    clips = pd.read_csv(folder / "clips.tsv", sep="\t").set_index("clip")
    rows = pd.read_parquet(folder / "clips.parquet")
    ours = rows[(rows["method"] == "s3dnerf") & (rows["metric"] == "m_lmd")].set_index("clip")["value"]
    assert set(clips.index) == set(ours.index) and (clips["m_lmd"] - ours).abs().max() < 1e-5 * ours.max()
    assert list(pd.read_csv(folder / "generator.tsv", sep="\t").columns) == ["step", "total", "pix"]
    assert list(pd.read_csv(folder / "judge_offset.tsv", sep="\t")["offset_frames"]) == list(range(15, -16, -1))
    assert load_yaml((folder / "settings.yaml").read_bytes()) == experiment(settings_of())
    assert load_yaml((folder / "lock.yaml").read_bytes()) == PROVENANCE["lock"]


def test_a_small_membership_table_is_in_the_report_and_under_dvc(here: Path) -> None:
    run()
    whole = (here / "data/tiny/report/membership.parquet").read_bytes()
    assert whole == (here / "reports/tiny/membership.parquet").read_bytes()
    facts = json.loads((here / "reports/tiny/report.json").read_text())["membership_table"]
    assert facts == {
        "path": "data/tiny/report/membership.parquet",
        "rows": len(pd.read_parquet(here / "reports/tiny/membership.parquet")),
        "bytes": len(whole),
        "sha256": hashlib.sha256(whole).hexdigest(),
        "md5": hashlib.md5(whole).hexdigest(),
        "in_report": True,
    }


def test_a_report_of_more_than_5_mb_fails_the_stage_and_names_the_largest_files(here: Path, monkeypatch) -> None:
    monkeypatch.setattr(report, "render_page", lambda *parts: "x" * 4_990_000)
    monkeypatch.setattr(report, "report_markdown", lambda *parts: "y" * 600_000)
    with pytest.raises(ReportError, match=r"reports/tiny: got 5\.8 MB, .*: index.html 5\.0 MB, report.md 0\.6 MB, "):
        run()
    assert (here / "reports/tiny/MANIFEST.sha256").is_file()


MANY = 350_000


def with_many(data: Path) -> None:
    """Ten thousand people of LRS2 with 35 utterances each, of which every 7th has a file that cannot be read and every
    50th was stopped by ``align``.
    """
    number = np.arange(MANY)
    names = pd.Series([f"mvlrs_v1/main/55354156990679{n // 35:05d}/{n % 35:05d}" for n in number])
    bad, stopped = number % 7 == 0, number % 50 == 1
    paths = pd.DataFrame({"corpus": "lrs2", "path": names + ".mp4"})
    inventory = pd.read_parquet(data / "inventory/files.parquet")
    pd.concat([inventory, paths]).to_parquet(data / "inventory/files.parquet", index=False)
    reason, detail = np.where(bad, "unreadable", ""), np.where(bad, "moov atom not found", "")
    clips = "lrs2_" + names.str.replace("/", "_")
    about = paths.assign(role="video", reason=reason, detail=detail, clips=(~bad).astype(int), clip=clips)
    about = about.assign(status=np.where(bad, "excluded", "used"), stage="ingest", video=about["path"], split="train")
    folder = data / "ingest/lrs2"
    folder.mkdir(parents=True, exist_ok=True)
    about[["path", "role", "status", "reason", "detail", "clips"]].to_parquet(folder / "files.parquet", index=False)
    about[bad][["clip", "stage", "reason", "detail"]].to_parquet(folder / "excluded.parquet", index=False)
    kept = about[~bad].assign(speaker=names.str[-11:-6])
    kept[["clip", "video", "speaker", "split"]].to_parquet(folder / "clips.parquet", index=False)
    came = kept[["clip"]]
    for stage in PACK_STAGES:
        (data / stage / "lrs2").mkdir(parents=True, exist_ok=True)
        lost = kept[stopped[~bad]].assign(stage="align", reason="no_face", detail="no face in 50 frames")
        lost = lost[["clip", "stage", "reason", "detail"]]
        (lost if stage == "align" else lost[:0]).to_parquet(data / stage / "lrs2/quarantine.parquet", index=False)
        came = came[~stopped[~bad]] if stage == "align" else came
        came.to_parquet(data / stage / "lrs2/index.parquet", index=False)


@pytest.mark.slow
def test_700_000_rows_make_a_small_report_in_bounded_memory(preset: Path, tmp_path: Path) -> None:
    root = tmp_path / "many"
    shutil.copytree(preset, root)
    with_many(root / "data/tiny")
    made = """if True:
        import json
        from benchmarks.peak_memory import peak_memory_mb
        from stages import report
        from stages.context import Context
        from tests.fake_preset import PROVENANCE, settings_of

        settings = settings_of(report={"people": False})
        found = report.main(Context(settings, "report", provenance=PROVENANCE))
        found["peak_mb"] = peak_memory_mb()
        print(json.dumps(found))"""
    environment = os.environ | {"PYTHONPATH": str(Path(report.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", made], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["bytes"] < 1e6 and result["peak_mb"] < 1500, result  # measured: 0.4 MB, 0.9 GB
    folder = root / "reports/tiny"
    document = json.loads((folder / "report.json").read_text())
    facts, counted = document["membership_table"], document["membership"]
    assert facts["rows"] > 2 * MANY and not facts["in_report"] and not (folder / "membership.parquet").exists()
    of_lrs2 = {(r["kind"], r["split"], r["status"], r["reason"]): r["count"] for r in counted if r["corpus"] == "lrs2"}
    assert of_lrs2 == {
        ("file", "", "used", ""): 300_000,
        ("file", "", "excluded", "unreadable"): 50_000,
        ("clip", "train", "used", ""): 294_000,
        ("clip", "", "excluded", "unreadable"): 50_000,
        ("clip", "train", "excluded", "no_face"): 6_000,
    }
    assert "The first 400; all are in data/tiny/report/membership.parquet" in (folder / "index.html").read_text()
    made_of = folder_report(folder, root)
    assert all(finding.passed and not finding.unchecked for finding in (table(made_of), people(made_of)))
    assert accounted(made_of).passed, str(accounted(made_of))
    assert [f.unchecked != "" for f in map(people, (made_of, folder_report(folder)))] == [False, True]


def test_which_videos_are_inside_does_not_depend_on_whether_raw_videos_are_here(here: Path, monkeypatch) -> None:
    from s3dnerf.reporting import page, sheets

    seen = []
    monkeypatch.setattr(page.videos, "fitting", lambda sources, used: seen.append(used) or set())
    for body in (
        f'<div class="tiles source">{"x" * 90_000}</div>',
        '<p class="empty">The source cannot be shown: no.</p>',
    ):
        sheet = sheets.Sheet("ingest", "legend", [sheets.Entry("c", body, "caption")])
        one = sheets.CorpusSheets("hdtf", "HDTF", "said", [sheet])
        monkeypatch.setattr(page, "contact_sheets", lambda settings, one=one: [one])
        run()
    assert seen[0] == seen[1] > 10_000
