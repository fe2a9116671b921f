"""A minute of flashes and beeps in every kind of timing, put through the pipeline's clock: how far sound and picture
stand apart.

In each made file the picture turns white for a tenth of a second about twice a second, and a 30 ms beep begins at the
very time of the first white frame, as the container's own words (times, offsets, edit lists) have it. :func:`apart`
puts the file through inventory, ingest and resample, as a user's would go, and looks for flash and beep in what they
made.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np

from s3dnerf.speech.audio import wav_bytes, wav_samples
from s3dnerf.video.packs import CorpusPacks
from s3dnerf.video.reading import probe, read_frames
from tests.stages.running import run, settings_for, table
from tests.video.numbered import X264, ffmpeg, write

SECONDS, TICK_S, RATE_HZ = 60, 1 / 25, 16000
NTSC30, NTSC24, NTSC60 = "30000/1001", "24000/1001", "60000/1001"
VFR = "settb=1/90000,setpts='(N/30+0.011*mod(N*N,3))/TB'"

# uneven, so that a regular frame rate meets the 25 Hz grid at every phase
FLASHES_S = 1.9 + np.cumsum(np.random.default_rng(0).uniform(0.36, 0.64, 112))

# without an edit list a file shows its first picture two frames late (for those predicted from later ones) and its
# sound after the 1024 samples that AAC begins with: 2.7 ms that the file itself is off by, and that the beep is made
# later by
UNCUT_S = 2 * 1001 / 30000 - 1024 / RATE_HZ

# kind → frame rate, and what is special: start of a stream copy (it makes an edit list), filter, container, options
KINDS: dict[str, tuple[str, dict]] = {
    "23.976": (NTSC24, {}),
    "24": ("24", {}),
    "25": ("25", {}),
    "29.97": (NTSC30, {}),
    "30": ("30", {}),
    "50": ("50", {}),
    "59.94": (NTSC60, {}),
    "vfr": ("30", {"filters": VFR}),
    "late picture": ("30", {"filters": "setpts=PTS+4"}),
    "late sound": ("25", {"late_sound_s": 0.4}),
    "edit list on a frame": (NTSC30, {"cut": "1.001"}),
    "edit list 2 ms before a frame": (NTSC30, {"cut": "0.799"}),
    "edit list between frames": (NTSC30, {"cut": "0.77"}),
    "edit list between frames, 24": ("24", {"cut": "5.05"}),
    "edit list between frames, 25": ("25", {"cut": "0.525"}),
    "edit list between frames, 12": ("12", {"cut": "0.51"}),
    "edit list between frames, vfr": ("30", {"filters": VFR, "cut": "3.315"}),
    "edit list between frames, late picture": ("30", {"filters": "setpts=PTS+4", "cut": "1.29"}),
    "edit list before the first frame": (NTSC30, {"from_s": -2 * 1001 / 30000, "later_s": 2 * 1001 / 30000}),
    "separate sound, edit list between frames": ("30", {"cut": "0.77", "apart": True}),
    "no edit list": (NTSC30, {"extra": ("-use_editlist", "0"), "later_s": UNCUT_S}),
    "fragments": (NTSC30, {"extra": ("-movflags", "frag_keyframe+empty_moov"), "later_s": UNCUT_S}),
    "fragments, edit list": (NTSC30, {"cut": "0.77", "extra": ("-movflags", "frag_keyframe+delay_moov")}),
    "mov, pcm": ("24", {"suffix": "mov", "audio_codec": ("-c:a", "pcm_s16le", "-ar", "48000")}),
    "matroska": (NTSC24, {"suffix": "mkv"}),
    "matroska, cut": (NTSC24, {"suffix": "mkv", "cut": "0.77"}),
    "transport stream": ("25", {"suffix": "ts", "audio_codec": ("-c:a", "aac", "-ar", "48000")}),
    "avi, mp3": (
        "25",
        {
            "suffix": "avi",
            "codec": ("-c:v", "mpeg4", "-bf", "0"),
            "audio_codec": ("-c:a", "libmp3lame", "-ar", "48000"),
        },
    ),
    "44.1 kHz stereo": ("30", {"audio_codec": ("-c:a", "aac", "-ar", "44100", "-ac", "2")}),
}


def set_edits(path: Path, pieces: list[tuple[float, float]], tracks: int = 2) -> None:
    """Give the first ``tracks`` tracks of an mp4 (whose index stands at its end) an edit list of pieces: start, length
    in seconds of what it shows now."""
    data = bytearray(path.read_bytes())
    movie = data.index(b"moov") - 4
    movie_scale = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)[0]
    at = movie
    for _ in range(tracks):
        at = data.index(b"elst", at)
        scale = struct.unpack_from(">I", data, data.index(b"mdhd", at) + 16)[0]
        count, _, media_time = struct.unpack_from(">IIi", data, at + 8)
        assert count == 1
        rows = [
            struct.pack(">IiI", round(length * movie_scale), media_time + round(start * scale), 1 << 16)
            for start, length in pieces
        ]
        box = struct.pack(">I4sII", 16 + 12 * len(rows), b"elst", 0, len(rows)) + b"".join(rows)
        for outer in (movie, data.rindex(b"trak", 0, at) - 4, data.rindex(b"edts", 0, at) - 4):
            struct.pack_into(">I", data, outer, struct.unpack_from(">I", data, outer)[0] + len(box) - 28)
        data[at - 4 : at + 24] = box
        at += len(box)
    path.write_bytes(data)


def _sound(times: np.ndarray) -> np.ndarray:
    sound = np.zeros((SECONDS + 2) * RATE_HZ, np.float32)
    for at in times:
        first = round(at * RATE_HZ)
        sound[first : first + 480] = 0.8 * np.sin(2 * np.pi * 2000 * np.arange(480) / RATE_HZ)
    return sound


def flashing(kind: str, root: Path) -> str:
    """Write the file (or the two) of a kind under ``root``; returns the corpus whose layout it is in."""
    rate, special = KINDS[kind]
    count = round(SECONDS * Fraction(rate))
    times = np.arange(count) / float(Fraction(rate))
    filters = special.get("filters", "null")
    if filters == VFR:
        times = times + 0.011 * (np.arange(count) ** 2 % 3)
    elif filters != "null":
        times = times + 4 / float(Fraction(rate))
    lit = np.zeros(count, bool)
    starts = np.searchsorted(times, FLASHES_S)
    for first in starts:
        lit[first : np.searchsorted(times, times[first] + 0.1)] = True
    frames = [np.full((32, 32, 3), 255 if on else 0, np.uint8) for on in lit]
    given = {
        k: v for k, v in special.items() if k in ("codec", "audio_codec") or (k == "extra" and "cut" not in special)
    }
    path = root / "clips" / f"RD_Flash_000.{special.get('suffix', 'mp4')}"
    made = root.parent / f"made.{path.suffix[1:]}" if {"cut", "late_sound_s"} & set(special) else path
    write(
        made,
        frames,
        rate,
        filters=filters,
        sound=_sound(times[starts] + special.get("later_s", 0)),
        **{"codec": X264, **given},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if "cut" in special:
        ffmpeg("-ss", special["cut"], "-i", made, "-c", "copy", *special.get("extra", ()), path)
    elif "late_sound_s" in special:  # the first seconds of the sound are missing from the file
        late = special["late_sound_s"]
        wav = made.with_suffix(".wav")
        wav.write_bytes(wav_bytes(_sound(times[starts])[round(late * RATE_HZ) :]))
        ffmpeg(
            "-i", made, "-itsoffset", late, "-i", wav, "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", path
        )
    if "from_s" in special:  # the picture's edit list alone: all its frames come that much later
        set_edits(path, [(special["from_s"], SECONDS)], tracks=1)
    if not special.get("apart"):
        return "hdtf"
    person = root / "M003"
    (person / "video/front/angry/level_1").mkdir(parents=True)
    (person / "audio/angry/level_1").mkdir(parents=True)
    ffmpeg("-ss", special["cut"], "-i", made, "-map", "0:v", "-c", "copy", person / "video/front/angry/level_1/001.mp4")
    (person / "audio/angry/level_1/001.wav").write_bytes(
        wav_bytes(_sound(times[starts])[round(float(special["cut"]) * RATE_HZ) :])
    )
    return "mead"


def apart(kind: str, folder: Path) -> dict[str, float]:
    """Make a file of a kind, resample it, and measure beep − flash in what came out; works in ``folder``, which must be
    the current one.

    Returns ``flashes`` (how many), ``ffmpeg_early_ms`` (:attr:`s3dnerf.video.probing.VideoInfo.early_s`), ``mean_ms``,
    ``largest_ms`` (of the absolute differences) and ``drift_ms`` (over the minute, from a line through the differences)
    and ``drift_error_ms`` (its standard error: rounding to the clock alone leaves a slope).
    """
    corpus = flashing(kind, folder / "raw")
    settings = settings_for(**{corpus: folder / "raw"})
    run(settings, "inventory", "ingest", "resample")
    packs = CorpusPacks(settings.data_dir / "resample" / corpus)
    found = []
    for record in table(settings, "ingest", corpus, "clips").to_dict("records"):
        index, sound = packs.read(record["clip"], "frames.npy"), wav_samples(packs.read(record["clip"], "wav"))
        assert index.dtype == np.int32 and len(sound) == 640 * len(index)
        light = np.array([frame.mean() for frame in read_frames(folder / "raw" / record["video"], index)])
        loud = np.flatnonzero(np.abs(sound) > 0.2)
        beeps = loud[np.flatnonzero(np.diff(loud, prepend=-RATE_HZ) > RATE_HZ // 5)] / RATE_HZ
        for tick in np.flatnonzero((light[1:] > 128) & (light[:-1] <= 128)) + 1:
            found.append(
                (record["start_s"] + tick * TICK_S, beeps[np.argmin(np.abs(beeps - tick * TICK_S))] - tick * TICK_S)
            )
    times, gaps = np.array(found).T
    slope = np.polyfit(times, gaps, 1)[0]
    return {
        "flashes": len(gaps),
        "ffmpeg_early_ms": round(1000 * probe(folder / "raw" / record["video"]).early_s, 2),
        "mean_ms": round(1000 * float(gaps.mean()), 2),
        "largest_ms": round(1000 * float(np.abs(gaps).max()), 2),
        "drift_ms": round(1000 * SECONDS * float(slope), 2),
        "drift_error_ms": round(1000 * SECONDS * float(gaps.std() / times.std() / np.sqrt(len(gaps))), 2),
    }
