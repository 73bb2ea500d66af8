import re
from dataclasses import replace
from html.parser import HTMLParser

from syncd.model.views import ArtifactView, ErrorView
from syncd.web.pages import ago, page, size, text
from tests.kit.web_kit import NOW, busy_facts, made_up_status, upload

NASTY = "<script>alert(1)</script>\"'&\u202egnp.exe\x07\nx"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parse(html):
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    return tags.seen


def test_the_page_is_well_formed_and_shows_the_running_upload():
    facts = busy_facts()
    html = page(made_up_status(), facts.job_list, facts.artifact_list, None, NOW)
    tags = parse(html)
    assert ("progress", {"max": str(1 << 30), "value": str(450 << 20)}) in tags
    assert "vision/<b>resnet</b>" in html
    assert "43% · 450.0 MiB of 1.0 GiB" in html


def test_no_untrusted_text_becomes_markup_or_disguises_itself():
    error = ErrorView("failed", NASTY, NASTY, NASTY)
    job = upload(
        job=NASTY, kind=NASTY, state=NASTY, project=NASTY, name=NASTY, type=NASTY, warnings=[NASTY], error=error
    )
    artifact = ArtifactView(NASTY, NASTY, NASTY)
    status = made_up_status()
    hostile = type(status)(
        **{
            name: NASTY if isinstance(getattr(status, name), str) else getattr(status, name)
            for name in status.__dataclass_fields__
        }
    )
    html = page(hostile, [job], [artifact], error, NOW) + page(hostile, [job], [artifact], None, NOW)
    assert not {tag for tag, _ in parse(html)} & {"script", "img", "iframe", "style"}
    assert not any(name.startswith("on") for _, attrs in parse(html) for name in attrs)
    assert "<script" not in html
    assert "\u202e" not in html
    assert "\x07" not in html


def test_nothing_is_loaded_from_elsewhere():
    html = page(made_up_status(), [], [], None, NOW)
    assert re.findall(r'(?:src|href)="([^"]+)"', html) == ["/static/page.css"]


def test_empty_lists_say_so_and_zero_bytes_do_not_divide():
    html = page(made_up_status(), [], [], None, NOW)
    assert "No jobs yet" in html
    assert "Nothing committed yet" in html
    assert "0% · 0 B of 0 B" in page(made_up_status(), [upload(bytes_total=0, bytes_done=0)], [], None, NOW)
    assert "100% · 0 B of 0 B" in page(made_up_status(), [upload(bytes_total=0, state="done")], [], None, NOW)


def test_what_went_over_the_wire_and_what_failed_is_said():
    jobs = [upload(), upload(kind="download", bytes_stored=5 << 20)]
    html = page(replace(made_up_status(), failed=3), jobs, [], None, NOW)
    assert "<td>300.0 MiB sent</td>" in html
    assert "<td>5.0 MiB fetched</td>" in html
    assert '<dt>Failed jobs</dt><dd><b class="bad">3</b></dd>' in html


def test_sizes_and_ages_are_for_people():
    assert [size(n) for n in (0, 1023, 1536, 5 << 30, 3000 << 40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 GiB",
        "3000.0 TiB",
    ]
    assert [ago(NOW - n, NOW) for n in (-5, 59, 61, 7300, 200000)] == [
        "0 s ago",
        "59 s ago",
        "1 min ago",
        "2 h ago",
        "2 d ago",
    ]
    assert text("a b") == "a b"
