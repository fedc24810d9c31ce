"""The batched scores of the ablation equal the slow way, step by step through the engine's own decoding."""

import argparse
import json

import pytest
import torch

import ablation
import ablation_rows as rows
import ablation_runs as runs
from everlearn.engine.decode import forward, prefill
from everlearn.evaluation.edits import Edit
from everlearn.evaluation.journal import Journal
from everlearn.memory.correction import raise_target
from everlearn.memory.cursor import Cursor
from toys import toy_parts

EDIT = Edit("Who bakes at Zorblat?", "Mirela", ("Zorblat's baker is who?",))


def slowly(parts, ids, variant):
    cursor = Cursor("x", variant.correction, variant.residual)
    cache, hits, raised_chance = parts.model.new_cache(), [], 1.0
    logits = prefill(parts.model, ids, cache, cursor)
    for token in variant.correction.tokens:
        hits.append(int(logits.argmax()) == token)
        raised = raise_target(logits, token, variant.residual)
        raised_chance *= (raised / rows.TEMPERATURE).softmax(0)[token].item()
        cursor.advance(token)
        logits = forward(parts.model, torch.tensor([[token]]), cache, [cursor])[0]
    return sum(hits) / len(hits), raised_chance


def test_scores_in_one_batch_equal_the_slow_way():
    parts = toy_parts()
    made = rows.variants(parts, EDIT, learn=True)
    (ids,) = rows.asked(parts, EDIT, rephrases=1)["rephrase"]
    found = rows.scored(parts, ids, list(made.values()))
    assert len(made) > 20
    for (name, variant), score in zip(made.items(), found, strict=True):
        if variant.residual == 0.0:
            continue  # the cursor is silent then
        tokens, chance = slowly(parts, ids, variant)
        assert score.tokens == pytest.approx(tokens), name
        assert score.sampled_raised == pytest.approx(chance, rel=1e-3), name
        assert score.exact == float(tokens == 1.0)
    assert found[0].exact_raised == 1.0


@pytest.mark.parametrize("what", ["values", "residual", "threshold", "indirect", "cost"])
def test_each_measurement_runs_and_goes_on_where_it_stopped(tmp_path, what, capsys):
    line = {"prompt": EDIT.prompt, "target": EDIT.target, "rephrases": list(EDIT.rephrases)}
    line |= {"locality": [{"prompt": "Penguins swim where?", "answer": ""}]}
    line |= {"portability": [{"prompt": "Who is the father of Zorblat's baker?", "answer": "Olaf"}]}
    (data := tmp_path / "edits.jsonl").write_text(json.dumps(line) + "\n")
    (other := tmp_path / "other.jsonl").write_text('{"prompt": "Why?"}\n')
    args = argparse.Namespace(
        data=[data], unrelated=other, sample=3, learn=1, rephrases=1, tokens=4, seed=0, state=tmp_path
    )
    work = {
        "values": ablation.values,
        **{name: getattr(runs, name) for name in ("residual", "threshold", "indirect", "cost")},
    }
    with Journal(tmp_path / "journal") as journal:
        first = work[what](toy_parts(), args, journal)
    with Journal(tmp_path / "journal") as journal:
        assert any(journal.of("piece"))
        assert json.loads(json.dumps(work[what](toy_parts(), args, journal))) == json.loads(json.dumps(first))
