"""What the page of editing benchmarks says around its figures."""

BEFORE = """\
# Editing knowledge: the look-up table beside its peers

Made by `python benchmarks/editing_page.py` from the result files in `benchmarks/results/`; do not edit. A cell that was
not measured says so. Every method puts the same facts into the same weights (SmolLM2-135M-Instruct, bfloat16), answers
behind the same chat template and is scored by the same code, on the same questions.

**WILD**: free greedy decoding to a natural stop, normalised exact match; an answer that does not stop is wrong.
**Forced** (teacher-forced): the wanted answer is fed in, and the share of its tokens that are arg-max counts, which is
what most papers print. **rel.** is reliability (the taught question), **gen.** generality (in other words), **loc.**
locality (another question is answered as by the bare model: its first 32 tokens, or the arg-max along the data's own
answer). All edits of a draw are taught before any question is asked. Where fewer edits are taught than scored, the
figure is the mean over disjoint draws; along a column the same edits are scored whatever number is taught.
How a score is made and its limits: [benchmarks/README.md](../../benchmarks/README.md). What the settings of a table do:
[parameters](../parameters.md)."""

METHOD_WORDS = {
    "everlearn": "the look-up table as shipped, one setting for all sets; lessons durable on disk",
    "grace": "codebook of activations at one layer with radii that split and grow (Hartvigsen et al. 2023), written "
    "after the paper; the stop token is learned too; the radius is one for all sets",
    "lora-each": "LoRA (PEFT, rank 16, MLP, AdamW 1e-3) trained on one fact after another, each until its loss is "
    "below 0.02 or 20 steps are done; at seconds an edit the sample is smaller",
    "lora-batch": "the same adapter trained on all facts together, batches of 8, until the mean loss is below 0.02 or "
    "20 epochs are done",
    "retrieval-1": "the nearest fact by the table's own sentence encoder stands in every prompt, without a threshold",
    "retrieval-3": "the same with the three nearest facts",
    "bare": "the model, taught nothing",
}

SET_WORDS = {
    "zsre": (
        "zsRE",
        "Questions in other words (three of about eleven for each edit); locality questions ask something else about "
        "the same subject. The set contradicts itself: 39 % of its standard edits share subject and old answer with "
        "another edit that has a different target.",
    ),
    "counterfact": (
        "CounterFact",
        "False statements to be completed; the locality question has the same relation and the edit's old answer, "
        "with another subject.",
    ),
    "qaedit": ("QAEdit", "Questions that people ask, one rephrase each, unrelated locality questions."),
    "hallucination": (
        "Hallucination",
        "A passage is given and its next sentence taught. Perplexity is of that sentence without its stop token "
        "(fed in; mean over sentences, then median; lower is better, and papers print the mean); WILD asks whether the "
        "whole sentence comes by itself, word for word. Locality: web text goes on as before.",
    ),
}

AFTER = """\
## Figures that others report

For orientation only: other base models (7 to 8 billion parameters), other data versions and other protocols. They are
**not comparable** with the tables above, nor always with each other. "Secondary": quoted from a source that quotes the
paper. Sources: [papers](../papers.md).

| set, edits, protocol | reliability / generality / locality | by |
|---|---|---|
| zsRE, 1,000, teacher-forced | .94/.89/1.00 Mistral-7B; .94/.85/1.00 LLaMA-3-8B | MEMOIR |
| the same | .77/.72/1.00 WISE; 1.00/.02-.37/1.00 GRACE; .84/.77/.56 AlphaEdit | the same tables |
| CounterFact, 10,000, probability comparison | 99.2/85.9/85.6 | NeuralDB (secondary) |
| CounterFact, 2,000, strict arg-max | .955/.691/.166 | AlphaEdit, independent re-run |
| zsRE, one edit, WILD | .82/.79 ROME; .04/.03 GRACE; .03-.09 WISE (reliability) | WILD study |
| QAEdit, one edit, WILD | .69 rel. (ROME), .58 gen. (fine-tuning); about .10 after 1,000 in sequence | WILD study |
| hallucination, 600, perplexity/locality | 3.12/.99 WISE; 9.34/1.00 GRACE (LLaMA-2-7B) | WISE |
| MQuAKE-CF, 3,000 edits, multi-hop | 49.0 | GMeLLo (secondary) |
| time of an edit | 15 ms UltraEdit (7B, GPU); 10.8-14.4 s MEMOIR (A100) | |
| added latency at a million entries | nobody reports it | |

## What to keep in mind

- The base model is small. Retrieval depends on how well it reads what stands in its prompt, and a larger one
  reads better; WILD asks for the bare answer, and a model that answers in a sentence is wrong by it. The result
  files also hold how often the wanted words stand anywhere in the answer (`holds`).
- LoRA's hyper-parameters are common ones, not tuned for each set. GRACE's layer is as deep as published; its radius is
  the median distance between a question and its rephrase on this model, since the published one reaches none here
  (docs/log.md).
- Where a method does not touch the model for a question (the table: no entry takes part; GRACE: no key is
  near), the bare model's answer is counted. For the table that is proved on a sample of such questions in every
  draw: the logits have the same bits (`verified` in the result files).

## Run it again

```sh
python benchmarks/editing_grid.py --data FOLDER --methods bare everlearn
python benchmarks/editing_grid.py --data FOLDER --methods everlearn --sets counterfact --edits 10000
python benchmarks/editing_grid.py --data FOLDER --methods grace retrieval-1 retrieval-3
python benchmarks/editing_grid.py --data FOLDER --methods lora-batch --edits 100 1000 --sample 100
python benchmarks/editing_grid.py --data FOLDER --methods lora-each --edits 1 10 100 --sample 30
everlearn bench multihop --data FOLDER/mquake_cf3k.jsonl --json benchmarks/results/DATE-multihop.json
everlearn bench temporal --data FOLDER/temporal_chains.jsonl --json benchmarks/results/DATE-temporal.json
python benchmarks/editing_page.py
```

A run that was stopped goes on with the draw it stopped at; a cell whose result file is there is passed over."""
