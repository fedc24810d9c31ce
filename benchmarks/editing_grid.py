"""Methods of knowledge editing side by side: every method x set x number of edits x protocol, one result file for each.

    python benchmarks/editing_grid.py --data FOLDER --methods everlearn grace --sets zsre --edits 1 10 100 1000

FOLDER holds zsre.jsonl, counterfact.jsonl, qaedit.jsonl (as `everlearn bench editing` reads) and hallucination.jsonl.
A cell whose result is there is passed over; one that was interrupted goes on with the draw it stopped at. Results go to
benchmarks/results/editing/SET-EDITS-METHOD-PROTOCOL.json; `python benchmarks/editing_page.py` makes the page from them.

Methods: bare (nothing taught), everlearn (the look-up table as shipped), grace, lora-batch and lora-each (PEFT),
retrieval-1 and retrieval-3 (nearest facts in the prompt). All answer with the same weights and are scored by the same
code. One edit costs some of them seconds, so give those a smaller --sample; results say how many edits were scored.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from editing_cells import Cell, CellOptions
from editing_draws import FILES, draws_of, read_set
from everlearn.errors import EverlearnError, InputError
from everlearn.evaluation.edits import Edit, digest_of
from everlearn.evaluation.journal import Journal
from everlearn.evaluation.latency import where
from everlearn.wiring import Parts, Settings, load_parts, load_settings
from peers.decoding import BATCH, Decoder
from peers.editor import Bare, Editor
from peers.grace import GraceOptions
from peers.memo import Memo

RESULTS = Path(__file__).parent / "results" / "editing"
METHODS = ("bare", "everlearn", "grace", "lora-batch", "lora-each", "retrieval-1", "retrieval-3")
PROTOCOLS = ("wild", "teacher-forced")
ALL = "all"


@dataclass(frozen=True, slots=True)
class Bench:
    """What all cells share."""

    args: argparse.Namespace
    settings: Settings
    parts: Parts
    memo: Memo

    @property
    def decoder(self) -> Decoder:
        """Asks the bare model, and remembers."""
        return Decoder(self.parts.model.module, self.parts.text, self.args.batch_size, self.memo)

    def editor(self, method: str, name: str) -> Editor:
        """A method by its name, for a set."""
        return _makers(self, name)[method]()


def _makers(bench: Bench, name: str) -> dict[str, Callable[[], Editor]]:
    from everlearn.records import TableSettings
    from peers.grace import Grace
    from peers.lora import Lora, LoraOptions
    from peers.retrieval import Retrieval
    from peers.table import Table

    parts, args = bench.parts, bench.args
    plain = Decoder(parts.model.module, parts.text, args.batch_size)
    grace = GraceOptions(block=args.grace_block, radius=args.grace_radius, steps=args.grace_steps, seed=args.seed)
    table, losses = TableSettings(threshold=args.threshold), name == "hallucination"
    return {
        "bare": lambda: Bare(bench.decoder),
        "everlearn": lambda: Table(parts, bench.settings, table, losses=losses),
        "grace": lambda: Grace(parts.model, plain, grace),
        "lora-batch": lambda: Lora(parts.model, plain, LoraOptions(seed=args.seed)),
        "lora-each": lambda: Lora(parts.model, plain, LoraOptions(each=True, seed=args.seed)),
        "retrieval-1": lambda: Retrieval(bench.decoder, parts.keys, 1),
        "retrieval-3": lambda: Retrieval(bench.decoder, parts.keys, 3),
    }


def measure(bench: Bench, method: str, name: str, edits: Sequence[Edit], taught: int) -> list[Path]:
    """One cell; the paths of its results, those that were there before included."""
    args = bench.args
    paths = {p: args.out / f"{name}-{taught}-{method}-{p}.json" for p in args.protocols}
    if all(path.exists() for path in paths.values()) and not args.restart:
        _say(f"{name} {taught} {method}: there already")
        return list(paths.values())
    options = CellOptions(tuple(args.protocols), args.rephrases, args.locality, seed=args.seed)
    draws = draws_of(edits, taught, args.sample, args.seed)[: args.draws or None]
    place, begun = where(), datetime.now(UTC)
    about = {"set": name, "method": method, "edits": taught, "options": asdict(options), "sample": args.sample}
    about |= {"seed": args.seed, "data": digest_of(edits), "model": bench.parts.model.name, "draws": len(draws)}
    bare, editor = Bare(bench.decoder), bench.editor(method, name)
    try:
        made = {
            **about,
            "editor": _static(editor.settings()),
            "digest": bench.parts.model.digest,
            "at": place["commit"],
        }
        with Journal(_journal_path(args.state, made), restart=args.restart) as journal:
            cell = Cell(editor, bare, bench.parts.text, options, journal)
            found = cell.run(draws, lambda done, total: _say(f"{name} {taught} {method}: draw {done} of {total}"))
    finally:
        editor.close()
    command = f"python benchmarks/editing_grid.py {shlex.join(sys.argv[1:])}"
    for protocol, path in paths.items():
        same = {"benchmark": "editing-grid", "protocol": protocol, **about, **found[protocol]}
        _write(path, {**same, "date": f"{begun:%Y-%m-%d}", "command": command, "where": place})
        _say(f"{path.name}: {_short(found[protocol])}")
    return list(paths.values())


def _static(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without what only running finds out."""
    return {name: value for name, value in settings.items() if name not in {"keys", "mean_steps", "mean_rounds"}}


