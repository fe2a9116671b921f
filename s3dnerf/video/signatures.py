"""What a file is by its first bytes: the signatures of containers, sounds, pictures, texts and archives.

Reads nothing: :func:`content_kind` looks at bytes that :func:`s3dnerf.video.file_kinds.first_bytes` has read. Sources:
the formats' own documents, and the list in file(1).
"""

from __future__ import annotations

import re

VIDEO, AUDIO, PICTURE, MEDIA = "video", "audio", "picture", "media"
TEXT, DOCUMENT, ARCHIVE, DATA, COMPANION, UNKNOWN = "text", "document", "archive", "data", "companion", ""

# macOS keeps what its file systems know of x.mp4 and others do not in ._x.mp4, as AppleDouble
APPLE_DOUBLE = bytes.fromhex("00051607")

STARTS: tuple[tuple[bytes, str], ...] = (
    (APPLE_DOUBLE, COMPANION),
    (b"FLV\x01", VIDEO),
    (b"DKIF", VIDEO),  # IVF
    (b"YUV4MPEG2 ", VIDEO),
    (b"nut/multimedia container", VIDEO),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", VIDEO),  # MXF
    (b"\x1f\x07\x00\x3f", VIDEO),  # DV, 60 fields a second
    (b"\x1f\x07\x00\xbf", VIDEO),  # DV, 50
    (b"\x00\x00\x01\xba", VIDEO),  # MPEG program stream
    (b"\x00\x00\x01\xb3", VIDEO),  # MPEG video without a container
    (bytes.fromhex("b7d800203749da11a64e0007e95ead8d"), VIDEO),  # WTV
    (b".RMF", MEDIA),
    (b"caff", AUDIO),
    (b".snd", AUDIO),
    (b"#!AMR", AUDIO),
    (bytes.fromhex("726966662e91cf11a5d628db04c10000"), AUDIO),  # W64
    (b"ID3", AUDIO),
    (b"fLaC", AUDIO),
    (b"wvpk", AUDIO),
    (b"TTA1", AUDIO),
    (b"TTA2", AUDIO),
    (b"MAC ", AUDIO),  # Monkey's Audio
    (b"MPCK", AUDIO),
    (b"MP+", AUDIO),
    (b"OFR ", AUDIO),
    (b"Creative Voice File", AUDIO),
    (b"NIST_1A", AUDIO),
    (b"\x0b\x77", AUDIO),  # AC-3, E-AC-3
    (b"\x7f\xfe\x80\x01", AUDIO),  # DTS
    (b"\xff\xd8\xff", PICTURE),
    (b"\x89PNG\r\n\x1a\n", PICTURE),
    (b"II*\0", PICTURE),
    (b"MM\0*", PICTURE),
    (b"II+\0", PICTURE),
    (b"MM\0+", PICTURE),
    (b"8BPS", PICTURE),
    (b"\0\0\0\x0cjP  \r\n", PICTURE),
    (b"\xff\x4f\xff\x51", PICTURE),  # JPEG 2000 without a container
    (b"\xff\x0a", PICTURE),  # JPEG XL
    (b"\0\0\0\x0cJXL ", PICTURE),
    (b"qoif", PICTURE),
    (b"\x76\x2f\x31\x01", PICTURE),  # OpenEXR
    (b"#?RADIANCE", PICTURE),
    (b"%PDF", DOCUMENT),
    (b"%!PS", DOCUMENT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", DOCUMENT),  # old Office
    (b"{\\rtf", DOCUMENT),
    (b"PK\x03\x04", ARCHIVE),
    (b"PK\x05\x06", ARCHIVE),
    (b"\x1f\x8b", ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", ARCHIVE),
    (b"Rar!\x1a\x07", ARCHIVE),
    (b"\xfd7zXZ\0", ARCHIVE),
    (b"BZh", ARCHIVE),
    (b"\x28\xb5\x2f\xfd", ARCHIVE),
    (b"\x93NUMPY", DATA),
    (b"PAR1", DATA),
    (b"\x89HDF", DATA),
    (b"SQLite format 3", DATA),
    (b"\x7fELF", DATA),
)
BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"wide", b"free", b"skip", b"pnot")
PICTURE_BRANDS = frozenset(b"heic heix heim heis hevc hevx mif1 msf1 avif avis".split()) | {b"crx "}
SOUND_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P "})
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")
ASF_AUDIO = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")


def content_kind(head: bytes) -> str:
    """What a file is by its first kilobytes.

    Returns
    -------
    ``video``, ``audio`` or ``picture``; ``media``: a container of video or sound that does not say which in these
    bytes; ``text``, ``document``, ``archive``, ``data``; ``companion``: AppleDouble; ``''``: nothing known here

    >>> content_kind(b"RIFF\\x24\\0\\0\\0WAVEfmt "), content_kind(b"<html>"), content_kind(b"\\0\\0\\0\\x18ftypisom")
    ('audio', 'text', 'media')
    """
    for start, kind in STARTS:
        if head.startswith(start):
            return kind
    for look in (_boxes, _riff, _matroska, _ogg, _asf, _iff, _gif, _bmp, _transport, _annex_b, _sound_frames):
        if kind := look(head):
            return kind
    if head[257:262] == b"ustar":
        return ARCHIVE
    if re.match(rb"P[1-7]\s+[#\dW]", head):  # PNM
        return PICTURE
    return TEXT if _is_text(head) else UNKNOWN


def _boxes(head: bytes) -> str:
    """ISO base media and QuickTime."""
    if head[4:8] not in BOXES or (head[4:8] == b"ftyp" and int.from_bytes(head[:4], "big") < 8):
        return UNKNOWN
    brands = {head[8:12]} if head[4:8] == b"ftyp" else set[bytes]()
    if brands & PICTURE_BRANDS:
        return PICTURE
    return AUDIO if brands & SOUND_BRANDS else MEDIA


def _riff(head: bytes) -> str:
    if head[:4] not in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return UNKNOWN
    return {b"WAVE": AUDIO, b"AVI ": VIDEO, b"CDXA": VIDEO, b"WEBP": PICTURE}.get(head[8:12], UNKNOWN)


def _matroska(head: bytes) -> str:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return UNKNOWN
    return VIDEO if re.search(rb"\x86[\x81-\x90]V_[A-Z]", head) else MEDIA


def _ogg(head: bytes) -> str:
    """Every stream's first page stands before all others."""
    if not head.startswith(b"OggS"):
        return UNKNOWN
    if any(codec in head for codec in (b"\x80theora", b"BBCD\0", b"\x01video\0", b"OVP80")):
        return VIDEO
    return AUDIO if any(codec in head for codec in (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex ")) else MEDIA


def _asf(head: bytes) -> str:
    if not head.startswith(ASF):
        return UNKNOWN
    if ASF_VIDEO in head:
        return VIDEO
    return AUDIO if ASF_AUDIO in head else MEDIA


def _iff(head: bytes) -> str:
    return AUDIO if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC", b"8SVX", b"16SV") else UNKNOWN


def _gif(head: bytes) -> str:
    """A picture, or a video where it says how often it is to be repeated."""
    if not head.startswith((b"GIF87a", b"GIF89a")):
        return UNKNOWN
    return VIDEO if b"NETSCAPE2.0" in head or b"ANIMEXTS1.0" in head else PICTURE


def _bmp(head: bytes) -> str:
    sizes = (12, 40, 52, 56, 64, 108, 124)  # of the second header
    return PICTURE if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in sizes else UNKNOWN


def _transport(head: bytes) -> str:
    """MPEG transport streams: packets of 188 bytes, with a time before each (192) or check bytes behind it (204)."""
    for start, step in ((0, 188), (4, 192), (0, 204)):
        packets = head[start : start + 4 * step : step]
        if len(packets) >= 3 and set(packets) == {0x47}:
            return VIDEO
    return UNKNOWN


def _annex_b(head: bytes) -> str:
    """H.264 and H.265 without a container: a parameter set or a delimiter comes first."""
    match = re.match(rb"\x00?\x00\x00\x01([\x67\x27\x47\x09]|[\x40\x42\x44\x46]\x01)", head)
    return VIDEO if match else UNKNOWN


def _sound_frames(head: bytes) -> str:
    """MPEG audio (layers I to III) and ADTS: the header of a frame that ends where the next begins."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return UNKNOWN
    if head[1] & 0xF6 == 0xF0:  # ADTS
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        return AUDIO if length > 7 and head[length : length + 2] == head[:2] else UNKNOWN
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate, pace = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 0 or rate in (0, 15) or pace == 3:
        return UNKNOWN
    return AUDIO if re.search(re.escape(head[:2]), head[24:]) else UNKNOWN


def _is_text(head: bytes) -> bool:
    """UTF-8 without control characters (its last character may be cut), or UTF-16 that says so."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    for cut in range(min(4, len(head))):
        try:
            text = head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return bool(text) and not re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]", text)
    return False
