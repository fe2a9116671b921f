"""Raw files for ``benchmarks/scale.py``: corpora of any size whose every video is a real one that ffmpeg opens.

Five files are encoded; each raw file is one of them with a ``free`` box of 16 bytes behind it that holds a serial
number, so that every file has bytes (and a hash) of its own while the picture is the same. Of the clip records 96 % are
LRS2 utterances of 2 s (a third in ``main/``, the others in ``pretrain/`` with word times, lists beside them), 2.6 %
HDTF (cut clips of 100 s, ten records each) and the rest MEAD (2 s, sound apart).
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

from s3dnerf.video.encoding import ffmpeg_path

CORPORA = ("hdtf", "lrs2", "mead")
FOLDERS = {"hdtf": "HDTF", "lrs2": "LRS2", "mead": "MEAD"}
HDTF_SHARE, MEAD_SHARE = 0.026, 0.014
UTTERANCES_A_FOLDER = 30
HDTF_S, HDTF_RECORDS, UTTERANCE_S = 100, 10, 2
MEAD_SENTENCES = 50
WORDS = "Text:  A SIMULATED UTTERANCE OF NOBODY\nConf:  4\n"
TABLE = "\nWORD START END ASDSCORE\nA 0.10 0.20 1.0\nSIMULATED 0.20 0.90 1.0\nUTTERANCE 0.90 1.50 1.0\n"


def encode(path: Path, seconds: int, fps: int, sound: bool) -> bytes:
    """A grey H.264 video of 160×160 with (or without) a tone; its bytes."""
    tone = ["-f", "lavfi", "-i", f"sine=220:d={seconds}:r=16000", "-c:a", "aac", "-b:a", "16k"] if sound else []
    picture = [
        "-f",
        "lavfi",
        "-i",
        f"color=gray:s=160x160:r={fps}:d={seconds}",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-crf",
        "40",
    ]
    command = [
        ffmpeg_path(),
        "-v",
        "error",
        "-y",
        "-threads",
        "1",
        *picture[:4],
        *tone[:4],
        *picture[4:],
        *tone[4:],
        str(path),
    ]
    subprocess.run(command, check=True)
    return path.read_bytes()


def numbered(data: bytes, serial: int) -> bytes:
    """``data`` and a ``free`` box that every player skips, with a serial number in it."""
    return data + struct.pack(">I4sQ", 16, b"free", serial)


class Maker:
    """Writes numbered copies; counts them."""

    def __init__(self, root: Path) -> None:
        self.root, self.serial = root, 0
        self.made: set[Path] = set()

    def put(self, path: str, data: bytes, serial: bool = True) -> None:
        """One file below the root."""
        target = self.root / path
        if target.parent not in self.made:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.made.add(target.parent)
        self.serial += 1
        target.write_bytes(numbered(data, self.serial) if serial else data)


def shares(clips: int) -> tuple[int, int, int]:
    """LRS2 utterances, HDTF videos and MEAD sentences that give ``clips`` records. Raises ValueError for fewer
    than 20.
    """
    if clips < 20:
        raise ValueError(f"{clips} clips: expected 20 at least")
    videos, sentences = max(1, round(HDTF_SHARE * clips / HDTF_RECORDS)), max(1, round(MEAD_SHARE * clips))
    return clips - HDTF_RECORDS * videos - sentences, videos, sentences


def lrs2_name(number: int) -> tuple[str, str]:
    """Part and ``<folder>/<utterance>`` of the n-th utterance; a folder has one speaker."""
    folder = number // UTTERANCES_A_FOLDER
    return (
        "main" if folder % 3 == 0 else "pretrain"
    ), f"{5 * 10**18 + folder * 7919:019d}/{number % UTTERANCES_A_FOLDER + 1:05d}"


def utterance(maker: Maker, number: int, data: bytes) -> str:
    """Write the n-th LRS2 utterance with its transcript; its name in the lists."""
    part, name = lrs2_name(number)
    maker.put(f"LRS2/mvlrs_v1/{part}/{name}.mp4", data)
    maker.put(
        f"LRS2/mvlrs_v1/{part}/{name}.txt", (WORDS + (TABLE if part == "pretrain" else "")).encode(), serial=False
    )
    return name


def encoded_files(root: Path, hdtf_s: int) -> dict[str, bytes]:
    """The files of which all others are numbered copies, made in ``root`` and removed there; ``hdtf_s``: seconds."""
    sound = root / "mead.m4a"
    tone = ["-f", "lavfi", "-i", f"sine=220:d={UTTERANCE_S}:r=16000", "-c:a", "aac", "-b:a", "16k"]
    subprocess.run([ffmpeg_path(), "-v", "error", "-y", *tone, str(sound)], check=True)
    encoded = {
        "lrs2": encode(root / "lrs2.mp4", UTTERANCE_S, 25, True),
        "hdtf": encode(root / "hdtf.mp4", hdtf_s, 25, True),
        "mead": encode(root / "mead.mp4", UTTERANCE_S, 30, False),
        "sound": sound.read_bytes(),
    }
    for path in root.iterdir():
        path.unlink()
    return encoded


def lrs2(maker: Maker, utterances: int, video: bytes) -> None:
    """LRS2 with its lists: 30 utterances each in ``val`` and ``test``."""
    names: dict[str, list[str]] = {"main": [], "pretrain": []}
    for number in range(utterances):
        names[lrs2_name(number)[0]].append(utterance(maker, number, video))
    maker.put("LRS2/mvlrs_v1/pretrain.txt", "\n".join(names["pretrain"]).encode(), serial=False)
    for split, share in (("train", names["main"][60:]), ("val", names["main"][:30]), ("test", names["main"][30:60])):
        maker.put(f"LRS2/mvlrs_v1/{split}.txt", "".join(f"{name}\n" for name in share).encode(), serial=False)


def hdtf(maker: Maker, videos: int, video: bytes) -> None:
    """HDTF's cut clips."""
    for number in range(videos):
        maker.put(f"HDTF/clips/RD_Person{chr(97 + number // 26 % 26)}{chr(97 + number % 26)}_{number:03d}.mp4", video)


