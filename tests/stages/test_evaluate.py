"""The stage ``evaluate`` on a drawn preset: rows for every clip, method and metric, controls, others' videos, equal
bytes twice.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from s3dnerf.evaluation.other_methods import MethodVideo
from s3dnerf.evaluation.other_speech import OtherSpeech
from s3dnerf.evaluation.protocol import COLUMNS, Tools
from s3dnerf.settings.schema import EvaluateSettings
from s3dnerf.video.encoding import decode_clip, encode_clip
from s3dnerf.video.packs import CorpusPacks
from stages import evaluate
from stages.context import Context
from stages.evaluated_clips import FIELDS
from stages.passing_faults import StillFailing
from stages.preprocessing import StageError
from stages.seeding import fill_store
from tests.fake_preset import FRAMES, DrawnFaces, FakeJudge, make_preset, settings_of
from tests.small_corpus import picture

METHODS = {"truth", "s3dnerf", "wrong_speech", "still"}


VARIANTS = {"train": {"variants": ["full", "no_deform"]}}


def patched(root: Path, patch) -> None:
    """In the preset's folder, with the drawn faces' own finder and a fake judge; nothing cached from another test."""
    patch.chdir(root)
    patch.setattr("s3dnerf.evaluation.tools.face_backend", lambda settings: DrawnFaces())
    patch.setattr("s3dnerf.sync.judge.sync_judge", lambda settings, trained: FakeJudge())


@pytest.fixture(scope="module")
def preset(tmp_path_factory) -> Path:
    """A drawn preset, evaluated once."""
    root = tmp_path_factory.mktemp("preset")
    make_preset(root, settings_of(**VARIANTS))
    with pytest.MonkeyPatch.context() as patch:
        patched(root, patch)
        run(settings_of())
    return root


@pytest.fixture
def here(preset: Path, monkeypatch) -> Path:
    patched(preset, monkeypatch)
    return preset


@pytest.fixture
def kept(here: Path):
    """The first run's out, put back after a test that evaluates something else."""
    out = here / "data/tiny/evaluate"
    shutil.copytree(out, here / "kept")
    yield here
    shutil.rmtree(out)
    (here / "kept").rename(out)


def run(settings, runner=None, **given) -> dict:
    context = Context(settings, "evaluate", **given)
    if runner is not None:
        context.run = runner
    return evaluate.main(context)


def table(root: Path, settings) -> pd.DataFrame:
    return pd.read_parquet(root / settings.data_dir / "evaluate" / "clips.parquet")


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_every_clip_method_and_metric_has_a_row(here: Path) -> None:
    rows = table(here, settings_of())
    assert list(rows.columns) == COLUMNS and set(rows["method"]) == METHODS
    assert set(rows["clip"]) == {
        "hdtf_C_000",
        "hdtf_D_000",
        "hdtf_E_000",
        "mead_M1_000",
        "mead_M2_000",
    }  # test people alone
    assert (rows.groupby(["clip", "method"]).size() == len(Tools(faces=None).recipes())).all()
    missing = rows[rows["value"].isna()]
    assert (missing["reason"] != "").all() and set(missing["metric"]) == {
        "lpips",
        "identity",
        "psnr",
        "parallax",
        "opening_correlation",
        *("identity_least", "identity_deviation", "identity_over_time"),
        *("silent_lips", "sound_correlation", "sound_correlation_best", "sound_lag"),  # clips of half a second
    }
    truth = rows[rows["method"] == "truth"].set_index(["clip", "metric"])["value"]
    assert (
        truth["hdtf_C_000", "ssim"] == 1 and truth["hdtf_C_000", "f_lmd"] == 0 and 0 < truth["hdtf_C_000", "cpbd"] <= 1
    )
    assert rows.equals(rows.sort_values(["corpus", "clip", "method", "metric"]).reset_index(drop=True))


