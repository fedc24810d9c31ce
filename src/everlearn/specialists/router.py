"""The specialist router: which domain's adapter may speak for a prompt, learned in closed form.

One least-squares fit over frozen features (the sentence embedding of the prompt). All it knows of a domain are sums
over that domain's examples, so a domain is learned in one pass, leaves every other domain's sums as they are, and is
un-learned by taking its part out of them. Features are rounded to whole numbers first: sums of whole numbers are exact
in float64 in any order, so what was un-learned leaves not one bit behind.

Source: recursive least squares, Plackett 1950, Some theorems in least squares; as a router of adapters: Any-SSR (ICCV
2025), which has no forgetting for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.errors import InputError, NotFoundError

Floats = NDArray[np.float64]
SCALE = 4096.0  # a feature of 1.0 as a whole number; products below 2^24, so 2^29 examples add up without rounding
_REFERENCE = 1024  # examples of a domain that its calibration looks at


@dataclass(frozen=True, slots=True)
class Route:
    """Where a prompt belongs.

    Attributes:
        domain: whose adapter may speak; None = the router abstains, and the base model answers ("general").
        nearest: the likeliest domain, also where the router abstains; empty while nothing was learned.
        score: least-squares score of that domain, about 1 for its own prompts and 0 for others'.
        familiarity: cosine to the nearest example of that domain, -1..1.
    """

    domain: str | None
    nearest: str
    score: float
    familiarity: float


@dataclass(slots=True)
class Statistics:
    """Everything that is known of a domain.

    Attributes:
        ids: of its examples, [N].
        rows: [N, F] float64 whole numbers: the examples' features, a constant last.
        square: [F, F] float64, sum of the rows' outer products.
        total: [F] float64, sum of the rows.
        least: cosine to its nearest example from which a prompt may be the domain's, however far apart its own lie.
    """

    ids: list[str]
    rows: Floats
    square: Floats
    total: Floats
    least: float = -1.0


@dataclass(frozen=True, slots=True)
class _Fit:
    """The solved equations: `weights` [F, D], `inverse` [F, F]; least score and familiarity by domain."""

    domains: list[str]
    weights: Floats
    least_score: Floats
    least_familiarity: Floats


@final
class SpecialistRouter:
    """Learns domains from examples of their prompts.

    Args:
        width: F - 1, length of a feature vector.
        ridge: strength of the pull to zero; every domain weighs 1, however many examples it has.
        doubt: share of a domain's own prompts that may be left to the base model; the more, the fewer strangers pass.
    """

    def __init__(self, width: int, *, ridge: float = 0.01, doubt: float = 0.05) -> None:
        self.width = width
        self.ridge = ridge
        self.doubt = doubt
        self._known: dict[str, Statistics] = {}
        self._fit: _Fit | None = None

    @property
    def domains(self) -> list[str]:
        """Learned domains, sorted."""
        return sorted(self._known)

    def statistics(self, domain: str) -> Statistics:
        """What is known of a domain.

        Raises:
            NotFoundError: it was never learned.
        """
        if domain not in self._known:
            raise NotFoundError(
                f"The router does not know the domain {domain!r}.",
                hint=f"It knows: {', '.join(self.domains) or 'none yet'}.",
            )
        return self._known[domain]

    def learn(
        self, domain: str, ids: Sequence[str], features: NDArray[np.float32], *, least: float | None = None
    ) -> None:
        """Learn examples of a domain in one pass; an id that is known already is replaced.

        Args:
            domain: its name.
            ids: [N] of the examples, by which they can be un-learned.
            features: [N, width] unit rows.
            least: as in `Statistics`; None = as it was, at first none.

        Raises:
            InputError: another width, no example, or a number that is none.
        """
        if features.ndim != 2 or features.shape != (len(ids), self.width) or not len(ids):
            raise InputError(
                f"Features are {list(features.shape)} for {len(ids)} ids, wanted [{len(ids) or 'N'}, {self.width}].",
                hint="Use the encoder that the router was made with.",
            )
        if not np.isfinite(features).all():
            raise InputError("A feature is not a finite number.", hint="Mend the encoder's output.")
        if domain in self._known:
            self._drop(domain, set(ids))
        old = self._known.get(domain) or _empty(self.width + 1)
        rows = whole(features)
        self._known[domain] = Statistics(
            [*old.ids, *ids],
            np.concatenate([old.rows, rows]),
            old.square + rows.T @ rows,
            old.total + rows.sum(axis=0),
            old.least if least is None else least,
        )
        self._fit = None

    def unlearn(self, domain: str, ids: Iterable[str] | None = None) -> None:
        """Un-learn a domain, or some of its examples, exactly: as if they had never been learned.

        Raises:
            NotFoundError: it was never learned.
        """
        self.statistics(domain)
        if ids is None:
            del self._known[domain]
        else:
            self._drop(domain, set(ids))
        self._fit = None

    def route(self, features: NDArray[np.float32]) -> list[Route]:
        """Say where prompts belong.

        Args:
            features: [N, width] unit rows.
        """
        if not self._known:
            return [Route(None, "", 0.0, -1.0) for _ in features]
        fit = self._solved()
        rows = whole(features)
        scores = rows @ fit.weights
        best = scores.argmax(axis=1)
        return [self._route(fit, row, int(d), float(s[d])) for row, s, d in zip(rows, scores, best, strict=True)]

    def _route(self, fit: _Fit, row: Floats, best: int, score: float) -> Route:
        name = fit.domains[best]
        familiarity = float(_cosines(row[None], self._known[name].rows).max())
        sure = score >= fit.least_score[best] and familiarity >= fit.least_familiarity[best]
        return Route(name if sure else None, name, score, familiarity)

    def _drop(self, domain: str, ids: set[str]) -> None:
        old = self._known[domain]
        keep = np.array([i not in ids for i in old.ids])
        gone = old.rows[~keep]
        if not keep.any():
            del self._known[domain]
            return
        self._known[domain] = Statistics(
            [i for i in old.ids if i not in ids],
            old.rows[keep],
            old.square - gone.T @ gone,
            old.total - gone.sum(axis=0),
            old.least,
        )

    def _solved(self) -> _Fit:
        if self._fit is None:
            self._fit = self._solve()
        return self._fit

    def _solve(self) -> _Fit:
        """Ridge regression of one-hot domains on features, each domain weighing 1; thresholds from leave-one-out.

        The sums are added in the order of the names, so the result is a function of what is known and of nothing else.
        """
        names = self.domains
        known = [self._known[name] for name in names]
        size = self.width + 1
        matrix: Floats = self.ridge * SCALE**2 * np.eye(size)
        for each in known:
            matrix = matrix + each.square / len(each.ids)
        inverse: Floats = np.linalg.inv(matrix).astype(np.float64)
        weights: Floats = inverse @ np.stack([each.total / len(each.ids) for each in known], axis=1)
        sample = [each.rows[_spread(len(each.ids))] for each in known]
        scores = [
            _left_out(rows, weights[:, d], inverse, len(each.ids))
            for d, (rows, each) in enumerate(zip(sample, known, strict=True))
        ]
        near = [_left_out_familiarity(rows) for rows in sample]
        return _Fit(
            names,
            weights,
            np.array([np.quantile(s, self.doubt) for s in scores]),
            np.array([max(np.quantile(n, self.doubt), each.least) for n, each in zip(near, known, strict=True)]),
        )


def whole(features: NDArray[np.float32]) -> Floats:
    """Features [N, F - 1] as whole numbers [N, F] with a constant last."""
    scaled = np.rint(features.astype(np.float64) * SCALE)
    return np.concatenate([scaled, np.full((len(scaled), 1), SCALE)], axis=1)


def _empty(size: int) -> Statistics:
    return Statistics([], np.zeros((0, size)), np.zeros((size, size)), np.zeros(size))


def _spread(count: int) -> NDArray[np.intp]:
    """Places of at most `_REFERENCE` examples, evenly spread."""
    return np.linspace(0, count - 1, min(count, _REFERENCE)).round().astype(np.intp)


def _left_out(rows: Floats, weights: Floats, inverse: Floats, count: int) -> Floats:
    """The score [N] that each row would get from a fit without it; its own target is 1.

    Source: Allen 1974, The relationship between variable selection and data augmentation (PRESS): with leverage h and
        fitted value f the left-out prediction of y is (f - h y) / (1 - h).
    """
    leverage = np.einsum("nf,fg,ng->n", rows, inverse, rows, optimize=True) / count
    leverage = np.minimum(leverage, 1.0 - 1e-9)
    left_out: Floats = (rows @ weights - leverage) / (1.0 - leverage)
    return left_out


def _left_out_familiarity(rows: Floats) -> Floats:
    """Cosine [N] of each row to its nearest other one; a single row has only itself."""
    if len(rows) == 1:
        return np.array([0.8])  # one example says nothing of the spread: only near rewordings pass
    cosines = _cosines(rows, rows)
    np.fill_diagonal(cosines, -1.0)
    nearest: Floats = cosines.max(axis=1)
    return nearest


def _cosines(rows: Floats, others: Floats) -> Floats:
    """Cosines [N, M] of features, the constant left out."""
    cosines: Floats = _unit(rows[:, :-1]) @ _unit(others[:, :-1]).T
    return cosines


def _unit(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / np.where(lengths > 0, lengths, 1.0)
    return unit
