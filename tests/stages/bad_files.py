"""One file of every kind that goes wrong, in HDTF's layout among good ones; each with the stage where it stops and its
reason code.

The people are synthetic speakers, 25 frames each; the bad files are made of their frames and sound. Nothing here needs
the network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s3dnerf.corpora.synthetic.film import VideoPlan, make_video
from s3dnerf.speech.audio import read_audio
from s3dnerf.video.reading import read_frames
from tests.video.numbered import X264, ffmpeg, write

HEIGHT, WIDTH, FRAMES = 240, 260, 25
GOOD = ("RD_Ames_000.mp4", "RD_Boone_000.mp4", "WDA_Keller_000.mp4")
INTRA = ("-c:v", "libx264", "-preset", "veryfast", "-g", "1", "-bf", "0", "-crf", "20", "-pix_fmt", "yuv420p")


@dataclass
class Person:
    """A good clip: its file, frames uint8 (240, 260, 3), and 16 kHz sound."""

    file: Path
    frames: list[np.ndarray] = field(default_factory=list)
    sound: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


def make_good(root: Path) -> list[Person]:
    """The good clips, below ``root/clips``, one person each."""
    people = []
    for name in GOOD:
        who = re.sub(r"_\d+\.mp4$", "", name)
        place = ((WIDTH / 2, HEIGHT * 0.45, 55.0),)
        video = f"clips/{name}"
        plan = VideoPlan(
            "hdtf",
            f"hdtf/{who}",
            0,
            0,
            str(root),
            str(root.parent),
            video,
            "",
            (25, 1),
            (HEIGHT, WIDTH),
            place,
            ((0.0, 1.0, "speaker"),),
        )
        make_video(plan)
        frames = [frame.copy() for frame in read_frames(root / video, np.arange(FRAMES))]
        people.append(Person(root / video, frames, read_audio(root / video)))
    return people


Make = Callable[[Path, list[Person]], object]


@dataclass(frozen=True)
class Kind:
    """One kind of file: its name below ``clips``, the stage where it stops ('' nowhere: it is odd, and good), the
    reason, its maker.
    """

    file: str
    stage: str
    reason: str
    make: Make


def _bytes(change: Callable[[bytes], bytes]) -> Make:
    """The first person's file with its bytes changed."""
    return lambda path, people: path.write_bytes(change(people[0].file.read_bytes()))


def _text(text: str) -> Make:
    return lambda path, people: path.write_text(text)


def _film(change: Callable[[list[np.ndarray]], list[np.ndarray]], who: int = 0, **how: object) -> Make:
    """A person's frames changed, with their sound."""
    return lambda path, people: write(path, change(people[who].frames), "25", sound=people[who].sound, **how)


def _sound(change: Callable[[np.ndarray], np.ndarray], rate: str = "25", **how: object) -> Make:
    """The third person's frames, with their sound changed."""
    return lambda path, people: write(path, people[2].frames, rate, sound=change(people[2].sound), **how)


def _copied(*words: str, who: int = 0) -> Make:
    return lambda path, people: ffmpeg("-i", people[who].file, *words, path)


def _huge_header(data: bytes) -> bytes:
    """A file whose index claims four exabytes."""
    at = data.find(b"moov") - 4
    return data[:at] + (1).to_bytes(4, "big") + b"moov" + (1 << 62).to_bytes(8, "big") + data[at + 8 :][:600]


