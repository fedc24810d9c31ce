"""Pack the vectors of the reference questions for the packaged encoder, which hub keys are measured against.

python benchmarks/pack_reference.py [--home EVERLEARN_HOME]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from everlearn.models.encoder import SentenceEncoder
from everlearn.models.sources import resolve
from everlearn.safety.hubs import packed, reference_questions

TARGET = Path(__file__).parents[1] / "src" / "everlearn" / "safety" / "reference.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path.home() / ".everlearn", help="folder that holds the weights")
    encoder = SentenceEncoder.from_folder(resolve("minilm", parser.parse_args().home))
    TARGET.write_bytes(packed(encoder.encode(reference_questions()), encoder.digest))
    print(f"{TARGET.stat().st_size:,} bytes for encoder {encoder.digest}")


if __name__ == "__main__":
    main()
