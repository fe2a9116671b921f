"""Stage ``speech``: two tokens a frame and a mel for each clip; a clip with broken sound is quarantined, the rest goes
on; the sync filter.
"""

import numpy as np
import pytest

from s3dnerf.settings.loading import settings_from
from s3dnerf.settings.schema import CORPORA, Settings
from s3dnerf.speech.audio import wav_bytes
from s3dnerf.speech.mel import clip_mel
from s3dnerf.video.packs import INDEX_COLUMNS, QUARANTINE_COLUMNS, CorpusPacks, write_pack, write_table
from stages import speech
from stages.context import Context
from stages.preprocessing import StageError
from stages.weight_hashes import named_weights
from tests.speech.whisper_files import WIDTH, whisper_folder
from tests.stages.clip_records import write_clip_records


def sound(frames: int, seed: int) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(640 * frames)).clip(-1, 1).astype(np.float32)


SOUNDS = {"lrs2_a_000": sound(30, 0), "lrs2_b_000": sound(30, 1), "lrs2_c_000": sound(41, 2)}


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    """Resample's and align's packs of three good clips, two broken ones, and one that align dropped."""
    monkeypatch.chdir(tmp_path)
    made = settings_from(
        {"preset": "tiny", "speech": {"backend": "logmel", "model": None}, "ingest": {"max_failed_fraction": 1.0}}
    )
    wavs = {clip: wav_bytes(samples) for clip, samples in SOUNDS.items()}
    wavs |= {
        "lrs2_cut_000": wav_bytes(sound(3, 4))[:-300],
        "lrs2_odd_000": wav_bytes(sound(3, 5)[:-7]),
        "lrs2_dropped_000": wavs["lrs2_a_000"],
    }
    for corpus in CORPORA:
        clips = sorted(wavs) if corpus == "lrs2" else []
        rows = [
            {
                "clip": c,
                "corpus": corpus,
                "speaker": c,
                "split": "train",
                "pack": f"{corpus}-0000",
                "video": "v",
                "audio": "",
                "duration_s": 1.2,
            }
            for c in clips
        ]
        write_clip_records(made.data_dir / "ingest" / corpus, rows)
        for stage, parts in (
            ("resample", {c: {"wav": wavs[c]} for c in clips}),
            ("align", {c: {"scores.npy": np.zeros(1)} for c in clips if "dropped" not in c}),
        ):
            folder = made.data_dir / stage / corpus
            folder.mkdir(parents=True)
            index = write_pack(folder / f"{corpus}-0000.tar", parts) if clips else []
            write_table(folder / "index.parquet", [{"pack": f"{corpus}-0000", **row} for row in index], INDEX_COLUMNS)
            write_table(folder / "quarantine.parquet", [], QUARANTINE_COLUMNS)
    return made


def test_tokens_mel_and_quarantine(settings):
    import pandas as pd

    summary = speech.main(Context(settings, "speech"))
    assert summary["lrs2"]["clips"] == 5 and summary["lrs2"]["quarantined"] == 2
    packs = CorpusPacks(settings.data_dir / "speech" / "lrs2")
    assert packs.clips == sorted(SOUNDS)
    for clip, samples in SOUNDS.items():
        tokens, mel = packs.read(clip, "tokens.npy"), packs.read(clip, "mel.npy")
        assert tokens.shape == (2 * len(samples) // 640, 80) and tokens.dtype == np.float16
        heard = np.round(samples * 32768) / 32768  # the wav holds int16
        assert mel.dtype == np.float32 and np.abs(mel - clip_mel(heard)).max() < 0.05
    bad = pd.read_parquet(settings.data_dir / "speech" / "lrs2" / "quarantine.parquet").set_index("clip")
    assert set(bad.index) == {"lrs2_cut_000", "lrs2_odd_000"} and set(bad["reason"]) == {"bad_audio"}
    assert "640" in bad.loc["lrs2_odd_000", "detail"]


def test_a_second_run_takes_everything_from_the_store_and_writes_the_same(settings):
    first = speech.main(Context(settings, "speech"))
    before = {p.name: p.read_bytes() for p in (settings.data_dir / "speech" / "lrs2").iterdir()}
    again = speech.main(Context(settings, "speech"))
    assert first["lrs2"]["made"] == 1 and again["lrs2"]["made"] == 0
    assert {p.name: p.read_bytes() for p in (settings.data_dir / "speech" / "lrs2").iterdir()} == before


def test_a_missing_speech_model_stops_before_any_work(settings):
    wanting = settings_from({"preset": "tiny", "speech": {"backend": "wav2vec2", "model": "no/such/folder"}})
    with pytest.raises(StageError, match="(?s)speech.model.*hf download"):
        speech.main(Context(wanting, "speech"))
    wanting = settings_from(
        {"preset": "tiny", "speech": {"backend": "whisper", "whisper_model": "no/such.safetensors"}}
    )
    with pytest.raises(StageError, match="(?s)speech.whisper_model.*s3dnerf fetch whisper.*MIT"):
        speech.main(Context(wanting, "speech"))
    assert not (settings.data_dir / "speech").exists()


def test_whisper_runs_with_its_weights_named_and_hashed(settings, tmp_path):
    folder = whisper_folder(tmp_path / "whisper")
    given = {"backend": "whisper", "whisper_model": str(folder), "whisper_layer": 2}
    hearing = settings_from({"preset": "tiny", "speech": given, "ingest": {"max_failed_fraction": 1.0}})
    speech.main(Context(hearing, "speech"))
    packs = CorpusPacks(settings.data_dir / "speech" / "lrs2")
    for clip, samples in SOUNDS.items():
        assert packs.read(clip, "tokens.npy").shape == (len(samples) // 320, WIDTH)
    assert named_weights(hearing)["speech"] == {"speech.whisper_model": str(folder)}
    assert speech.weights(hearing) == [folder / "config.json", folder / "model.safetensors"]
