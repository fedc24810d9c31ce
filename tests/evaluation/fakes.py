"""A tiny engine with known right answers: its bare model echoes, its memory answers by rules that a test sets."""

from dataclasses import dataclass, field, replace

import torch

from everlearn.errors import TableNotFoundError
from everlearn.evaluation.metrics import normalised
from everlearn.records import Answer, Forgotten, Recalled, Receipt, TableInfo, TableSettings, Taught, Usage

STOP = 3


@dataclass
class FakeStore:
    lessons_: dict = field(default_factory=dict)
    tables_: dict = field(default_factory=lambda: {"default": TableSettings()})

    def lessons_by_id(self, ids):
        return {i: self.lessons_[i] for i in ids if i in self.lessons_}

    def tables(self):
        return [TableInfo(name, settings, 0, 0) for name, settings in sorted(self.tables_.items())]

    def put_table(self, name, settings):
        self.tables_[name] = settings

    def delete_table(self, name):
        if name not in self.tables_:
            raise TableNotFoundError(name)
        del self.tables_[name]
        for lesson in [x for x in self.lessons_.values() if x.table == name]:
            del self.lessons_[lesson.id]

    def count(self, query):
        return sum(x.table == query.table and x.status == query.status for x in self.lessons_.values())

    def stored_bytes(self):
        return 1000 + 100 * len(self.lessons_)


@dataclass
class FakeMemory:
    store: FakeStore = field(default_factory=FakeStore)
    derived: FakeStore = field(default_factory=FakeStore)


@dataclass(frozen=True)
class FakeModel:
    name: str = "fake"
    digest: str = "0" * 64


class FakeText:
    """Each letter is a token; token 3 ends an answer."""

    def answer_ids(self, answer):
        return [ord(char) for char in answer] + [STOP]


class KilledError(Exception):
    """Stands for kill -9."""


class FakeEngine:
    """The bare model echoes its question. A question speaks for the lesson it means, as `means` says, else for itself.

    Args:
        means: question -> taught prompt that it is recalled as.
        endless: questions whose answer never stops.
        drift: questions that are answered otherwise with memory though nothing speaks.
        rounded: the same, but only in a batch with others.
    """

    def __init__(self, means=None, *, endless=(), drift=(), rounded=()):
        self.model, self.text, self.memory = FakeModel(), FakeText(), FakeMemory()
        self.means, self.endless, self.drift = dict(means or {}), frozenset(endless), frozenset(drift)
        self.rounded, self.together = frozenset(rounded), 1
        self.calls = []  # (questions, tables)
        self.fail_after = None  # how many more calls are survived

    def answer(self, prompt, *, tables=None, sampling=None):
        return self.answer_many([prompt], tables=tables, sampling=sampling)[0]

    def answer_many(self, prompts, *, tables=None, sampling=None, batch_size=16):
        assert len(prompts) <= batch_size
        if self.fail_after is not None:
            if self.fail_after == 0:
                raise KilledError
            self.fail_after -= 1
        self.calls.append((tuple(prompts), tables))
        self.together = len(prompts)
        return [self._answer(prompt, tables, sampling) for prompt in prompts]

    def recall(self, prompt, *, tables=None):
        lesson = self._lesson(prompt, tables)
        recalled = (Recalled(lesson.id, lesson.table, 0.9, 0.9, "spoke"),) if lesson else ()
        return Receipt("r", "fake", tuple(tables or ()), recalled)

    def logits(self, prompt, *, tables=None, steps=1):
        return self._logits([*self._text_of(prompt, tables).encode("latin-1"), STOP][:steps])

    def forced_logits(self, prompt, answer, *, tables=None):
        ids = [ord(char) for char in self._text_of(prompt, tables)] + [STOP]
        length = len(self.text.answer_ids(answer))
        return self._logits((ids + [0] * length)[:length])

    def _logits(self, ids):
        return torch.nn.functional.one_hot(torch.tensor(ids), 256).float()

    def _text_of(self, prompt, tables):
        lesson = self._lesson(prompt, tables)
        drifts = prompt in self.drift or (prompt in self.rounded and self.together > 1)
        if lesson is None and drifts and tables != ():
            return "drifted"
        return lesson.answer if lesson else prompt

    def _answer(self, prompt, tables, sampling):
        finish = "length" if prompt in self.endless else "stop"
        text = self._text_of(prompt, tables)
        usage = Usage(completion_tokens=min(len(text), sampling.max_new_tokens), decode_ms=1.0)
        return Answer(text, self.recall(prompt, tables=tables), usage, finish)

    def _lesson(self, prompt, tables):
        if tables == ():
            return None
        wanted = normalised(self.means.get(prompt, prompt))
        for lesson in self.memory.store.lessons_.values():
            asked = tables is None or lesson.table in tables
            if asked and lesson.status == "active" and normalised(lesson.prompt) == wanted:
                return lesson
        return None


class FakeLearner:
    """Teaches a FakeEngine; the same question again replaces what was there."""

    def __init__(self, engine):
        self.store, self.count = engine.memory.store, 0
        self.fail_after = None
        self.fail_before_noted = None

    def teach(self, lesson):
        same = [
            x
            for x in self.store.lessons_.values()
            if (x.table, x.prompt) == (lesson.table, lesson.prompt) and x.status == "active"
        ]
        if same and same[0].answer == lesson.answer:
            return Taught(same[0], known=True)
        self.count += 1
        taught = replace(lesson, id=f"lesson-{len(self.store.lessons_)}-{self.count}", status="active")
        for old in same:
            self.store.lessons_[old.id] = replace(old, status="superseded", superseded_by=taught.id)
        self.store.lessons_[taught.id] = taught
        return Taught(taught, tuple(x.id for x in same))

    def teach_all(self, lessons):
        if self.fail_after is not None:
            if self.fail_after == 0:
                raise KilledError
            self.fail_after -= 1
        taught = [self.teach(lesson) for lesson in lessons]
        if self.count == self.fail_before_noted:
            self.fail_before_noted = None
            raise KilledError
        return taught

    def forget(self, ids):
        del self.store.lessons_[ids]
        return Forgotten((ids,))
