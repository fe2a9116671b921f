"""Video files of every kind that people have, each made of the same frames, and what reading it must give.

The frames are a smooth coloured field that moves: what differs from them after reading is the kind's fault, not a
codec's. ``python -m benchmarks.kinds`` prints the table; ``test_kinds.py`` holds it.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from s3dnerf.video.encoding import VideoError
from s3dnerf.video.reading import probe, read_frames
from tests.video.numbered import ffmpeg

WIDTH, HEIGHT, FRAMES = 128, 96, 10
EXACT, NEAR, ROUGH = 1.5, 3.0, 6.0  # mean absolute difference, levels of 255


@functools.cache
def field() -> np.ndarray:
    """The frames, uint8 (10, 96, 128, 3): colours as faces have them, up to a quarter of the light away from grey."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / np.array([HEIGHT, WIDTH])[:, None, None]
    frames = []
    for i in range(FRAMES):
        wave = np.sin(2 * np.pi * (x + 0.02 * i)) * np.cos(np.pi * y)
        light = 60 + 110 * x + 40 * y
        frames.append(np.stack([light + 30 * wave + 15, light, light - 30 * wave - 10], axis=-1))
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def encode(path: Path, *codec: str, frames: np.ndarray | None = None, filters: str = "null") -> Path:
    """The frames as a file at 25 Hz."""
    data = field() if frames is None else frames
    _, h, w, _ = data.shape
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", "25", "-i", "pipe:0")
    ffmpeg(*raw, "-vf", filters, *codec, path, data=np.ascontiguousarray(data).tobytes())
    return path


H264 = ("-c:v", "libx264", "-crf", "4", "-preset", "veryfast")
PLAIN = (*H264, "-pix_fmt", "yuv420p")
# RGB to Y′CbCr by a stated matrix, with the tags that say so
TO_709 = "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,setparams=colorspace=bt709:range=tv"
TO_FULL = "scale=out_color_matrix=bt601:out_range=pc,format=yuv420p,setparams=range=pc"
X265 = ("-c:v", "libx265", "-crf", "4", "-x265-params", "log-level=none")
# linear light of BT.709 → BT.2020 (ITU-R BT.2087)
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def wide(curve: str) -> np.ndarray:
    """The frames in BT.2020 on another curve, uint16 RGB: BT.2100's formulas from the screen's light to the signal, with
    full white at 203 cd/m².
    """
    light = ((field() / 255.0) ** 2.4) @ TO_2020.T
    if curve == "sdr":
        signal = light ** (1 / 2.4)
    elif curve == "pq":
        power = (203 * light / 10000) ** 0.1593017578125
        signal = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    else:
        display = 203 * light / 1000
        luminance = display @ np.array([0.2627, 0.6780, 0.0593])
        scene = display * luminance[..., None] ** (1 / 1.2 - 1)
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)
    return np.rint(65535 * signal).astype(np.uint16)


