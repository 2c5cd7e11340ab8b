"""How do our panels look? One builder for each kind, so that all of them look alike.

Every panel has a title, a sentence that says what it answers, a unit, and the data source
that the reader chose. Widths are of Grafana's grid of 24 columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Panel = stat.Panel | timeseries.Panel | bargauge.Panel | table.Panel
_Panel = TypeVar("_Panel", stat.Panel, timeseries.Panel, bargauge.Panel, table.Panel)

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
FROM = 'job=~"$job", instance=~"$instance"'
"""The matchers that every expression carries."""
TAG = "cohortd"
CREDITS = "suffix: credits"
GPUS = "suffix: GPUs"
Limits = Sequence[tuple[float | None, str]]
"""Thresholds as (from, colour), the first from None: minus infinity."""
CALM: Limits = ((None, "green"),)
PLAIN: Limits = ((None, "text"),)


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the legend of its series."""

    expr: str
    legend: str = "{{startup}}"


def number(
    title: str,
    why: str,
    expr: str,
    unit: str,
    limits: Limits = PLAIN,
    *,
    width: int = 4,
    legend: str = "",
) -> stat.Panel:
    """One figure, coloured by its thresholds; with a legend, one for each series."""
    panel = stat.Panel().color_mode(_colour_of(limits)).graph_mode(options.BigValueGraphMode.NONE)
    mode = options.BigValueTextMode.AUTO if legend else options.BigValueTextMode.VALUE
    panel = panel.reduce_options(_last()).text_mode(mode)
    target = _target(Query(expr, legend or "now")).instant()
    return _framed(panel, title, why, unit, limits).height(4).span(width).with_target(target)


def graph(
    title: str,
    why: str,
    queries: Sequence[Query],
    unit: str,
    *,
    width: int = 12,
    stacked: bool = False,
    dashed: Sequence[str] = (),
    limits: Limits = CALM,
) -> timeseries.Panel:
    """Lines over time; `dashed` names series that are a limit rather than a measurement."""
    legend = common.VizLegendOptions().show_legend(True).calcs([])
    legend = legend.display_mode(options.LegendDisplayMode.LIST)
    panel = timeseries.Panel().legend(legend.placement(options.LegendPlacement.BOTTOM))
    panel = panel.tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI))
    panel = panel.fill_opacity(25 if stacked else 5).line_width(1).min(0)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
    for name in dashed:
        line = {"fill": "dash", "dash": [8, 6]}
        fixed = [
            model.DynamicConfigValue("custom.lineStyle", line),
            model.DynamicConfigValue("custom.fillOpacity", 0),
            model.DynamicConfigValue("custom.stacking", {"mode": "none", "group": "limit"}),
            model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "text"}),
        ]
        panel = panel.override_by_name(name, fixed)
    panel = _framed(panel, title, why, unit, limits).height(8).span(width)
    for query in queries:
        panel = panel.with_target(_target(query))
    return panel


def bars(
    title: str, why: str, query: Query, unit: str, limits: Limits = CALM, *, width: int = 8
) -> bargauge.Panel:
    """One bar for each series, as it stands now."""
    panel = bargauge.Panel().orientation(options.VizOrientation.HORIZONTAL).reduce_options(_last())
    panel = panel.display_mode(options.BarGaugeDisplayMode.BASIC).min(0)
    panel = _framed(panel, title, why, unit, limits).height(8).span(width)
    return panel.with_target(_target(query).instant())


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its expression, one value for each row, and how it is shown."""

    title: str
    expr: str
    unit: str
    limits: Limits = PLAIN
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Shown text and colour in place of a value."""