def test_two_runs_give_equal_bytes_and_no_times(here: Path) -> None:
    settings = settings_of()
    first = hashes(here / settings.data_dir / "evaluate")
    timing = json.loads((here / ".timings/tiny/evaluate.json").read_text())

    def backwards(work, jobs, names):  # as two processes would: in any order, each job pickled
        done = {name: work(pickle.loads(pickle.dumps(job))) for job, name in reversed(list(zip(jobs, names)))}
        return [done[name] for name in names]

    run(settings, runner=backwards, ignore_store=True)
    assert first == hashes(here / settings.data_dir / "evaluate")
    assert timing["fps"]["network_fps"] > timing["fps"]["with_files_fps"] > 0 and timing["fps"]["fit_time_s"] > 0
    assert not any("fps" in name or "time" in name for name in first)


def test_the_wrong_speech_is_somebody_elses(here: Path) -> None:
    settings = settings_of()
    methods = json.loads((here / settings.data_dir / "evaluate" / "methods.json").read_text())
    for clip, wrong in methods["wrong_speech"].items():
        assert wrong.split("_")[0] == clip.split("_")[0] and wrong != clip  # same corpus, another person
    records = evaluate.measured_records(settings, [])
    assert {r["clip"]: OtherSpeech(records, records).of(r)[1] for r in records} == methods["wrong_speech"]


def test_speech_is_looped_or_cut() -> None:
    tokens = np.arange(6)[:, None]
    assert evaluate.fit_length(tokens, 4).ravel().tolist() == [0, 1, 2, 3]
    assert evaluate.fit_length(tokens, 9).ravel().tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]


def test_variants_and_other_methods_get_rows_and_bad_ones_reasons(kept: Path, tmp_path: Path) -> None:
    here = kept
    settings = settings_of(evaluate={"methods": str(tmp_path / "methods"), "corpora": ["hdtf"]}, **VARIANTS)
    good, bad = tmp_path / "methods/wav2lip/HDTF/C_000.mp4", tmp_path / "methods/broken/HDTF/hdtf_D_000.mp4"
    stray = tmp_path / "methods/wav2lip/HDTF/Nobody.mp4"
    for path in (good, bad, stray):
        path.parent.mkdir(parents=True, exist_ok=True)
    truth = CorpusPacks(settings.data_dir / "align" / "hdtf").read("hdtf_C_000", "mp4")
    good.write_bytes(truth)  # a perfect method: its video is the truth
    bad.write_bytes(b"nothing")
    stray.write_bytes(encode_clip([picture(0.5, 0.9)[0]] * FRAMES, crf=10))
    run(settings)
    rows = table(here, settings).set_index(["clip", "method", "metric"])
    assert rows.loc[("hdtf_C_000", "s3dnerf_no_deform", "ssim"), "value"] > 0
    assert rows.loc[("hdtf_C_000", "wav2lip", "ssim"), "value"] > 0.99
    assert (
        rows.loc[("hdtf_C_000", "wav2lip", "m_lmd"), "value"]
        < 0.3 * rows.loc[("hdtf_C_000", "still", "m_lmd"), "value"]
    )
    broken = rows.loc[("hdtf_D_000", "broken", "ssim")]
    assert np.isnan(broken["value"]) and broken["reason"].startswith("unreadable")
    methods = json.loads((here / settings.data_dir / "evaluate" / "methods.json").read_text())
    assert methods["unused_videos"] == ["wav2lip/HDTF/Nobody.mp4"] and methods["other_methods"] == ["broken", "wav2lip"]
    assert methods["notes"]["hdtf_C_000"]["wav2lip"].startswith("framed like")


def test_clips_that_others_made_come_first(here: Path, monkeypatch) -> None:
    records = [{"clip": f"hdtf_C_{i}", "corpus": "hdtf", "speaker": "C", "video": f"clips/C_{i}.mp4"} for i in range(3)]
    monkeypatch.setattr(evaluate, "_folder", lambda data, corpus: SimpleNamespace(of_split=lambda split: list(records)))
    settings = settings_of(evaluate={"max_clips_per_speaker": 1, "corpora": ["hdtf"]})
    theirs = MethodVideo("wav2lip", "hdtf", "C_2", "", "")
    assert [r["clip"] for r in evaluate.measured_records(settings, [])] == ["hdtf_C_0"]
    assert [r["clip"] for r in evaluate.measured_records(settings, [theirs])] == ["hdtf_C_2"]
    both = settings_of(evaluate={"max_clips_per_speaker": 2, "corpora": ["hdtf"]})
    assert [r["clip"] for r in evaluate.measured_records(both, [theirs])] == ["hdtf_C_0", "hdtf_C_2"]


