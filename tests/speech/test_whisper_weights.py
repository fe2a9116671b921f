"""Whisper's encoder out of a CTranslate2 file: every number in its place, nothing but the file that is meant."""

import hashlib

import numpy as np
import pytest
from safetensors.numpy import load_file

from s3dnerf.speech.whisper_weights import MODEL_BIN_SHA256, WhisperWeightsError, convert, main
from tests.speech.whisper_files import LAYERS, ctranslate2_bytes, ctranslate2_variables, small_model


def written(tmp_path, layers=LAYERS, kind="WhisperSpec", **changes):
    """The converted file of a made one, some of whose variables are others (None: not there)."""
    variables = ctranslate2_variables(small_model()) | changes
    data = ctranslate2_bytes({name: value for name, value in variables.items() if value is not None}, kind=kind)
    (tmp_path / "model.bin").write_bytes(data)
    convert(tmp_path / "model.bin", tmp_path / "w" / "out.safetensors", layers, hashlib.sha256(data).hexdigest())
    return tmp_path / "w" / "out.safetensors"


@pytest.mark.parametrize("layers", [1, 2, LAYERS])
def test_every_number_stands_where_transformers_has_it(layers, tmp_path):
    found = load_file(written(tmp_path, layers))
    state = {name: value.numpy() for name, value in small_model().encoder.state_dict().items()}
    wanted = {
        name
        for name in state
        if (int(name.split(".")[1]) < layers if name.startswith("layers.") else True)
        and (layers == LAYERS or not name.startswith("layer_norm."))
    }
    assert set(found) == wanted
    assert all(np.array_equal(found[name], state[name]) for name in wanted)


def test_half_precision_stays_and_equal_input_gives_equal_bytes(tmp_path):
    half = {k: v.astype(np.float16) for k, v in ctranslate2_variables(small_model()).items() if v.dtype == np.float32}
    once = written(tmp_path, 2, **half).read_bytes()
    assert once == written(tmp_path, 2, **half).read_bytes()
    assert {value.dtype for value in load_file(tmp_path / "w" / "out.safetensors").values()} == {np.dtype(np.float16)}


L0 = "encoder/layer_0/self_attention/linear_0"
WRONG = {
    "a key with a bias": ({f"{L0}/bias": np.ones(72, np.float32)}, "the keys have a bias"),
    "a missing name": ({"encoder/layer_1/ffn/linear_1/bias": None}, "no variable encoder/layer_1/ffn/linear_1/bias"),
    "another shape": ({f"{L0}/weight": np.zeros((72, 23), np.float32)}, r"expected floats of shape \(72, 24\)"),
    "whole numbers": ({f"{L0}/weight": np.zeros((72, 24), np.int8)}, "expected floats of shape"),
    "nan": ({"encoder/conv2/bias": np.full(24, np.nan, np.float32)}, "encoder/conv2/bias: not all of it is finite"),
    "no convolution": ({"encoder/conv1/weight": None}, "no Whisper encoder"),
    "heads that do not divide": ({"encoder/num_heads": np.array(5, np.int16)}, "5 heads do not divide the width 24"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_whisper_is_named_and_nothing_is_written(case, tmp_path):
    changes, said = WRONG[case]
    with pytest.raises(WhisperWeightsError, match=said):
        written(tmp_path, **changes)
    assert not (tmp_path / "w").exists()


def test_another_kind_of_model_and_more_layers_than_there_are(tmp_path):
    with pytest.raises(WhisperWeightsError, match="TransformerSpec revision 3: expected WhisperSpec"):
        written(tmp_path, kind="TransformerSpec")
    with pytest.raises(WhisperWeightsError, match="4 layers wanted: expected 1 … 3"):
        written(tmp_path, 4)


def test_the_command_takes_the_pinned_file_alone(tmp_path, capsys):
    (tmp_path / "model.bin").write_bytes(ctranslate2_bytes(ctranslate2_variables(small_model())))
    assert main([str(tmp_path / "model.bin"), str(tmp_path / "out.safetensors")]) == 2
    assert MODEL_BIN_SHA256 in capsys.readouterr().err and not (tmp_path / "out.safetensors").exists()
    assert main([str(tmp_path / "none.bin"), str(tmp_path / "out.safetensors")]) == 2
    assert "none.bin" in capsys.readouterr().err
