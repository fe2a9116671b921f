"""How a decoded frame is shown: turned, mirrored, with square pixels, deinterlaced, in an ordinary screen's colours.

Runs in the decoder's process. What cannot be shown right is refused with a reason of its own, never read approximately:
``odd_rotation``, ``colours_unknown``, ``stereo_3d``, ``spherical``, ``changes_midway``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.buffer import Buffer

from s3dnerf.video.encoding import VideoError
from s3dnerf.video.hdr import shown

# numbers of ITU-T H.273, as FFmpeg counts them
MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
RGB_MATRIX, UNSAID = 0, 2
CURVES = {16: "pq", 18: "hlg"}
SDR_CURVES = frozenset({0, 1, 2, 4, 5, 6, 7, 11, 12, 13, 14, 15})
PRIMARIES = {9: "bt2020", 11: "p3", 12: "p3"}
CURVE_NAMES = {"pq": "PQ", "hlg": "HLG"}
# of a picture that does not say its matrix, players take BT.709 from these sizes on and BT.601 below
HD_WIDTH_PX, HD_HEIGHT_PX = 1280, 577
DOLBY_VISION_ALONE = ("dvh1", "dvhe", "dva1", "dvav", "dav1")  # colours that only Dolby's own processing shows
BACKGROUND = 0  # behind transparent parts, as players show them
SCALE = "flags=bilinear+accurate_rnd+full_chroma_int"
CHROMA_STEP = 4  # colour may be stored once for so many pixels, in each direction


@dataclass(frozen=True)
class Display:
    """How the frames of a stream are shown.

    Attributes
    ----------
    width_px, height_px : as shown
    stored : width, height as stored
    pixel_aspect : a stored pixel's width over its height
    transposed, mirrored_x, mirrored_y : rows and columns exchanged first, then columns, then rows reversed
    matrix, limited : of Y′CbCr; '' for RGB; ``limited`` None: as the frame says
    curve, primaries : see :func:`s3dnerf.video.hdr.shown`
    interlaced : each flagged frame is made of its two fields
    alpha : some formats have transparent parts
    pixel_format : FFmpeg's name
    """

    width_px: int
    height_px: int
    stored: tuple[int, int]
    pixel_aspect: Fraction
    transposed: bool
    mirrored_x: bool
    mirrored_y: bool
    matrix: str
    curve: str
    primaries: str
    interlaced: bool
    alpha: bool
    pixel_format: str

    @property
    def rotation(self) -> int:
        """Degrees clockwise by which the picture is turned (0, 90, 180, 270), after left and right were exchanged where
        it is :attr:`mirrored`.
        """
        if self.transposed:
            return 90 if self.mirrored_x else 270
        return 180 if self.mirrored_y else 0

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged, whatever the rotation."""
        return (self.transposed + self.mirrored_x + self.mirrored_y) % 2 == 1

    def notes(self) -> list[str]:
        """What was done to show the stored frames, in words; empty for ordinary ones."""
        said = []
        if self.rotation:
            said.append(f"turned by {self.rotation}°")
        if self.mirrored:
            said.append("mirrored")
        if self.pixel_aspect != 1:
            said.append(f"pixels of {self.pixel_aspect.numerator}:{self.pixel_aspect.denominator} made square")
        if self.interlaced:
            said.append("deinterlaced")
        if self.curve in CURVE_NAMES:
            said.append(f"tone-mapped from {CURVE_NAMES[self.curve]}")
        elif self.primaries != "bt709":
            said.append(f"colours brought from {self.primaries.upper()} to BT.709")
        if self.alpha:
            said.append("transparent parts over black")
        return said


def _side_data(frame: av.VideoFrame, kind: str) -> bytes | None:
    """The bytes that come with a frame, of one kind."""
    data = cast(Buffer | None, frame.side_data.get(kind))
    return None if data is None else bytes(data)


