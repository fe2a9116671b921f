"""Frames on a CUDA device, without waiting between them: every batch has the same shapes and addresses, so that the
whole render is recorded once as a CUDA graph and replayed.

Launching its few hundred kernels one by one would take longer than running them. What differs between batches (speech,
cameras, closed eyes) is copied into fixed inputs; what comes out is copied to the host while the next batch is made.
Compositing, cameras and field coordinates stay in float32 under bf16 (:mod:`s3dnerf.model.rendering`,
:mod:`s3dnerf.model.cameras`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from s3dnerf.model.cameras import Camera, box_rectangle
from s3dnerf.model.field import Identity
from s3dnerf.model.s3dnerf import Rendered, S3DNeRF

CAMERAS_AT_ONCE = 4096


@dataclass
class Request:
    """All frames that are asked for.

    Attributes
    ----------
    windows : first frame, number of frames → the speech tokens around each, float32 (n, k, D), on the CPU
    camera : of N frames, on the device
    closed : number of a frame → the portrait (3, 256, 256) with its eyes closed; None: as it is
    """

    windows: Callable[[int, int], torch.Tensor]
    camera: Camera
    closed: Callable[[int], torch.Tensor | None]


def largest_extent(camera: Camera, box: torch.Tensor, raw_px: int) -> tuple[int, int]:
    """Width and height in raw pixels that hold the box's rectangle in every frame; box (1, 4)."""
    sides = [
        box_rectangle(part.pose, part.intrinsics, box.expand(len(part.pose), -1), raw_px)[1].amax(0)
        for part in (camera[i : i + CAMERAS_AT_ONCE] for i in range(0, len(camera.pose), CAMERAS_AT_ONCE))
    ]
    width, height = torch.stack(sides).amax(0).tolist()
    return width, height


class Batches:
    """Batches of one portrait's frames.

    Parameters
    ----------
    generator, identity : on one device
    request : what is to be shown
    batch : frames at a time; the last batch is filled up and the filling dropped
    shown : a batch's :class:`Rendered` → tensors (batch, …) that are handed on
    bf16 : run the network in bfloat16
    graph : replay a CUDA graph; without it the same steps run one by one (on any device)
    """

    def __init__(
        self,
        generator: S3DNeRF,
        identity: Identity,
        request: Request,
        batch: int,
        shown: Callable[[Rendered], tuple[torch.Tensor, ...]],
        bf16: bool = False,
        graph: bool = True,
    ) -> None:
        self.generator, self.identity, self.request, self.shown = generator, identity, request, shown
        self.count, self.bf16, self.use_graph = len(request.camera.pose), bf16, graph
        self.batch = min(batch, self.count)
        self.extent = largest_extent(request.camera, identity.box, generator.settings.raw_px)
        self.portrait = identity.source[-1]  # [1, 3, 256, 256]
        self.places = torch.zeros(self.batch, dtype=torch.long, device=self.portrait.device)
        self.speech = request.windows(0, self.batch).to(self.portrait.device)
        self.pose, self.intrinsics = (x[self.places].clone() for x in (request.camera.pose, request.camera.intrinsics))
        self.pictures = self.portrait.expand(self.batch, -1, -1, -1).clone()
        self.changed: list[int] = []  # places in the batch whose eyes are not the portrait's
        self.graph: torch.cuda.CUDAGraph | None = None
        self.outputs: tuple[torch.Tensor, ...] = ()

    def _load(self, first: int) -> None:
        """Copy what a batch shows into the fixed inputs."""
        device = self.places.device
        torch.clamp(torch.arange(first, first + self.batch, device=device), max=self.count - 1, out=self.places)
        count = min(self.batch, self.count - first)
        windows = self.request.windows(first, count)
        self.speech[:count].copy_(windows.pin_memory() if self.use_graph else windows, non_blocking=True)
        self.pose.copy_(self.request.camera.pose[self.places])
        self.intrinsics.copy_(self.request.camera.intrinsics[self.places])
        for place in self.changed:
            self.pictures[place].copy_(self.portrait[0])
        self.changed = []
        for place in range(count):
            closed = self.request.closed(first + place)
            if closed is not None:
                self.pictures[place].copy_(closed, non_blocking=True)
                self.changed.append(place)

    def _render(self) -> tuple[torch.Tensor, ...]:
        # without the cache of cast weights, which would outlive a recording
        with torch.autocast(self.places.device.type, torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            rendered = self.generator.render(
                self.identity,
                self.speech,
                Camera(self.pose, self.intrinsics),
                pictures=self.pictures,
                extent=self.extent,
            )
        return self.shown(rendered)

    def _record(self) -> None:
        """Record the render as a graph; the batch before has warmed up what may not begin inside a recording."""
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = self._render()

    @torch.inference_mode()
    def __iter__(self) -> Iterator[list[np.ndarray]]:
        """Arrays of each batch, in order, of its frames alone; the next batch is begun before one is handed on."""
        if not self.use_graph:
            for first in range(0, self.count, self.batch):
                self._load(first)
                yield [x[: self.count - first].cpu().numpy() for x in self._render()]
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._load(0)
            made = [x.cpu().numpy() for x in self._render()]
        torch.cuda.current_stream().wait_stream(side)
        yield made
        if self.count <= self.batch:
            return
        self._record()
        hosts = [[torch.empty(x.shape, dtype=x.dtype, pin_memory=True) for x in self.outputs] for _ in range(2)]
        events = [torch.cuda.Event(), torch.cuda.Event()]
        waiting: tuple[int, int] | None = None
        for number, first in enumerate(range(self.batch, self.count, self.batch)):
            turn = number % 2
            self._load(first)
            assert self.graph is not None
            self.graph.replay()
            for host, output in zip(hosts[turn], self.outputs, strict=True):
                host.copy_(output, non_blocking=True)
            events[turn].record()
            if waiting is not None:
                yield self._received(hosts, events, *waiting)
            waiting = turn, first
        assert waiting is not None
        yield self._received(hosts, events, *waiting)

    def _received(
        self, hosts: list[list[torch.Tensor]], events: list[torch.cuda.Event], turn: int, first: int
    ) -> list[np.ndarray]:
        events[turn].synchronize()
        return [host[: self.count - first].numpy().copy() for host in hosts[turn]]
