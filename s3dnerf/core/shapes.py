"""Shapes as types: jaxtyping's annotations, or plain stand-ins on a machine that has only torch.

``Float[Tensor, "b 3 h w"]`` documents a public function's shapes; the tests enforce them (``tests/conftest.py``
installs jaxtyping's import hook with beartype). Without jaxtyping the annotation means ``Tensor``.

torch is imported with the first use of ``Tensor``, of which modules for numpy's arrays have none: importing it takes
longer than all else in the start of a stage that computes without networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    """``Tensor``."""
    if name != "Tensor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from torch import Tensor

    return Tensor


__all__ = ["Bool", "Float", "Int", "Tensor", "UInt8"]
