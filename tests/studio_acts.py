"""What a person does on the page."""

from __future__ import annotations

TABS = ("Chat", "Knowledge", "Learn", "Compare", "Monitor", "Evaluate", "Settings")
INNER = ("Add and import", "Map", "Conflicts", "Quarantine", "Promotion", "Tables")


def tab(page, name):
    """Choose a tab, from the menu of those that have no room where it is there."""
    found = page.get_by_role("tab", name=name, exact=True)
    if found.count() and found.first.is_visible():
        found.first.click()
        return
    for menu in page.locator(".overflow-menu > button").all():
        if not menu.is_visible():
            continue
        menu.click()
        choice = page.locator(".overflow-dropdown button", has_text=name)
        if choice.count() and choice.first.is_visible():
            choice.first.click()
            return
        menu.click()
    raise AssertionError(f"there is no tab {name}")


def ask(page, question):
    """Ask in Chat and wait for the whole answer; its text."""
    turns = page.locator("#chat-log .el-turn").count()
    page.fill("#chat-question textarea", question)
    page.keyboard.press("Enter")
    return answer(page, turns)


def answer(page, turn):
    """The text of an answer, once it is whole."""
    last = page.locator("#chat-log .el-turn").nth(turn)
    last.locator("[data-act=right]").wait_for(timeout=240_000)  # a long answer on a busy machine
    return last.locator(".el-answer > p").first.inner_text().removeprefix("Answer: ").strip()