def _corrupt(path: Path, people: list[Person]) -> None:
    """Some bytes of the pictures in the middle are others; every frame is still there."""
    write(path, people[1].frames, "25", sound=people[1].sound, codec=INTRA)
    data = bytearray(path.read_bytes())
    for at in range(len(data) * 2 // 5, len(data) * 3 // 5, 997):
        data[at] ^= 0x5A
    path.write_bytes(bytes(data))


def _backwards(path: Path, people: list[Person]) -> None:
    """A block of a Matroska file that claims to be earlier than the one before it."""
    data = bytearray(write(path, people[0].frames, "25", sound=people[0].sound, codec=("-c:v", "mjpeg")).read_bytes())
    at = [found.end() for found in re.finditer(rb"\xa3[\x20-\x7f].\x81(?=..\x80\xff)", data, re.DOTALL)][15]
    data[at : at + 2] = (200).to_bytes(2, "big")  # due at 600 ms
    path.write_bytes(bytes(data))


def _no_times(path: Path, people: list[Person]) -> None:
    """Frames predicted from later ones, and only the order of decoding is left."""
    data = write(path, people[0].frames, "25", sound=people[0].sound).read_bytes()
    path.write_bytes(data.replace(b"ctts", b"free"))


def _not_numbers(path: Path, people: list[Person]) -> None:
    """Floating-point sound with samples that are no numbers."""
    samples = people[2].sound.astype("<f4")
    samples[4000:5000] = np.nan
    raw = path.with_suffix(".raw")
    raw.write_bytes(samples.tobytes())
    sound = ("-f", "f32le", "-ar", "16000", "-ac", "1", "-i", raw)
    ffmpeg("-i", people[2].file, *sound, "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "pcm_f32le", path)
    raw.unlink()


def _picture(path: Path, people: list[Person]) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", "-f", "image2", path.with_suffix(".png"))
    path.with_suffix(".png").rename(path)


def _turned(path: Path, people: list[Person]) -> None:
    """Lying frames that the player is told to turn upright."""
    lying = write(
        path.with_suffix(".lying.mp4"),
        [np.ascontiguousarray(np.rot90(f)) for f in people[0].frames],
        "25",
        sound=people[0].sound,
    )
    ffmpeg("-display_rotation", "-90", "-i", lying, "-c", "copy", path)
    lying.unlink()


def _leaving(frames: list[np.ndarray]) -> list[np.ndarray]:
    """The speaker walks out of the picture."""
    return [
        np.roll(np.pad(f, ((0, 0), (0, WIDTH), (0, 0)), mode="edge"), 14 * i, axis=1)[:, :WIDTH]
        for i, f in enumerate(frames)
    ]


def _beside(path: Path, people: list[Person]) -> None:
    write(path, [np.hstack(pair) for pair in zip(people[0].frames, people[1].frames)], "25", sound=people[0].sound)


def _small(frames: list[np.ndarray]) -> list[np.ndarray]:
    """The speaker far away, in front of their own wall."""
    return [np.pad(f[::3, ::3], ((80, 80), (86, 87), (0, 0)), mode="edge")[:HEIGHT, :WIDTH] for f in frames]


KINDS = [
    # what ingest sees by the file's name, its bytes or its packets
    Kind("RD_Empty_000.mp4", "ingest", "zero_bytes", _bytes(lambda data: b"")),
    Kind("RD_Webpage_000.mp4", "ingest", "unreadable", _text("<html>404</html>\n" * 300)),
    Kind("RD_Picture_000.mp4", "ingest", "unreadable", _picture),
    Kind("RD_Noise_000.mp4", "ingest", "unreadable", _bytes(lambda data: np.random.default_rng(1).bytes(20000))),
    Kind("RD_Headless_000.mp4", "ingest", "unreadable", _bytes(lambda data: data[: data.find(b"moov") - 4])),
    Kind("RD_Hugeheader_000.mp4", "ingest", "unreadable", _bytes(_huge_header)),
    Kind("RD_Concat_000.mp4", "ingest", "unreadable", _text("ffconcat version 1.0\nfile 'RD_Ames_000.mp4'\n")),
    Kind("RD_Playlist_000.mp4", "ingest", "unreadable", _text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nRD_Ames_000.mp4\n#EXT-X-ENDLIST\n")),
    Kind("RD_Deadlink_000.mp4", "ingest", "unreadable", lambda path, people: path.symlink_to("nowhere")),
    Kind("RD_Linkloop_000.mp4", "ingest", "unreadable", lambda path, people: path.symlink_to(path.name)),
    Kind("RD_Pipe_000.mp4", "ingest", "unreadable", lambda path, people: os.mkfifo(path)),
    Kind(os.fsdecode(b"RD_n\xe4me_000.mp4"), "ingest", "name_not_utf8", _bytes(lambda data: data + b"\0\0\0\x09freeu")),
    Kind("RD_Nonumber.mp4", "ingest", "not_in_layout", _bytes(lambda data: data + b"\0\0\0\x09freen")),
    Kind("RD_Wrongending_000.wav", "ingest", "not_in_layout", _bytes(lambda data: data + b"\0\0\0\x09freew")),
    Kind("RD_Folder_000.mp4/notes.txt", "ingest", "not_in_layout", _text("a folder named like a video")),
    Kind("RD_Twin_000.mp4", "ingest", "duplicate", _bytes(lambda data: data)),
    Kind("RD_Truncated_000.mp4", "ingest", "truncated", lambda path, people: path.write_bytes(_faststart(path, people)[:-12000])),
    Kind("RD_Soundonly_000.mp4", "ingest", "no_video", _copied("-vn", "-c", "copy")),
    Kind("RD_Mute_000.mp4", "ingest", "no_audio", _copied("-an", "-c", "copy")),
    Kind("RD_Oneframe_000.mp4", "ingest", "too_short", _film(lambda frames: frames[:1])),
    Kind("RD_Short_000.mp4", "ingest", "too_short", _film(lambda frames: frames[:12])),
    Kind("RD_Backwards_000.mkv", "ingest", "broken_timestamps", _backwards),
    Kind("RD_Notimes_000.mp4", "ingest", "broken_timestamps", _no_times),
    Kind("._RD_Ames_000.mp4", "ingest", "companion_file", lambda path, people: path.write_bytes(bytes.fromhex("00051607") + bytes(4092))),
    Kind("Thumbs.db", "ingest", "system_file", _text("of a system")),
    Kind(".~lock.list.csv#", "ingest", "editor_file", _text("of an editor")),
    Kind("RD_Loading_000.mp4.part", "ingest", "unfinished_download", _bytes(lambda data: data + b"\0\0\0\x09freep")),
    # what resample hears, and sees in the times of the frames
    Kind("RD_Silent_000.mp4", "resample", "silent", _sound(lambda sound: 0 * sound)),
    Kind("RD_Shortsound_000.mp4", "resample", "audio_too_short", _sound(lambda sound: sound[:4800])),
    Kind("RD_Notnumbers_000.mkv", "resample", "bad_audio", _not_numbers),
    Kind("RD_Frozen_000.mp4", "resample", "frames_lost", _sound(lambda sound: np.tile(sound, 2), filters="setpts='(N/25+gte(N,12)*0.8)/TB'")),
    # what align sees in the pictures
    Kind("RD_Nobody_000.mp4", "align", "no_face", _film(lambda frames: [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * FRAMES)),
    Kind("RD_Two_000.mp4", "align", "two_faces", _beside),
    Kind("RD_Small_000.mp4", "align", "face_too_small", _film(_small)),
    Kind("RD_Leaving_000.mp4", "align", "face_lost", _film(_leaving)),
    Kind("RD_Cut_000.mp4", "align", "scene_cut", lambda path, people: write(path, people[0].frames[:12] + people[1].frames[12:], "25", sound=people[0].sound)),
    Kind("RD_Corrupt_000.mp4", "align", "damaged", _corrupt),
    # odd, and good
    Kind("RD_Turned_000.mp4", "", "", _turned),
    Kind("RD_Odd_000.mp4", "", "", _film(lambda frames: [f[:239, :257] for f in frames], codec=(*X264[:-1], "yuv444p"))),
    Kind("RD_Large_000.mp4", "", "", _film(lambda frames: frames[:18], 1, codec=("-c:v", "mpeg4", "-q:v", "4"), filters="scale=2340:2160,pad=3840:2160:750:0")),
    Kind("RD_Matroska_000.avi", "", "", _film(lambda frames: frames[2:], 2, extra=("-f", "matroska"))),
    Kind("RD_Nosuffix_000", "", "", lambda path, people: write(path, people[2].frames[1:], "25", sound=people[2].sound, extra=("-f", "mp4"))),
    Kind("RD_ü space_000.mp4", "", "", _film(lambda frames: frames[1:], 1)),
]  # fmt: skip
if os.name == "posix" and os.geteuid() != 0:  # root may read everything
    KINDS.append(Kind("RD_Locked_000.mp4", "ingest", "unreadable", lambda path, people: (path.touch(), path.chmod(0))))


def _faststart(path: Path, people: list[Person]) -> bytes:
    """The first person's clip of three seconds with its index in front: what is cut off its end is pictures."""
    write(path, people[0].frames * 3, "25", sound=np.tile(people[0].sound, 3), extra=("-movflags", "+faststart"))
    return path.read_bytes()


# lists that name what nobody has, and stretches of a held video that it does not have: clip → reason
LISTED = {"hdtf_RD_Gone_000": "not_held", "hdtf_RD_Whole_001": "interval_outside", "hdtf_RD_Whole_002": "crop_outside"}


def make_lists(root: Path, people: list[Person]) -> None:
    """HDTF's lists for a held video and one that is not there."""
    lists = root / "HDTF_dataset"
    lists.mkdir()
    (lists / "RD_annotion_time.txt").write_text("Gone.mp4 00:00-00:09\nWhole.mp4 00:00-00:01 00:40-00:50 00:01-00:02\n")
    (lists / "RD_crop_wh.txt").write_text(
        f"Gone_0.mp4 0 {WIDTH} 0 {HEIGHT}\nWhole_0.mp4 0 {WIDTH} 0 {HEIGHT}\nWhole_1.mp4 0 {WIDTH} 0 {HEIGHT}\nWhole_2.mp4 200 {WIDTH} 0 {HEIGHT}\n"
    )
    (lists / "RD_resolution.txt").write_text(f"Whole.mp4 {HEIGHT}\n")
    write(
        root / "videos" / "Whole.mp4",
        people[1].frames + people[1].frames[::-1],
        "25",
        sound=np.tile(people[1].sound, 2),
    )


def make_bad(root: Path, people: list[Person]) -> None:
    """Every kind of file, beside the good ones."""
    for kind in KINDS:
        path = root / "clips" / kind.file
        path.parent.mkdir(parents=True, exist_ok=True)
        kind.make(path, people)
    make_lists(root, people)
