"""Sound files of every kind that people have, each made of the same speech, and what reading it must give.

``python -m benchmarks.kinds`` prints the table; ``test_kinds.py`` holds it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3dnerf.core.rates import RATE_HZ
from s3dnerf.speech.audio import read_sound, wav_bytes
from s3dnerf.video.encoding import VideoError
from tests.video.numbered import ffmpeg

SECONDS = 2.0
# one less the correlation with the made speech, and how far it may lie off its time
LOSSLESS, LOSSY, TELEPHONE = 0.001, 0.03, 0.12
MOST_LAG_MS = 3.0


@functools.cache
def speech() -> np.ndarray:
    """Two seconds like speech, float32 (32000,): a voice of many harmonics whose loudness swings four times a second."""
    t = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    pitch = 2 * np.pi * np.cumsum(130 + 25 * np.sin(2 * np.pi * 0.9 * t)) / RATE_HZ
    voice = sum(np.exp(-(((130 * k - 600) / 500) ** 2)) * np.sin(k * pitch) for k in range(1, 20))
    swing = np.clip(np.sin(2 * np.pi * 2 * t) ** 2 * (1 + 0.4 * np.sin(2 * np.pi * 3.1 * t)), 0, None)
    sound = voice * swing
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def tone(level: float = 0.8) -> np.ndarray:
    """A steady tone, louder than the speech."""
    return (level * np.sin(2 * np.pi * 440 * np.arange(len(speech())) / RATE_HZ)).astype(np.float32)


@dataclass(frozen=True)
class Kind:
    """One kind of file: its name in words, what writes it, the bound on one less the correlation (0: refused), the
    reason of a refusal, a part of the note that is given with it, the level at which the speech is to be heard, and how
    late: some coders put a delay before the sound that their files do not mention (ffmpeg's own reading has the same).
    """

    name: str
    make: Callable[[Path], Path]
    bound: float = LOSSLESS
    reason: str = ""
    note: str = ""
    level: float = 1.0
    late_ms: float = 0.0


def _wav(folder: Path, samples: np.ndarray, name: str = "made.wav") -> Path:
    (folder / name).write_bytes(wav_bytes(samples))
    return folder / name


def _file(name: str, *codec: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        ffmpeg("-i", _wav(folder, speech()), *codec, folder / name)
        return folder / name

    return make


def _channels(name: str, layout: str, *channels: Callable[[], np.ndarray]) -> Callable[[Path], Path]:
    """A 16-bit file of several channels."""

    def make(folder: Path) -> Path:
        samples = np.stack([channel() for channel in channels], axis=1)
        data = np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2").tobytes()
        raw = ("-f", "s16le", "-ar", str(RATE_HZ), "-ch_layout", layout, "-i", "pipe:0")
        ffmpeg(*raw, "-c:a", "pcm_s16le", folder / name, data=data)
        return folder / name

    return make


def _tracks(name: str, first: np.ndarray, second: np.ndarray, *words: str) -> Callable[[Path], Path]:
    """Two sound tracks; ``words`` for the file that is written."""

    def make(folder: Path) -> Path:
        ones = [_wav(folder, samples, f"{n}.wav") for n, samples in enumerate((first, second))]
        inputs = [word for one in ones for word in ("-i", one)]
        ffmpeg(*inputs, "-map", "0:a", "-map", "1:a", "-c:a", "flac", *words, folder / name)
        return folder / name

    return make


def _changing(folder: Path) -> Path:
    """One channel in the first second, two in the second, as broadcasts change at a programme's end."""
    made = _wav(folder, speech())
    coder = ("-c:a", "mp2", "-b:a", "128k")
    ffmpeg("-i", made, "-t", "1", *coder, folder / "first.ts")
    both, later = (
        ("-af", "pan=stereo|c0=c0|c1=c0"),
        ("-output_ts_offset", "1.03"),
    )  # the coder's delay is in it, as above
    ffmpeg("-ss", "1", "-i", made, *both, *coder, *later, folder / "second.ts")
    (folder / "both.ts").write_bytes((folder / "first.ts").read_bytes() + (folder / "second.ts").read_bytes())
    return folder / "both.ts"


def _late(folder: Path) -> Path:
    """Half a second of speech's lead is not in the file: the track starts later than the picture."""
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64:r=25:d=2", "-itsoffset", "0.5", "-i", _wav(folder, speech()[8000:]), "-c:v", "libx264", "-c:a", "aac", "-b:a", "160k", folder / "late.mp4")  # fmt: skip
    return folder / "late.mp4"


def _text(name: str, text: str) -> Callable[[Path], Path]:
    """A file that names another one, which holds speech and stands beside it."""

    def make(folder: Path) -> Path:
        secret = _wav(folder, speech(), "secret.wav")
        ffmpeg("-i", secret, "-c:a", "aac", folder / "secret.ts")
        (folder / name).write_text(text.format(folder=folder))
        return folder / name

    return make


def _silence() -> np.ndarray:
    return np.zeros_like(speech())


def _minus() -> np.ndarray:
    return -speech()


def _half_minus() -> np.ndarray:
    return -0.9 * speech()


KINDS = [
    *(
        Kind(f"WAV, {codec}", _file("a.wav", "-c:a", codec), bound)
        for codec, bound in (
            ("pcm_s16le", LOSSLESS), ("pcm_s24le", LOSSLESS), ("pcm_f32le", LOSSLESS), ("pcm_u8", 4 * LOSSLESS),
            ("pcm_alaw", LOSSLESS), ("pcm_mulaw", LOSSLESS), ("adpcm_ima_wav", LOSSY),
        )
    ),
    Kind("WAV of 96 kHz", _file("a.wav", "-ar", "96000", "-c:a", "pcm_s24le")),
    Kind("WAV of 8 kHz", _file("a.wav", "-ar", "8000"), LOSSY),
    Kind("Wave64", _file("a.w64")),
    Kind("RF64", _file("a.wav", "-rf64", "always")),
    Kind("AIFF", _file("a.aiff")),
    Kind("AIFF-C, floating point", _file("a.aif", "-c:a", "pcm_f32be")),
    Kind("Core Audio", _file("a.caf", "-c:a", "pcm_s16be")),
    Kind("Core Audio, ALAC", _file("a.caf", "-c:a", "alac"), 4 * LOSSLESS),
    Kind("Sun audio", _file("a.au")),
    Kind("FLAC", _file("a.flac")),
    Kind("WavPack", _file("a.wv")),
    Kind("True Audio", _file("a.tta")),
    Kind("Apple Lossless", _file("a.m4a", "-c:a", "alac")),
    Kind("MP3", _file("a.mp3", "-b:a", "160k"), LOSSY),
    Kind("MP2", _file("a.mp2", "-b:a", "160k"), LOSSY, late_ms=30),
    Kind("AAC in m4a", _file("a.m4a", "-b:a", "128k"), LOSSY),
    Kind("AAC, no container", _file("a.aac", "-b:a", "128k"), LOSSY, late_ms=64),
    Kind("Vorbis in Ogg", _file("a.ogg", "-c:a", "libvorbis", "-q:a", "8"), LOSSY),
    Kind("Opus in Ogg", _file("a.opus", "-b:a", "96k"), LOSSY),
    Kind("Opus in WebM", _file("a.webm", "-b:a", "96k"), LOSSY, late_ms=-13),
    Kind("AC-3", _file("a.ac3", "-b:a", "192k"), LOSSY, late_ms=8),
    Kind("E-AC-3", _file("a.eac3", "-b:a", "192k"), LOSSY, late_ms=8),
    Kind("DTS", _file("a.dts", "-c:a", "dca", "-strict", "-2", "-ar", "48000", "-ac", "2", "-b:a", "768k"), LOSSY, level=0.5**0.5, late_ms=11),
    Kind("TrueHD", _file("a.thd", "-c:a", "truehd", "-strict", "-2", "-ar", "48000", "-ac", "2"), LOSSLESS, level=0.5**0.5),
    Kind("Windows Media", _file("a.wma", "-c:a", "wmav2", "-b:a", "128k"), LOSSY, late_ms=32),
    Kind("AMR, telephone", _file("a.amr", "-c:a", "libopencore_amrnb", "-ar", "8000", "-ac", "1", "-b:a", "12.2k"), TELEPHONE, late_ms=5),
    Kind("G.722", _file("a.wav", "-c:a", "g722"), LOSSY),
    Kind("sound of a Matroska file", _file("a.mka", "-c:a", "flac")),
    # channels
    Kind("stereo, the same on both", _channels("a.wav", "stereo", speech, speech)),
    Kind("stereo, one side silent", _channels("a.wav", "stereo", speech, _silence), level=0.5),
    Kind("stereo, one side wired the other way round", _channels("a.wav", "stereo", speech, _minus), note="the louder one alone"),
    Kind("stereo, one side weaker and wired the other way round", _channels("a.wav", "stereo", speech, _half_minus), note="the louder one alone"),
    Kind("5.1, speech in the centre, music around", _channels("a.wav", "5.1", tone, tone, speech, _silence, tone, tone), note="the centre channel"),
    Kind("5.1, the centre silent", _channels("a.wav", "5.1", speech, speech, _silence, _silence, _silence, _silence), level=1 / 3),
    # tracks and times
    Kind("two tracks, the second is default", _tracks("a.mka", tone(), speech(), "-disposition:a:0", "0", "-disposition:a:1", "default"), note="number 2 is used: marked as default"),
    Kind("two tracks, the first is default", _tracks("a.mka", speech(), tone(), "-disposition:a:0", "default", "-disposition:a:1", "0"), note="number 1 is used: marked as default"),
    Kind("two tracks, none marked, a tone first", _tracks("a.mka", tone(), speech(), "-disposition:a:0", "0", "-disposition:a:1", "0"), note="number 2 is used: the loudest with a voice"),
    Kind("two tracks, none marked, the weaker voice second", _tracks("a.mka", speech(), 0.2 * speech(), "-disposition:a:0", "0", "-disposition:a:1", "0"), note="number 1 is used: the loudest with a voice"),
    Kind("a commentary beside it", _tracks("a.mka", speech(), speech()[::-1], "-disposition:a:0", "default", "-disposition:a:1", "default+comment"), note="number 1 is used: marked as default"),
    Kind("one channel, then two", _changing, 0.05, late_ms=30),
    Kind("starts half a second late", _late, LOSSY),
    # what names other files is never followed
    Kind("HLS playlist", _text("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n"), 0, "unreadable"),
    Kind("HLS playlist named .wav", _text("a.wav", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2,\n{folder}/secret.ts\n#EXT-X-ENDLIST\n"), 0, "unreadable"),
    Kind("list of files to join", _text("a.mp3", "ffconcat version 1.0\nfile 'secret.wav'\n"), 0, "unreadable"),
    Kind("session description", _text("a.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"), 0, "unreadable"),
    Kind("media presentation description", _text("a.mpd", '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"><Period><AdaptationSet><Representation id="0" bandwidth="1" mimeType="audio/wav"><BaseURL>secret.wav</BaseURL></Representation></AdaptationSet></Period></MPD>'), 0, "unreadable"),
    Kind("playlist of players", _text("a.m3u", "{folder}/secret.wav\n"), 0, "unreadable"),
    Kind("a script of tones", _text("a.sbg", "-SE\nNOW alloff\n+00:00:01 alloff\n"), 0, "unreadable"),
    Kind("text", _text("a.ogg", "this is no sound\n" * 200), 0, "unreadable"),
]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What reading a file gave: one less the correlation (nan where refused), how late it is, its level over the made
    one's, the reason and message of a refusal, and the note.
    """

    error: float
    lag_ms: float = 0.0
    level: float = 1.0
    reason: str = ""
    message: str = ""
    note: str = ""


def outcome(kind: Kind, folder: Path) -> Outcome:
    """Make a file of this kind in an empty folder, and read it."""
    path = kind.make(folder)
    try:
        sound = read_sound(path)
    except VideoError as bad:
        return Outcome(float("nan"), reason=bad.reason, message=str(bad))
    made, most = speech().astype(np.float64), round(0.08 * RATE_HZ)
    got = np.zeros(len(made) + 2 * most)
    heard = sound.samples[: len(made) + most].astype(np.float64)
    got[most : most + len(heard)] = heard
    if kind.name.startswith("starts half"):
        made = np.concatenate([np.zeros(8000), made[8000:]])
    lags = np.arange(-most, most + 1)
    windows = np.lib.stride_tricks.sliding_window_view(got, len(made))
    products, norms = windows @ made, np.sqrt((windows**2).sum(axis=1) * (made**2).sum())
    at = int(np.argmax(products / np.maximum(norms, 1e-12)))
    level = float(np.sqrt((windows[at] ** 2).mean() / (made**2).mean()))
    lag_ms = 1000 * float(lags[at]) / RATE_HZ
    return Outcome(1 - float(products[at] / max(norms[at], 1e-12)), lag_ms, level, note=sound.note)
