"""Teach a fact, ask for it in other words, see why, correct it, forget it.

python examples/teach_ask_forget.py
"""

import tempfile

import everlearn


def main() -> None:
    """Runs in a folder of its own, so that your lessons stay as they are; weights come from your home."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        engine = everlearn.load(state=folder)
        learner = everlearn.Learner(engine)
        question = "Which code opens the side door of the Tarn workshop?"
        print("before:   ", engine.answer(question).text)

        first = learner.teach(everlearn.Lesson("What is the code of the Tarn workshop's side door?", "4471"))
        answer = engine.answer(question)
        print("taught:   ", answer.text, f"(lesson {answer.receipt.spoke.lesson_id})")

        learner.learn_from_feedback(everlearn.Feedback(first.lesson.prompt, "wrong", "9020"))
        print("corrected:", engine.answer(question).text)

        newest = engine.recall(question).spoke
        learner.forget(newest.lesson_id)
        print("forgotten:", engine.answer(question).text, "- what it had replaced speaks again")
        learner.close()
        engine.close()


if __name__ == "__main__":
    main()
