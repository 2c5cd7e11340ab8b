"""Builders of panels, one for each kind, so that all panels look alike.

Every panel has a title, a description, a unit, and the data source that the reader chose. Widths
are in Grafana's grid of 24 columns.
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

DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
SELECTOR = 'job=~"$job", instance=~"$instance"'
"""The matchers that every expression carries."""
TAG = "cohortd"
CREDITS = "suffix: credits"
GPUS = "suffix: GPUs"
ThresholdSteps = Sequence[tuple[float | None, str]]
"""Thresholds as (from, colour), the first from None: minus infinity."""
ALWAYS_GREEN: ThresholdSteps = ((None, "green"),)
NO_COLOUR: ThresholdSteps = ((None, "text"),)


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the legend of its series."""

    expr: str
    legend: str = "{{startup}}"


def stat_panel(
    title: str,
    summary: str,
    expr: str,
    unit: str,
    threshold_steps: ThresholdSteps = NO_COLOUR,
    *,
    width: int = 4,
    legend: str = "",
) -> stat.Panel:
    """One figure, coloured by its thresholds; with a legend, one for each series."""
    panel = (
        stat.Panel()
        .color_mode(_colour_of(threshold_steps))
        .graph_mode(options.BigValueGraphMode.NONE)
    )
    mode = options.BigValueTextMode.AUTO if legend else options.BigValueTextMode.VALUE
    panel = panel.reduce_options(_last_value()).text_mode(mode)
    target = _target(Query(expr, legend or "now")).instant()
    return (
        _with_frame(panel, title, summary, unit, threshold_steps)
        .height(4)
        .span(width)
        .with_target(target)
    )


