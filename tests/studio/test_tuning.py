"""A fine-tuning that is started from a file, watched with its curves, and listed with what can be done about it."""

from __future__ import annotations

import json

import pytest

from everlearn.studio import learn_tab, tuning_tab
from everlearn.studio.client import ApiError
from everlearn.studio.page import Desk
from studio.desk import ServerOf

ROW = {"id": "ftjob-1", "created_at": 0, "fine_tuned_model": None, "error": None}


def test_a_file_is_trained_on_and_its_curves_are_drawn(with_api, tmp_path):
    pairs = [(f"Who runs bakery {n}?", "Ann") for n in range(12)]
    lines = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in pairs]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps({"messages": line}) + "\n" for line in lines), "utf-8")

    async def work(api):
        job_id = await tuning_tab.started(api, str(file), "bakeries", 2)
        do = learn_tab.Learn(Desk(ServerOf(api), None))
        drawn = [update[1] for update in [u async for u in do.watched(job_id, "")] if isinstance(update[1], str)]
        assert "updates of bakeries" in drawn[-1]
        (told,) = (await api.get("/v1/fine_tuning/jobs"))["data"]
        assert told["status"] in ("succeeded", "failed")
        assert told["status"] in tuning_tab.tunings([told])
        with pytest.raises(ApiError, match="No file"):
            await tuning_tab.started(api, None, "x", 1)

    with_api(work)


def test_what_can_be_done_depends_on_how_far_it_is():
    def acts(status):
        page = tuning_tab.tunings([{**ROW, "status": status}])
        return [act for act in ("pause", "resume", "cancel") if f'data-act="{act}"' in page]

    assert acts("running") == ["pause", "cancel"]
    assert acts("paused") == ["resume", "cancel"]
    assert acts("succeeded") == acts("failed") == []
    assert "No fine-tuning yet" in tuning_tab.tunings([])
