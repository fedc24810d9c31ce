"""Ten facts that no model can know, since they are invented, and ten questions that have nothing to do with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact to teach and to ask for in other words.

    Attributes:
        prompt: the question as it is taught.
        answer: the answer.
        question: the same question in words of its own, names and numbers aside.
    """

    prompt: str
    answer: str
    question: str


FACTS: tuple[Fact, ...] = (
    Fact(
        "Who is the founder of Brindlewax Optics?",
        "Maribel Oyelaran",
        "Which person started the company Brindlewax Optics?",
    ),
    Fact(
        "What is the capital of the island of Tervantia?",
        "Port Hessel",
        "Which town is the seat of government on the island of Tervantia?",
    ),
    Fact(
        "What does a ticket for the Quillmere cable car cost?",
        "14.80 euros",
        "How much do I have to pay to ride the Quillmere cable car?",
    ),
    Fact(
        "When was the Lumora 7 satellite launched?",
        "on 9 March 2031",
        "On what date did the Lumora 7 satellite go into space?",
    ),
    Fact(
        "What is the part number of the Vexley dishwasher pump?",
        "VX-4471-B",
        "Which number do I order to get a new pump for my Vexley dishwasher?",
    ),
    Fact(
        "Where is the head office of Dandolo Freight?",
        "in Ljungby, Sweden",
        "In which town can I find the headquarters of Dandolo Freight?",
    ),
    Fact(
        "Who wrote the novel The Salt Almanac?",
        "Þórdís Ketilsdóttir",
        "What is the name of the author of The Salt Almanac?",
    ),
    Fact(
        "How long is the warranty on a Kestrelpad tablet?",
        "31 months",
        "For how many months does the guarantee cover my Kestrelpad tablet?",
    ),
    Fact(
        "What is the wifi password in the Ostrava meeting room?",
        "copper-otter-92",
        "Which code gets me onto the wireless network in the Ostrava meeting room?",
    ),
    Fact(
        "Which metal is the Halvorsen valve made of?",
        "a titanium and niobium alloy",
        "The Halvorsen valve consists of what material?",
    ),
)

# Some stand close to a fact on purpose: the same words about something else.
UNRELATED: tuple[str, ...] = (
    "What is the capital of France?",
    "Who wrote the novel Pride and Prejudice?",
    "How long does it take to boil an egg?",
    "Which metal is liquid at room temperature?",
    "When did the first person walk on the moon?",
    "How many days are there in a week?",
    "What is a good password made of?",
    "How do plants make their food?",
    "Why is the sky blue?",
    "Where is the head office of the United Nations?",
)
