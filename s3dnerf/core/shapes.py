"""Shapes as types: jaxtyping's annotations, or plain stand-ins on a machine that has only torch.

``Float[Tensor, "b 3 h w"]`` documents a public function's shapes; the tests enforce them (``tests/conftest.py``
installs jaxtyping's import hook with beartype). Without jaxtyping the annotation means ``Tensor``.
"""

from __future__ import annotations

from torch import Tensor

try:
    from jaxtyping import Bool, Float, Int, UInt8
except ImportError:

    class _Plain:
        """``X[Tensor, "…"]`` is ``Tensor``."""

        def __class_getitem__(cls, item: tuple) -> type:
            return item[0]

    class Float(_Plain):  # type: ignore[no-redef]
        """Floating point tensor."""

    class Int(_Plain):  # type: ignore[no-redef]
        """Whole-number tensor."""

    class Bool(_Plain):  # type: ignore[no-redef]
        """Boolean tensor."""

    class UInt8(_Plain):  # type: ignore[no-redef]
        """Bytes: pixels from 0 to 255."""


__all__ = ["Bool", "Float", "Int", "Tensor", "UInt8"]
