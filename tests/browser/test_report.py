"""The pages as people use them, in Chromium, opened from a disk."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.results import listening
from tests.browser import site
from tests.conftest import ROOT

pytestmark = pytest.mark.browser


class Seen:
    """A page, with what it asked for and what went wrong."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(
            **{"viewport": {"width": 1400, "height": 900}, **options}
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on(
            "console",
            lambda said: said.type in ("error", "warning") and self.problems.append(said.text),
        )
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(path.as_uri())

    def close(self) -> None:
        self.context.close()
        outside = [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]
        assert outside == []
        assert self.problems == []


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Any]:
    opened: list[Seen] = []

    def opener(path: Path, **options: Any) -> Any:
        opened.append(Seen(chromium, path, **options))
        return opened[-1].page

    yield opener
    for seen in opened:
        seen.close()


def traces(page: Any, metric: str = "visqol_audio") -> list[dict[str, Any]]:
    """What plotly has drawn."""
    return page.evaluate(
        """(metric) => document.querySelector(`[data-metric=${metric}] .plot`)._fullData.map(
          ({name, visible, y}) => ({name, visible: visible !== false, y: Array.from(y ?? [])}))""",
        metric,
    )


def test_the_first_screen_says_at_which_rates_the_codec_is_better(
    open_page: Any, report: Path
) -> None:
    page = open_page(report)
    summary = json.loads((report.parent / "summary.json").read_text())
    found = summary["stretches"]
    assert found
    for stretch in found:
        title = stretch["kind"].title()
        bar = page.locator(".bars li").filter(has=page.get_by_role("heading", name=title))
        (part,) = bar.locator(".rates i").all()
        assert part.get_attribute("class") == stretch["judgement"]
        whole, own = bar.locator(".rates").bounding_box(), part.bounding_box()
        for edge, kbps in (
            (own["x"], stretch["lowest"]), (own["x"] + own["width"], stretch["highest"]),
        ):  # fmt: skip
            share = (edge - whole["x"]) / whole["width"]
            assert abs(share - np.log2(kbps) / 6) < 0.01
        said = bar.locator("p").inner_text()
        assert f"{stretch['lowest']:.1f}" in said
        assert f"{stretch['highest']:.1f}" in said
    box = page.locator(".bars").bounding_box()
    assert box["y"] + box["height"] < 900  # without scrolling
    # Where there is no judgement there is no colour.
    none = page.locator(".bars li").filter(has=page.get_by_role("heading", name="Music"))
    assert none.locator(".rates i").count() == 0


def test_switches_change_curves_and_tables(open_page: Any, report: Path) -> None:
    page = open_page(report)
    page.wait_for_selector("[data-metric=visqol_audio][data-drawn]")
    every = traces(page)
    assert {trace["name"] for trace in every} >= {"Neural", "Opus"}
    page.get_by_role("button", name="Music", exact=True).click()
    page.wait_for_function(
        "(before) => document.querySelector('[data-metric=visqol_audio] .plot')._fullData[1].y[0] "
        "!== before", arg=every[1]["y"][0],
    )  # fmt: skip
    page.get_by_text("Every metric", exact=True).click()
    assert page.locator("[data-of-kind=music]").first.is_visible()
    assert not page.locator("[data-of-kind=all]").first.is_visible()
    # A speech metric stays on speech, and says so.
    page.get_by_role("button", name="PESQ-WB").click()
    page.wait_for_selector("[data-metric=pesq_wb][data-drawn]")
    assert "(speech only)" in page.locator("[data-metric=pesq_wb] figcaption").inner_text()
    assert not page.locator("[data-metric=visqol_audio]").is_visible()
    page.get_by_role("button", name="all metrics").click()
    assert page.locator("[data-metric=visqol_audio]").is_visible()
    assert page.locator("[data-metric=pesq_wb]").is_visible()
    page.locator("[data-series=opus]").click()
    page.wait_for_function(
        "document.querySelector('[data-metric=visqol_audio] .plot').data"
        ".every((trace) => trace.legendgroup !== 'opus' || trace.visible === false)"
    )
    assert [trace["visible"] for trace in traces(page) if trace["name"] == "Neural"] == [True]


