"""The page of parameters is what its generator makes of the results that are there."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "generate_parameters.py"


def _script():
    spec = importlib.util.spec_from_file_location("generate_parameters", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date_and_its_plots_are_there():
    generate = _script()
    text = generate.TARGET.read_text(encoding="utf-8")
    assert text == generate.page(generate.found()), "run: python docs/generate_parameters.py"
    for name in generate.found():
        plots = {"values": ["blocks", "sparsity"], "residual": ["residual"], "threshold": ["threshold"]}.get(name, [])
        for plot in plots:
            picture = generate.PLOTS / f"parameters-{plot}.png"
            assert f"plots/{picture.name}" in text
            assert 5_000 < picture.stat().st_size < 100_000
