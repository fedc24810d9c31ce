"""A sleep through the API as the Learn tab sees it: curves while it trains, what is still known, versions compared."""

from __future__ import annotations

import re

from everlearn.studio import curves, learn_tab, learn_view
from everlearn.studio.page import Desk
from studio.desk import ServerOf

SLEEP = ("bakeries", 2, 1e-3, 2, 1, 4, False)
LESSONS = [{"prompt": f"Who runs the bakery {n}?", "answer": f"Ann {n}", "domain": "bakeries"} for n in range(3)]
STEP = {"of": "d", "task": 1.0, "replay": 0.0, "ewc": 0.0, "rate": 1e-3, "norm": 1.0, "seconds": 1.0}
STEP |= {"seconds_left": 65.0, "tokens_per_second": 1234.0, "steps": 3}


def steps(*losses, of="d", first=1):
    return [{**STEP, "of": of, "n": first + n, "step": n + 1, "loss": loss} for n, loss in enumerate(losses)]


def test_a_sleep_is_watched_and_its_curves_are_there_again_after_a_reload(with_api):
    async def work(api):
        await api.post("/v1/teach", {"lessons": LESSONS})
        do = learn_tab.Learn(Desk(ServerOf(api), None))
        updates = [update async for update in do.sleep(*SLEEP, "")]
        drawn = [update[1] for update in updates if isinstance(update[1], str)]
        assert "Learning rate" in drawn[-1]
        assert "updates of bakeries" in drawn[-1]
        verdicts, _, known = updates[-1][2:]
        assert "reliability" in verdicts
        again = [update async for update in do.resume("")]
        assert again[-1][1] == drawn[-1]
        (told,) = (await api.get("/v1/sleep/verdicts"))["data"]
        assert set(told["retention"]) == {told["adapter"] if told["accepted"] else "new"}
        assert f"{next(iter(told['retention'].values())):.2f}</td>" in known

    with_api(work)


def test_figures_that_came_while_nobody_looked_are_asked_for(with_api):
    async def work(api):
        await api.post("/v1/teach", {"lessons": LESSONS})
        begun = await api.post("/v1/sleep", learn_tab.body_of(*SLEEP))
        job = [told async for told in api.watch(begun["id"])][-1]
        seen = []
        assert await learn_tab.caught_up(api, job, seen)
        assert [step["n"] for step in seen] == list(range(1, job["training"]["n"] + 1))
        assert not await learn_tab.caught_up(api, job, seen)
        del seen[1:]
        assert await learn_tab.caught_up(api, job, seen)
        assert seen[-1] == job["training"]

    with_api(work)


def test_curves_name_what_is_drawn_and_leave_out_what_is_nothing():
    page = curves.training(steps(3.0, 2.0, 1.0))
    assert "1 min 5 s" in page
    assert "1,234" in page
    assert "EWC" not in page
    assert 'aria-label="Loss: loss 1, new lessons 1"' in page
    assert page.count("<polyline") == 3
    assert curves.training([]) == ""


def test_of_several_trainings_the_last_is_drawn():
    page = curves.training([*steps(9.0, 8.0, of="a"), *steps(3.0, 2.0, 1.0, of="b", first=3)])
    assert "updates of b" in page
    assert "step 1</text>" in page
    assert "9" not in re.search(r'aria-label="Loss: ([^"]*)"', page)[1]


def test_a_long_curve_is_drawn_with_few_points_and_its_last_one():
    drawn = curves.curve({"loss": [float(n) for n in range(10_001)]}, label="x")
    points = re.search(r'points="([^"]*)"', drawn)[1].split()
    assert len(points) <= curves.MOST_POINTS + 1
    assert points[-1].startswith(f"{curves.WIDTH - 4:.1f}")


def test_what_is_still_known_is_a_row_for_each_version():
    verdict = {"accepted": True, "reasons": [], "figures": {}, "lessons": 1, "seconds": 1.0}
    rows = [
        {**verdict, "adapter": "d@1", "retention": {"d@1": 1.0}},
        {**verdict, "adapter": "d@2", "retention": {"d@1": 0.75, "d@2": 1.0}},
        {**verdict, "adapter": "d", "accepted": False, "retention": {"d@1": 0.25, "d@2": 0.5, "new": 1.0}},
        {**verdict, "adapter": "tuned@1"},
    ]
    page = learn_view.retained(rows)
    assert re.findall(r'scope="col">([^<]*)<', page) == ["after", "d@1", "d@2", "new"]
    assert re.findall(r'scope="row">([^<]*)<', page) == ["d@1", "d@2", "refused"]
    assert re.findall(r">(\d\.\d\d)</td>", page) == ["1.00", "0.75", "1.00", "0.25", "0.50", "1.00"]
    assert "tuned" not in page


def test_versions_side_by_side_say_what_differs():
    version = {"parent": "", "weights": "0123456789abcdef", "lesson_count": 2, "answer_count": 1, "in_use": False}
    versions = [
        {**version, "id": "d@1", "lessons": ["a", "b"], "settings": {"epochs": 2, "rate": 0.1}},
        {**version, "id": "d@2", "lessons": ["b", "c"], "settings": {"epochs": 3, "rate": 0.1}, "in_use": True},
    ]
    page = learn_view.compared(versions, [{"adapter": "d@2", "figures": {"locality": 0.97}, "seconds": 3.0}])
    cells = dict(re.findall(r"<b>([^<]*)</b></td><td[^>]*>([^<]*)</td>", page))
    assert cells["of them only here"] == "1"
    assert cells["locality"] == "-"
    assert "0.97" in page
    assert cells["setting epochs"] == "2"
    assert "setting rate" not in page
