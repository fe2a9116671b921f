"""Libraries that report their use to their makers are told not to, by importing the package."""

from __future__ import annotations

import os
import subprocess
import sys


def test_importing_the_package_switches_onnxruntime_s_telemetry_off_unless_somebody_chose() -> None:
    code = "import s3dnerf, os; print(os.environ.get('ORT_DISABLE_TELEMETRY'))"
    plain = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    for given, expected in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        said = subprocess.run(
            [sys.executable, "-c", code], env=plain | given, capture_output=True, text=True, check=True
        )
        assert said.stdout.strip() == expected
