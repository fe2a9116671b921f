"""What the tests of the generator's training share: settings and a small corpus with an expert."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import Settings
from tests.small_corpus import make_training_data


@pytest.fixture(scope="session")
def settings() -> Settings:
    return preset_settings("tiny")


@pytest.fixture(scope="session")
def data_dir(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_training_data(settings, folder)
    return folder
