"""The page of presets is what its generator makes."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "generate_presets.py"


def test_the_page_is_up_to_date():
    spec = importlib.util.spec_from_file_location("generate_presets", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text("utf-8") == module.page(), "run python docs/generate_presets.py"
