"""Two steps of the generator's training, plain and with compiled networks, as JSON.

    python -m tests.training.compiled_step SETTINGS.pickle DATA WORK

A process of its own: the tests check the shapes of every call, and torch.compile cannot read through those checks.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import torch

from s3dnerf.sync.expert import load_expert
from s3dnerf.training.batches import make_batch
from s3dnerf.training.compiling import compile_networks, convolutional_networks
from s3dnerf.training.distributed import World
from s3dnerf.training.generator_data import GeneratorData
from s3dnerf.training.train_s3dnerf import Trainer
from tests.training.generator_job import generator_job


def main(pickled: str, data_dir: str, work: str) -> None:
    """Print {"plain": values of each step, "compiled": the same, "graphs": how many, "networks": how many}."""
    settings = pickle.loads(Path(pickled).read_bytes())
    job = generator_job(settings, Path(data_dir), Path(work), adv=0.1, sync=0.0, r1_every=2)
    data = GeneratorData(Path(data_dir), settings.model, settings.train, seed=0)
    plain, compiled = (Trainer(job, data, load_expert(job.expert)[0], World()) for _ in range(2))
    networks = convolutional_networks(compiled.generator, compiled.discriminator, compiled.perceptual)
    graphs = []

    def counted(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        graphs.append(graph)
        return graph.forward

    compile_networks(networks, counted)
    batch = make_batch([data.sample(0, 0)], settings.model, torch.device("cpu"))
    steps = {name: [t.step(i, [batch]) for i in (0, 1)] for name, t in (("plain", plain), ("compiled", compiled))}
    print(json.dumps({**steps, "graphs": len(graphs), "networks": len(networks)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
