"""Files in the official formats, small: an insightface landmark model, Deep3DFaceRecon's checkpoint and face model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from s3dnerf.faces.recon.morphable import MorphableModel, own_model
from s3dnerf.faces.recon.network import ReconNetwork


def write_landmark_model(path: Path, points: np.ndarray) -> None:
    """An ONNX file with 1k3d68's inputs and outputs whose last 68 points are always ``points`` (68, 2)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    answer = np.zeros((1, 3309), np.float32)
    answer.reshape(-1, 3)[-68:, :2] = points
    nodes = [
        helper.make_node("ReduceSum", ["data"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["answer", "nothing"], ["fc1"]),
    ]
    graph = helper.make_graph(
        nodes,
        "landmarks",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 192, 192])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 3309])],
        [numpy_helper.from_array(answer, "answer"), numpy_helper.from_array(np.zeros((), np.float32), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))


def constant_network(coefficients: np.ndarray, width: int = 4) -> ReconNetwork:
    """A small network of the official layout that answers ``coefficients`` (257,) whatever it sees."""
    torch.manual_seed(0)
    network = ReconNetwork(width, (1, 1, 1, 1))
    start = 0
    for head in network.final_layers:
        size = head.out_channels
        torch.nn.init.zeros_(head.weight)
        head.bias.data = torch.from_numpy(coefficients[start : start + size]).float()
        start += size
    return network


def write_checkpoint(path: Path, network: ReconNetwork) -> None:
    """As Deep3DFaceRecon saves it: the network beside what training left."""
    torch.save(
        {
            "net_recon": network.state_dict(),
            "opt_00": {"state": {}, "param_groups": [{"lr": 1e-4}]},
            "sched_00": {"last_epoch": 20},
        },
        path,
    )


def write_bfm(path: Path, model: MorphableModel) -> None:
    """A model in BFM_model_front.mat's layout (indices count from 1 there)."""
    from scipy.io import savemat

    n = len(model.mean)
    held = {"meanshape": model.mean.reshape(1, -1), "meantex": model.mean_tex.reshape(1, -1)}
    held |= {
        "idBase": model.id_base.reshape(3 * n, -1),
        "exBase": model.exp_base.reshape(3 * n, -1),
        "texBase": model.tex_base.reshape(3 * n, -1),
    }
    savemat(str(path), held | {"tri": model.triangles + 1, "keypoints": model.keypoints.reshape(1, -1) + 1})


def write_face_model(folder: Path) -> MorphableModel:
    """Our own model and its standard points as files of the official names and layouts. Returns the model."""
    from scipy.io import savemat

    model = own_model()
    write_bfm(folder / "BFM_model_front.mat", model)
    savemat(str(folder / "similarity_Lm3D_all.mat"), {"lm": model.mean[model.keypoints]})
    return model
