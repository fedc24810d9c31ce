"""Relations: what lessons ask about their subjects, found in the prompts alone."""

from everlearn.memory.relations import Fact, Relations, Shape, around, cuts, named, spelled


def facts(*pairs):
    return [Fact(str(n), "default", prompt, answer) for n, (prompt, answer) in enumerate(pairs)]


OWNERS = facts(
    ("Which company owns Tarnix?", "Velora Holding"),
    ("Which company owns Ostra Mare?", "Quill & Sons"),
    ("Which company owns the Ford Zephyr?", "Tarnix"),
    ("Who founded Velora Holding?", "Sanne Duclos"),
)


def test_prompts_that_differ_in_their_subject_are_one_relation():
    relations = Relations(OWNERS, lambda _: 0.5)
    (owns,) = relations.all
    assert owns.shape == Shape(("which", "company", "owns"), ())
    assert set(owns.subjects) == {("tarnix",), ("ostra", "mare"), ("the", "ford", "zephyr")}
    assert (
        owns.names[
            "ostra",
            "mare",
        ]
        == "Ostra Mare"
    )
    assert relations.subject_of["0"] == ("tarnix",)
    assert owns.leads_to(owns)  # Tarnix is an answer and a subject


def test_grammar_alone_is_no_relation():
    said = facts(("Who is Anna?", "a baker"), ("Who is Berta?", "a smith"), ("Who is Carla?", "a nurse"))
    assert Relations(said, lambda _: 0.5).all == ()


def test_a_forgotten_lesson_leaves_no_trace():
    relations = Relations(OWNERS[1:], lambda _: 0.5)
    assert relations.all == ()


def test_a_name_is_never_torn():
    assert around("Which company owns the Ford Zephyr?", ("zephyr",)) is None
    assert around("Who leads the Bank of Umbral today?", ("umbral",)) is None
    assert around("Who leads the Bank of Umbral today?", ("bank", "of", "umbral")) == Shape(
        ("who", "leads", "the"), ("today",)
    )


def test_every_cut_puts_the_prompt_together_again():
    for shape, subject in cuts("Where does the mother of Anna Berg live?"):
        assert shape.asked_of(" ".join(subject)) == "where does the mother of anna berg live?"


def test_a_shape_is_a_phrase_of_a_longer_question():
    assert Shape(("who", "is", "the", "author", "of"), ()).phrase("dune") == "the author of dune"
    assert Shape(("which", "sport", "does"), ("play",)).phrase("anna") == "the sport anna play"


def test_names_are_found_and_spelled():
    text = "Mirela Quandt met the Bank of Umbral"
    assert named(text, 7) == [True, True, False, False, True, True, True, False]
    assert spelled(text, 4, 3) == "Bank of Umbral"
    assert named("ﬁve", 7) == [False] * 8  # folded into other words than spelled