def make_raw(root: Path, clips: int) -> dict[str, Any]:
    """Raw corpora that give ``clips`` clip records. Returns records by corpus and how many files were written."""
    root.mkdir(parents=True, exist_ok=True)
    encoded = encoded_files(root, HDTF_S)
    maker = Maker(root)
    utterances, videos, sentences = shares(clips)
    lrs2(maker, utterances, encoded["lrs2"])
    hdtf(maker, videos, encoded["hdtf"])
    for number in range(sentences):
        person, sentence = f"M{number // MEAD_SENTENCES:03d}", number % MEAD_SENTENCES + 1
        maker.put(f"MEAD/{person}/video/front/neutral/level_1/{sentence:03d}.mp4", encoded["mead"])
        maker.put(f"MEAD/{person}/audio/neutral/level_1/{sentence:03d}.m4a", encoded["sound"])
    records = {"lrs2": utterances, "hdtf": HDTF_RECORDS * videos, "mead": sentences}
    return {"records": records, "files": maker.serial, "bytes_a_video": {k: len(v) for k, v in encoded.items()}}


# the real corpora, whole: HDTF's 362 videos are 157 s on average; MEAD has 48 people, neutral speech in one level and
# seven emotions in three, 33 sentences of each here, each filmed from seven sides: 278,784 files with the sounds
WHOLE = {"lrs2": 144_000, "hdtf": 362, "mead": 48}
WHOLE_HDTF_S, WHOLE_SENTENCES = 157, 33
VIEWS = ("front", "down", "top", "left_30", "left_60", "right_30", "right_60")
EMOTIONS = ("angry", "contempt", "disgusted", "fear", "happy", "sad", "surprised")
LEVELS = (("neutral", 1), *((emotion, level) for emotion in EMOTIONS for level in (1, 2, 3)))


def make_whole(root: Path, share: float) -> dict[str, Any]:
    """HDTF, LRS2 and MEAD whole, or a share of their videos, utterances and people. Returns how many files were
    written, by corpus.
    """
    root.mkdir(parents=True, exist_ok=True)
    count = {corpus: max(1, round(share * size)) for corpus, size in WHOLE.items()}
    encoded = encoded_files(root, WHOLE_HDTF_S)
    maker, files = Maker(root), {}
    lrs2(maker, count["lrs2"], encoded["lrs2"])
    files["lrs2"] = maker.serial
    hdtf(maker, count["hdtf"], encoded["hdtf"])
    files["hdtf"] = maker.serial - files["lrs2"]
    for person in range(count["mead"]):
        for emotion, level in LEVELS:
            for sentence in range(1, WHOLE_SENTENCES + 1):
                name = f"{emotion}/level_{level}/{sentence:03d}"
                for view in VIEWS:
                    maker.put(f"MEAD/M{person:03d}/video/{view}/{name}.mp4", encoded["mead"])
                maker.put(f"MEAD/M{person:03d}/audio/{name}.m4a", encoded["sound"])
    files["mead"] = maker.serial - files["lrs2"] - files["hdtf"]
    return {"files_of": files, "bytes_a_video": {k: len(v) for k, v in encoded.items()}}


def add_utterance(root: Path, clips: int) -> None:
    """One more utterance, in the folder where the last one is."""
    part, last = lrs2_name(shares(clips)[0] - 1)
    maker = Maker(root)
    maker.serial = 10**12
    like = root / f"LRS2/mvlrs_v1/{part}/{last}.mp4"
    maker.put(str(like.relative_to(root).with_name("90000.mp4")), like.read_bytes())
    maker.put(str(like.relative_to(root).with_name("90000.txt")), WORDS.encode(), serial=False)