def test_hover_tells_point_rate_and_clip_counts(open_page: Any, report: Path) -> None:
    page = open_page(report)
    page.get_by_role("button", name="PESQ-WB").click()
    page.wait_for_selector("[data-metric=pesq_wb][data-drawn]")
    templates = page.evaluate(
        "document.querySelector('[data-metric=pesq_wb] .plot')._fullData.map((trace) => "
        "[trace.hovertemplate, trace.customdata])"
    )
    shown = [data for template, data in templates if template and "clips scored" in template]
    assert ["opus-6", 2, 3] in [[row[0], row[3], row[4]] for row in shown[1]]
    page.locator("[data-metric=pesq_wb]").scroll_into_view_if_needed()
    place = page.locator("[data-metric=pesq_wb] .plot .scatterlayer .point").first.bounding_box()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.wait_for_selector("[data-metric=pesq_wb] .hoverlayer text")
    assert "clips scored" in page.locator("[data-metric=pesq_wb] .hoverlayer").text_content()


def test_clips_sort_filter_and_lead_to_the_player(open_page: Any, report: Path) -> None:
    page = open_page(report)
    rows = page.locator("#clips tbody tr")
    page.locator("#listen").scroll_into_view_if_needed()
    page.wait_for_selector("#clips tbody tr")

    def column(index: int) -> list[str]:
        return page.eval_on_selector_all(
            "#clips tbody tr", f"(rows) => rows.map((row) => row.cells[{index}].textContent)"
        )

    def numbers(index: int) -> list[float]:
        return [float(text.replace("−", "-")) for text in column(index)]

    assert rows.count() == 9
    assert numbers(6) == sorted(numbers(6))  # worst first
    page.get_by_role("button", name="best first").click()
    assert numbers(6) == sorted(numbers(6), reverse=True)
    page.locator("[data-sort=clip]").click()
    assert column(0) == sorted(column(0))
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("clip")
    page.locator("[data-sort=neural_kbps]").click()
    page.locator("[data-sort=neural_kbps]").click()
    assert numbers(2) == sorted(numbers(2), reverse=True)
    page.get_by_role("button", name="Music", exact=True).click()
    assert set(column(1)) == {"music"}
    page.locator("#find").fill("music_004")
    assert column(0) == ["music_004 & #4%"]
    # A metric that has no score of a clip: last, with a dash, and the reason in the player.
    page.get_by_role("button", name="All kinds", exact=True).click()
    page.locator("#find").fill("")
    page.locator("#listen-metric").select_option("pesq_wb")
    page.get_by_role("button", name="worst first").click()
    assert column(6)[-1] == "–"
    page.locator("#find").fill("speech_000")
    page.locator("#clips tbody button").click()
    page.wait_for_selector("#player[data-ready='0']")
    assert "no utterance" in page.locator("#clip-scores").inner_text()


TAPS = """() => {
  window.taps = [];
  const start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function (...words) {
    const tap = new AnalyserNode(this.context, {fftSize: 32768});
    this.connect(tap);
    window.taps.push(tap);
    return start.apply(this, words);
  };
}"""
# Time stands still while the three are read: what one would play meanwhile is no lag of the page.
HEARD = """async () => {
  await rdcodec.context().suspend();
  return window.taps.slice(-3).map((tap) => {
    const samples = new Float32Array(tap.fftSize);
    tap.getFloatTimeDomainData(samples);
    return Array.from(samples);
  });
}"""


def test_the_three_sources_play_in_step(open_page: Any, report: Path) -> None:
    """What each source plays at one moment, found by correlation: within 20 ms, while switching."""
    page = open_page(report)
    page.evaluate(f"({TAPS})()")
    page.locator("#listen").scroll_into_view_if_needed()
    page.locator("#clips tbody button").first.click()
    page.wait_for_selector("#player[data-ready]")
    page.locator("#loop").check()
    page.locator("#play").click()
    page.wait_for_timeout(900)
    for key in ("2", "3", "1", "2"):
        page.keyboard.press(key)
        page.wait_for_timeout(60)
    rate = page.evaluate("rdcodec.context().sampleRate")
    original, *others = (np.array(samples) for samples in page.evaluate(HEARD))
    assert np.abs(original).max() > 0.01
    for other in others:
        spectrum = np.fft.rfft(other, 65536) * np.conj(np.fft.rfft(original, 65536))
        lag = int(np.argmax(np.fft.irfft(spectrum)))
        lag -= 65536 if lag > 32768 else 0
        assert abs(lag) / rate < 0.02
    # One alone is heard, that of the key pressed last.
    assert page.locator("[data-source='1']").get_attribute("aria-pressed") == "true"
    assert page.locator("#play").inner_text() == "Stop"


