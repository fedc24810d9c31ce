"""Images through our own family: handwritten digits of scikit-learn, read as image tokens and found by words.

Usage: python benchmarks/digits.py [--epochs N] [--out FILE]

Two models of the same blocks are trained from nothing on 1,437 of 1,797 pictures (8 x 8 pixels, 16 patches of 2 x 2):
- one that names the digit: image tokens, then the digit as the next token;
- one joint space: a picture and "a handwritten three" as unit vectors.
The other 360 pictures are never trained on. Classification counts the digit named; image -> text the caption that is
nearest to a picture; text -> image whether the picture nearest to a caption shows its digit, and the share of the ten
nearest that do. Captions are ten, so chance is .10 everywhere.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from everlearn.evaluation.machine import commit, machine, versions
from everlearn.models.apertis import ApertisConfig, ApertisForCausalLM, ApertisImageProcessor
from everlearn.models.apertis.contrast import ApertisForContrast, contrastive_loss

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPLATES = ("a handwritten {}", "the digit {}", "someone wrote {}")
IMAGE, PAD, FIRST_DIGIT, FIRST_LETTER = 0, 1, 2, 12  # token ids; letters are a..z and space
VOCABULARY = FIRST_LETTER + 27
BATCH = 32
Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # pictures to learn, pictures to ask, digits of both


def config(kinds: list[str], pooling: str = "last") -> ApertisConfig:
    return ApertisConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=len(kinds),
        num_attention_heads=4,
        layer_types=kinds,
        max_position_embeddings=128,
        initializer_range=0.05,
        vision_patch_size=2,
        vision_channels=1,
        image_token_id=IMAGE,
        pad_token_id=PAD,
        pooling=pooling,
    )


def letters(text: str) -> list[int]:
    return [FIRST_LETTER + (26 if c == " " else ord(c) - ord("a")) for c in text]


def captions(texts: list[str]) -> dict[str, torch.Tensor]:
    """Ids and mask of texts, padded on the left."""
    rows = [letters(text) for text in texts]
    width = max(map(len, rows))
    ids = torch.tensor([[PAD] * (width - len(row)) + row for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def pictures(images: np.ndarray, more: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """Image tokens [B, 16], with `more` ids behind them."""
    made = ApertisImageProcessor(patch_size=2, channels=1, max_patches=16)(list(images))
    ids = torch.full((len(images), 16), IMAGE)
    ids = ids if more is None else torch.cat([ids, more], 1)
    return {"input_ids": ids, "pixel_values": made["pixel_values"], "image_sizes": made["image_sizes"]}


def shifted(images: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Moves each picture by at most one pixel, so that more is learned from few."""
    wide = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    return np.stack([wide[n, y : y + 8, x : x + 8] for n, (y, x) in enumerate(draw.integers(0, 3, (len(images), 2)))])


def batches(count: int, draw: np.random.Generator) -> list[np.ndarray]:
    order = draw.permutation(count)
    return [order[n : n + BATCH] for n in range(0, count - BATCH + 1, BATCH)]


def trained(
    model: torch.nn.Module,
    loss_of: Callable[[np.ndarray, np.random.Generator], torch.Tensor],
    count: int,
    epochs: int,
    rate: float,
) -> float:
    """Trains with a one-cycle schedule; returns seconds."""
    draw = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * (count // BATCH))
    begun = time.perf_counter()
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for rows in batches(count, draw):
            optimizer.zero_grad()
            loss = loss_of(rows, draw)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss)
        print(
            f"epoch {epoch + 1}/{epochs} loss {total / (count // BATCH):.3f} {time.perf_counter() - begun:.0f} s",
            flush=True,
        )
    model.eval()
    return time.perf_counter() - begun


def name_digits(kinds: list[str], data: Split, epochs: int) -> dict[str, Any]:
    images, others, digits, wanted = data
    torch.manual_seed(0)
    model = ApertisForCausalLM(config(kinds))

    def loss_of(rows: np.ndarray, draw: np.random.Generator) -> torch.Tensor:
        answer = torch.from_numpy(digits[rows])[:, None] + FIRST_DIGIT
        inputs = pictures(shifted(images[rows], draw), answer)
        labels = torch.cat([torch.full((len(rows), 16), -100), answer], 1)
        return model(**inputs, labels=labels, use_cache=False).loss

    seconds = trained(model, loss_of, len(images), epochs, 2e-3)
    with torch.no_grad():
        said = model(**pictures(others), logits_to_keep=1).logits[:, -1].argmax(-1) - FIRST_DIGIT
    share = float((said.numpy() == wanted).mean())
    return {"layer_types": kinds, "accuracy": share, "pictures": len(others), "train_seconds": seconds}


def join_spaces(kinds: list[str], data: Split, epochs: int, pooling: str) -> dict[str, Any]:
    images, others, digits, wanted = data
    torch.manual_seed(0)
    model = ApertisForContrast(config(kinds, pooling))

    def loss_of(rows: np.ndarray, draw: np.random.Generator) -> torch.Tensor:
        present = np.unique(digits[rows])
        texts = [TEMPLATES[draw.integers(len(TEMPLATES))].format(NAMES[digit]) for digit in present]
        same = torch.from_numpy(digits[rows][:, None] == present)
        seen = model.embed(pictures(shifted(images[rows], draw)))
        return contrastive_loss(seen, model.embed(captions(texts)), model.scale, same)

    seconds = trained(model, loss_of, len(images), epochs, 2e-3)
    with torch.no_grad():
        seen = model.embed(pictures(others))
        read = model.embed(captions([TEMPLATES[0].format(name) for name in NAMES]))
    scores = (seen @ read.T).numpy()
    nearest = np.argsort(-scores, axis=0)
    return {
        "layer_types": kinds,
        "pooling": pooling,
        "image_to_text_recall_at_1": float((scores.argmax(1) == wanted).mean()),
        "text_to_image_recall_at_1": float(np.mean([wanted[nearest[0, n]] == n for n in range(10)])),
        "text_to_image_precision_at_10": float(np.mean([wanted[nearest[:10, n]] == n for n in range(10)])),
        "chance": 0.1,
        "train_seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--kinds", default="full,full,full", help="of the layers, separated by commas")
    parser.add_argument("--pooling", default="last", choices=["last", "capsules"])
    parser.add_argument("--only-retrieval", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    loaded = load_digits()
    data = train_test_split(loaded.images / 16, loaded.target, test_size=360, random_state=0, stratify=loaded.target)
    kinds = args.kinds.split(",")
    report = {
        **({} if args.only_retrieval else {"classification": name_digits(kinds, data, args.epochs)}),
        "retrieval": join_spaces(kinds, data, args.epochs, args.pooling),
        "where": {"machine": machine(), "versions": versions(), "commit": commit()},
    }
    print(json.dumps(report, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