def test_a_killed_evaluation_goes_on_where_it_was(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after two of five clips; the next run measures the other three and ends with the same bytes."""
    settings = settings_of()
    whole = hashes(here / "data/tiny/evaluate")
    shutil.move(here / ".packs", here / "packs_before")
    measured, real = [], evaluate.measured_clip

    def counted(job):
        measured.append(job.clip)
        return real(job)

    def killed(work, jobs, names):
        for job in jobs[:2]:
            work(job)
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "measured_clip", counted)
    with pytest.raises(KeyboardInterrupt):
        run(settings, runner=killed)
    run(settings)
    assert len(measured) == 5 and len(set(measured)) == 5
    assert hashes(here / "data/tiny/evaluate") == whole
    run(settings)
    assert len(measured) == 5
    run(settings, ignore_store=True)
    assert len(measured) == 10 and hashes(here / "data/tiny/evaluate") == whole


def test_a_clip_that_meets_a_passing_fault_is_not_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = evaluate.score_truth, [1]

    def failing(truth, tools):
        left[0] -= 1
        if left[0] >= 0:
            raise MemoryError
        return real(truth, tools)

    monkeypatch.setattr("stages.passing_faults.DELAY_S", 0.01)
    monkeypatch.setattr(evaluate, "score_truth", failing)
    whole = hashes(here / "data/tiny/evaluate")
    run(settings_of(), ignore_store=True)
    assert hashes(here / "data/tiny/evaluate") == whole
    left[0] = 10**6
    before = hashes(here / ".packs/evaluate")
    with pytest.raises(StillFailing, match=r"evaluate: clip hdtf_C_000: MemoryError.*4 tries"):
        run(settings_of(), ignore_store=True)
    assert hashes(here / ".packs/evaluate") == before


def test_what_decides_how_a_clip_is_measured_is_in_its_key() -> None:
    """Every setting of ``evaluate`` but those that choose clips, weights (in the key by their hashes) and intervals."""
    elsewhere = {
        "max_clips_per_speaker", "corpora", "syncnet_weights", "lpips_weights", "fid_weights", "fvd_weights", "methods", "bootstrap", "protocol",
    }  # fmt: skip
    decides = {f"evaluate.{f.name}" for f in dataclasses.fields(EvaluateSettings) if f.name not in elsewhere}
    assert decides == {name for name in FIELDS if name.startswith("evaluate.")}


@pytest.mark.parametrize("harm", ["result.json", "strip.png", "video.mp4"])
def test_a_harmed_clip_in_the_store_is_measured_again(here: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    run(settings_of())
    whole, real, measured = hashes(here / "data/tiny/evaluate"), evaluate.measured_clip, []
    victim = next(iter(sorted((here / ".packs/evaluate").glob(f"*/{harm}"))))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    monkeypatch.setattr(evaluate, "measured_clip", lambda job: measured.append(job.clip) or real(job))
    run(settings_of())
    assert len(measured) == 1 and hashes(here / "data/tiny/evaluate") == whole


def test_only_what_decides_a_clip_is_in_its_key(here: Path) -> None:
    """Which other clips are measured, and how the report shows them, is not; the networks and the clip's bytes are."""

    def keys(**changes) -> dict[str, str]:
        evaluate.forget()
        return {job.clip: job.key for job in evaluate.plan(settings_of(**changes), [])}

    before = keys()
    assert len(set(before.values())) == 5
    fewer = keys(evaluate={"corpora": ["mead"], "bootstrap": 300})
    assert fewer == {clip: before[clip] for clip in fewer} and len(fewer) == 2
    assert not set(keys(evaluate={"clip_s": 0.9}).values()) & set(before.values())
    assert keys(report={"strips": 1}) == before
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "MOST_PICTURED", 2)
        fewer = keys()
    assert {clip for clip in before if fewer[clip] != before[clip]} == {"hdtf_E_000"}
    assert not set(keys(report={"strip_frames": 4}).values()) & set(before.values())
    card = here / "data/tiny/train_s3dnerf/full/card.json"
    text = card.read_text()
    try:
        card.write_text(text.replace('"steps": 4', '"steps": 5'))
        assert not set(keys().values()) & set(before.values())
    finally:
        card.write_text(text)
    assert keys() == before


