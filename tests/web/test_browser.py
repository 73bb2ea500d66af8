"""A real browser shows the page (Debian's chromium)."""

from tests.kit.browser import browse, needs_chromium
from tests.kit.web_kit import busy_facts, open_door


@needs_chromium
async def test_a_browser_shows_a_running_upload(tmp_path):
    async with open_door(busy_facts()) as door:
        dom = await browse(tmp_path / "profile", "--dump-dom", door.address + "/")
    assert "<title>syncd</title>" in dom
    assert '<span class="state sending">sending</span>' in dom
    assert "vision/<b>resnet</b>" in dom
    assert "43% · 450.0 MiB of 1.0 GiB" in dom
    assert "was rewritten while the daemon was down" in dom


@needs_chromium
async def test_a_browser_can_make_a_picture_of_it(tmp_path):
    picture = tmp_path / "page.png"
    async with open_door(busy_facts()) as door:
        await browse(
            tmp_path / "profile",
            f"--screenshot={picture}",
            "--window-size=1200,1000",
            "--hide-scrollbars",
            door.address,
        )
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000  # styled text, not a blank sheet
