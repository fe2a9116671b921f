"""The talking head of tests/faces/talking_head.py, for the tests of this folder."""

from tests.faces.talking_head import talking

__all__ = ["talking"]