GAINS = """() => {
  window.gains = [];
  const Gain = GainNode;
  window.GainNode = class extends Gain {
    constructor(...words) {
      super(...words);
      window.gains.push(this);
    }
  };
}"""


def test_other_rates_and_a_peer_play_beside_and_as_loud(open_page: Any, report: Path) -> None:
    """Original, both neural points, Opus and a peer, which is 6 dB too quiet."""
    page = open_page(report)
    page.evaluate(f"({GAINS})()")
    page.locator("#listen").scroll_into_view_if_needed()
    page.wait_for_selector("#player[data-ready]")
    sources = page.locator(".sources button:visible")
    assert sources.count() == 3
    page.locator("#more").check()
    page.wait_for_selector("#player[data-ready]")
    assert sources.count() == page.locator(".spectrograms figure:visible").count() == 5
    said = sources.all_inner_texts()
    assert [text.split()[1].strip(",") for text in said[1:]] == [
        "neural-b070", "opus-6", "neural-b030", "lc3-8",
    ]  # fmt: skip
    assert not any("dB" in text for text in said)
    page.locator("#matched").check()
    page.locator("#play").click()
    page.keyboard.press("5")
    page.wait_for_timeout(200)
    gains = page.evaluate("window.gains.slice(-5).map((node) => node.gain.value)")
    assert gains[:4] == [0, 0, 0, 0]
    assert 20 * np.log10(gains[4]) == pytest.approx(6, abs=0.2)
    (shown,) = re.findall(r"\+(\d\.\d) dB", sources.nth(4).inner_text())
    assert float(shown) == pytest.approx(20 * np.log10(gains[4]), abs=0.06)
    # And back: alone, as they are.
    page.locator("#matched").uncheck()
    page.wait_for_timeout(100)
    assert page.evaluate("window.gains.slice(-1)[0].gain.value") == 1
    page.locator("#more").uncheck()
    page.wait_for_selector("#player[data-ready]")
    assert sources.count() == 3


def test_the_keyboard_plays_seeks_and_goes_on(open_page: Any, report: Path) -> None:
    page = open_page(report)
    page.locator("#listen").scroll_into_view_if_needed()
    page.locator("#clips tbody button").first.click()
    page.wait_for_selector("#player[data-ready]")
    first = page.locator("#player-title").inner_text()
    page.locator("#player-title").click()
    page.keyboard.press("ArrowRight")
    assert page.locator("#clock").inner_text().startswith("1.0 of 1.5 s")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#clock").inner_text().startswith("0.0")
    page.keyboard.press("Space")
    page.wait_for_function("Number(document.getElementById('seek').value) > 0.1")
    page.keyboard.press("Space")
    assert page.locator("#play").inner_text() == "Play"
    page.keyboard.press("ArrowDown")
    page.wait_for_function(
        "(first) => document.getElementById('player-title').textContent !== first", arg=first
    )


def test_spectrograms_show_what_is_there(open_page: Any, report: Path) -> None:
    """Opus at 6 kbps has nothing at high frequencies, the original has."""
    page = open_page(report)
    page.locator("#listen").scroll_into_view_if_needed()
    page.locator("#clips tbody button").first.click()
    page.wait_for_selector("#player[data-ready]")
    brightness = page.evaluate("""() => [0, 1, 2].map((index) => {
      const canvas = document.querySelector(`[data-spectrogram='${index}']`);
      const rows = Math.round(canvas.height / 2);
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, rows).data;
      return pixels.reduce((sum, value, place) => sum + (place % 4 < 3 ? value : 0), 0);
    })""")
    assert brightness[0] > 0
    assert brightness[2] < 0.7 * brightness[0]