def _orientation(frame: av.VideoFrame, path: str) -> tuple[bool, bool, bool]:
    """(transposed, mirrored_x, mirrored_y) of a frame's display matrix. Raises VideoError (odd_rotation)."""
    data = _side_data(frame, "DISPLAYMATRIX")
    if data is None:
        return False, False, False
    a, b, _, c, d, *_ = np.frombuffer(data, np.int32)[:9].astype(float) / 65536
    size = max(abs(a), abs(b), abs(c), abs(d))
    small = 0.02 * size  # a degree
    if size and abs(b) <= small and abs(c) <= small and min(abs(a), abs(d)) > 0.9 * size:
        return False, bool(a < 0), bool(d < 0)
    if size and abs(a) <= small and abs(d) <= small and min(abs(b), abs(c)) > 0.9 * size:
        return True, bool(c < 0), bool(b < 0)
    degrees = np.degrees(np.arctan2(b, a)) if size else float("nan")
    raise VideoError(
        f"{path}: to be shown turned by {degrees:.0f}°: expected a multiple of 90° — turn it with a video editor",
        "odd_rotation",
    )


def _refuse(path: str, what: str, reason: str) -> None:
    raise VideoError(f"{path}: {what}", reason)


def display_of(stream: av.VideoStream, frame: av.VideoFrame, interlaced: bool, path: str) -> Display:
    """How the frames of ``stream`` are shown, by its first decoded one. Raises VideoError with a reason."""
    tag = str(stream.codec_tag).strip("\0 ")
    if tag in DOLBY_VISION_ALONE:
        _refuse(
            path, f"Dolby Vision without ordinary colours ({tag}): export it as HDR10, HLG or SDR", "colours_unknown"
        )
    stereo, spherical = _side_data(frame, "STEREO3D"), _side_data(frame, "SPHERICAL")
    if stereo is not None and int(np.frombuffer(stereo[:4], np.int32)[0]):
        _refuse(path, "a picture for each eye (3-D video): export one eye's view", "stereo_3d")
    if spherical is not None:
        _refuse(path, "a picture all around (360° video): export an ordinary view", "spherical")
    rgb = frame.format.name.startswith(
        ("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal", "x2", "mono", "gray")
    )
    space, trc, primaries = int(frame.colorspace), int(frame.color_trc), int(frame.color_primaries)
    curve = CURVES.get(trc, "sdr")
    if frame.format.name.startswith("xyz") or (curve == "sdr" and trc not in SDR_CURVES):
        _refuse(path, f"colours on a curve that is not read here (transfer characteristics {trc})", "colours_unknown")
    if not rgb and space not in MATRICES and space not in (RGB_MATRIX, UNSAID, 3):
        _refuse(path, f"colours coded in a way that is not read here (matrix coefficients {space})", "colours_unknown")
    w, h = frame.width, frame.height
    matrix = "" if rgb else MATRICES.get(space, "bt709" if w >= HD_WIDTH_PX or h >= HD_HEIGHT_PX else "smpte170m")
    if curve != "sdr" and not rgb and space not in MATRICES:
        matrix = "bt2020"
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    aspect = aspect if aspect > 0 else Fraction(1)
    square = (round(w * aspect), h) if aspect >= 1 else (w, round(h / aspect))
    transposed, mirrored_x, mirrored_y = _orientation(frame, path)
    wide = "bt2020" if curve != "sdr" and primaries in (UNSAID, 0) else PRIMARIES.get(primaries, "bt709")
    return Display(
        *(square[::-1] if transposed else square),
        (w, h),
        aspect,
        transposed,
        mirrored_x,
        mirrored_y,
        matrix,
        curve,
        wide,
        interlaced,
        any(part.is_alpha for part in frame.format.components) or frame.format.has_palette,
        frame.format.name,
    )


