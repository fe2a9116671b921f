"""Going round the store: by the environment, or by a forced dvc above; nothing else."""

from __future__ import annotations

import pytest

from flows import store_switch
from flows.executor import RunnerError
from flows.store_switch import forces, ignore_store


@pytest.mark.parametrize(
    "words",
    [
        "dvc repro -f",
        "dvc repro --force align",
        "python -m dvc repro -sf lips",
        "/venv/bin/python /venv/bin/dvc repro -s -f",
        "dvc exp run -f -S train.steps=6",
        "dvc exp run -S train.steps=6 --force",
        "dvc -v repro -vf",
    ],
)
def test_a_forced_command_is_seen(words: str) -> None:
    assert forces(words.split())


@pytest.mark.parametrize(
    "words",
    [
        "dvc repro",
        "dvc repro --force-downstream",
        "dvc repro -s align",
        "dvc exp run -n f -S a.f=1",
        "dvc exp run -nfirst",
        "dvc exp run -Sfoo.f=1",
        "dvc push -f",
        "dvc checkout --force",
        "dvc",
    ],
)
def test_another_command_is_not(words: str) -> None:
    assert not forces(words.split())


def test_the_environment_decides_and_refuses_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_switch, "dvc_above", lambda: None)
    for value, expected in ((None, False), ("use", False), ("ignore", True)):
        if value is None:
            monkeypatch.delenv("S3DNERF_STORE", raising=False)
        else:
            monkeypatch.setenv("S3DNERF_STORE", value)
        assert ignore_store() is expected
    monkeypatch.setenv("S3DNERF_STORE", "off")
    with pytest.raises(RunnerError, match="S3DNERF_STORE: got 'off' — accepted: use, ignore"):
        ignore_store()


def test_a_forced_dvc_above_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dvc:
        def cmdline(self) -> list[str]:
            return ["dvc", "repro", "-f"]

    monkeypatch.delenv("S3DNERF_STORE", raising=False)
    monkeypatch.setattr(store_switch, "dvc_above", Dvc)
    assert ignore_store()
