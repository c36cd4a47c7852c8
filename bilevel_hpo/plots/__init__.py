"""Figures of λ: each has a pure function that returns the facts, and one that draws them with plotly.

Names come from data and are drawn unchanged: plotly's pseudo-HTML in them is escaped.
"""

from bilevel_hpo.plots._convergence import ConvergenceFacts, Curve, convergence, convergence_facts
from bilevel_hpo.plots._export import CONFIG, ExportError, export
from bilevel_hpo.plots._gain import GainFacts, gain, gain_facts
from bilevel_hpo.plots._landscape import landscape
from bilevel_hpo.plots._landscape_facts import LandscapeFacts, landscape_facts
from bilevel_hpo.plots._names import as_hover, as_label, as_text
from bilevel_hpo.plots._order import cluster_order
from bilevel_hpo.plots._parity import ParityFacts, parity, parity_facts
from bilevel_hpo.plots._ratio_heatmap import RatioHeatmapFacts, ratio_heatmap, ratio_heatmap_facts
from bilevel_hpo.plots._slice_facts import Plane, SliceFacts, slice_facts
from bilevel_hpo.plots._slices import slices
from bilevel_hpo.plots._template import DIVERGING, PALETTE, SEQUENTIAL, TEMPLATE
from bilevel_hpo.plots._trajectory import TrajectoryFacts, trajectory, trajectory_facts
from bilevel_hpo.plots._transfer_graph import TransferGraphFacts, transfer_graph, transfer_graph_facts

__all__ = [
    "CONFIG",
    "DIVERGING",
    "PALETTE",
    "SEQUENTIAL",
    "TEMPLATE",
    "ConvergenceFacts",
    "Curve",
    "ExportError",
    "GainFacts",
    "LandscapeFacts",
    "ParityFacts",
    "Plane",
    "RatioHeatmapFacts",
    "SliceFacts",
    "TrajectoryFacts",
    "TransferGraphFacts",
    "as_hover",
    "as_label",
    "as_text",
    "cluster_order",
    "convergence",
    "convergence_facts",
    "export",
    "gain",
    "gain_facts",
    "landscape",
    "landscape_facts",
    "parity",
    "parity_facts",
    "ratio_heatmap",
    "ratio_heatmap_facts",
    "slice_facts",
    "slices",
    "trajectory",
    "trajectory_facts",
    "transfer_graph",
    "transfer_graph_facts",
]
