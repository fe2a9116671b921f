"""Where each part of the face stands among the 68 landmarks (iBUG), 0-based. No imports: what only counts points needs
no detector.
"""

JAW, BROWS, NOSE, EYES, LIPS = slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)
REGIONS = {"jaw": JAW, "brows": BROWS, "nose": NOSE, "eyes": EYES, "lips": LIPS}
