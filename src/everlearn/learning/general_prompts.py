"""Prompts about everything and nothing: on them an adapter has to leave the base model's answers as they are.

Half of them are trained on with the base model's own answers as targets; the other half only probes. Half are short
questions about facts, as lessons are: what an adapter learns first is the manner of its lessons, and it may not spread.
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


_COUNTRIES = (
    "Norway", "Brazil", "Japan", "Kenya", "Canada", "Greece", "Peru", "Vietnam", "Egypt", "Poland", "India", "Chile",
    "Iceland", "Nepal", "Spain", "Cuba",
)  # fmt: skip
_PEOPLE = (
    "Marie Curie", "Isaac Newton", "Nelson Mandela", "Frida Kahlo", "Charles Darwin", "Ada Lovelace", "Mozart",
    "Napoleon", "Amelia Earhart", "Galileo", "Jane Austen", "Gandhi", "Pele", "Cleopatra", "Alan Turing", "Bob Marley",
)  # fmt: skip
_WORKS = (
    "Moby Dick", "the Mona Lisa", "War and Peace", "Star Wars", "the Odyssey", "Guernica", "Hamlet", "Titanic",
    "Don Quixote", "The Lion King", "Frankenstein", "Bohemian Rhapsody", "Jurassic Park", "Swan Lake", "Dracula",
    "the Iliad",
)  # fmt: skip
_PLACES = (
    "the Eiffel Tower", "Mount Everest", "the Nile", "Lake Victoria", "Machu Picchu", "the Sahara", "Stonehenge",
    "the Grand Canyon", "Venice", "the Amazon river", "the Taj Mahal", "Mount Fuji", "Timbuktu", "the Black Sea",
    "Petra", "Niagara Falls",
)  # fmt: skip
_FACTS = (
    ("What is the capital of {it}?", _COUNTRIES),
    ("who was {it}", _PEOPLE),
    ("Who made {it}?", _WORKS),
    ("Where is {it}?", _PLACES),
    ("Which language do people in {it} speak?", _COUNTRIES),
    ("When was {it} born?", _PEOPLE),
    ("in which year did {it} come out", _WORKS),
    ("In which country is {it}?", _PLACES),
    ("what is the money of {it} called", _COUNTRIES),
    ("Where did {it} die?", _PEOPLE),
    ("who is the main character of {it}", _WORKS),
    ("how old is {it}", _PLACES),
    ("Who rules {it}?", _COUNTRIES),
    ("What is {it} known for?", _PEOPLE),
)  # fmt: skip


def general_prompts() -> list[str]:
    """All of them, mixed: neighbours are about different things, and facts are every second one as far as they go."""
    asked = [ask.format(thing=thing) for ask in _ASKS for thing in _THINGS]
    step = 13  # shares no factor with 378, so that every one comes once
    asked = [asked[(n * step) % len(asked)] for n in range(len(asked))] + list(_TASKS)
    turned = (_FACTS[n % 2 :] + _FACTS[: n % 2] for n in range(len(_PEOPLE)))  # each kind in both halves
    facts = [ask.format(it=things[n]) for n, some in enumerate(turned) for ask, things in some]
    # Two and two: every second prompt is held and every second one probes, so that each half gets both kinds.
    pairs = [pair for n in range(0, len(facts), 2) for pair in (asked[n : n + 2], facts[n : n + 2])]
    return [prompt for pair in pairs for prompt in pair] + asked[len(facts) :]
