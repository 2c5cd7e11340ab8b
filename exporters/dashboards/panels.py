"""Builders of panels, one for each kind, so that all panels look alike.

Every panel has a title, a description, a unit, and the data source that the reader chose. Widths
are in Grafana's grid of 24 columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import TypeVar

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from quotas.model.units import DAY_S

Panel = stat.Panel | timeseries.Panel | table.Panel
_Panel = TypeVar("_Panel", stat.Panel, timeseries.Panel, table.Panel)

DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
SELECTOR = 'job=~"$job", instance=~"$instance"'
"""The matchers that every expression carries."""
IN_POOLS = 'pool!=""'
RATE, RANGE = "[$__rate_interval]", "[$__range]"
TAG = "cohortd"
CREDITS, CREDITS_PER_HOUR, GPUS = "suffix: credits", "suffix: credits/h", "suffix: GPUs"
Thresholds = Sequence[tuple[float | None, str]]
"""Thresholds as (from, colour), the first from None: minus infinity."""
ALWAYS_GREEN: Thresholds = ((None, "green"),)
NO_COLOUR: Thresholds = ((None, "text"),)
ZERO_IS_GOOD: Thresholds = ((None, "green"), (1, "orange"))
RUNWAY: Thresholds = ((None, "red"), (DAY_S, "orange"), (7 * DAY_S, "green"))


def metric(name: str, *matchers: str, **labels: str) -> str:
    """The series of one of our metrics that match, for the job and instance that were chosen."""
    equal = [f'{label}="{value}"' for label, value in labels.items()]
    return f"cohortd_{name}{{{', '.join((SELECTOR, *matchers, *equal))}}}"


def sum_by(labels: str, expr: str) -> str:
    """The sum of an expression for each value of the labels."""
    return f"sum by ({labels}) ({expr})"


def stat_panel(
    title: str,
    summary: str,
    expr: str,
    unit: str = "short",
    thresholds: Thresholds = NO_COLOUR,
    *,
    width: int = 4,
    legend: str = "",
) -> stat.Panel:
    """One figure, coloured by its thresholds; with a legend, one for each series."""
    colour, text = options.BigValueColorMode, options.BigValueTextMode
    panel = stat.Panel().graph_mode(options.BigValueGraphMode.NONE)
    panel = panel.color_mode(colour.NONE if thresholds is NO_COLOUR else colour.VALUE)
    panel = panel.text_mode(text.AUTO if legend else text.VALUE)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel = _with_frame(panel, title, summary, unit, thresholds).height(4).span(width)
    return panel.with_target(_target(expr, legend or "now").instant())


def timeseries_panel(
    title: str,
    summary: str,
    queries: Mapping[str, str],
    unit: str = "short",
    *,
    stacked: bool = False,
    dashed: Sequence[str] = (),
) -> timeseries.Panel:
    """Lines over time, as expressions by legend; `dashed` names limits, which are no figures."""
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
    panel = _with_frame(panel, title, summary, unit, ALWAYS_GREEN).height(8).span(12)
    for name, expr in queries.items():
        panel = panel.with_target(_target(expr, name))
    return panel


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its expression with one value for each startup, and its display."""

    title: str
    expr: str
    unit: str = "short"
    thresholds: Thresholds = NO_COLOUR
    value_mappings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Text and colour in place of a value."""


def table_panel(
    title: str, summary: str, columns: Sequence[Column], *, width: int = 24
) -> table.Panel:
    """A table with one row for each startup, its columns joined on the startup's name."""
    panel = table.Panel().show_header(True).cell_height(options.TableCellHeight.SM)
    panel = _with_frame(panel, title, summary, "string", NO_COLOUR).height(8).span(width)
    panel = panel.min_width(60)
    column_titles = {"startup": "Startup"}
    for ref, column in zip(ascii_uppercase, columns, strict=False):
        target = _target(sum_by("startup", column.expr), column.title)
        panel = panel.with_target(target.instant().format(PromQueryFormat.TABLE).ref_id(ref))
        column_titles[f"Value #{ref}"] = column.title
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


def dashboard(
    uid: str, title: str, summary: str, panels: Iterable[Panel], variables: Sequence[str] = ()
) -> build.Dashboard:
    """A dashboard with our variables, links and annotations; panels from left to right, downwards.

    `variables` are labels of startups that the reader may choose by.
    """
    found = build.Dashboard(title).uid(uid).description(summary).tags([TAG]).timezone("utc")
    link = build.DashboardLink("cohortd").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    link = link.as_dropdown(False).include_vars(True).keep_time(True)
    found = found.time("now-7d", "now").refresh("1m").readonly().link(link)
    source = build.DatasourceVariable("datasource").label("Data source").type("prometheus")
    found = found.with_variable(source)
    everything = model.VariableOption(selected=True, text="All", value="$__all")
    builds = {"job": "cohortd_build_info", "instance": 'cohortd_build_info{job=~"$job"}'}
    for name, series in builds.items():
        variable = _query_variable(name, series).include_all(True).current(everything)
        found = found.with_variable(variable)
    for name in variables:
        found = found.with_variable(_query_variable(name, metric("level")))
    stops = f"increase({metric('decisions_total', verb='stop')}[2m])"
    query = build.AnnotationQuery().name("Stops").datasource(DATASOURCE).enable(True)
    query = query.icon_color("red").expr(f"{sum_by('startup, rule', stops)} > 0")
    found = found.annotation(query)
    for panel in panels:
        found = found.with_panel(panel)
    return found


def to_json(dashboard: build.Dashboard) -> str:
    """The dashboard as the text that is committed, with a line end."""
    return JSONEncoder(sort_keys=True, indent=2).encode(dashboard.build()) + "\n"


def _with_frame(
    panel: _Panel, title: str, summary: str, unit: str, thresholds: Thresholds
) -> _Panel:
    steps = [model.Threshold(value=value, color=colour) for value, colour in thresholds]
    config = build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
    panel = panel.title(title).description(summary).datasource(DATASOURCE).unit(unit)
    return panel.thresholds(config)


def _target(expr: str, legend: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expr).legend_format(legend).datasource(DATASOURCE)


def _column_overrides(column: Column) -> list[model.DynamicConfigValue]:
    steps = [{"value": value, "color": colour} for value, colour in column.thresholds]
    thresholds = {"mode": "absolute", "steps": steps}
    overrides: dict[str, object] = {"unit": column.unit, "thresholds": thresholds}
    if column.thresholds is not NO_COLOUR or column.value_mappings:
        overrides["custom.cellOptions"] = {"type": "color-text"}
    if column.value_mappings:
        value_mappings = {
            value: {"text": text, "color": colour, "index": position}
            for position, (value, (text, colour)) in enumerate(column.value_mappings.items())
        }
        overrides["mappings"] = [{"type": "value", "options": value_mappings}]
    return [model.DynamicConfigValue(name, value) for name, value in overrides.items()]


def _query_variable(name: str, series: str) -> build.QueryVariable:
    """A variable with the values of a label, the first one by default."""
    query = f"label_values({series}, {name})"
    variable = build.QueryVariable(name).label(name.capitalize()).datasource(DATASOURCE)
    variable = variable.query({"query": query, "refId": name}).definition(query)
    variable = variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.sort(model.VariableSort.ALPHABETICAL_ASC).multi(True)
