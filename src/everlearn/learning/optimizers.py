"""Optimisers of a pre-training: which weights each one moves, and their state as plain tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from everlearn.errors import FileFormatError, SettingsError

_BETAS = (0.9, 0.95)


@final
class Optimizers:
    """AdamW over all weights, or Muon over the matrices inside the layers and AdamW over the rest.

    Weight decay falls on matrices only: what scales or shifts, and embeddings, are not to be pulled to zero.

    Args:
        parameters: weights by name.
        kind: "adamw" or "muon".
        rate: highest learning rate; Muon's updates are scaled to the size of AdamW's, so one rate serves both.
        weight_decay: of matrices.

    Raises:
        SettingsError: this torch has no Muon.

    Source: Muon: Jordan et al. 2024; scaled as in Liu et al. 2025, Muon is Scalable, section 2.2 (arXiv 2502.16982).
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], kind: str, rate: float, weight_decay: float) -> None:
        self._parameters, self._rate = dict(parameters), rate
        matrices = {n: p for n, p in parameters.items() if p.ndim >= 2 and not re.search(r"embed|lm_head|conv", n)}
        turned = {n: p for n, p in matrices.items() if p.ndim == 2} if kind == "muon" else {}
        decayed = [p for n, p in matrices.items() if n not in turned]
        plain = [p for n, p in parameters.items() if n not in matrices]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self._all: list[torch.optim.Optimizer] = [
            torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, betas=_BETAS, eps=1e-8)
        ]
        if turned:
            if not hasattr(torch.optim, "Muon"):
                raise SettingsError("This torch has no Muon.", hint="Install torch 2.9 or newer, or use adamw.")
            self._all.append(
                torch.optim.Muon(turned.values(), lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
            )

    def step(self, share: float) -> None:
        """Move the weights along their gradients by this share of the rate, and forget the gradients."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = self._rate * share
            optimizer.step()
        self.forget()

    def forget(self) -> None:
        """Forget the gradients."""
        for optimizer in self._all:
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """All of it as tensors: "key/name of the weight"."""
        found: dict[str, Tensor] = {}
        for name, parameter in self._parameters.items():
            for optimizer in self._all:
                for key, value in optimizer.state.get(parameter, {}).items():
                    found[f"{key}/{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave.

        Raises:
            FileFormatError: it belongs to other weights or another optimiser.
        """
        left = dict(tensors)
        for optimizer in self._all:
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                name = next(n for n, p in self._parameters.items() if p is parameter)
                keys = ("momentum_buffer",) if isinstance(optimizer, _MUON) else ("step", "exp_avg", "exp_avg_sq")
                mine = {key: left.pop(f"{key}/{name}", None) for key in keys}
                if all(value is None for value in mine.values()):
                    continue  # no gradient ever reached it
                if any(value is None for value in mine.values()):
                    raise _other_optimizer()
                optimizer.state[parameter] = {
                    key: value.clone() if key == "step" else value.to(parameter.device, copy=True)
                    for key, value in mine.items()
                    if value is not None
                }
        if left:
            raise _other_optimizer()


_MUON: type | tuple[type, ...] = getattr(torch.optim, "Muon", ())


def _other_optimizer() -> FileFormatError:
    return FileFormatError(
        "The kept state belongs to another optimiser or another model.", hint="Give the settings it was made with."
    )