def _wide(name: str, curve: str, transfer: str) -> Callable[[Path], Path]:
    """A 10-bit file of :func:`wide` frames, tagged as what they are."""

    def make(folder: Path) -> Path:
        raw = ("-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", f"{WIDTH}x{HEIGHT}", "-r", "25", "-i", "pipe:0")
        tags = f"setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc={transfer}:range=tv"
        chain = f"scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le,{tags}"
        ffmpeg(*raw, "-vf", chain, *X265, folder / name, data=wide(curve).astype("<u2").tobytes())
        return folder / name

    return make


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes
    ----------
    name : in words
    make : writes it into a folder and returns its path
    bound : the greatest mean absolute difference of its frames from the made ones, 0–255; 0 where it is refused
    reason : why it is refused, the error's code
    note : what the reader says that it did, several with commas
    expected : the frames it must give, where they are not the made ones
    """

    name: str
    make: Callable[[Path], Path]
    bound: float = EXACT
    reason: str = ""
    note: str = ""
    expected: Callable[[], np.ndarray] = field


def _file(name: str, *codec: str, **how: object) -> Callable[[Path], Path]:
    return lambda folder: encode(folder / name, *codec, **how)


def _copied(
    name: str, *before: str, after: tuple[str, ...] = (), of: tuple[str, ...] = PLAIN
) -> Callable[[Path], Path]:
    """A plain file, its container written again with other words."""

    def make(folder: Path) -> Path:
        ffmpeg(*before, "-i", encode(folder / "plain.mp4", *of), "-c", "copy", *after, folder / name)
        return folder / name

    return make


def _matrix(a: float, b: float, c: float, d: float) -> Callable[[Path], Path]:
    """A file whose track is shown by this matrix."""

    def make(folder: Path) -> Path:
        path = encode(folder / "turned.mp4", *PLAIN)
        data = bytearray(path.read_bytes())
        at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows forty bytes
        rows = (a, b, 0, c, d, 0, 0, 0, 1)
        struct.pack_into(
            ">9i", data, at, *(round(v * (1 << 30 if n % 3 == 2 else 1 << 16)) for n, v in enumerate(rows))
        )
        path.write_bytes(data)
        return path

    return make


def _shown(a: int, b: int, c: int, d: int) -> Callable[[], np.ndarray]:
    """The made frames moved by the matrix point for point."""

    def frames() -> np.ndarray:
        made = field()
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        to_x, to_y = a * x + c * y, b * x + d * y
        to_x, to_y = to_x - to_x.min(), to_y - to_y.min()
        out = np.zeros((FRAMES, to_y.max() + 1, to_x.max() + 1, 3), np.uint8)
        out[:, to_y, to_x] = made
        return out

    return frames


def _grey() -> np.ndarray:
    return np.repeat(np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in field()])[..., None], 3, axis=-1)


def _alpha(name: str, *codec: str) -> Callable[[Path], Path]:
    """The left half transparent, with a loud colour under it."""

    def make(folder: Path) -> Path:
        frames = np.concatenate([field(), np.full((FRAMES, HEIGHT, WIDTH, 1), 255, np.uint8)], axis=-1)
        frames[:, :, : WIDTH // 2] = (40, 240, 40, 0)
        raw = ("-f", "rawvideo", "-pix_fmt", "rgba", "-s", f"{WIDTH}x{HEIGHT}", "-r", "25", "-i", "pipe:0")
        ffmpeg(*raw, *codec, folder / name, data=frames.tobytes())
        return folder / name

    return make


def _half_black() -> np.ndarray:
    frames = field().copy()
    frames[:, :, : WIDTH // 2] = 0
    return frames


def stripes(times: np.ndarray) -> np.ndarray:
    """Soft upright stripes that run to the right, 12 pixels a frame, at these times in frames: uint8 (n, 96, 128, 3)."""
    x = np.arange(WIDTH)[None, :] - 12 * times[:, None]
    rows = np.rint(128 + 70 * np.sin(2 * np.pi * x / 48))
    return np.repeat(np.repeat(rows[:, None, :, None], HEIGHT, axis=1), 3, axis=3).astype(np.uint8)


def _fields(name: str, top_first: bool, *codec: str) -> Callable[[Path], Path]:
    """Stripes of which each second line is taken half a frame later, as interlaced cameras do."""

    def make(folder: Path) -> Path:
        frames = stripes(np.arange(FRAMES))
        frames[:, int(top_first) :: 2] = stripes(np.arange(FRAMES) + 0.5)[:, int(top_first) :: 2]
        order = "tff" if top_first else "bff"
        chain = f"setfield={order},scale=interl=1,format=yuv420p"
        return encode(folder / name, *codec, "-flags", "+ilme+ildct", frames=frames, filters=chain)

    return make


def _deinterlaced() -> np.ndarray:
    return stripes(np.arange(FRAMES))


def _two_sizes(folder: Path) -> Path:
    """A transport stream in which the picture becomes smaller in the middle."""
    large = encode(folder / "large.ts", *PLAIN)
    small = encode(folder / "small.ts", *PLAIN, filters=f"scale={WIDTH // 2}:{HEIGHT // 2}")
    path = folder / "both.ts"
    path.write_bytes(large.read_bytes() + small.read_bytes())
    return path


def _patched(change: Callable[[bytearray], bytearray], *codec: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = encode(folder / "patched.mp4", *(codec or PLAIN))
        path.write_bytes(change(bytearray(path.read_bytes())))
        return path

    return make


def _box_in_sample_entry(box: bytes) -> Callable[[bytearray], bytearray]:
    """An mp4 whose picture format (``avc1``) holds one more box; the index stands behind the pictures."""

    def change(data: bytearray) -> bytearray:
        at = data.rindex(b"avc1") - 4
        end = at + struct.unpack_from(">I", data, at)[0]
        data[end:end] = box
        for kind in (b"avc1", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
            place = data.rindex(kind, 0, at + 8) - 4
            struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + len(box))
        return data

    return change


def _text(name: str, text: str) -> Callable[[Path], Path]:
    """A file that names a video beside it."""

    def make(folder: Path) -> Path:
        encode(folder / "secret.ts", *PLAIN)
        (folder / name).write_text(text.format(folder=folder))
        return folder / name

    return make


STEREO_BOX = struct.pack(">I4sIB", 21, b"st3d", 0, 2) + bytes(8)  # left and right beside each other
SPHERE_BOX = (
    struct.pack(">I4s", 8 + 13 + 8 + 24 + 28, b"sv3d")
    + struct.pack(">I4sIB", 13, b"svhd", 0, 0)
    + struct.pack(">I4s", 8 + 24 + 28, b"proj")
    + struct.pack(">I4sI3i", 24, b"prhd", 0, 0, 0, 0)
    + struct.pack(">I4sI4I", 28, b"equi", 0, 0, 0, 0, 0)
)
BIG = "scale=1280:960:flags=bicubic"

KINDS = [
    # containers and codecs
    Kind("H.264 in mp4", _file("a.mp4", *PLAIN)),
    Kind("H.264 in Matroska", _file("a.mkv", *PLAIN)),
    Kind("H.264 in QuickTime", _file("a.mov", *PLAIN)),
    Kind("H.264 in MPEG-TS (.mts)", _file("a.mts", *PLAIN, "-f", "mpegts")),
    Kind("H.264 in AVI", _file("a.avi", *PLAIN)),
    Kind("H.264 in FLV", _file("a.flv", *PLAIN)),
    Kind("H.264 in fragmented mp4", _file("a.mp4", *PLAIN, "-movflags", "frag_keyframe+empty_moov")),
    Kind("H.264, no container", _file("a.h264", *PLAIN)),
    Kind("HEVC", _file("a.mp4", *X265, "-pix_fmt", "yuv420p")),
    Kind("AV1", _file("a.mp4", "-c:v", "libsvtav1", "-crf", "8", "-preset", "10", "-pix_fmt", "yuv420p")),
    Kind("AV1 in WebM", _file("a.webm", "-c:v", "libaom-av1", "-crf", "8", "-cpu-used", "8", "-pix_fmt", "yuv420p")),
    Kind("VP8 in WebM", _file("a.webm", "-c:v", "libvpx", "-crf", "4", "-b:v", "5M", "-pix_fmt", "yuv420p")),
    Kind("VP9 in WebM", _file("a.webm", "-c:v", "libvpx-vp9", "-crf", "4", "-b:v", "0", "-pix_fmt", "yuv420p")),
    Kind("MPEG-1", _file("a.mpg", "-c:v", "mpeg1video", "-q:v", "2"), NEAR),
    Kind("MPEG-2 program stream (.mpeg)", _file("a.mpeg", "-c:v", "mpeg2video", "-q:v", "2", "-f", "vob"), NEAR),
    Kind("MPEG-2 transport stream", _file("a.ts", "-c:v", "mpeg2video", "-q:v", "2"), NEAR),
    Kind("MPEG-2 in MXF", _file("a.mxf", "-c:v", "mpeg2video", "-q:v", "2"), NEAR),
    Kind("MPEG-4 in AVI", _file("a.avi", "-c:v", "mpeg4", "-bf", "2", "-q:v", "2"), NEAR),
    Kind("DV", _file("a.dv", "-c:v", "dvvideo", "-pix_fmt", "yuv420p", filters="scale=720:576:flags=bicubic"), NEAR, note="pixels of 16:15 made square, deinterlaced"),
    Kind("ProRes", _file("a.mov", "-c:v", "prores_ks", "-profile:v", "3")),
    Kind("DNxHR", _file("a.mov", "-c:v", "dnxhd", "-profile:v", "dnxhr_hq", "-pix_fmt", "yuv422p", filters="scale=512:384:flags=bicubic")),
    Kind("Motion JPEG in AVI", _file("a.avi", "-c:v", "mjpeg", "-q:v", "2")),
    Kind("JPEG 2000", _file("a.mov", "-c:v", "jpeg2000", "-pix_fmt", "yuv444p", "-q:v", "2"), NEAR),
    Kind("FFV1", _file("a.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv444p")),
    Kind("HuffYUV", _file("a.avi", "-c:v", "huffyuv", "-pix_fmt", "yuv422p")),
    Kind("Ut Video", _file("a.avi", "-c:v", "utvideo", "-pix_fmt", "yuv420p")),
    Kind("uncompressed in AVI", _file("a.avi", "-c:v", "rawvideo", "-pix_fmt", "bgr24")),
    Kind("WMV 2 in ASF", _file("a.wmv", "-c:v", "wmv2", "-q:v", "2"), NEAR),
    Kind("Sorenson in FLV", _file("a.flv", "-c:v", "flv", "-q:v", "2"), NEAR),
    Kind("Theora in Ogg", _file("a.ogv", "-c:v", "libtheora", "-q:v", "10"), NEAR),
    Kind("H.263 in 3GP", _file("a.3gp", "-c:v", "h263", "-q:v", "2", filters="scale=176:144:flags=bicubic"), NEAR, note="pixels of 12:11 made square"),
    Kind("Cinepak", _file("a.mov", "-c:v", "cinepak"), ROUGH),
    Kind("GIF", _file("a.gif", filters="split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse"), ROUGH, note="transparent parts over black"),
    # sizes, depths, colours
    Kind("odd sizes", _file("a.mkv", *H264, "-pix_fmt", "yuv444p", filters="crop=127:95:0:0:exact=1"), expected=lambda: field()[:, :95, :127]),
    Kind("4:2:2", _file("a.mp4", *H264, "-pix_fmt", "yuv422p")),
    Kind("4:1:1", _file("a.avi", "-c:v", "rawvideo", "-pix_fmt", "yuv411p"), NEAR),
    Kind("10 bit", _file("a.mp4", *H264, "-pix_fmt", "yuv420p10le")),
    Kind("RGB", _file("a.mkv", "-c:v", "libx264rgb", "-qp", "0", "-pix_fmt", "rgb24"), 0.1),
    Kind("grey", _file("a.mkv", "-c:v", "ffv1", "-pix_fmt", "gray"), EXACT, expected=_grey),
    Kind("full range, said", _file("a.mp4", *H264, filters=TO_FULL)),
    Kind("full range by its format (yuvj420p)", _file("a.avi", "-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p")),
    Kind("BT.709, said", _file("a.mp4", *H264, filters=TO_709)),
    Kind("BT.709 of a large picture, unsaid", _file("a.mkv", *H264, filters=f"{BIG},scale=out_color_matrix=bt709,format=yuv420p,setparams=colorspace=unknown")),
    Kind("HDR: HLG", _wide("a.mov", "hlg", "arib-std-b67"), NEAR, note="tone-mapped from HLG"),
    Kind("HDR: PQ", _wide("a.mp4", "pq", "smpte2084"), NEAR, note="tone-mapped from PQ"),
    Kind("wide colours in ordinary range (BT.2020)", _wide("a.mp4", "sdr", "bt2020-10"), NEAR, note="colours brought from BT2020 to BT.709"),
    # how it is shown
    *(
        Kind(f"matrix {a} {b} {c} {d}", _matrix(a, b, c, d), note=note, expected=_shown(a, b, c, d))
        for a, b, c, d, note in (
            (0, 1, -1, 0, "turned by 90°"), (-1, 0, 0, -1, "turned by 180°"), (0, -1, 1, 0, "turned by 270°"),
            (-1, 0, 0, 1, "mirrored"), (1, 0, 0, -1, "turned by 180°, mirrored"),
            (0, 1, 1, 0, "turned by 270°, mirrored"), (0, -1, -1, 0, "turned by 90°, mirrored"),
        )
    ),
    Kind("wide pixels (4:3)", _file("a.mp4", *PLAIN, filters="scale=96:96:flags=bicubic,setsar=4/3"), NEAR, note="pixels of 4:3 made square"),
    Kind("tall pixels (3:4)", _file("a.mp4", *PLAIN, filters="scale=128:72:flags=bicubic,setsar=3/4"), NEAR, note="pixels of 3:4 made square"),
    Kind("interlaced H.264, upper field first", _fields("a.mp4", True, *PLAIN, "-x264-params", "tff=1"), NEAR, note="deinterlaced", expected=_deinterlaced),
    Kind("interlaced MPEG-2, lower field first", _fields("a.mpg", False, "-c:v", "mpeg2video", "-q:v", "2"), NEAR, note="deinterlaced", expected=_deinterlaced),
    Kind("transparent, VP9", _alpha("a.webm", "-c:v", "libvpx-vp9", "-crf", "4", "-b:v", "0", "-pix_fmt", "yuva420p"), NEAR, note="transparent parts over black", expected=_half_black),
    Kind("transparent, ProRes 4444", _alpha("a.mov", "-c:v", "prores_ks", "-profile:v", "4", "-pix_fmt", "yuva444p10le"), NEAR, note="transparent parts over black", expected=_half_black),
    Kind("transparent, QuickTime animation", _alpha("a.mov", "-c:v", "qtrle", "-pix_fmt", "argb"), EXACT, note="transparent parts over black", expected=_half_black),
    Kind("a cover picture before the film", _copied("a.mkv", after=("-attach", str(Path(__file__)), "-metadata:s:t", "mimetype=text/plain"))),
    # refused
    Kind("HLS playlist named .mp4", _text("a.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n"), 0, "unreadable"),
    Kind("list of files to join, named .mkv", _text("a.mkv", "ffconcat version 1.0\nfile secret.ts\n"), 0, "unreadable"),
    Kind("playlist of an address", _text("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"), 0, "unreadable"),
    Kind("text, which one demuxer draws", _text("a.txt", "secret.ts\n" * 300), 0, "unreadable"),
    Kind("text that looks like pictures' names", _text("p%d.mp4", "nothing"), 0, "unreadable"),
    Kind("turned by 30°", _matrix(0.866, 0.5, -0.5, 0.866), 0, "odd_rotation"),
    Kind("two sizes in one file", _two_sizes, 0, "changes_midway"),
    Kind("a picture for each eye", _patched(_box_in_sample_entry(STEREO_BOX)), 0, "stereo_3d"),
    Kind("a picture all around", _patched(_box_in_sample_entry(SPHERE_BOX)), 0, "spherical"),
    Kind("Dolby Vision alone", _patched(lambda data: data.replace(b"hev1", b"dvhe"), *X265, "-pix_fmt", "yuv420p10le"), 0, "colours_unknown"),
    Kind("YCgCo colours", _file("a.mp4", *PLAIN, filters="format=yuv420p,setparams=colorspace=ycgco"), 0, "colours_unknown"),
    Kind("logarithmic light", _file("a.mp4", *PLAIN, filters="format=yuv420p,setparams=color_trc=log100"), 0, "colours_unknown"),
]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What reading a file gave: mean absolute difference (nan where refused), reason, message, and notes."""

    error: float
    reason: str = ""
    message: str = ""
    notes: tuple[str, ...] = ()


def outcome(kind: Kind, folder: Path) -> Outcome:
    """Make a file of this kind in an empty folder, and read it."""
    path = kind.make(folder)
    wanted = kind.expected()
    try:
        info = probe(path)
        frames = list(read_frames(path, np.arange(len(info.pts))))
    except VideoError as bad:
        return Outcome(float("nan"), bad.reason, str(bad))
    if len(frames) != len(wanted):
        return Outcome(float("inf"), "", f"{len(frames)} frames instead of {len(wanted)}", info.notes)
    h, w = wanted.shape[1:3]
    ratio = (info.width_px / info.height_px) / (w / h)
    if abs(ratio - 1) > 0.03:
        return Outcome(float("inf"), "", f"{info.width_px}×{info.height_px} instead of {w}×{h}", info.notes)
    same = [f if f.shape[:2] == (h, w) else cv2.resize(f, (w, h), interpolation=cv2.INTER_AREA) for f in frames]
    return Outcome(float(np.abs(np.stack(same).astype(int) - wanted).mean()), "", "", info.notes)
