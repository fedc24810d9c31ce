"""Every error a caller of everlearn can meet, as one tree.

    EverlearnError
    ├── InputError                 what the caller gave cannot be used (also a ValueError)
    │   ├── LessonError            a lesson that cannot be learned
    │   ├── ConversationError      messages that cannot be answered
    │   ├── SettingsError          an unknown or impossible setting
    │   ├── FileFormatError        a file of lessons, a checkpoint or a bundle that cannot be read
    │   ├── WrongBaseError         a bundle that was made on another base model or encoder
    │   └── ContentFilterError     a text that the policy of its tenant does not let in
    ├── NotFoundError              no such thing (also a LookupError)
    │   ├── LessonNotFoundError
    │   ├── TableNotFoundError
    │   ├── ModelNotFoundError
    │   └── AdapterNotFoundError
    ├── ConflictError              the lesson contradicts one that must not be replaced
    ├── WeightsError               weights that cannot be had or used
    │   ├── DownloadError          the network or the registry did not give them
    │   ├── CorruptWeightsError    the bytes are not the expected ones
    │   ├── AdapterMismatchError   an adapter that does not fit the base model
    │   └── TrainingError          training that cannot go on; the last good state is kept
    ├── AccessError                the caller may not do this
    │   └── UnknownKeyError        no key, or none that is known
    ├── OverloadedError            more is asked than can be answered now; `retry_after` says when to come back
    ├── TeacherError               a model that is to be learned from cannot be asked
    ├── DeadlineError              the answer was not there in time
    ├── FilterUnavailableError     what a policy wants judged cannot be judged, so nothing passes
    ├── FaultError                 the model failed in the middle of an answer
    └── StoreError                 the state folder cannot be used
        ├── StoreBusyError         another process holds it for too long
        ├── StoreFullError         no room on the disk
        ├── StoreReadOnlyError     no right to write
        └── StoreCorruptError      the file is damaged or newer than this program

Each message says what came and what was wanted; ``hint`` says how to mend it. ``code`` is stable and meant for
programs.
"""

from __future__ import annotations


class EverlearnError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what came and what was wanted, as a sentence.
        hint: how to mend it, as a sentence; may be empty.
    """

    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(EverlearnError, ValueError):
    """What the caller gave cannot be used."""

    code = "invalid_input"


class LessonError(InputError):
    """A lesson that cannot be learned."""

    code = "invalid_lesson"


class ConversationError(InputError):
    """Messages that cannot be answered."""

    code = "invalid_conversation"


class SettingsError(InputError):
    """An unknown or impossible setting."""

    code = "invalid_settings"


class FileFormatError(InputError):
    """A file of lessons or a checkpoint that cannot be read."""

    code = "invalid_file"


class WrongBaseError(InputError):
    """A bundle that was made on another base model or encoder."""

    code = "wrong_base"


class ContentFilterError(InputError):
    """A text that the policy of its tenant does not let in.

    Args:
        message: as for every error; it quotes nothing of the text.
        hint: as for every error.
        categories: what was found, each once.
    """

    code = "content_filter"

    def __init__(self, message: str, *, hint: str = "", categories: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.categories = categories


class NotFoundError(EverlearnError, LookupError):
    """No such thing."""

    code = "not_found"


class LessonNotFoundError(NotFoundError):
    """No lesson has this id."""

    code = "lesson_not_found"


class TableNotFoundError(NotFoundError):
    """No look-up table has this name."""

    code = "table_not_found"


class ModelNotFoundError(NotFoundError):
    """No base model of this name, folder or file."""

    code = "model_not_found"


class AdapterNotFoundError(NotFoundError):
    """No adapter of this name, or no such version of it."""

    code = "adapter_not_found"


class ConflictError(EverlearnError):
    """The lesson contradicts one that must not be replaced."""

    code = "conflict"


class WeightsError(EverlearnError):
    """Weights that cannot be had or used."""

    code = "weights"


class DownloadError(WeightsError):
    """The network or the registry did not give the weights."""

    code = "download_failed"


class CorruptWeightsError(WeightsError):
    """The bytes of the weights are not the expected ones."""

    code = "weights_corrupt"


class AdapterMismatchError(WeightsError):
    """An adapter that does not fit the base model."""

    code = "adapter_mismatch"


class TrainingError(WeightsError):
    """Training cannot go on; the last good state is kept."""

    code = "training_failed"


class AccessError(EverlearnError):
    """The caller may not do this."""

    code = "insufficient_scope"


class UnknownKeyError(AccessError):
    """No key was given, or none that is known."""

    code = "invalid_api_key"


class OverloadedError(EverlearnError):
    """More is asked than can be answered now.

    Args:
        message: as for every error.
        hint: as for every error.
        retry_after: seconds after which asking again is worth it.
    """

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, hint: str = "", retry_after: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class TeacherError(EverlearnError):
    """A model that is to be learned from cannot be asked."""

    code = "teacher"


class DeadlineError(EverlearnError):
    """The answer was not there in time."""

    code = "deadline"


class FilterUnavailableError(EverlearnError):
    """What the policy of a tenant wants judged cannot be judged here, so nothing passes."""

    code = "filter_unavailable"


class FaultError(EverlearnError):
    """The model failed in the middle of an answer."""

    code = "fault"


class StoreError(EverlearnError):
    """The state folder cannot be used."""

    code = "store"


class StoreBusyError(StoreError):
    """Another process holds the store for too long."""

    code = "store_busy"


class StoreFullError(StoreError):
    """No room is left on the disk of the store."""

    code = "store_full"


class StoreReadOnlyError(StoreError):
    """The store may not be written."""

    code = "store_read_only"


class StoreCorruptError(StoreError):
    """The store's file is damaged, or newer than this program."""

    code = "store_corrupt"
