"""Filters at work: what a tenant's policy does to messages, lessons and answers, counted and noted without any text."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import final

from everlearn.errors import ContentFilterError, FilterUnavailableError, SettingsError, StoreError
from everlearn.records import Answer, Filtered, Lesson, Message
from everlearn.safety.flag import Flag
from everlearn.safety.outgoing import Outgoing
from everlearn.safety.policy import STAGES, Policy, Stage, policy_of
from everlearn.server.caller import current_key, current_request
from everlearn.server.room import Room
from everlearn.server.tenants import Tenant
from everlearn.store.objects import StoredObject

_log = logging.getLogger(__name__)
KIND = "policy"
_MOST_TARGET = 200


def policy_for(room: Room, tenant: Tenant) -> Policy:
    """The policy of a tenant: its own, or the server's."""
    own = tenant.objects.listed(KIND, limit=1)
    return policy_of(own[0].body) if own else room.settings.policy


def keep_policy(room: Room, tenant: Tenant, policy: Policy) -> Policy:
    """Make a policy a tenant's own; on disk when this returns, and in force for the next request.

    Raises:
        SettingsError: it wants judged what nothing here can judge.
    """
    room.screen.check(policy)
    tenant.objects.put(StoredObject(KIND, KIND, policy.told()))
    room.cache.clear(tenant.name)
    return policy


@final
class Filters:
    """The filters of one tenant, for one request. Safe to be used from several threads, one after the other.

    Args:
        room: of the server.
        tenant: whose.

    Raises:
        FilterUnavailableError: the policy wants judged what nothing here can judge.
    """

    def __init__(self, room: Room, tenant: Tenant) -> None:
        self._room, self._tenant = room, tenant
        try:
            self.policy = room.screen.check(policy_for(room, tenant))
        except SettingsError as cause:  # it was kept by a server that could: with a guard, with another encoder
            raise FilterUnavailableError(
                f"The policy of this tenant cannot be kept: {cause.message}",
                hint="An administrator has to change it (PUT or DELETE /v1/policy), or what it needs has to come back.",
            ) from cause

    def looks(self, *stages: Stage) -> bool:
        """Whether anything is looked for at one of these stages."""
        return any(self.policy.at(stage) for stage in stages or STAGES)

    def text(self, text: str, stage: Stage, found: list[Filtered], *, personal_only: bool = False) -> str:
        """A text as it may be used; what was found is added to `found`, counted and noted.

        Raises:
            ContentFilterError: it may not be used.
        """
        outcome = self._room.screen.whole(text, self.policy, stage, personal_only=personal_only)
        done = self.noted(stage, outcome.flags, 400 if outcome.blocked else 200)
        found += done
        if outcome.blocked:
            names = tuple(sorted({each.category for each in done if each.action == "block"}))
            what = {"input": "A message", "lesson": "The lesson", "recalled": "A lesson", "output": "The answer"}[stage]
            raise ContentFilterError(
                f"{what} was filtered: the policy of this tenant blocks {', '.join(names)}.",
                hint="Leave that out, or ask an administrator (GET /v1/policy).",
                categories=names,
            )
        return outcome.text

    def taken_in(self, messages: Sequence[Message], found: list[Filtered]) -> list[Message]:
        """Messages as they may be asked: of what the system and the model said only personal data is looked for.

        Raises:
            ContentFilterError: one of them may not be asked.
        """
        if not self.looks("input"):
            return list(messages)
        return [
            replace(m, content=self.text(m.content, "input", found, personal_only=m.role != "user")) for m in messages
        ]

    def outgoing(self, *, logprobs: bool = False) -> Outgoing:
        """What an answer passes on its way out.

        Raises:
            SettingsError: probabilities of its tokens are wanted, which would tell what is taken out.
        """
        out = Outgoing(self._room.screen, self.policy)
        if logprobs and out.looks:
            raise SettingsError(
                "logprobs are not told where answers are filtered: they would show what was taken out.",
                hint="Leave logprobs out.",
            )
        return out

    def shown(self, text: str) -> str:
        """A whole answer as it may be shown: cut where it is blocked."""
        out = Outgoing(self._room.screen, self.policy)
        passed = f"{out.feed(text)}{out.end()}" if out.looks else text
        if out.looks:
            self.noted("output", out.flags, 200)
        return passed

    def finished(self, answer: Answer, out: Outgoing, shown: str, taken_in: Collection[Filtered]) -> Answer:
        """An answer as it was shown, its receipt telling what was filtered."""
        if not out.looks and not taken_in:
            return answer
        done = self.noted("output", out.flags, 200)
        receipt = replace(answer.receipt, filters=(*taken_in, *done))
        if not out.looks:
            return replace(answer, receipt=receipt)
        reason = "content_filter" if out.blocked else answer.finish_reason
        return replace(answer, text=shown, receipt=receipt, finish_reason=reason)

    def lesson(self, lesson: Lesson) -> Lesson:
        """A lesson as it may be learned.

        Raises:
            ContentFilterError: it may not.
        """
        return self._screened(lesson, "lesson")

    def recalled(self, lesson: Lesson) -> Lesson | None:
        """A lesson as it may be read with a question; None where it may not."""
        try:
            return self._screened(lesson, "recalled")
        except ContentFilterError:
            return None

    def noted(self, stage: Stage, flags: Collection[Flag], status: int) -> list[Filtered]:
        """Count what was found, and note it in the tenant's audit log: categories and actions, nothing of the text."""
        actions = self.policy.at(stage)
        done = [Filtered(stage, f.category, _done(f, actions[f.category]), f.rule) for f in flags]
        for (category, action), count in Counter((d.category, d.action) for d in done).items():
            self._room.metrics.filtered(stage, action, category, count)
        if done:
            target = " ".join(sorted({f"{d.category}:{d.action}" for d in done}))[:_MOST_TARGET]
            try:
                self._tenant.audit.add(current_key(), f"filter {stage}", target, status, current_request())
            except StoreError:
                # What was done stands: a disk that is full costs the note of it, not the answer. It is counted.
                _log.exception("tenant %s: filter %s %s was not noted", self._tenant.name, stage, target)
                self._room.metrics.refused("audit")
        return list(dict.fromkeys(done))

    def _screened(self, lesson: Lesson, stage: Stage) -> Lesson:
        if not self.looks(stage):
            return lesson

        def passed(text: str) -> str:
            return text and self.text(text, stage, [])

        prompt, answer = passed(lesson.prompt), passed(lesson.answer)
        return replace(lesson, prompt=prompt, answer=answer, context=passed(lesson.context))


def watch_lessons(room: Room, tenant: Tenant) -> None:
    """Let everything that a tenant is taught, and that it reads with a question, pass its filters."""
    tenant.learner.screen = lambda lesson: Filters(room, tenant).lesson(lesson)
    tenant.engine.answerer.screen = lambda lesson: Filters(room, tenant).recalled(lesson)


def _done(flag: Flag, action: str) -> str:
    """What was done about a flag: a guard that could not be asked, and lets texts pass, is only told of."""
    return "flag" if flag.score == 0 else action
