"""The variety of a set's categories, as a section of its page."""

import dataclasses

from pcfdsl.formula.diversity import Diversity, Quantiles
from pcfdsl.view.charts import bar_chart
from pcfdsl.view.page import Picture, Section, Table

__all__ = ["diversity_section"]


def diversity_section(figures: Diversity) -> Section:
    """A chart of the numbers of maps, and a table of everything else."""
    names = {field.name: getattr(figures, field.name) for field in dataclasses.fields(figures)}
    rows = [
        (name.replace("_", " "), value.low, value.median, value.high)
        for name, value in names.items()
        if isinstance(value, Quantiles)
    ]
    maps = {f"{number} maps": [count] for number, count in figures.num_maps.items()}
    without = figures.num_without_cloud
    return Section(
        f"Variety of {sum(figures.num_maps.values())} categories",
        [
            Picture(bar_chart({"categories": maps}, y_label="categories"), "Categories by their number of maps"),
            Table(("of maps, systems and clouds", "5 %", "median", "95 %"), rows),
            *([f"{without} systems have no cloud: it diverges, or has no extent."] if without else []),
        ],
    )