def test_a_pulled_out_fills_the_store_with_its_clips(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(settings_of())
    whole, entries = hashes(here / "data/tiny/evaluate"), hashes(here / ".packs/evaluate")
    shutil.rmtree(here / ".packs")
    assert fill_store(Path("data/tiny")) == {"evaluate": 5} and fill_store(Path("data/tiny")) == {}
    assert hashes(here / ".packs/evaluate") == entries
    monkeypatch.setattr(evaluate, "measured_clip", lambda job: pytest.fail("a clip was measured"))
    run(settings_of())
    assert hashes(here / "data/tiny/evaluate") == whole
    # an out that is not what its keys say is passed over
    shutil.rmtree(here / ".packs")
    mouth = here / "data/tiny/evaluate/mouth.json"
    text = mouth.read_text()
    mouth.write_text(json.dumps(json.loads(text) | {"hdtf_C_000": {}}))
    try:
        assert fill_store(Path("data/tiny")) == {"evaluate": 4}
    finally:
        mouth.write_text(text)


def test_pictures_and_maps(here: Path) -> None:
    out = here / "data/tiny/evaluate"
    strips, heat = json.loads((out / "strips.json").read_text()), json.loads((out / "heatmap.json").read_text())
    assert set(strips) == {"hdtf_C_000", "hdtf_D_000", "hdtf_E_000", "mead_M1_000", "mead_M2_000"}
    assert strips["hdtf_C_000"]["names"] == ["truth", "s3dnerf", "wrong_speech", "still"] and strips["hdtf_C_000"][
        "frames"
    ] == [0, 6, 11]
    assert (out / "pictures/hdtf_C_000.png").is_file()
    assert strips["hdtf_C_000"]["video"] == ["truth", "s3dnerf", "wrong_speech"]
    assert {path.stem for path in (out / "pictures").glob("*.mp4")} == set(strips)
    assert len(decode_clip((out / "pictures/hdtf_C_000.mp4").read_bytes())) == FRAMES
    mean = np.array(heat["hdtf_C_000"]["mean"])
    assert mean.shape == (4, 4) and np.isfinite(mean).all() and np.ptp(mean) > 0
    assert np.array(heat["hdtf_C_000"]["moved"]).shape == (16, 16)
    x0, y0, x1, y1 = heat["hdtf_C_000"]["window"]
    assert 0 < x0 < 128 < x1 < 256 and 0 < y0 < 132 < y1 < 256  # the head's cube stands on the drawn head
    mouth = json.loads((out / "mouth.json").read_text())["hdtf_C_000"]
    assert len(mouth["truth"]) == FRAMES and np.ptp(mouth["truth"]) > 5 and np.ptp(mouth["still"]) == 0


def test_a_person_that_was_trained_on_is_refused_before_any_work(here: Path, monkeypatch) -> None:
    """The cards say whom a generator knows; weights from elsewhere, or of another split, do not slip through."""
    path = here / "data/tiny/train_s3dnerf/full/card.json"
    kept = path.read_bytes()
    out = hashes(here / "data/tiny/evaluate")
    monkeypatch.setattr(evaluate, "score_clip", lambda job: pytest.fail("a clip was measured"))
    try:
        path.write_text(json.dumps(json.loads(kept) | {"speakers": ["A", "D"]}))
        with pytest.raises(StageError, match=r"D \(test clip hdtf_D_000\): full was trained on this person"):
            run(settings_of())
    finally:
        path.write_bytes(kept)
    assert hashes(here / "data/tiny/evaluate") == out
