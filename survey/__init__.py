"""Field-survey planner: what inspectors can draw, checkable rounds, and the 500 m toilet rule."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from survey.batch import run_batch
    from survey.city import CityResult, run_city
    from survey.config import CityConfig, read_config
    from survey.coverage.audit import Audit, audit_all, audit_coverage
    from survey.coverage.compare import Comparison, compare_audits
    from survey.coverage.hours import parse_moment
    from survey.coverage.rules import Rule, find_rule, read_rules
    from survey.coverage.siting import SitePlan, add_sites, plan_sites
    from survey.coverage.spacing import Spacing, measure_spacing
    from survey.errors import SurveyError
    from survey.example import example_town
    from survey.frame.assembly import build_frame
    from survey.frame.doors import find_doors
    from survey.frame.frame import Frame
    from survey.frame.streets import Streets, build_streets, from_networkx, to_networkx
    from survey.outputs.exports import export_tables
    from survey.outputs.maps import draw_map, save_map, save_maps
    from survey.outputs.offline import save_offline
    from survey.outputs.report import save_report
    from survey.outputs.tiles import TileSource, add_tiles, choose_tiles
    from survey.sampling.balance import (
        inclusion_probs,
        local_pivotal,
        simple_random,
        spatial_balance,
        systematic,
    )
    from survey.sampling.conditions import Condition, as_condition, read_condition
    from survey.sampling.design import Design
    from survey.sampling.draw import Draw, Verdict, commit_design, draw_round, verify_round
    from survey.sampling.estimate import estimate_mock, estimate_round
    from survey.sampling.mock import draw_mock
    from survey.sampling.odds import joint_odds, point_odds, visit_odds
    from survey.sampling.priorities import Priorities, rank_priorities
    from survey.sampling.reach import measure_catchments, measure_reach
    from survey.sampling.schemes import Scheme, find_scheme, read_schemes
    from survey.sampling.simulate import Simulation, simulate_rounds
    from survey.sampling.totals import Estimate, estimate_mean, estimate_total
    from survey.sources.area import Area, find_area
    from survey.sources.datum import convert_datum, detect_datum
    from survey.sources.extract import OsmData, read_extract
    from survey.sources.layers import read_layer
    from survey.sources.overpass import fetch_osm
    from survey.workspace import Workspace, open_workspace

__all__ = [
    "Area",
    "Audit",
    "CityConfig",
    "CityResult",
    "Comparison",
    "Condition",
    "Design",
    "Draw",
    "Estimate",
    "Frame",
    "OsmData",
    "Priorities",
    "Rule",
    "Scheme",
    "Simulation",
    "SitePlan",
    "Spacing",
    "Streets",
    "SurveyError",
    "TileSource",
    "Verdict",
    "Workspace",
    "add_sites",
    "add_tiles",
    "as_condition",
    "audit_all",
    "audit_coverage",
    "build_frame",
    "build_streets",
    "choose_tiles",
    "commit_design",
    "compare_audits",
    "convert_datum",
    "detect_datum",
    "draw_map",
    "draw_mock",
    "draw_round",
    "estimate_mean",
    "estimate_mock",
    "estimate_round",
    "estimate_total",
    "example_town",
    "export_tables",
    "fetch_osm",
    "find_area",
    "find_doors",
    "find_rule",
    "find_scheme",
    "from_networkx",
    "inclusion_probs",
    "joint_odds",
    "local_pivotal",
    "measure_catchments",
    "measure_reach",
    "measure_spacing",
    "open_workspace",
    "parse_moment",
    "plan_sites",
    "point_odds",
    "rank_priorities",
    "read_condition",
    "read_config",
    "read_extract",
    "read_layer",
    "read_rules",
    "read_schemes",
    "run_batch",
    "run_city",
    "save_map",
    "save_maps",
    "save_offline",
    "save_report",
    "simple_random",
    "simulate_rounds",
    "spatial_balance",
    "systematic",
    "to_networkx",
    "verify_round",
    "visit_odds",
]

_HOMES = {
    "survey.batch": ("run_batch",),
    "survey.city": ("CityResult", "run_city"),
    "survey.config": ("CityConfig", "read_config"),
    "survey.coverage.audit": ("Audit", "audit_all", "audit_coverage"),
    "survey.coverage.compare": ("Comparison", "compare_audits"),
    "survey.coverage.hours": ("parse_moment",),
    "survey.coverage.rules": ("Rule", "find_rule", "read_rules"),
    "survey.coverage.siting": ("SitePlan", "add_sites", "plan_sites"),
    "survey.coverage.spacing": ("Spacing", "measure_spacing"),
    "survey.errors": ("SurveyError",),
    "survey.example": ("example_town",),
    "survey.frame.assembly": ("build_frame",),
    "survey.frame.doors": ("find_doors",),
    "survey.frame.frame": ("Frame",),
    "survey.frame.streets": ("Streets", "build_streets", "from_networkx", "to_networkx"),
    "survey.outputs.exports": ("export_tables",),
    "survey.outputs.maps": ("draw_map", "save_map", "save_maps"),
    "survey.outputs.offline": ("save_offline",),
    "survey.outputs.report": ("save_report",),
    "survey.outputs.tiles": ("TileSource", "add_tiles", "choose_tiles"),
    "survey.sampling.balance": (
        "inclusion_probs",
        "local_pivotal",
        "simple_random",
        "spatial_balance",
        "systematic",
    ),
    "survey.sampling.conditions": ("Condition", "as_condition", "read_condition"),
    "survey.sampling.design": ("Design",),
    "survey.sampling.draw": ("Draw", "Verdict", "commit_design", "draw_round", "verify_round"),
    "survey.sampling.estimate": ("estimate_mock", "estimate_round"),
    "survey.sampling.mock": ("draw_mock",),
    "survey.sampling.odds": ("joint_odds", "point_odds", "visit_odds"),
    "survey.sampling.priorities": ("Priorities", "rank_priorities"),
    "survey.sampling.reach": ("measure_catchments", "measure_reach"),
    "survey.sampling.schemes": ("Scheme", "find_scheme", "read_schemes"),
    "survey.sampling.simulate": ("Simulation", "simulate_rounds"),
    "survey.sampling.totals": ("Estimate", "estimate_mean", "estimate_total"),
    "survey.sources.area": ("Area", "find_area"),
    "survey.sources.datum": ("convert_datum", "detect_datum"),
    "survey.sources.extract": ("OsmData", "read_extract"),
    "survey.sources.layers": ("read_layer",),
    "survey.sources.overpass": ("fetch_osm",),
    "survey.workspace": ("Workspace", "open_workspace"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: start-up counts."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'survey' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