def _journal_path(state: Path, made: dict[str, Any]) -> Path:
    """One file for each thing that can be measured; another commit begins anew."""
    digest = hashlib.sha256(json.dumps(made, sort_keys=True, default=str).encode()).hexdigest()
    return state / f"cell-{digest[:16]}.jsonl"


def _write(path: Path, result: dict[str, Any]) -> None:
    """A result is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def _short(found: dict[str, Any]) -> str:
    shown = [found[name] for name in ("reliability", "generality", "locality")]
    return " / ".join("-" if value is None else f"{value:.3f}" for value in shown)


def _say(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def _counts(wanted: Sequence[str], size: int) -> list[int]:
    """Numbers of edits that a set can give, rising, without the larger ones of those named."""
    try:
        numbers = {size if word == ALL else int(word) for word in wanted}
    except ValueError as cause:
        raise InputError(f"--edits is {' '.join(wanted)}, wanted numbers or {ALL}.") from cause
    return sorted(n for n in numbers if 1 <= n <= size)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--sets", nargs="+", choices=list(FILES), default=list(FILES))
    parser.add_argument("--edits", nargs="+", default=["1", "10", "100", "1000", ALL], help=f"numbers, or {ALL}")
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    parser.add_argument("--sample", type=int, default=300, help="edits that are scored, over all draws")
    parser.add_argument("--draws", type=int, default=0, help="most draws; 0 = as many as the sample fills")
    parser.add_argument("--rephrases", type=int, default=3, help="most rephrases of an edit; 0 = all")
    parser.add_argument("--locality", type=int, default=2, help="most locality questions of an edit; 0 = all")
    parser.add_argument("--threshold", type=float, default=0.5, help="of everlearn's table")
    parser.add_argument("--grace-radius", type=float, default=GraceOptions().radius, help="of a new key")
    parser.add_argument("--grace-block", type=int, help="edited block, from 0")
    parser.add_argument("--grace-steps", type=int, default=100, help="most steps of a value")
    parser.add_argument("--batch-size", type=int, default=BATCH)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--state", type=Path, help="folder that interrupted runs go on from; default HOME/bench/grid")
    parser.add_argument("--restart", action="store_true", help="measure again what is there already")
    return parser.parse_args(given)


def run(args: argparse.Namespace, settings: Settings, parts: Parts) -> list[Path]:
    """All cells that the arguments name."""
    args.state = args.state or settings.home / "bench" / "grid"
    args.state.mkdir(parents=True, exist_ok=True)
    # One memo for each set of methods, so that two processes may run beside each other.
    memo = Memo(args.state / f"memo-{parts.model.digest[:12]}-{'-'.join(args.methods)}.jsonl")
    bench = Bench(args, settings, parts, memo)
    written: list[Path] = []
    try:
        for name in args.sets:
            edits = read_set(args.data, name)
            for method in args.methods:
                for taught in _counts(args.edits, len(edits)):
                    written += measure(bench, method, name, edits, taught)
    finally:
        memo.close()
    return written


def main() -> None:
    args = arguments()
    settings = load_settings()
    try:
        run(args, settings, load_parts(settings))
    except EverlearnError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
