import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "generate_cli.py"


def _script():
    spec = importlib.util.spec_from_file_location("generate_cli", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _script()
COMMANDS = dict(generate.commands())


def test_the_page_is_up_to_date():
    assert generate.TARGET.read_text(encoding="utf-8") == generate.document(), "run: python docs/generate_cli.py"


def test_the_commands_are_complete():
    groups = {
        "everlearn": {"demo", "chat", "ask", "teach", "lessons", "tables", "bench", "sleep", "adapters", "doctor"}
        | {"promote", "forget", "receipts", "distill", "serve", "audit", "top", "studio", "keys", "train", "data"},
        "everlearn lessons": {"list", "show", "search", "history", "forget", "export", "import", "quarantine"}
        | {"audit", "conflicts", "undo", "reflect"},
        "everlearn lessons quarantine": {"list", "release", "forget"},
        "everlearn receipts": {"verify", "key", "list"},
        "everlearn tables": {"create", "list", "set", "delete", "export", "import", "copy", "merge"},
        "everlearn promote": {"propose", "list", "accept", "reject"},
        "everlearn data": {"inspect"},
        "everlearn train": {"tokenizer", "pretrain", "finetune", "prune"},
        "everlearn adapters": {"list", "show", "rollback"},
        "everlearn bench": {
            "attention",
            "stream",
            "editing",
            "knowledge",
            "lookup",
            "multihop",
            "teach",
            "latency",
            "forgetting",
            "temporal",
        },
    }
    for path, names in groups.items():
        assert set(COMMANDS[path].commands) == names


@pytest.mark.parametrize("path", COMMANDS)
def test_everything_has_a_help_text(path):
    command = COMMANDS[path]
    assert generate.help_of(command).endswith("."), path
    for parameter in generate.parameters(command):
        assert generate.help_of(parameter).endswith("."), f"{path} {parameter.name}"
        value = parameter.param_type_name == "option" and not parameter.is_flag
        assert not value or parameter.metavar, f"{path} {parameter.name}"
