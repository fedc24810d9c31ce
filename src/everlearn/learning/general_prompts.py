"""Prompts about everything and nothing: on them an adapter has to leave the base model's answers as they are.

Half of them are trained on with the base model's own answers as targets; the other half only probes.
"""

from __future__ import annotations

_THINGS = (
    "photosynthesis", "gravity", "the water cycle", "a black hole", "inflation", "democracy", "the Roman Empire",
    "jazz music", "a prime number", "the Pythagorean theorem", "machine learning", "a computer virus", "chess",
    "yoga", "coffee", "volcanoes", "the human heart", "vitamins", "recycling", "electric cars", "bees", "whales",
    "sourdough bread", "a mortgage", "the French Revolution", "climate change", "DNA", "the periodic table",
    "public speaking", "a haiku", "the moon", "an earthquake", "rice", "the violin", "a passport", "recursion",
    "a budget", "penguins", "the Great Wall of China", "vaccines", "origami", "solar power", "a novel", "football",
    "the stock market", "meditation", "steel", "the Olympic Games", "a thesaurus", "cheese", "a glacier",
    "the alphabet", "trains", "insulin",
)  # fmt: skip
_ASKS = (
    "What is {thing}?",
    "Explain {thing} to a child.",
    "Give me three facts about {thing}.",
    "Write one sentence about {thing}.",
    "Why does {thing} matter?",
    "who invented {thing}",
    "when was {thing} first known",
)
_TASKS = (
    "Write a short poem about rain.", "What is 17 plus 25?", "Translate 'good morning' into French.",
    "List five fruits.", "How do I boil an egg?", "Suggest a name for a grey cat.", "What day comes after Tuesday?",
    "Write an email that asks for a day off.", "Which is bigger, an elephant or a mouse?", "Tell me a joke.",
    "How can I sleep better?", "Sort these numbers: 9, 2, 7.", "Is a tomato a fruit or a vegetable?",
    "What is the capital of France?", "Who wrote Romeo and Juliet?", "How many minutes are in an hour?",
    "Write a Python function that adds two numbers.", "Correct the sentence: she go to school.",
    "Give me a synonym of happy.", "What should I pack for a day at the beach?",
)  # fmt: skip


def general_prompts() -> list[str]:
    """All of them, mixed: neighbours are about different things."""
    asked = [ask.format(thing=thing) for ask in _ASKS for thing in _THINGS]
    step = 13  # shares no factor with 378, so that every one comes once
    return [asked[(n * step) % len(asked)] for n in range(len(asked))] + list(_TASKS)