def timeseries_panel(
    title: str,
    summary: str,
    queries: Sequence[Query],
    unit: str,
    *,
    width: int = 12,
    stacked: bool = False,
    dashed: Sequence[str] = (),
    threshold_steps: ThresholdSteps = ALWAYS_GREEN,
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
    panel = _with_frame(panel, title, summary, unit, threshold_steps).height(8).span(width)
    for query in queries:
        panel = panel.with_target(_target(query))
    return panel


def bar_gauge_panel(
    title: str,
    summary: str,
    query: Query,
    unit: str,
    threshold_steps: ThresholdSteps = ALWAYS_GREEN,
    *,
    width: int = 8,
) -> bargauge.Panel:
    """One bar for each series, at its current value."""
    panel = (
        bargauge.Panel()
        .orientation(options.VizOrientation.HORIZONTAL)
        .reduce_options(_last_value())
    )
    panel = panel.display_mode(options.BarGaugeDisplayMode.BASIC).min(0)
    panel = _with_frame(panel, title, summary, unit, threshold_steps).height(8).span(width)
    return panel.with_target(_target(query).instant())


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its expression with one value for each row, and its display."""

    title: str
    expr: str
    unit: str
    threshold_steps: ThresholdSteps = NO_COLOUR
    value_mappings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Text and colour in place of a value."""


def table_panel(
    title: str, summary: str, by: Sequence[str], columns: Sequence[Column], *, width: int = 24
) -> table.Panel:
    """A table with one row for each value of the labels `by`, its columns joined on them."""
    panel = table.Panel().show_header(True).cell_height(options.TableCellHeight.SM)
    panel = (
        _with_frame(panel, title, summary, "string", NO_COLOUR).height(8).span(width).min_width(60)
    )
    column_titles = {label: label.capitalize() for label in by}
    for index, column in enumerate(columns):
        ref = chr(ord("A") + index)
        target = _target(Query(f"sum by ({', '.join(by)}) ({column.expr})", column.title))
        panel = panel.with_target(target.instant().format(PromQueryFormat.TABLE).ref_id(ref))
        column_titles[f"Value #{ref}" if len(columns) > 1 else "Value"] = column.title
        panel = panel.override_by_name(column.title, _column_overrides(column))
    arranged = {
        "excludeByName": {"Time": True},
        "renameByName": column_titles,
        "indexByName": {name: position for position, name in enumerate(column_titles)},
    }
    return panel.transformations(
        [
            model.DataTransformerConfig(id_val="merge", options={}),
            model.DataTransformerConfig(id_val="organize", options=arranged),
        ]
    )


def empty_dashboard(
    uid: str, title: str, summary: str, *, variables: Sequence[str] = ()
) -> build.Dashboard:
    """An empty dashboard with our variables, links and annotations."""
    found = (
        build.Dashboard(title)
        .uid(uid)
        .description(summary)
        .tags([TAG])
        .timezone("utc")
        .time("now-7d", "now")
        .refresh("1m")
        .readonly()
        .link(_dashboard_links())
        .with_variable(
            build.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(_with_all_option(_query_variable("job", "cohortd_build_info", "Job")))
        .with_variable(
            _with_all_option(
                _query_variable("instance", 'cohortd_build_info{job=~"$job"}', "Instance")
            )
        )
    )
    for name in variables:
        found = found.with_variable(
            _query_variable(name, f"cohortd_level{{{SELECTOR}}}", name.capitalize())
        )
    return found.annotation(_stop_annotations())


def with_panels(empty: build.Dashboard, panels: Sequence[Panel]) -> build.Dashboard:
    """The dashboard with its panels, from left to right and from top to bottom."""
    for panel in panels:
        empty = empty.with_panel(panel)
    return empty


def to_json(dashboard: build.Dashboard) -> str:
    """The dashboard as the text that is committed, with a line end."""
    return JSONEncoder(sort_keys=True, indent=2).encode(dashboard.build()) + "\n"


def _with_frame(
    panel: _Panel, title: str, summary: str, unit: str, threshold_steps: ThresholdSteps
) -> _Panel:
    steps = [model.Threshold(value=value, color=colour) for value, colour in threshold_steps]
    thresholds = build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
    panel = panel.title(title).description(summary).datasource(DATASOURCE).unit(unit)
    return panel.thresholds(thresholds)


def _target(query: Query) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery().expr(query.expr).legend_format(query.legend).datasource(DATASOURCE)
    )


def _last_value() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _colour_of(threshold_steps: ThresholdSteps) -> options.BigValueColorMode:
    is_plain = threshold_steps is NO_COLOUR
    return options.BigValueColorMode.NONE if is_plain else options.BigValueColorMode.VALUE


def _column_overrides(column: Column) -> list[model.DynamicConfigValue]:
    steps = [{"value": value, "color": colour} for value, colour in column.threshold_steps]
    overrides = [
        model.DynamicConfigValue("unit", column.unit),
        model.DynamicConfigValue("thresholds", {"mode": "absolute", "steps": steps}),
    ]
    if column.threshold_steps is not NO_COLOUR or column.value_mappings:
        overrides.append(model.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    if column.value_mappings:
        value_mappings = {
            value: {"text": text, "color": colour, "index": position}
            for position, (value, (text, colour)) in enumerate(column.value_mappings.items())
        }
        mappings = [{"type": "value", "options": value_mappings}]
        overrides.append(model.DynamicConfigValue("mappings", mappings))
    return overrides


def _query_variable(name: str, series: str, label: str) -> build.QueryVariable:
    """A variable with one value of a label, the first one by default."""
    query = f"label_values({series}, {name})"
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": name})
        .definition(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
    )


def _with_all_option(choice: build.QueryVariable) -> build.QueryVariable:
    """The same variable, with every value selected by default."""
    everything = model.VariableOption(selected=True, text="All", value="$__all")
    return choice.include_all(True).current(everything)


def _dashboard_links() -> build.DashboardLink:
    link = build.DashboardLink("cohortd").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.as_dropdown(False).include_vars(True).keep_time(True)


def _stop_annotations() -> build.AnnotationQuery:
    stops = f'cohortd_decisions_total{{{SELECTOR}, verb="stop"}}'
    expr = f"sum by (startup, rule) (increase({stops}[2m])) > 0"
    return (
        build.AnnotationQuery()
        .name("Stops")
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color("red")
        .expr(expr)
    )
