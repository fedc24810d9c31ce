"""Fit the models of hate and of requests for harm: logistic regression over the packaged encoder's embedding.

    python benchmarks/fit_harm.py --data FOLDER_OF_ALL_SETS [--write]

Fitted to one half of HateCheck (by template) and of AdvBench and HarmBench (by shared words) beside ordinary texts; the
threshold is the log-odds that so many ordinary texts of the fitted half stay below, judged by models that did not see
them (five folds). Figures come from the other half and from sets that nothing was fitted to: `benchmarks/safety.py`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

import harm_data
from everlearn import wiring
from everlearn.safety.harm import Embed, LinearModel, as_read, readings

TARGET = Path(__file__).parents[1] / "src" / "everlearn" / "safety" / "harm.json"
FALSE_ALARMS = 0.01  # of ordinary texts of the fitted half
MOST_ORDINARY = 250  # of each set
VERSION = "2026-11-25"


def fit(embed: Embed, harmful: list[str], contrast: list[str], ordinary: list[str]) -> LinearModel:
    """A model; its threshold lets all but a few ordinary texts pass.

    Harmful texts, those that look like them and ordinary ones weigh the same together. Texts are read as they will be.
    """
    texts = [*harmful, *contrast, *ordinary]
    kinds = np.repeat([2, 1, 0], [len(harmful), len(contrast), len(ordinary)])
    reads = [(n, read) for n, text in enumerate(texts) for read in read_as(text, whole=kinds[n] > 0)]
    owner = np.array([n for n, _ in reads])
    x = np.asarray(embed([read for _, read in reads]))
    labels = (kinds[owner] == 2).astype(int)
    weights = np.array([len(reads) / 3 / np.sum(kinds[owner] == kind) for kind in range(3)])[kinds[owner]]
    regression = LogisticRegression(C=3.0, max_iter=3000)
    odds = np.zeros(len(reads))
    for fitted_on, asked in GroupKFold(5).split(x, labels, owner):
        part = regression.fit(x[fitted_on], labels[fitted_on], sample_weight=weights[fitted_on])
        odds[asked] = part.decision_function(x[asked])
    highest = np.array([odds[owner == n].max() for n in range(len(texts)) if kinds[n] == 0])
    regression.fit(x, labels, sample_weight=weights)
    threshold = float(np.quantile(highest, 1 - FALSE_ALARMS))
    numbers = regression.coef_[0].astype(np.float32).round(3)
    return LinearModel(numbers, round(float(regression.intercept_[0]), 3), round(max(0.0, threshold), 3))


def read_as(text: str, *, whole: bool) -> list[str]:
    """A text as it is read: an example as one, an ordinary one in its parts."""
    parts = [read for _, _, read in readings(text[:2000])]
    return [as_read(text)[:1000]] if whole or not parts else parts


def fitted(data: Path, embed: Embed, *, only: str = "") -> dict[str, LinearModel]:
    """Both models; `only` names the one set of requests that is fitted to, all of it (to measure on the others)."""
    ordinary = [t for texts in harm_data.ordinary(data, 0).values() for t in texts[:MOST_ORDINARY]]
    cases = harm_data.hate(data, 0)
    requests = [t for name, t, half in harm_data.requests(data) if (name == only if only else half == 0)]
    return {
        "hate": fit(embed, [t for _, t, bad in cases if bad], [t for _, t, bad in cases if not bad], ordinary),
        "illicit": fit(embed, requests, harm_data.errands(), ordinary),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name} into the package")
    args = parser.parse_args()
    keys = wiring.load_parts(wiring.load_settings()).keys
    models = fitted(args.data, keys.vectors)
    for name, model in models.items():
        print(f"{name}: {len(model.weights)} weights, bias {model.bias}, threshold {model.threshold}")
    if args.write:
        told = {
            name: {"bias": m.bias, "threshold": m.threshold, "weights": [round(float(w), 3) for w in m.weights]}
            for name, m in models.items()
        }
        TARGET.write_text(json.dumps({"version": VERSION, "encoder": keys.digest, "models": told}) + "\n", "utf-8")


if __name__ == "__main__":
    main()