def play_through(page: Any, test: str, answers: int, more: bool = False) -> dict[str, Any]:
    """Answer all questions by the keyboard; the file that the page makes."""
    page.locator(f"[value={test}]").check()
    page.locator("[name=more]").set_checked(more)
    page.locator("[name=trials]").fill(str(answers))
    page.locator("[name=listener]").fill("A. Listener")
    page.locator("[type=submit]").click()
    for number in range(1, answers + 1):
        page.wait_for_function(
            f"document.getElementById('question').textContent === 'Question {number} of {answers}'"
            " && document.querySelector('#stimuli [aria-pressed=true]')"
        )
        if test == "abx":
            page.keyboard.press("a")
            page.keyboard.press("x")
            page.keyboard.press("ArrowLeft" if number % 2 else "ArrowRight")
        else:
            for version in range(1 + page.locator(".rating").count()):
                page.keyboard.press(str(version))
                if version:
                    page.keyboard.press("ArrowRight")
            page.keyboard.press("Enter")
    with page.expect_download() as download:
        page.locator("#download").click()
    return json.loads(Path(download.value.path()).read_text())


def test_abx_is_played_through_to_its_result(open_page: Any, report: Path, tmp_path: Path) -> None:
    page = open_page(report)
    page.get_by_role("link", name="blind listening test").click()
    found = play_through(page, "abx", 12)
    assert [trial["answer"] for trial in found["trials"]] == ["A", "B"] * 6
    assert sorted(trial["system"] for trial in found["trials"]) == sorted(
        list(found["systems"]) * 6
    )
    clips = [trial["clip"] for trial in found["trials"] if trial["system"] == "opus-6"]
    assert len(set(clips)) == len(clips)  # no clip again before all were heard
    path = tmp_path / "result.json"
    path.write_text(json.dumps(found))
    result = listening.evaluate(listening.read([path]))
    right = {
        system: sum(t["x"] == t["answer"] for t in found["trials"] if t["system"] == system)
        for system in found["systems"]
    }
    assert {one.system: one.right * one.trials for one in result.heard} == right


def test_ratings_are_played_through_to_their_result(open_page: Any, report: Path) -> None:
    page = open_page(report.parent / "listening.html")
    found = play_through(page, "mushra", 2)
    for trial in found["trials"]:
        assert set(trial["ratings"]) == {"reference", "lowpass-3500", *found["systems"]}
        assert set(trial["ratings"].values()) == {51}
    assert len({trial["clip"] for trial in found["trials"]}) == 2


def test_other_rates_and_a_peer_are_judged_where_wanted(open_page: Any, report: Path) -> None:
    systems = {"neural-b070", "neural-b030", "opus-6", "lc3-8"}
    page = open_page(report.parent / "listening.html")
    rated = play_through(page, "mushra", 2, more=True)
    assert set(rated["systems"]) == systems
    for trial in rated["trials"]:
        assert set(trial["ratings"]) == {"reference", "lowpass-3500", *systems}
        assert set(trial["ratings"].values()) == {51}
    page = open_page(report.parent / "listening.html")
    heard = play_through(page, "abx", 8, more=True)
    assert sorted(trial["system"] for trial in heard["trials"]) == sorted(2 * list(systems))
    assert heard["systems"]["lc3-8"] == pytest.approx(8.1, rel=0.1)


def test_a_served_test_sends_its_answers_to_the_folder(
    chromium: Any, report: Path, tmp_path: Path
) -> None:
    answers = tmp_path / "answers"
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "listening", "serve", "--port", "0",
         "--reports", str(report.parent), "--answers", str(answers)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    context = chromium.new_context()
    try:
        assert process.stdout is not None
        page = context.new_page()
        page.goto(process.stdout.readline().split()[-1])
        assert page.get_by_role("link", name="report").count() == 0
        found = play_through(page, "abx", 2)
        page.get_by_text("Your answers have arrived").wait_for()
        (path,) = answers.iterdir()
        (session,) = listening.read([path])
        assert [trial.model_dump() for trial in session.trials] == [
            {key: trial[key] for key in ("clip", "kind", "system", "x", "answer")}
            for trial in found["trials"]
        ]
        # A server that has gone leaves the answers to be saved, and the page says so.
        page.reload()
        page.route("**/answers", lambda route: route.abort())
        play_through(page, "abx", 2)
        page.get_by_text("Your answers did not arrive").wait_for()
        assert len(list(answers.iterdir())) == 1
    finally:
        context.close()
        process.kill()