class Converter:
    """Decoded frames to RGB as shown, or a part of them.

    Frames go in by :meth:`push` in the order of their times; of those wanted the pictures come out in the same order,
    where fields are joined one frame later.
    """

    def __init__(self, display: Display, crop: tuple[int, int, int, int], time_base: Fraction) -> None:
        self.display, self.crop, self.time_base = display, crop, time_base
        whole = (0, 0, display.width_px, display.height_px)
        self.inside = crop  # the part to cut from the converted picture
        steps = []
        if display.interlaced:
            fields = [("bwdif", "mode=send_frame:deint=interlaced")]
            self._fields: av.filter.Graph | None = self._graph(fields, display.pixel_format)
        else:
            self._fields = None
        if crop != whole and display.pixel_aspect == 1:
            box, self.inside = self._stored_box()
            steps.append(("crop", "{2}:{3}:{0}:{1}:exact=1".format(*box)))
        scale = SCALE
        if display.pixel_aspect != 1:
            w, h = display.width_px, display.height_px
            scale += ":w={}:h={}".format(*((h, w) if display.transposed else (w, h)))
        if display.matrix:
            scale += f":in_color_matrix={display.matrix}"
        self.deep = display.curve != "sdr" or display.primaries != "bt709"
        target = ("gbrap16le" if display.alpha else "gbrp16le") if self.deep else "rgba" if display.alpha else "rgb24"
        self._steps = [*steps, ("scale", scale), ("format", target)]
        self._convert: av.filter.Graph | None = None
        self._waiting: list[bool] = []

    def _graph(self, steps: list[tuple[str, str]], pixel_format: str) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 1
        w, h = self.display.stored
        nodes = [
            graph.add_buffer(width=w, height=h, format=av.VideoFormat(pixel_format, w, h), time_base=self.time_base)
        ]
        nodes += [graph.add(name, arguments) for name, arguments in steps]
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph

    def _stored_box(self) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
        """The part of the stored picture that holds the crop, on whole steps of its colour; and the crop in that part
        as shown.
        """
        x, y, w, h = self.crop
        d = self.display
        # undo mirroring, then the exchange of rows and columns
        x = d.width_px - x - w if d.mirrored_x else x
        y = d.height_px - y - h if d.mirrored_y else y
        if d.transposed:
            x, y, w, h = y, x, h, w
        stored_w, stored_h = d.stored
        x0, y0 = x - x % CHROMA_STEP, y - y % CHROMA_STEP
        x1 = min(-(-(x + w) // CHROMA_STEP) * CHROMA_STEP, stored_w)
        y1 = min(-(-(y + h) // CHROMA_STEP) * CHROMA_STEP, stored_h)
        left, top, right, bottom = x - x0, y - y0, x1 - x - w, y1 - y - h
        if d.transposed:
            left, top, right, bottom = top, left, bottom, right
        left, right = (right, left) if d.mirrored_x else (left, right)
        top, bottom = (bottom, top) if d.mirrored_y else (top, bottom)
        return (x0, y0, x1 - x0, y1 - y0), (left, top, self.crop[2], self.crop[3])

    def push(self, frame: av.VideoFrame | None, wanted: bool, path: str) -> list[np.ndarray]:
        """Pictures that come out after this frame (None: after the last), uint8 (h, w, 3), of those wanted.

        Raises VideoError (changes_midway) where a frame is of another size or kind than the first.
        """
        if frame is not None:
            same = (frame.width, frame.height) == self.display.stored and frame.format.name == self.display.pixel_format
            if not same or (frame.interlaced_frame and not self.display.interlaced):
                at_s = float((frame.pts or 0) * self.time_base)
                raise VideoError(
                    f"{path}: turns from {self._kind()} into {frame.width}×{frame.height} {frame.format.name}"
                    f"{', interlaced' if frame.interlaced_frame else ''} at {at_s:.2f} s: "
                    "export it in one piece",
                    "changes_midway",
                )
        if self._fields is None:
            return [self._picture(frame)] if frame is not None and wanted else []
        if frame is not None:
            self._waiting.append(wanted)
        self._fields.vpush(frame)
        pictures = []
        while self._waiting:
            try:
                joined = self._fields.vpull()
            except (av.BlockingIOError, av.EOFError):
                break
            if self._waiting.pop(0):
                pictures.append(self._picture(joined))
        return pictures

    def _kind(self) -> str:
        w, h = self.display.stored
        return f"{w}×{h} {self.display.pixel_format}{', interlaced' if self.display.interlaced else ''}"

    def _picture(self, frame: av.VideoFrame) -> np.ndarray:
        if self._convert is None:  # joined fields may have another format than the stored ones
            self._convert = self._graph(self._steps, frame.format.name)
        self._convert.vpush(frame)
        given = self._convert.vpull()
        picture = given.to_ndarray()
        d = self.display
        if d.transposed:
            picture = picture.transpose(1, 0, 2)
        picture = picture[:: -1 if d.mirrored_y else 1, :: -1 if d.mirrored_x else 1]
        x, y, w, h = self.inside
        picture = picture[y : y + h, x : x + w]
        colour, opaque = picture[..., :3], picture[..., 3:]
        if self.deep:
            colour = shown(np.ascontiguousarray(colour), d.curve, d.primaries)
            opaque = opaque // 257
        if d.alpha:
            share = opaque.astype(np.float32) / 255
            colour = np.rint(colour * share + BACKGROUND * (1 - share)).astype(np.uint8)
        return np.ascontiguousarray(colour)