def rows(
    title: str, why: str, by: Sequence[str], columns: Sequence[Column], *, width: int = 24
) -> table.Panel:
    """A table with one row for each value of the labels `by`, its columns joined on them."""
    panel = table.Panel().show_header(True).cell_height(options.TableCellHeight.SM)
    panel = _framed(panel, title, why, "string", PLAIN).height(8).span(width).min_width(60)
    renamed = {label: label.capitalize() for label in by}
    for number_, column in enumerate(columns):
        ref = chr(ord("A") + number_)
        target = _target(Query(f"sum by ({', '.join(by)}) ({column.expr})", column.title))
        panel = panel.with_target(target.instant().format(PromQueryFormat.TABLE).ref_id(ref))
        renamed[f"Value #{ref}" if len(columns) > 1 else "Value"] = column.title
        panel = panel.override_by_name(column.title, _shown(column))
    arranged = {
        "excludeByName": {"Time": True},
        "renameByName": renamed,
        "indexByName": {name: place for place, name in enumerate(renamed)},
    }
    return panel.transformations(
        [
            model.DataTransformerConfig(id_val="merge", options={}),
            model.DataTransformerConfig(id_val="organize", options=arranged),
        ]
    )


def page(uid: str, title: str, why: str, *, variables: Sequence[str] = ()) -> build.Dashboard:
    """An empty dashboard with our variables, links and annotations."""
    found = (
        build.Dashboard(title)
        .uid(uid)
        .description(why)
        .tags([TAG])
        .timezone("utc")
        .time("now-7d", "now")
        .refresh("1m")
        .readonly()
        .link(_link())
        .with_variable(
            build.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(_all_of(_choice("job", "cohortd_build_info", "Job")))
        .with_variable(_all_of(_choice("instance", 'cohortd_build_info{job=~"$job"}', "Instance")))
    )
    for name in variables:
        found = found.with_variable(_choice(name, f"cohortd_level{{{FROM}}}", name.capitalize()))
    return found.annotation(_stops())


def filled(empty: build.Dashboard, panels: Sequence[Panel]) -> build.Dashboard:
    """The dashboard with its panels, from left to right and from top to bottom."""
    for panel in panels:
        empty = empty.with_panel(panel)
    return empty


def to_json(dashboard: build.Dashboard) -> str:
    """The dashboard as the text that is committed, with a line end."""
    return JSONEncoder(sort_keys=True, indent=2).encode(dashboard.build()) + "\n"


def _framed(panel: _Panel, title: str, why: str, unit: str, limits: Limits) -> _Panel:
    steps = [model.Threshold(value=value, color=colour) for value, colour in limits]
    thresholds = build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
    panel = panel.title(title).description(why).datasource(SOURCE).unit(unit)
    return panel.thresholds(thresholds)


def _target(query: Query) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.legend).datasource(SOURCE)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _colour_of(limits: Limits) -> options.BigValueColorMode:
    is_plain = limits is PLAIN
    return options.BigValueColorMode.NONE if is_plain else options.BigValueColorMode.VALUE


def _shown(column: Column) -> list[model.DynamicConfigValue]:
    steps = [{"value": value, "color": colour} for value, colour in column.limits]
    shown = [
        model.DynamicConfigValue("unit", column.unit),
        model.DynamicConfigValue("thresholds", {"mode": "absolute", "steps": steps}),
    ]
    if column.limits is not PLAIN or column.words:
        shown.append(model.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    if column.words:
        words = {
            value: {"text": text, "color": colour, "index": place}
            for place, (value, (text, colour)) in enumerate(column.words.items())
        }
        mappings = [{"type": "value", "options": words}]
        shown.append(model.DynamicConfigValue("mappings", mappings))
    return shown


def _choice(name: str, series: str, label: str) -> build.QueryVariable:
    """One value of a label, the first in order until the reader chooses."""
    query = f"label_values({series}, {name})"
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .definition(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
    )


def _all_of(choice: build.QueryVariable) -> build.QueryVariable:
    """The same variable, with every value chosen until the reader says otherwise."""
    everything = model.VariableOption(selected=True, text="All", value="$__all")
    return choice.include_all(True).current(everything)


def _link() -> build.DashboardLink:
    link = build.DashboardLink("cohortd").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.as_dropdown(False).include_vars(True).keep_time(True)


def _stops() -> build.AnnotationQuery:
    expr = (
        f'sum by (startup, rule) (increase(cohortd_decisions_total{{{FROM}, verb="stop"}}[2m])) > 0'
    )
    return (
        build.AnnotationQuery()
        .name("Stops")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("red")
        .expr(expr)
    )
