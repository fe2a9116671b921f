"""ONNX graphs with the inputs and outputs of insightface's pack ``buffalo_l`` and random values.

``1k3d68.onnx``: a residual network of ResNet-50's shape (bottlenecks 3, 4, 6, 3) with 3309 outputs, whose small random
answer is added to a frontal face, so that the landmarks of a random network are those of a face.
``w600k_r50.onnx``: the residual network of ArcFace's "r50" (blocks 3, 4, 14, 3), 512 outputs. Batch norms are folded
into the convolutions, as in files made for inference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

LANDMARK_OUTPUTS = 3309  # 1103 points of three numbers; the last 68 are the landmarks
CROP_OF_BOX = 1.5  # insightface cuts a square 1.5 times the longer side of the face's box
BRANCH_GAIN = 0.2  # of a block's last convolution: without norms, the sum of many blocks would grow without end
LANDMARK_DEVIATION = 0.004  # of the network's own answer, in half sides of the crop


class Graph:
    """An ONNX graph that grows layer by layer; ``at`` names the output of the last layer.

    Parameters
    ----------
    name, input_name : str
    side_px : int
        Height and width of the input, float32 (n, 3, side, side).
    seed : int
    """

    def __init__(self, name: str, input_name: str, side_px: int, seed: int) -> None:
        self.name, self.input_name, self.side_px = name, input_name, side_px
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.at, self.parameters = input_name, 0

    def constant(self, values: np.ndarray) -> str:
        """Keep values as float32; returns their name."""
        from onnx import numpy_helper

        name = f"w{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        self.parameters += values.size
        return name

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """One node; returns (and makes current) its output's name."""
        from onnx import helper

        self.at = output or f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [self.at], **attributes))
        return self.at

    def convolution(self, channels_in: int, channels: int, kernel: int, stride: int = 1, gain: float = 1.0) -> str:
        """A convolution of ``self.at`` with bias; He's deviation times ``gain``."""
        deviation = gain * np.sqrt(2 / (channels_in * kernel**2))
        weight = self.random.standard_normal((channels, channels_in, kernel, kernel), dtype=np.float32) * deviation
        names = self.constant(weight), self.constant(np.zeros(channels))
        return self.add(
            "Conv", self.at, *names, strides=[stride] * 2, pads=[kernel // 2] * 4, kernel_shape=[kernel] * 2
        )

    def prelu(self, channels: int) -> str:
        """A ReLU with a slope a channel below 0."""
        return self.add("PRelu", self.at, self.constant(np.full((channels, 1, 1), 0.25)))

    def linear(self, size_in: int, size: int, deviation: float, bias: np.ndarray, output: str) -> str:
        """A fully connected layer."""
        weight = self.random.standard_normal((size, size_in), dtype=np.float32) * deviation
        return self.add("Gemm", self.at, self.constant(weight), self.constant(bias), transB=1, output=output)

    def save(self, path: Path, outputs: int) -> int:
        """Write the file; returns its number of parameters."""
        import onnx
        from onnx import TensorProto, helper

        shape: list[str | int | None] = ["n", 3, self.side_px, self.side_px]
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info(self.input_name, TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(self.at, TensorProto.FLOAT, ["n", outputs])],
            self.tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, str(path))
        return self.parameters


def face_in_crop() -> np.ndarray:
    """A frontal face's 68 landmarks where insightface's crop shows them: float64 (68, 2) in −1 … 1, y downwards."""
    from s3dnerf.faces.insightface_backend import FOREHEAD
    from s3dnerf.faces.recon.morphable import own_model

    model = own_model()
    points = model.mean[model.keypoints][:, :2] * [1, -1]
    low, high = points.min(axis=0), points.max(axis=0)
    low[1] -= FOREHEAD * (high[1] - low[1])
    return (points - (low + high) / 2) * 2 / (CROP_OF_BOX * (high - low).max())


def landmark_model(path: Path, width: int = 64, blocks: tuple[int, ...] = (3, 4, 6, 3)) -> int:
    """``1k3d68.onnx``: input ``data`` (n, 3, 192, 192), output ``fc1`` (n, 3309). Returns its number of parameters."""
    graph = Graph("landmarks", "data", 192, seed=68)
    graph.convolution(3, width, 7, 2)
    graph.add("Relu", graph.at)
    graph.add("MaxPool", graph.at, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = width
    for level, count in enumerate(blocks):
        inner = width * 2**level
        for i in range(count):
            start, stride = graph.at, 2 if level and not i else 1
            shortcut = start if i else graph.convolution(channels, 4 * inner, 1, stride, gain=0.7)
            graph.at = start
            graph.convolution(channels, inner, 1)
            graph.add("Relu", graph.at)
            graph.convolution(inner, inner, 3, stride)
            graph.add("Relu", graph.at)
            graph.convolution(inner, 4 * inner, 1, gain=BRANCH_GAIN)
            graph.add("Add", graph.at, shortcut)
            graph.add("Relu", graph.at)
            channels = 4 * inner
    graph.add("GlobalAveragePool", graph.at)
    graph.add("Flatten", graph.at)
    face = np.zeros((LANDMARK_OUTPUTS // 3, 3))
    face[-68:, :2] = face_in_crop()
    graph.linear(channels, LANDMARK_OUTPUTS, LANDMARK_DEVIATION / np.sqrt(channels), face.ravel(), "fc1")
    return graph.save(path, LANDMARK_OUTPUTS)


def recogniser(path: Path, width: int = 64, blocks: tuple[int, ...] = (3, 4, 14, 3)) -> int:
    """``w600k_r50.onnx``: input ``input.1`` (n, 3, 112, 112), output ``683`` (n, 512). Returns its number of
    parameters.
    """
    graph = Graph("recognition", "input.1", 112, seed=512)
    graph.convolution(3, width, 3)
    graph.prelu(width)
    channels, side = width, 112
    for level, count in enumerate(blocks):
        inner = width * 2**level
        for i in range(count):
            start, stride = graph.at, 1 if i else 2
            shortcut = start if i else graph.convolution(channels, inner, 1, stride, gain=0.7)
            graph.at = start
            graph.convolution(channels, inner, 3)
            graph.prelu(inner)
            graph.convolution(inner, inner, 3, stride, gain=BRANCH_GAIN)
            graph.add("Add", graph.at, shortcut)
            channels = inner
        side //= 2
    graph.add("Flatten", graph.at)
    size = channels * side**2
    graph.linear(size, 512, 1 / np.sqrt(size), np.zeros(512), "683")
    return graph.save(path, 512)