def test_the_low_anchor_is_low(open_page: Any, report: Path) -> None:
    """What the ratings call lowpass-3500 has nothing above, and all below."""
    page = open_page(report.parent / "listening.html")
    page.evaluate(
        """() => {
          window.rendered = [];
          const render = OfflineAudioContext.prototype.startRendering;
          OfflineAudioContext.prototype.startRendering = async function () {
            const buffer = await render.call(this);
            window.rendered.push([buffer.sampleRate, Array.from(buffer.getChannelData(0))]);
            return buffer;
          };
        }"""
    )
    play_through(page, "mushra", 2)
    rate, samples = page.evaluate("window.rendered[0]")
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / rate)
    assert len(samples) == round(1.5 * rate)
    passed = power[(frequency > 300) & (frequency < 2500)].mean()
    stopped = power[(frequency > 5500) & (frequency < 9000)].mean()
    assert 10 * np.log10(passed / stopped) > 35


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "listening.html"])
def test_nothing_serious_for_accessibility(
    open_page: Any, report: Path, scheme: str, name: str
) -> None:
    """axe-core, on everything opened."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    page = open_page(report.parent / name, color_scheme=scheme)
    if name == "index.html":
        page.wait_for_selector("[data-drawn]")
        page.locator("#listen").scroll_into_view_if_needed()
        page.locator("#clips tbody button").first.click()
        page.wait_for_selector("#player[data-ready]")
        page.eval_on_selector_all("details", "(all) => all.forEach((one) => { one.open = true; })")
    found = axe().run(page, options={"preload": False}).response["violations"]
    serious = [
        (one["id"], [node["target"] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("width", [420, 1024, 2560])
@pytest.mark.parametrize("name", ["index.html", "listening.html"])
def test_nothing_is_wider_than_the_window(
    open_page: Any, report: Path, width: int, name: str
) -> None:
    page = open_page(report.parent / name, viewport={"width": width, "height": 900})
    if name == "index.html":
        page.wait_for_selector("[data-drawn]")
        page.locator("#listen").scroll_into_view_if_needed()
        page.locator("#clips tbody button").first.click()
        page.wait_for_selector("#player[data-ready]")
        for figure in page.locator("[data-figure]").all():
            figure.scroll_into_view_if_needed()
        page.wait_for_function(
            "[...document.querySelectorAll('[data-figure]')].every((one) => one.dataset.drawn)"
        )
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_figures_are_drawn_anew(open_page: Any, report: Path) -> None:
    page = open_page(report)
    page.wait_for_selector("[data-drawn]")
    line = "document.querySelector('[data-metric=visqol_audio] .plot').data[1].line.color"
    assert page.evaluate(line) == "#0072B2"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{line} === '#56B4E9'")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(20, 22, 26)"


def test_audio_and_figures_load_when_asked_for(open_page: Any, report: Path) -> None:
    page = open_page(report)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(Path(request.url).name))
    page.wait_for_selector("[data-drawn]")
    assert not [name for name in asked if name.startswith(("inside", "0-", "1-"))]
    page.locator("#listen").scroll_into_view_if_needed()
    page.wait_for_selector("#player[data-ready]")
    assert len([name for name in asked if "-" in name]) == 3
    page.locator("#inside [data-figure]").first.scroll_into_view_if_needed()
    page.wait_for_selector("[data-figure][data-drawn]")
    assert "inside.js" in asked


def test_missing_assets_are_said(chromium: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    page_path = site.build(tmp_path, count=3, seconds=0.5)
    for path in (page_path.parent / "assets" / "audio").iterdir():
        path.unlink()
    page = chromium.new_page()
    page.goto(page_path.as_uri())
    page.locator("#listen").scroll_into_view_if_needed()
    page.locator("#clips tbody button").first.click()
    page.wait_for_function(
        "document.getElementById('player-title').textContent.includes('is missing')"
    )
    page.close()


def test_what_a_user_runs_on_the_result(tmp_path: Path) -> None:
    """The command, on a file as the page makes it."""
    trial = {"clip": "c", "kind": "speech", "system": "opus-6", "x": "A", "answer": "A"}
    (tmp_path / "a.json").write_text(json.dumps({
        "format": "rdcodec listening 1", "test": "abx", "listener": "a", "session": "1",
        "run": {"test": "t", "revision": "r"}, "trials": [trial] * 6,
    }))  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "listening", str(tmp_path / "a.json")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "opus-6: 0 of 1 listeners heard no difference: 0%" in done.stdout
