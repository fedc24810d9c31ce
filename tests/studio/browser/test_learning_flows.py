"""A person lets the model sleep, watches it learn, reads the verdict, and takes the new version back."""

from __future__ import annotations

import httpx
import pytest

from studio.browser.test_flows import WIDTHS
from studio_acts import tab

# What the model nearly says already: a short training is accepted, so that the flow and not that is what takes long.
LESSONS = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("What is the capital of Japan?", "The capital of Japan is Tokyo."),
)
SETTINGS = {"epochs": "8", "rate": "0.004", "wordings": "8", "general": "16"}


@pytest.fixture
def taught(address):
    """Teach the lessons to a domain; all of it is forgotten at the end."""
    with httpx.Client(base_url=address, trust_env=False, timeout=120) as api:

        def made(domain):
            lessons = [{"prompt": prompt, "answer": answer, "domain": domain} for prompt, answer in LESSONS]
            api.post("/v1/teach", json={"lessons": lessons}).raise_for_status()
            domains.append(domain)
            return api

        domains = []
        yield made
        for domain in domains:
            api.post("/v1/lessons/forget", json={"domain": domain}).raise_for_status()


@pytest.mark.parametrize("width", WIDTHS)
def test_sleep_is_started_watched_judged_and_rolled_back(open_page, taught, width):
    domain = f"capitals-{width}"
    api, page = taught(domain), open_page(width)
    tab(page, "Learn")
    page.fill("#sleep-domain input, #sleep-domain textarea", domain)
    for name, value in SETTINGS.items():
        page.fill(f"#sleep-{name} input", value)
    page.click("#sleep-go")
    page.locator("#learn-job [role=progressbar]").wait_for()
    page.locator("#learn-curves", has_text=f"updates of {domain}").wait_for(timeout=240_000)
    for said in ("Learning rate", "new lessons", "tokens a second", "left of the training"):
        assert said in page.locator("#learn-curves").inner_text()
    assert page.locator("#learn-curves svg polyline").count() >= 3
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    page.reload()
    page.wait_for_selector("#chat-question textarea")
    tab(page, "Learn")
    page.locator("#learn-curves", has_text=f"updates of {domain}").wait_for()
    verdict = page.locator("#learn-verdicts .el-card", has_text=f"{domain}@1")
    verdict.wait_for(timeout=900_000)  # on a busy machine
    assert verdict.locator(".el-yes", has_text="accepted").count() == 1
    for figure in ("reliability", "generality", "locality", "drift"):
        assert float(verdict.locator(f"td:text-is('{figure}') + td").inner_text()) >= 0
    assert page.locator("#learn-known td:text-is('1.00')").count() >= 1
    page.locator("#learn-line .el-now", has_text=f"{domain}@1").wait_for()

    page.click(f"#learn-line [data-of='{domain}@']")
    page.locator("#learn-said", has_text=f"no version of {domain}").wait_for()
    page.click("#learn-sure")
    page.locator("#learn-said", has_text="in use is no version").wait_for()
    assert api.get(f"/v1/adapters/{domain}@1").json()["in_use"] is False
    page.click(f"#learn-line [data-of='{domain}@1']")
    page.click("#learn-sure")
    page.locator("#learn-said", has_text="in use is step 1").wait_for()
    assert api.get(f"/v1/adapters/{domain}@1").json()["in_use"] is True
    assert page.evaluate("document.documentElement.scrollWidth") <= width
