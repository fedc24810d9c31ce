"""Tells transformers which cache each kind of layer has."""

from __future__ import annotations

from transformers.cache_utils import (
    DYNAMIC_LAYER_TYPE_MAPPING,
    STATIC_LAYER_TYPE_MAPPING,
    DynamicCache,
    DynamicLayer,
    StaticLayer,
)

from everlearn.models.apertis.configuration import LAYER_KINDS, STATE_KINDS, ApertisConfig
from everlearn.models.apertis.states import StateLayer

__all__ = ["DynamicCache", "empty_cache", "register_cache_layers"]


def empty_cache(config: ApertisConfig) -> DynamicCache:
    """A cache of keys and values, or of states, as each layer of a configuration needs it."""
    return DynamicCache(config=config)


def register_cache_layers() -> None:
    """States for those kinds that have one, keys and values for the others."""
    for kind in LAYER_KINDS:
        DYNAMIC_LAYER_TYPE_MAPPING[kind] = StateLayer if kind in STATE_KINDS else DynamicLayer
    STATIC_LAYER_TYPE_MAPPING["full"] = StaticLayer
