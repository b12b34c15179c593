"""The whole run as one page: nothing is loaded from elsewhere, no server, works offline and by mail."""

import base64
import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader
from PIL import Image

from clipworks.kit import images, tables
from clipworks.kit.errors import InputError
from clipworks.kit.places import MARK, replacing
from clipworks.report import leaderboard

SIDE = 320  # pixels of a picture on the page
EXAMPLES = 3  # captions of a class
OTHER = "as last measured apart from this run (docs/results.md), as shipped on the miniature world"


@dataclass(frozen=True)
class Section:
    """A part of the page: a title, a sentence on it, and its HTML."""

    key: str
    title: str
    about: str
    body: str


def write(out: Path, meaning: Mapping[str, str], *, root: Path = Path()) -> list[str]:
    """Write the page of a pipeline that has run.

    Args:
        meaning: what each row of the leaderboard is.

    Returns:
        the titles of the sections that there was something for.

    Raises:
        InputError: the evaluate stage has not run.
    """
    if not (root / "metrics/leaderboard.json").exists():
        raise InputError("metrics/leaderboard.json is not there; run `dvc repro` first")
    sections = list(_sections(root, meaning))
    page = Environment(autoescape=True, loader=PackageLoader("clipworks.report")).get_template(
        "site.html"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as draft:
        draft.write_text(page.render(sections=sections, mark=MARK), encoding="utf-8")
    return [section.title for section in sections]


def _sections(root: Path, meaning: Mapping[str, str]) -> Iterator[Section]:
    board = tables.read_json(root / "metrics/leaderboard.json")
    if board:
        frame = leaderboard.table(board, meaning).reset_index()
        frame["what it is"] = frame.pop("what it is").str.replace(
            "`", ""
        )  # last: figures fit a phone
        yield Section(
            "leaderboard", "Leaderboard", "Percent on the test images; nothing was chosen on their labels.",
            _table(frame, bars=("mAP",)),
        )  # fmt: skip
    tags = root / "metrics/tags.json"
    if tags.exists() and (found := tables.read_json(tags)):
        rows = [
            {"row": row, "tags by": rule, **f1}
            for row, rules in found.items()
            for rule, f1 in rules.items()
        ]
        yield Section(
            "tags", "Tags", "F1 of thresholds that saw no test label; three highest and the bound are its ends.",
            _table(pd.DataFrame(rows), bars=("macro_F1", "micro_F1")),
        )  # fmt: skip
    for key, title, about, path, bars in (
        ("classes", "AP by class", "Of the authors' ensemble, percent.", "data/evaluate/class_ap.tsv", ("AP",)),
        ("ablation", "What each ingredient is worth", f"Test mAP, mean over seeds of the prompts; {OTHER}.",
         "metrics/ablation.tsv", ("test_mAP",)),
        ("seeds", "Whole seeds", f"Test mAP, mean over seeds of everything; {OTHER}.", "metrics/seeds.tsv", ("test_mAP",)),
    ):  # fmt: skip
        if (root / path).exists() and len(frame := _read(root / path)):
            yield Section(key, title, about, _table(frame, bars=bars))
    curves = sorted((root / "data/train").glob("*/curve.tsv"))
    if curves:
        frame = pd.concat([pd.read_csv(path, sep="\t") for path in curves])
        both = [("held_out_mAP", "mAP on held-out captions"), ("loss", "loss")]
        yield Section(
            "curves", "Training", "By epoch, each model a line.",
            "".join(_lines(frame, column, name) for column, name in both if column in frame),
        )  # fmt: skip
    for name, title in (
        ("conditional", "P(column given row)"),
        ("combinations", "Which classes go together"),
    ):
        plot = root / f"data/cooccurrence/{name}.png"
        if plot.exists():
            yield Section(name, title, "From the captions' labels.", _picture(plot, title))
    captions = root / "data/filter/captions.parquet"
    if captions.exists():
        yield Section(
            "captions",
            "Captions by class",
            "How many, and some of them.",
            _table(_captions(captions)),
        )
    pictures = root / "data/evaluate/pictures"
    if (pictures / "pictures.json").exists():
        yield Section(
            "pictures", "Pictures", "Tags, and the windows that spoke for them.", "".join(_pictures(pictures))
        )  # fmt: skip


def _read(path: Path) -> pd.DataFrame:
    """A table of a stage; a class may be called "None" or "007"."""
    words = dict.fromkeys(("class", "row", "what"), str)
    return pd.read_csv(path, sep="\t", dtype=words, keep_default_na=False, na_values=[""])  # type: ignore[arg-type]


def _table(frame: pd.DataFrame, bars: Sequence[str] = ()) -> str:
    """A table whose lines can be searched; some columns with bars."""
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in frame.columns)
    rows = []
    for line in frame.to_dict("records"):
        cells = []
        for name, value in line.items():
            if isinstance(value, float):
                bar = (
                    f'<i class="bar" style="width:{max(0.0, min(100.0, value)):.1f}%"></i>'
                    if name in bars
                    else ""
                )
                cells.append(f'<td class="n">{value:.1f}{bar}</td>')
            else:
                cells.append(f"<td>{html.escape(str(value))}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


COLORS = ("#2f6db5", "#c8641e", "#14823c", "#8a3ab9", "#b8860b", "#c81e6e")


def _lines(frame: pd.DataFrame, column: str, name: str) -> str:
    """Curves as an SVG: a line a model, its name at the line's end."""
    width, height, left, low = 640, 260, 50, 30
    known = frame.dropna(subset=[column])
    x0, x1 = known["epoch"].min(), max(known["epoch"].max(), known["epoch"].min() + 1)
    y0, y1 = known[column].min(), known[column].max()
    span = (y1 - y0) or 1.0
    place = lambda x, y: (  # noqa: E731
        left + (width - left - 70) * (x - x0) / (x1 - x0), height - low - (height - low - 15) * (y - y0) / span
    )  # fmt: skip
    parts = [
        f'<text x="4" y="{place(x0, y)[1] + 4:.0f}">{y:.1f}</text>' for y in (y0, (y0 + y1) / 2, y1)
    ] + [f'<text x="{left}" y="{height - 8}">epoch {x0:.0f}</text>',
         f'<text x="{width - 130}" y="{height - 8}">epoch {x1:.0f}</text>']  # fmt: skip
    taken: list[float] = []
    for color, (model, own) in zip(COLORS * 9, known.groupby("model", sort=False), strict=False):
        points = [place(x, y) for x, y in zip(own["epoch"], own[column], strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        x, y = points[-1]
        away = 13 if y < height / 2 else -13  # one way for each name: to and fro would never end
        while any(abs(y - other) < 13 for other in taken):
            y += away
        taken.append(y)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(
            f'<text x="{x + 5:.0f}" y="{y + 4:.0f}" fill="{color}">{html.escape(str(model))}</text>'
        )
    return f'<h3>{name}</h3><svg viewBox="0 0 {width} {height}" role="img" aria-label="{name}">{"".join(parts)}</svg>'


def _captions(path: Path) -> pd.DataFrame:
    """Each class's captions: how many, and the first few."""
    with tables.parquet(path) as file:
        names = json.loads(file.schema_arrow.metadata[b"class_names"])
    count, some = dict.fromkeys(range(len(names)), 0), {i: [] for i in range(len(names))}  # type: ignore[var-annotated]
    for row in tables.rows(path, ["caption", "labels"]):
        for label in row["labels"]:
            count[label] += 1
            if len(some[label]) < EXAMPLES:
                some[label].append(row["caption"])
    found = [
        {"class": n, "captions": f"{count[i]:,}", "some of them": " · ".join(some[i])}
        for i, n in enumerate(names)
    ]
    return pd.DataFrame(found)


def _picture(path: Path, title: str) -> str:
    address = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img class="plot" alt="{html.escape(title)}" src="data:image/png;base64,{address}">'


def _pictures(folder: Path) -> Iterator[str]:
    for one in tables.read_json(folder / "pictures.json"):
        for figure in one["figures"]:
            with Image.open(folder / figure["file"]) as image:
                source = images.data_address(image, SIDE)
            yield _figure(one["name"], figure, source)


def _figure(name: str, figure: dict[str, Any], source: str) -> str:
    tags = "".join(
        f'<li class="{line["verdict"]}">{line["mark"]} {html.escape(line["tag"])}'
        f"<span>{line['verdict']}</span></li>"
        for line in figure["lines"]
    )
    words = html.escape("\n".join(line["tag"] for line in figure["lines"]))
    verdicts = " ".join(sorted({line["verdict"] for line in figure["lines"] if line["verdict"]}))
    return (
        f'<figure data-name="{html.escape(name)}" data-tags="{words}" data-verdicts="{verdicts}">'
        f'<img loading="lazy" alt="{html.escape(name)}" src="{source}"><figcaption><b>{html.escape(name)}</b> '
        f"<small>{html.escape(figure['row'])}</small><ul>{tags}</ul></figcaption></figure>"
    )
